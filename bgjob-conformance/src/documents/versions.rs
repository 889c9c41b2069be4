//! Versions tell the states of a document apart.

use bgjob::store::{
    Document,
    Replaced::{Conflict, Replaced},
    Version,
};

use super::bundle::{Bundle, changed};

pub(super) async fn every_write_gives_a_new_one(t: &Bundle) {
    let read = t.add(&["a"], "{}").await;
    assert_eq!(t.replace(&read).await, Replaced);
    let now = t.read(read.id).await;
    assert_ne!(now.version, read.version, "also where the bytes stay");
    assert_eq!(t.replace(&read).await, Conflict);
    assert_eq!(t.delete(&read).await, Conflict);
    t.assert_unchanged(&now).await;
}

pub(super) async fn none_comes_twice(t: &Bundle) {
    let mut read = t.add(&["a"], "{}").await;
    let mut seen = vec![read.version.clone()];
    for _ in 0..4 {
        for body in ["1", "{}", "{}"] {
            assert_eq!(t.replace(&changed(&read, &["a"], body)).await, Replaced);
            read = t.read(read.id).await;
            see(&mut seen, &read);
        }
        assert_eq!(t.delete(&read).await, Replaced);
        t.add_all(std::slice::from_ref(&read)).await;
        read = t.read(read.id).await;
        see(&mut seen, &read);
    }
}

fn see(seen: &mut Vec<Version>, read: &Document) {
    let version = &read.version;
    assert!(!seen.contains(version), "{version:?} came before: {seen:?}");
    seen.push(version.clone());
}

/// A reader from before the delete must not take the new document for the old one.
pub(super) async fn one_from_before_a_delete_is_old(t: &Bundle) {
    let old = t.add(&["a"], "{}").await;
    assert_eq!(t.delete(&old).await, Replaced);
    t.add_all(std::slice::from_ref(&old)).await;
    let again = t.read(old.id).await;
    assert_eq!(t.replace(&changed(&old, &["late"], "1")).await, Conflict);
    assert_eq!(t.delete(&old).await, Conflict);
    t.assert_unchanged(&again).await;
    assert_eq!(t.replace(&again).await, Replaced);
}

pub(super) async fn reading_changes_none(t: &Bundle) {
    let read = t.add(&["a"], "{}").await;
    t.list(None, 9).await;
    t.under("a").await;
    t.add(&["a"], "{}").await;
    t.insert(std::slice::from_ref(&read)).await;
    t.assert_unchanged(&read).await;
    assert_eq!(t.replace(&read).await, Replaced, "it is still as it was");
}
