//! All documents, in the order of their ids, page by page.

use bgjob::{
    JobId,
    store::{Document, Replaced::Replaced},
};

use super::{
    bundle::{Bundle, assert_same, changed, ids, new, plain},
    scan::odd_ids,
};

pub(super) async fn documents_come_in_the_order_of_their_ids(t: &Bundle) {
    let document = |id| Document {
        id,
        ..new(&["a"], "{}")
    };
    let documents: Vec<_> = odd_ids().into_iter().map(document).collect();
    t.add_all(&documents).await;
    let mut sorted = ids(&documents);
    sorted.sort_by_key(|id| *id.as_bytes());
    assert_eq!(ids(&t.list(None, 100).await), sorted);
    for (place, id) in sorted.iter().enumerate() {
        let rest = t.list(Some(*id), 100).await;
        assert_eq!(ids(&rest), sorted[place + 1..], "after {id}");
    }
}

pub(super) async fn it_shows_what_get_shows(t: &Bundle) {
    let first = t.add(&["a", "b"], r#"{"a":1}"#).await;
    let second = t.add(&["c"], r#"{"b":2}"#).await;
    assert_eq!(t.replace(&changed(&first, &["d"], "3")).await, Replaced);
    let first = t.read(first.id).await;
    let listed = t.list(None, 9).await;
    assert_eq!(ids(&listed), [first.id, second.id]);
    for (listed, read) in listed.iter().zip([&first, &second]) {
        assert_same(listed, read);
        assert_eq!(listed.version, read.version);
    }
    assert_eq!(t.replace(&listed[1]).await, Replaced, "it may be replaced");
}

pub(super) async fn pages_follow_each_other(t: &Bundle) {
    let documents = plain(7);
    t.add_all(&documents).await;
    for limit in [1, 2, 3, 6, 7, 8] {
        assert_eq!(
            in_pages(t, limit).await,
            ids(&documents),
            "pages of {limit}"
        );
    }
    assert_eq!(t.list(None, 0).await, []);
    assert_eq!(t.list(Some(documents[6].id), 9).await, []);
}

async fn in_pages(t: &Bundle, limit: usize) -> Vec<JobId> {
    let mut all = Vec::new();
    loop {
        let page = t.list(all.last().copied(), limit).await;
        assert!(page.len() <= limit, "{} of {limit}", page.len());
        let ended = page.len() < limit;
        all.extend(ids(&page));
        assert!(all.len() < 100, "pages come to an end: {all:?}");
        if ended {
            return all;
        }
    }
}

pub(super) async fn a_cursor_that_is_gone_is_a_place_still(t: &Bundle) {
    let documents = plain(4);
    t.add_all(&documents).await;
    let all = ids(&documents);
    let gone = t.read(all[1]).await;
    assert_eq!(t.delete(&gone).await, Replaced);
    assert_eq!(ids(&t.list(Some(all[1]), 9).await), all[2..]);
    let nobodys = JobId::from_bytes([0; 16]);
    let rest = ids(&t.list(Some(nobodys), 9).await);
    assert_eq!(rest, [all[0], all[2], all[3]]);
}
