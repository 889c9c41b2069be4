//! A hint that is pushed is received, by a caller that wants its queue.

use std::{collections::BTreeSet, time::Duration};

use bgjob::{JobId, Priority, queue::Hint};

use super::bundle::{
    Bundle, OTHER_QUEUE, QUEUE, SOON, delivered, hint, hint_to, ids, other, plain, secs, want,
};

pub(super) async fn what_is_pushed_is_received(t: &Bundle) {
    let hint = hint(Priority::High);
    t.push(std::slice::from_ref(&hint)).await;
    let got = t.receive(1).await;
    assert_eq!(got.len(), 1, "a hint arrives");
    assert_eq!((got[0].hint.id, &got[0].hint.queue), (hint.id, &hint.queue));
    assert!(
        got[0].receipt.0.len() <= 1024,
        "a receipt has at most 1 KiB"
    );
}

pub(super) async fn the_same_hint_may_be_pushed_again(t: &Bundle) {
    let hint = hint(Priority::Normal);
    for _ in 0..3 {
        t.push(std::slice::from_ref(&hint)).await;
        let got = t.receive(1).await;
        assert_eq!(
            delivered(&got),
            [hint.id],
            "a repaired hint is not taken for a duplicate"
        );
        t.ack(&super::bundle::receipts(&got)).await;
    }
}

pub(super) async fn a_thousand_hints_fit_one_push(t: &Bundle) {
    let hints = plain(1000);
    t.push(&hints).await;
    let got = t.receive(1000).await;
    assert_eq!(delivered(&got), ids(&hints));
    let receipts: BTreeSet<_> = got.iter().map(|delivery| &delivery.receipt.0).collect();
    assert_eq!(
        receipts.len(),
        1000,
        "each delivery has a receipt of its own"
    );
}

pub(super) async fn an_empty_push_is_no_error(t: &Bundle) {
    t.push(&[]).await;
    assert!(t.is_empty().await);
}

pub(super) async fn at_most_max_are_received(t: &Bundle) {
    t.push(&plain(5)).await;
    assert!(
        t.receive_by(&[want(QUEUE, 0)], Duration::ZERO)
            .await
            .is_empty()
    );
    let got = t.receive_by(&[want(QUEUE, 2)], SOON).await;
    assert!((1..=2).contains(&got.len()), "{} of at most 2", got.len());
}

pub(super) async fn only_of_the_wanted_queues(t: &Bundle) {
    t.push(&other(3)).await;
    assert!(t.is_empty().await);
    let got = t.receive_by(&[want(OTHER_QUEUE, 5)], SOON).await;
    assert!(
        got.iter()
            .all(|delivery| &*delivery.hint.queue == OTHER_QUEUE)
    );
    assert!(!got.is_empty());
}

pub(super) async fn a_full_queue_starves_no_other(t: &Bundle) {
    t.push(&plain(500)).await;
    t.push(&other(1)).await;
    let mut from_other = 0;
    for _ in 0..5 {
        let got = t
            .receive_by(&[want(QUEUE, 10), want(OTHER_QUEUE, 10)], SOON)
            .await;
        from_other += got.iter().filter(|d| &*d.hint.queue == OTHER_QUEUE).count();
    }
    assert_eq!(from_other, 1, "each queue has a max of its own");
}

pub(super) async fn an_empty_queue_is_waited_for_and_no_longer(t: &Bundle) {
    let since = tokio::time::Instant::now();
    assert!(t.receive_by(&[want(QUEUE, 5)], secs(2)).await.is_empty());
    let waited = since.elapsed();
    assert!(
        waited >= Duration::from_millis(1500) && waited < secs(20),
        "{waited:?} of 2 s"
    );
}

pub(super) async fn no_wait_is_no_wait(t: &Bundle) {
    let since = tokio::time::Instant::now();
    assert!(
        t.receive_by(&[want(QUEUE, 5)], Duration::ZERO)
            .await
            .is_empty()
    );
    assert!(since.elapsed() < secs(1));
}

pub(super) async fn a_push_ends_the_wait(t: &Bundle) {
    let since = tokio::time::Instant::now();
    let wants = [want(OTHER_QUEUE, 1), want(QUEUE, 1)];
    let hint = hint(Priority::Normal);
    let push = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        t.push(std::slice::from_ref(&hint)).await;
    };
    let (got, ()) = tokio::join!(t.receive_by(&wants, secs(60)), push);
    assert_eq!(delivered(&got), [hint.id]);
    assert!(since.elapsed() < secs(30), "not at the end of the wait");
}

pub(super) async fn a_receive_that_is_dropped_loses_nothing(t: &Bundle) {
    let wants = [want(QUEUE, 1)];
    let waiting = t.receive_by(&wants, secs(60));
    assert!(
        tokio::time::timeout(Duration::from_millis(10), waiting)
            .await
            .is_err()
    );
    let hint = hint(Priority::Normal);
    t.push(std::slice::from_ref(&hint)).await;
    let mut got = t.receive(1).await;
    if got.is_empty() {
        // The hint may have been on its way to the caller that left.
        t.advance(t.fixture.redelivery() + SOON).await;
        got = t.receive(1).await;
    }
    assert_eq!(delivered(&got), [hint.id]);
}

pub(super) async fn two_receivers_share(t: &Bundle) {
    let hints = plain(100);
    t.push(&hints).await;
    let receiver = async || {
        let mut got = Vec::new();
        loop {
            let some = t.receive_by(&[want(QUEUE, 7)], SOON).await;
            if some.is_empty() {
                return got;
            }
            t.ack(&super::bundle::receipts(&some)).await;
            got.extend(some);
        }
    };
    let (first, second) = tokio::join!(receiver(), receiver());
    assert_eq!(
        delivered(&[first, second].concat()),
        ids(&hints),
        "each hint goes to one of them"
    );
}

pub(super) async fn ensure_may_be_repeated(t: &Bundle) {
    let hints = plain(2);
    t.push(&hints).await;
    t.ensure(&[QUEUE, QUEUE, OTHER_QUEUE]).await;
    t.ensure(&[]).await;
    assert_eq!(
        delivered(&t.receive(2).await),
        ids(&hints),
        "and takes nothing away"
    );
}

pub(super) async fn every_allowed_name_is_a_queue(t: &Bundle) {
    let long = "q".repeat(bgjob::job::limits::QUEUE);
    let names = ["0", "a.b", "a_b", "a-b", "ab", &long];
    t.ensure(&names).await;
    for name in names {
        let hint = hint_to(name, Priority::Normal);
        t.push(std::slice::from_ref(&hint)).await;
        let got = t.receive_by(&[want(name, 5)], SOON).await;
        assert_eq!(delivered(&got), [hint.id], "{name}");
        assert_eq!(&*got[0].hint.queue, name);
    }
}

pub(super) async fn every_id_is_carried(t: &Bundle) {
    let id = [
        JobId::from_bytes([0; 16]),
        JobId::from_bytes([0xff; 16]),
        JobId::from_key("a"),
    ];
    let hints = id.map(|id| Hint::new(id, QUEUE, Priority::Normal));
    t.push(&hints).await;
    assert_eq!(delivered(&t.receive(3).await), ids(&hints));
}

pub(super) async fn depth_tells_about_how_many_wait(t: &Bundle) {
    assert_eq!(t.depth(QUEUE).await, 0);
    t.push(&plain(3)).await;
    t.push(&other(1)).await;
    assert_eq!((t.depth(QUEUE).await, t.depth(OTHER_QUEUE).await), (3, 1));
    let got = t.receive(3).await;
    t.ack(&super::bundle::receipts(&got)).await;
    assert_eq!(t.depth(QUEUE).await, 0);
}
