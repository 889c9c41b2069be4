//! A document is deleted if it has not changed since it was read, or not at all.

use bgjob::store::Replaced::{Conflict, Replaced};

use super::bundle::{Bundle, at, at_no_version, changed, new};

pub(super) async fn what_is_deleted_is_gone(t: &Bundle) {
    let gone = t.add(&["a", "b", "c"], "{}").await;
    let other = t.add(&["b"], "{}").await;
    assert_eq!(t.delete(&gone).await, Replaced);
    assert_eq!(t.get(gone.id).await, None);
    assert_eq!(t.list(None, 9).await.len(), 1);
    assert_eq!(t.keys("a", "d").await, ["b"], "nor do its keys stay");
    t.assert_unchanged(&other).await;
}

pub(super) async fn an_old_version_deletes_nothing(t: &Bundle) {
    let old = t.add(&["old"], "1").await;
    assert_eq!(t.replace(&changed(&old, &["now"], "2")).await, Replaced);
    let now = t.read(old.id).await;
    assert_eq!(t.delete(&old).await, Conflict);
    assert_eq!(t.delete(&at_no_version(&now)).await, Conflict);
    t.assert_unchanged(&now).await;
}

pub(super) async fn what_is_missing_is_a_conflict(t: &Bundle) {
    assert_eq!(t.delete(&new(&["a"], "{}")).await, Conflict, "no version");
    let gone = t.add(&["a"], "{}").await;
    assert_eq!(t.delete(&gone).await, Replaced);
    assert_eq!(t.delete(&gone).await, Conflict, "once");
}

pub(super) async fn a_conflict_hurts_no_neighbour(t: &Bundle) {
    let [before, held, after] = [
        t.add(&["a"], "1").await,
        t.add(&["b"], "2").await,
        t.add(&["c"], "3").await,
    ];
    let missing = new(&["d"], "4");
    let batch = [&before, &at_no_version(&held), &missing, &after].map(at);
    let answers = t.delete_all(&batch).await;
    assert_eq!(answers, [Replaced, Conflict, Conflict, Replaced]);
    assert_eq!(t.get_all(&[before.id, after.id]).await, [None, None]);
    t.assert_unchanged(&held).await;
    assert_eq!(t.keys("a", "e").await, ["b"]);
}
