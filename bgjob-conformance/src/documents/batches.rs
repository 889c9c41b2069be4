//! Answers come in the order of the input, for empty and for large batches.

use std::sync::Arc;

use bgjob::{
    JobId,
    store::{Inserted, Replaced},
};

use super::bundle::{Bundle, assert_same, at, ids, new, plain, range};

pub(super) async fn an_empty_batch_is_no_error(t: &Bundle) {
    assert_eq!(t.insert(&[]).await, []);
    assert_eq!(t.get_all(&[]).await, []);
    assert_eq!(t.replace_all(&[]).await, []);
    assert_eq!(t.delete_all(&[]).await, []);
    assert_eq!(t.list(None, 9).await, [], "and does nothing");
}

pub(super) async fn get_answers_in_the_order_of_the_ids(t: &Bundle) {
    let [first, second] = [t.add(&["a"], "1").await, t.add(&["b"], "2").await];
    let missing = JobId::new();
    let asked = [second.id, missing, first.id, second.id, missing];
    let found = t.get_all(&asked).await;
    let expected = [Some(&second), None, Some(&first), Some(&second), None];
    assert_eq!(found.len(), expected.len(), "one answer an id");
    for (found, expected) in found.iter().zip(expected) {
        match (found, expected) {
            (Some(found), Some(expected)) => {
                assert_same(found, expected);
                assert_eq!(found.version, expected.version);
            }
            _ => assert_eq!(found.as_ref(), expected),
        }
    }
}

pub(super) async fn two_thousand_documents_fit_one_batch(t: &Bundle) {
    let documents = plain(2000);
    t.add_all(&documents).await;
    let found = t.get_all(&ids(&documents)).await;
    let found: Vec<_> = found.into_iter().flatten().collect();
    assert_eq!(ids(&found), ids(&documents));
    let filed = t.page(&range("plain", "q"), None, 4096).await;
    assert_eq!(filed.len(), 2000);
    let found: Vec<_> = found.iter().map(at).collect();
    assert_eq!(t.delete_all(&found).await, vec![Replaced::Replaced; 2000]);
    assert_eq!(t.list(None, 9).await, []);
}

/// Leases are renewed this way: on a thread with its own runtime, which may end before the store.
pub(super) async fn another_runtime_may_call(t: &Bundle) {
    let document = new(&["a"], "{}");
    for round in 0..2 {
        let (store, new) = (Arc::clone(&t.documents), document.clone());
        let elsewhere = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let insert = async { store.insert(&[new]).await };
            runtime.expect("a runtime can be made").block_on(insert)
        });
        let answer = elsewhere.await.expect("it does not panic");
        let expected = [Inserted::Inserted, Inserted::Taken][round];
        assert_eq!(answer.expect("insert answers"), [expected]);
        assert_same(&t.read(document.id).await, &document);
    }
}
