//! A dispatcher that is asked to shut down.

use std::time::Duration;

use bgjob::JobState;

use super::Bundle;

pub(super) async fn what_is_not_done_is_given_back_at_no_cost(bundle: &Bundle) {
    let hurried = |builder: bgjob::DispatcherBuilder| {
        let builder = builder.drain(Duration::ZERO);
        builder.cancel_within(Duration::ZERO)
    };
    let first = bundle.worker_with("a", hurried).await;
    let job = bundle.enqueue("gated").await;
    first.place.started(job.id()).await;
    assert_eq!(first.shutdown().await.released, 1);
    let given_back = job.job().await.expect("it is there");
    assert_eq!(given_back.state(), JobState::Ready);
    assert_eq!((given_back.errors, given_back.crashes), (0, 0));

    let next = bundle.worker("b").await;
    next.place.open();
    assert_eq!(job.result().await.expect("it succeeds"), "b");
    assert_eq!(next.place.starts(job.id()), 1);
    next.end().await;
}
