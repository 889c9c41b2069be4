//! Large jobs in claims of ready jobs.

use std::time::Duration;

use bgjob::{
    JobId,
    job::{NewJob, State, limits},
};

use super::{
    bundle::{Bundle, QUEUE, claimed_ids, ids, new, serves, want},
    large::{bytes, large},
};

/// Claims all of these jobs. Returns the number of calls.
async fn claim_all(t: &Bundle, jobs: &[NewJob]) -> usize {
    let mut got: Vec<JobId> = Vec::new();
    let mut calls = 0;
    while got.len() < jobs.len() {
        let claimed = t
            .ready_by(&[want(QUEUE, jobs.len())], &t.grant(), &serves())
            .await;
        assert!(!claimed.jobs.is_empty(), "there is room for one");
        assert!(bytes(&claimed.jobs) <= limits::BATCH_BYTES);
        got.extend(claimed_ids(&claimed.jobs));
        calls += 1;
        if got.len() < jobs.len() {
            let again = Some(Duration::ZERO);
            assert_eq!(
                claimed.next_due_in, again,
                "there is more to be had at once"
            );
        }
    }
    got.sort_unstable();
    let mut all = ids(jobs);
    all.sort_unstable();
    assert_eq!(got, all, "each once");
    calls
}

pub(super) async fn a_claim_brings_no_more_than_a_batch(t: &Bundle) {
    let jobs = large(24);
    t.add_all(&jobs).await;
    assert!(
        claim_all(t, &jobs).await > 1,
        "it was too much for one answer"
    );
}

pub(super) async fn headers_and_tags_count_too(t: &Bundle) {
    let job = |_| {
        new(|spec| {
            spec.headers.insert("trace".into(), "x".repeat(8 * 1024));
            spec.tags = vec!["y".repeat(7 * 1024)];
        })
    };
    let jobs: Vec<_> = (0..400).map(job).collect();
    t.add_all(&jobs).await;
    assert!(
        claim_all(t, &jobs).await > 1,
        "it was too much for one answer"
    );
}

pub(super) async fn what_a_claim_has_no_room_for_is_left_as_it_is(t: &Bundle) {
    let jobs = large(24);
    t.add_all(&jobs).await;
    let first = t.ready_by(&[want(QUEUE, 24)], &t.grant(), &serves()).await;
    let got = claimed_ids(&first.jobs);
    for id in ids(&jobs).into_iter().filter(|id| !got.contains(id)) {
        let job = t.job(id).await;
        assert_eq!((job.state(), job.fence), (State::Ready, 0));
    }
}

pub(super) async fn a_repeat_brings_no_more_than_a_batch(t: &Bundle) {
    let jobs = large(24);
    t.add_all(&jobs).await;
    let grant = t.grant();
    let first = t.ready_by(&[want(QUEUE, 24)], &grant, &serves()).await;
    let repeat = grant.repeat(true);
    let second = t.ready_by(&[want(QUEUE, 24)], &repeat, &serves()).await;
    assert!(bytes(&second.jobs) <= limits::BATCH_BYTES);
    let again = claimed_ids(&second.jobs);
    let all = claimed_ids(&first.jobs).iter().all(|id| again.contains(id));
    assert!(all, "what is held is answered again");
}
