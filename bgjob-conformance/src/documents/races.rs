//! Several callers at once: if they have read the same version, only one of them writes.

use std::{future::Future, sync::Arc};

use tokio::task::yield_now;

use bgjob::store::{
    Document, DocumentStore, Inserted, Key,
    Replaced::{Conflict, Replaced},
};

use super::bundle::{Bundle, assert_same, at, changed, new, range};
use crate::together::at_once;

const ROUNDS: usize = 10;
const CALLERS: usize = 6;

type Store = Arc<dyn DocumentStore>;

async fn get(store: &Store, document: &Document) -> Document {
    let found = store.get(&[document.id]).await.expect("get answers");
    let found = found.into_iter().next().flatten();
    found.expect("it is there")
}

/// One call for each number, with a document that has the number in its body and its key.
fn callers<T, F: Future<Output = T>>(
    t: &Bundle,
    document: &Document,
    call: impl Fn(Store, Document) -> F,
) -> impl Iterator<Item = F> {
    (0..CALLERS).map(move |number| {
        let mine = changed(document, &[&format!("n,{number}")], &number.to_string());
        call(Arc::clone(&t.documents), mine)
    })
}

/// Checks that the document is as the winner wrote it, and filed only under its key.
async fn assert_won(t: &Bundle, document: &Document, winner: usize) {
    let key = format!("n,{winner}");
    let expected = changed(document, &[&key], &winner.to_string());
    assert_same(&t.read(document.id).await, &expected);
    let filed = t.page(&range("n,", "n-"), None, 99).await;
    let filed: Vec<_> = filed
        .iter()
        .filter(|filed| filed.1 == document.id)
        .collect();
    assert_eq!(filed, [&(Key::new(key), document.id)]);
}

/// The index of the one caller that got this answer. Fails if there is not exactly one.
fn only<T: PartialEq + std::fmt::Debug>(answers: &[T], won: &T) -> usize {
    let winners = answers.iter().filter(|answer| *answer == won).count();
    assert_eq!(winners, 1, "one wins: {answers:?}");
    let place = answers.iter().position(|answer| answer == won);
    place.expect("there is one")
}

pub(super) async fn of_many_inserts_of_one_id_one_wins(t: &Bundle) {
    for _ in 0..ROUNDS {
        let document = new(&["a"], "{}");
        let calls = callers(t, &document, |store, mine| async move {
            store.insert(&[mine]).await.expect("insert answers")[0]
        });
        let answers = at_once(calls).await;
        assert_won(t, &document, only(&answers, &Inserted::Inserted)).await;
    }
}

pub(super) async fn of_many_replaces_of_one_version_one_wins(t: &Bundle) {
    for _ in 0..ROUNDS {
        let read = t.add(&["a"], "{}").await;
        let calls = callers(t, &read, |store, mine| async move {
            store.replace(&[mine]).await.expect("replace answers")[0]
        });
        let answers = at_once(calls).await;
        assert_won(t, &read, only(&answers, &Replaced)).await;
    }
    assert_eq!(t.under("a").await, [], "all were replaced");
}

pub(super) async fn of_a_delete_and_a_replace_one_wins(t: &Bundle) {
    for _ in 0..ROUNDS {
        let read = t.add(&["a"], "{}").await;
        let calls = callers(t, &read, |store, mine| async move {
            if mine.body.ends_with(b"0") {
                store.delete(&[at(&mine)]).await.expect("delete answers")[0]
            } else {
                store.replace(&[mine]).await.expect("replace answers")[0]
            }
        });
        let answers = at_once(calls).await;
        match only(&answers, &Replaced) {
            0 => assert_eq!(t.get(read.id).await, None),
            winner => assert_won(t, &read, winner).await,
        }
        assert_eq!(t.under("a").await, []);
    }
}

pub(super) async fn no_change_is_lost(t: &Bundle) {
    let counter = t.add(&["a"], "0").await;
    let calls = callers(t, &counter, |store, mine| async move {
        for _ in 0..ROUNDS {
            count(&store, &mine).await;
        }
    });
    at_once(calls).await;
    let expected = (CALLERS * ROUNDS).to_string();
    let counted = t.read(counter.id).await.body;
    assert_eq!(String::from_utf8_lossy(&counted), expected);
}

/// Adds one to the number in the document's body.
async fn count(store: &Store, document: &Document) {
    loop {
        let read = get(store, document).await;
        let number = String::from_utf8(read.body.clone()).expect("it is a number");
        let number: usize = number.parse().expect("it is a number");
        let next = changed(&read, &["a"], &(number + 1).to_string());
        let answers = store.replace(&[next]).await.expect("replace answers");
        if answers == [Replaced] {
            return;
        }
    }
}

/// Two batches that each hold what the other one waits for must both get an answer.
pub(super) async fn batches_that_cross_both_end(t: &Bundle) {
    let mut read = vec![t.add(&["a"], "0").await, t.add(&["a"], "0").await];
    for _ in 0..ROUNDS {
        let batches = [read.clone(), read.iter().rev().cloned().collect()];
        let calls = batches.into_iter().map(|batch| {
            let store = Arc::clone(&t.documents);
            async move { store.replace(&batch).await.expect("replace answers") }
        });
        let answers = at_once(calls).await;
        for (there, back) in answers[0].iter().zip(answers[1].iter().rev()) {
            let both = [*there, *back];
            let won = both == [Replaced, Conflict] || both == [Conflict, Replaced];
            assert!(won, "one wins each document: {answers:?}");
        }
        read = vec![t.read(read[0].id).await, t.read(read[1].id).await];
    }
}

/// Replaces a document many times, with a number in its body and in its key. Meanwhile two readers
/// look at it until it [is the last](is_last): one on another thread, and one in turns with the
/// writer.
async fn while_it_is_replaced<F>(t: &Bundle, look: impl Fn(Store, Document) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let document = t.add(&["n,100"], "100").await;
    let [aside, in_turns] = [(); 2].map(|()| look(Arc::clone(&t.documents), document.clone()));
    let aside = tokio::spawn(aside);
    let write = async {
        for number in 101..=100 + 3 * ROUNDS {
            let read = t.read(document.id).await;
            let next = changed(&read, &[&format!("n,{number}")], &number.to_string());
            assert_eq!(t.replace(&next).await, Replaced);
        }
    };
    tokio::join!(write, in_turns);
    aside.await.expect("who looks does not panic");
}

fn is_last(document: &Document) -> bool {
    document.body == (100 + 3 * ROUNDS).to_string().as_bytes()
}

pub(super) async fn a_reader_never_goes_back(t: &Bundle) {
    while_it_is_replaced(t, |store, mut seen| async move {
        while !is_last(&seen) {
            let found = get(&store, &seen).await;
            assert!(found.body >= seen.body, "what was read was read");
            seen = found;
            yield_now().await;
        }
    })
    .await;
}

pub(super) async fn keys_never_lag_behind(t: &Bundle) {
    while_it_is_replaced(t, |store, mut seen| async move {
        while !is_last(&seen) {
            seen = get(&store, &seen).await;
            let key = seen.keys[0].as_str();
            let range = range(key, &format!("{key},"));
            let filed = store.scan(&range, None, 9).await.expect("scan answers");
            let after = get(&store, &seen).await;
            assert!(
                !filed.is_empty() || after.version != seen.version,
                "it is there, and not filed under {key}"
            );
            yield_now().await;
        }
    })
    .await;
}
