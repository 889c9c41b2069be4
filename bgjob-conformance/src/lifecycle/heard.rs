//! If the store wakes, one process is notified of what another one does.

use std::time::Duration;

use tokio::time::timeout;

use bgjob::JobState;

use super::Bundle;

/// Two workers hold jobs, and a third process cancels them. The workers renew their leases only
/// after twenty minutes.
pub(super) async fn a_cancel_is_heard_long_before_the_next_renewal(bundle: &Bundle) {
    /// It takes a second at most; the rest is for a busy machine.
    const SOON: Duration = Duration::from_secs(5);
    let hour = Duration::from_secs(3600);
    let a = bundle.worker_with("a", |builder| builder.lease(hour).default_slots(1));
    let a = a.await;
    let b = bundle.worker_with("b", |builder| builder.lease(hour).default_slots(1));
    let b = b.await;
    // All slots are taken, so no worker waits for jobs.
    let jobs = [
        bundle.enqueue("obedient").await,
        bundle.enqueue("obedient").await,
    ];
    for job in &jobs {
        bundle
            .until(job.id(), |job| job.state() == JobState::Running)
            .await;
    }
    for job in &jobs {
        assert_eq!(job.cancel().await.expect("it is there"), JobState::Running);
        let ended = timeout(SOON, job.ended()).await.expect("it is heard");
        assert_eq!(ended.expect("it ends").state(), JobState::Cancelled);
    }
    a.end().await;
    b.end().await;
}
