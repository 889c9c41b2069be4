//! Jobs that nobody here can run: they wait, cost nothing, and can be named.

use std::{sync::Arc, time::Duration};

use bgjob::{JobState, Registry, testing::ManualClock};

use crate::support::{Folder, Told, dispatch, echo, manager, soon, stores};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_newer_metadata_wait_on_every_store_and_are_listed() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    for store in stores(&folder, Arc::new(clock.clone())).await {
        let jobs = manager(Arc::clone(&store));
        let unknown = jobs.enqueue_raw("ecko", 1).await.unwrap();
        let newer = jobs.enqueue_raw("echo", 1).version(1).await.unwrap();
        let newest = jobs.enqueue_raw("echo", 1).version(u32::MAX).await.unwrap();
        let known = echo::enqueue_all(&jobs, 0..100).await.unwrap();
        let told = Told::default();
        let running = dispatch(&jobs, Registry::new(), &told).await;
        for (n, job) in (0..).zip(&known) {
            assert_eq!(soon(job.result()).await.unwrap(), n);
        }
        // Not even a year makes them start here.
        clock.advance(Duration::from_secs(365 * 86_400));
        let next = echo::enqueue(&jobs, 7).await.unwrap();
        assert_eq!(soon(next.result()).await.unwrap(), 7);
        let waiting = jobs.list().state(JobState::Ready).await.unwrap().jobs;
        let found: Vec<_> = waiting
            .iter()
            .map(|job| {
                (
                    job.id,
                    &*job.spec.name,
                    job.spec.version,
                    job.fence,
                    job.errors,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                (unknown.id(), "ecko", 0, 0, 0),
                (newer.id(), "echo", 1, 0, 0),
                (newest.id(), "echo", u32::MAX, 0, 0),
            ]
        );
        assert_eq!(told.all("AttemptStarted").len(), 101);
        assert!(running.health().is_good());
        running.shutdown().await;
    }
}
