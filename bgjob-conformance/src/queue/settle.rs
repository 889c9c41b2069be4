//! Deliveries are acknowledged, given back, or repeated.

use std::time::Duration;

use bgjob::queue::Receipt;

use super::bundle::{Bundle, SOON, delivered, ids, plain, receipts, secs};

pub(super) async fn what_is_acknowledged_is_done_with(t: &Bundle) {
    t.push(&plain(3)).await;
    let got = t.receive(3).await;
    t.ack(&receipts(&got)).await;
    t.advance(t.fixture.redelivery() * 2).await;
    assert!(t.is_empty().await, "it is not delivered again");
}

pub(super) async fn what_is_not_acknowledged_comes_again(t: &Bundle) {
    let hints = plain(3);
    t.push(&hints).await;
    let first = t.receive(3).await;
    assert!(t.is_empty().await, "not at once");
    t.advance(t.fixture.redelivery() + SOON).await;
    let again = t.receive(3).await;
    assert_eq!(delivered(&again), ids(&hints));
    assert_eq!(again[0].hint.queue, first[0].hint.queue);
    t.ack(&receipts(&again)).await;
    t.advance(t.fixture.redelivery() + SOON).await;
    assert!(t.is_empty().await);
}

pub(super) async fn only_what_is_acknowledged_is_done_with(t: &Bundle) {
    t.push(&plain(3)).await;
    let got = t.receive(3).await;
    t.ack(&[got[1].receipt.clone()]).await;
    t.advance(t.fixture.redelivery() + SOON).await;
    let again = delivered(&t.receive(3).await);
    assert_eq!(again, ids([&got[0].hint, &got[2].hint]));
}

pub(super) async fn unknown_receipts_are_ignored(t: &Bundle) {
    let hints = plain(1);
    t.push(&hints).await;
    let long = Receipt(vec![b'x'; 1024]);
    let unknown = [
        Receipt(Vec::new()),
        Receipt(vec![0]),
        Receipt(vec![0xff; 8]),
        long,
    ];
    t.ack(&unknown).await;
    t.nack(&unknown, Duration::ZERO).await;
    t.ack(&[]).await;
    t.nack(&[], secs(1)).await;
    assert_eq!(
        delivered(&t.receive(1).await),
        ids(&hints),
        "and the known ones are unharmed"
    );
}

pub(super) async fn an_ack_may_be_repeated(t: &Bundle) {
    t.push(&plain(2)).await;
    let got = t.receive(2).await;
    for _ in 0..2 {
        t.ack(&[got[0].receipt.clone(), got[0].receipt.clone()])
            .await;
    }
    t.nack(&[got[0].receipt.clone()], Duration::ZERO).await;
    assert!(
        t.is_empty().await,
        "a nack after the ack brings nothing back"
    );
}

pub(super) async fn what_is_given_back_comes_again_at_once(t: &Bundle) {
    let hints = plain(2);
    t.push(&hints).await;
    let got = t.receive(2).await;
    t.nack(&receipts(&got), Duration::ZERO).await;
    let again = t.receive(2).await;
    assert_eq!(delivered(&again), ids(&hints));
    t.ack(&receipts(&again)).await;
    t.advance(t.fixture.redelivery() + SOON).await;
    assert!(t.is_empty().await, "once");
}

pub(super) async fn what_is_given_back_for_later_waits(t: &Bundle) {
    let hints = plain(1);
    t.push(&hints).await;
    let got = t.receive(1).await;
    let after = secs(20);
    t.nack(&receipts(&got), after).await;
    let early = t
        .receive_by(&[super::bundle::want(super::bundle::QUEUE, 5)], secs(1))
        .await;
    assert!(early.is_empty(), "not at once");
    t.advance(after).await;
    assert_eq!(delivered(&t.receive(1).await), ids(&hints));
}

pub(super) async fn a_late_hint_ends_the_wait(t: &Bundle) {
    let hints = plain(1);
    t.push(&hints).await;
    let got = t.receive(1).await;
    t.nack(&receipts(&got), secs(2)).await;
    let since = tokio::time::Instant::now();
    let wants = [super::bundle::want(super::bundle::QUEUE, 5)];
    assert_eq!(
        delivered(&t.receive_by(&wants, secs(60)).await),
        ids(&hints)
    );
    assert!(
        since.elapsed() < secs(30),
        "who waits gets it when its time has come"
    );
}
