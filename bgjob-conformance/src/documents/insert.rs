//! Documents that are new, and documents that only look new.

use bgjob::store::{
    Inserted::{Inserted, Taken},
    Replaced, Version,
};

use super::bundle::{Bundle, assert_same, changed, new};

pub(super) async fn what_is_inserted_is_there(t: &Bundle) {
    let document = new(&["a,1", "b,2"], r#"{"a":1}"#);
    assert_eq!(t.get(document.id).await, None, "it is not there before");
    t.add_all(std::slice::from_ref(&document)).await;
    assert_same(&t.read(document.id).await, &document);
    t.assert_filed(&document).await;
}

pub(super) async fn what_is_filed_nowhere_is_there_too(t: &Bundle) {
    let document = t.add(&[], r#"{"a":1}"#).await;
    let filed = changed(&document, &["a"], "1");
    assert_eq!(t.replace(&filed).await, Replaced::Replaced);
    assert_eq!(t.under("a").await, [document.id]);
    let nowhere = changed(&t.read(document.id).await, &[], "2");
    assert_eq!(t.replace(&nowhere).await, Replaced::Replaced);
    assert_same(&t.read(document.id).await, &nowhere);
    assert_eq!(t.under("a").await, []);
}

pub(super) async fn an_id_that_is_there_is_refused_and_stays_as_it_is(t: &Bundle) {
    let old = t.add(&["old"], r#""old""#).await;
    let other = changed(&old, &["new"], r#""new""#);
    assert_eq!(t.insert(&[other]).await, [Taken]);
    assert_eq!(
        t.insert(std::slice::from_ref(&old)).await,
        [Taken],
        "the same one too"
    );
    t.assert_unchanged(&old).await;
    assert_eq!(
        t.under("new").await,
        [],
        "what was refused is filed nowhere"
    );
}

pub(super) async fn the_version_that_is_given_is_of_no_interest(t: &Bundle) {
    let mut document = new(&["a"], "{}");
    document.version = Version(b"given".to_vec());
    t.add_all(std::slice::from_ref(&document)).await;
    let found = t.read(document.id).await;
    assert_ne!(found.version, document.version, "the store makes its own");
    assert_eq!(t.replace(&document).await, Replaced::Conflict);
    assert_eq!(t.replace(&found).await, Replaced::Replaced);
}

pub(super) async fn of_two_of_one_id_in_a_batch_the_first_is_stored(t: &Bundle) {
    let first = new(&["first"], "1");
    let second = changed(&first, &["second"], "2");
    let batch = [first.clone(), second.clone(), new(&["other"], "3"), second];
    assert_eq!(t.insert(&batch).await, [Inserted, Taken, Inserted, Taken]);
    assert_same(&t.read(first.id).await, &first);
    assert_eq!(t.under("first").await, [first.id]);
    assert_eq!(t.under("second").await, []);
}

pub(super) async fn what_is_taken_hurts_no_neighbour(t: &Bundle) {
    let old = t.add(&["old"], "0").await;
    let [before, after] = [new(&["before"], "1"), new(&["after"], "2")];
    let batch = [before.clone(), old.clone(), after.clone()];
    assert_eq!(t.insert(&batch).await, [Inserted, Taken, Inserted]);
    for document in [before, after] {
        assert_same(&t.read(document.id).await, &document);
        t.assert_filed(&document).await;
    }
    t.assert_unchanged(&old).await;
}

pub(super) async fn an_id_is_free_when_it_was_deleted(t: &Bundle) {
    let old = t.add(&["old"], r#""old""#).await;
    assert_eq!(t.delete(&old).await, Replaced::Replaced);
    let again = changed(&old, &["new"], r#""new""#);
    t.add_all(std::slice::from_ref(&again)).await;
    assert_same(&t.read(old.id).await, &again);
    assert_eq!(t.under("new").await, [old.id]);
    assert_eq!(t.under("old").await, []);
}
