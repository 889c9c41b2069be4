//! Which documents are filed under which key, in order, page by page.

use bgjob::{
    JobId,
    store::{Document, Filed, Key, Replaced::Replaced},
};

use super::bundle::{Bundle, changed, ids, new, range};

/// An id that begins with this byte, and one that ends with it.
fn with_byte(byte: u8) -> [JobId; 2] {
    let [mut first, mut last] = [[0x55; 16]; 2];
    (first[0], last[15]) = (byte, byte);
    [first, last].map(JobId::from_bytes)
}

/// Ids that come in another order if a store sorts them as text, as signed numbers or as numbers of
/// another byte order. The least and the greatest of all ids are among them.
pub(super) fn odd_ids() -> Vec<JobId> {
    let bytes = [0x7f, 0x80, 0, 0xff, 1, 0xa0, 0x0a].into_iter();
    let middle = (1..15).map(|place| {
        let mut id = [0x55; 16];
        id[place] = 0x54 + 2 * (place as u8 % 2);
        JobId::from_bytes(id)
    });
    let ends = [[0; 16], [0xff; 16]].map(JobId::from_bytes);
    bytes
        .flat_map(with_byte)
        .chain(middle)
        .chain(ends)
        .collect()
}

pub(super) async fn a_document_is_found_under_each_of_its_keys(t: &Bundle) {
    let one = t.add(&["a,1", "b,1", "c,1", "d,1"], "{}").await;
    let other = t.add(&["b,1", "d,2"], "{}").await;
    let found = t.page(&range("a", "e"), None, 9).await;
    let expected = [
        ("a,1", one.id),
        ("b,1", one.id),
        ("b,1", other.id),
        ("c,1", one.id),
        ("d,1", one.id),
        ("d,2", other.id),
    ];
    assert_eq!(found, expected.map(|(key, id)| (Key::new(key), id)));
}

pub(super) async fn a_replaced_document_is_found_under_its_new_keys_alone(t: &Bundle) {
    let mut read = t.add(&["a", "b"], "{}").await;
    for keys in [&["b", "c", "d"][..], &["d"], &["a", "b", "c", "d"], &["b"]] {
        // The body stays the same; only the keys change.
        assert_eq!(t.replace(&changed(&read, keys, "{}")).await, Replaced);
        assert_eq!(t.keys("a", "e").await, keys);
        read = t.read(read.id).await;
    }
}

pub(super) async fn the_range_begins_with_its_first_key_and_ends_before_its_last(t: &Bundle) {
    t.add(&["a", "b", "b,1", "b-1"], "{}").await;
    t.add(&["c", "c,1", "d"], "{}").await;
    assert_eq!(t.keys("b", "c").await, ["b", "b,1", "b-1"]);
    assert_eq!(t.keys("b,", "b-").await, ["b,1"], "bounds need not be keys");
    assert_eq!(t.keys("b", "b,1").await, ["b"]);
    assert_eq!(t.keys("c", "c,1").await, ["c"]);
    assert_eq!(t.keys("c,1", "z").await, ["c,1", "d"]);
    assert_eq!(t.keys("b", "b").await, [""; 0], "nothing is in between");
    assert_eq!(t.keys("e", "z").await, [""; 0]);
}

/// A database that sorts text by the rules of a language has them in another order.
pub(super) async fn keys_come_in_the_order_of_their_bytes(t: &Bundle) {
    let keys = [
        "k", "k,", "k,a", "k-", "k-b", "k.", "k.a", "k0", "k0a", "k10", "k2", "k9", "k_", "k_a",
        "ka", "ka,b", "ka-b", "kab", "kz", "l", ",", "-", ".", "0", "_", "z",
    ];
    for four in keys.rchunks(4) {
        t.add(four, "{}").await;
    }
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(t.keys(",", "zz").await, sorted);
}

pub(super) async fn documents_of_one_key_come_in_the_order_of_their_ids(t: &Bundle) {
    let document = |id| Document {
        id,
        ..new(&["a"], "{}")
    };
    let documents: Vec<_> = odd_ids().into_iter().map(document).collect();
    t.add_all(&documents).await;
    let mut sorted = ids(&documents);
    sorted.sort_by_key(|id| *id.as_bytes());
    assert_eq!(t.under("a").await, sorted);
}

pub(super) async fn pages_follow_each_other(t: &Bundle) {
    for number in 0..5 {
        t.add(&["a", "b,1", &format!("c,{number}")], "{}").await;
    }
    let all = t.page(&range("a", "d"), None, 100).await;
    assert_eq!(all.len(), 15);
    assert!(all.is_sorted(), "{all:?}");
    for limit in [1, 2, 4, 5, 14, 15, 16] {
        assert_eq!(in_pages(t, limit).await, all, "pages of {limit}");
    }
    assert_eq!(t.page(&range("a", "d"), None, 0).await, []);
    assert_eq!(t.page(&range("a", "d"), all.last(), 9).await, []);
    let within = t.page(&range("b", "c"), Some(&all[6]), 9).await;
    assert_eq!(within, all[7..10], "a page ends where its range ends");
}

async fn in_pages(t: &Bundle, limit: usize) -> Vec<Filed> {
    let mut all = Vec::new();
    loop {
        let page = t.page(&range("a", "d"), all.last(), limit).await;
        assert!(page.len() <= limit, "{} of {limit}", page.len());
        let ended = page.len() < limit;
        all.extend(page);
        assert!(all.len() < 100, "pages come to an end: {all:?}");
        if ended {
            return all;
        }
    }
}

pub(super) async fn a_cursor_that_is_gone_is_a_place_still(t: &Bundle) {
    let mut read = Vec::new();
    for key in ["a", "b", "b", "c"] {
        read.push(t.add(&[key], "{}").await);
    }
    let range = range("a", "d");
    let all = t.page(&range, None, 9).await;
    assert_eq!(t.delete(&read[1]).await, Replaced);
    assert_eq!(t.page(&range, Some(&all[1]), 9).await, all[2..]);
    assert_eq!(t.replace(&changed(&read[2], &["a"], "{}")).await, Replaced);
    assert_eq!(t.page(&range, Some(&all[2]), 9).await, all[3..]);
    let nobodys = (Key::new("aa"), JobId::from_bytes([0xff; 16]));
    assert_eq!(t.page(&range, Some(&nobodys), 9).await, all[3..]);
}
