//! Calls that are dropped before they end: the document is as before, or as the call makes it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bgjob::store::{Document, Inserted, Replaced::Replaced};

use super::bundle::{Bundle, assert_same, changed, new};

/// The most polls of a call before it is dropped.
const POLLS: usize = 6;

/// Polls a call this many times, and drops it if it has not ended by then.
async fn drop_after(polls: usize, call: impl Future) {
    let mut call = pin!(call);
    for _ in 0..polls {
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context)));
        if polled.await.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Checks that the document is this one, whole and filed, and stays so: the dropped call must have
/// no effect afterwards.
async fn assert_whole(t: &Bundle, expected: &Document) {
    let found = t.read(expected.id).await;
    assert_same(&found, expected);
    t.assert_unchanged(&found).await;
}

pub(super) async fn a_dropped_insert_leaves_it_whole(t: &Bundle) {
    for polls in 0..=POLLS {
        let dropped = new(&["dropped", "both"], r#""dropped""#);
        let next = changed(&dropped, &["both", "next"], r#""next""#);
        drop_after(polls, t.documents.insert(std::slice::from_ref(&dropped))).await;
        let answers = t.insert(std::slice::from_ref(&next)).await;
        let is_next = answers == [Inserted::Inserted];
        assert_whole(t, if is_next { &next } else { &dropped }).await;
    }
}

pub(super) async fn a_dropped_replace_leaves_it_whole(t: &Bundle) {
    for polls in 0..=POLLS {
        let read = t.add(&["read", "both"], r#""read""#).await;
        let dropped = changed(&read, &["dropped", "both"], r#""dropped""#);
        let next = changed(&read, &["both", "next"], r#""next""#);
        drop_after(polls, t.documents.replace(std::slice::from_ref(&dropped))).await;
        let is_next = t.replace(&next).await == Replaced;
        assert_whole(t, if is_next { &next } else { &dropped }).await;
    }
}

pub(super) async fn a_dropped_delete_leaves_it_whole(t: &Bundle) {
    for polls in 0..=POLLS {
        let read = t.add(&["read", "both"], r#""read""#).await;
        let next = changed(&read, &["both", "next"], r#""next""#);
        let gone = [(read.id, read.version.clone())];
        drop_after(polls, t.documents.delete(&gone)).await;
        if t.replace(&next).await == Replaced {
            assert_whole(t, &next).await;
        } else {
            assert_eq!(t.get(read.id).await, None, "it was deleted, or it was not");
        }
    }
}
