//! If the queue knows priorities, more urgent hints come first.

use bgjob::Priority;

use super::bundle::{Bundle, hint, plain, receipts};

pub(super) async fn the_most_urgent_comes_first(t: &Bundle) {
    let order = [
        Priority::Normal,
        Priority::Low,
        Priority::Critical,
        Priority::High,
    ];
    t.push(&order.map(hint)).await;
    let mut got = Vec::new();
    for _ in 0..4 {
        let one = t.receive(1).await;
        t.ack(&receipts(&one)).await;
        got.extend(one.iter().map(|delivery| delivery.hint.priority));
    }
    assert_eq!(got, Priority::ALL);
}

pub(super) async fn a_late_urgent_hint_overtakes(t: &Bundle) {
    t.push(&plain(50)).await;
    t.receive(1).await;
    let urgent = hint(Priority::Critical);
    t.push(std::slice::from_ref(&urgent)).await;
    assert_eq!(t.receive(1).await[0].hint, urgent);
}

pub(super) async fn a_hint_that_comes_again_keeps_its_priority(t: &Bundle) {
    let urgent = hint(Priority::High);
    t.push(std::slice::from_ref(&urgent)).await;
    let got = t.receive(1).await;
    t.push(&plain(5)).await;
    t.nack(&receipts(&got), std::time::Duration::ZERO).await;
    assert_eq!(t.receive(1).await[0].hint, urgent);
}
