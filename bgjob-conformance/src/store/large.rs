//! Large jobs: one answer has a bound in bytes.

use bgjob::{
    JobId, JobSpec, Json,
    job::{ClaimedJob, NewJob, limits},
    store::Claim,
};

use super::bundle::{Bundle, ids, new, serves};

/// Jobs of 256 KiB. Sixteen of them fill a batch.
pub(super) fn large(n: usize) -> Vec<NewJob> {
    (0..n)
        .map(|_| new(|spec| grow(spec, limits::METADATA)))
        .collect()
}

pub(super) fn grow(spec: &mut JobSpec, bytes: usize) {
    spec.metadata = Json::trusted(format!("\"{}\"", "x".repeat(bytes - 2)));
}

/// The bytes of these jobs, without their keys.
pub(super) fn bytes(jobs: &[ClaimedJob]) -> usize {
    let of = |job: &ClaimedJob| {
        let headers = job.spec.headers.iter().map(|(k, v)| k.len() + v.len());
        let tags = job.spec.tags.iter().map(String::len);
        job.spec.metadata.len() + headers.chain(tags).sum::<usize>()
    };
    jobs.iter().map(of).sum()
}

pub(super) async fn claims_by_id_bring_no_more_than_a_batch(t: &Bundle) {
    let jobs = large(24);
    t.add_all(&jobs).await;
    let mut open = ids(&jobs);
    let mut calls = 0;
    while !open.is_empty() {
        let answers = t.claim_by(&open, &t.grant(), &serves()).await;
        let (mut claimed, mut full): (Vec<ClaimedJob>, Vec<JobId>) = Default::default();
        for (id, answer) in open.iter().zip(answers) {
            match answer {
                Claim::Claimed(job) => claimed.push(job),
                Claim::Full => full.push(*id),
                other => panic!("{id} is {other:?}"),
            }
        }
        assert!(bytes(&claimed) <= limits::BATCH_BYTES, "{}", claimed.len());
        assert!(!claimed.is_empty(), "there is room for one");
        open = full;
        calls += 1;
    }
    assert!(calls > 1, "it was too much for one answer");
}

pub(super) async fn a_large_job_comes_alone(t: &Bundle) {
    let most = t
        .store
        .capabilities()
        .max_document
        .min(limits::METADATA_HARD);
    let job = new(|spec| grow(spec, most));
    t.add_all(std::slice::from_ref(&job)).await;
    let answers = t.claim_by(&[job.id], &t.grant(), &serves()).await;
    assert!(matches!(&answers[..], [Claim::Claimed(claimed)] if claimed.spec == job.spec));
}
