//! A document is replaced if it has not changed since it was read, or not at all.

use bgjob::store::Replaced::{Conflict, Replaced};

use super::bundle::{Bundle, assert_same, at_no_version, changed, new};

pub(super) async fn body_and_keys_are_replaced(t: &Bundle) {
    let old = t.add(&["old", "both"], r#"{"a":1}"#).await;
    let new = changed(&old, &["both", "new"], r#"{"b":[2,3]}"#);
    assert_eq!(t.replace(&new).await, Replaced);
    let found = t.read(old.id).await;
    assert_same(&found, &new);
    t.assert_filed(&new).await;
}

pub(super) async fn an_old_version_is_refused_and_nothing_changes(t: &Bundle) {
    let old = t.add(&["old"], "1").await;
    assert_eq!(t.replace(&changed(&old, &["now"], "2")).await, Replaced);
    let now = t.read(old.id).await;
    let late = changed(&old, &["late"], "3");
    assert_eq!(t.replace(&late).await, Conflict);
    assert_eq!(t.replace(&at_no_version(&late)).await, Conflict);
    t.assert_unchanged(&now).await;
    assert_eq!(
        t.under("late").await,
        [],
        "what was refused is filed nowhere"
    );
}

pub(super) async fn what_is_missing_is_a_conflict_and_is_not_made(t: &Bundle) {
    let never = new(&["a"], "{}");
    assert_eq!(t.replace(&never).await, Conflict, "no version");
    assert_eq!(t.replace(&at_no_version(&never)).await, Conflict);
    let gone = t.add(&["b"], "{}").await;
    assert_eq!(t.delete(&gone).await, Replaced);
    assert_eq!(t.replace(&gone).await, Conflict);
    assert_eq!(t.get_all(&[never.id, gone.id]).await, [None, None]);
    assert_eq!(t.keys("a", "c").await, [""; 0]);
}

pub(super) async fn a_conflict_hurts_no_neighbour(t: &Bundle) {
    let read = [t.add(&["a"], "1").await, t.add(&["b"], "2").await];
    let held = t.add(&["c"], "3").await;
    let [before, after] = read.map(|read| changed(&read, &["new"], r#""new""#));
    let late = at_no_version(&changed(&held, &["late"], r#""late""#));
    let missing = new(&["late"], r#""late""#);
    let batch = [before.clone(), late, missing.clone(), after.clone()];
    let answers = t.replace_all(&batch).await;
    assert_eq!(answers, [Replaced, Conflict, Conflict, Replaced]);
    assert_same(&t.read(before.id).await, &before);
    assert_same(&t.read(after.id).await, &after);
    assert_eq!(t.under("new").await, [before.id, after.id]);
    t.assert_unchanged(&held).await;
    assert_eq!(t.get(missing.id).await, None);
    assert_eq!(t.under("late").await, []);
}
