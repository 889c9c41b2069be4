//! How long a claimer may wait.

use std::time::Duration;

use bgjob::{
    Job,
    job::{Phase, transition},
    store::Want,
};

use super::{Model, Verdict, claim::Row, ensure};

impl Model {
    /// A claimer that waits by this answer must not miss a job that it could claim, and must not
    /// get a time at which no job is due.
    pub(super) fn next_due(&self, want: &[Want], row: &Row<'_>, got: Option<Duration>) -> Verdict {
        let wanted = |job: &&Job| want.iter().any(|want| want.queue == job.spec.queue);
        let (mut must, mut may) = (None, Vec::new());
        let mut unsure = false;
        for job in self.jobs.values().filter(wanted) {
            if !matches!(job.phase, Phase::Ready { .. }) {
                continue;
            }
            let spec = &job.spec;
            let suspect = job.is_suspect();
            let serves = &row.by.serves;
            if !serves.can_run(&spec.name, spec.version) || (suspect && !serves.suspect) {
                continue;
            }
            if job.due_at <= self.now {
                if self.can(row, job) {
                    return ensure(got.is_none(), || {
                        format!("more is ready, so there is no next due time, not {got:?}")
                    });
                }
                // A job that is too late, or a second suspect: a store need not check that closely.
                unsure = true;
                continue;
            }
            let wait = job.due_at.since(self.now);
            may.push(wait);
            // A second suspect, or a job that is too late, can't be claimed.
            let too_late = transition::expire(&mut job.clone(), self.now);
            if !(too_late || suspect && (row.taken || !row.wanted)) {
                must = must.into_iter().chain([wait]).min();
            }
        }
        match got {
            None => ensure(unsure || must.is_none(), || {
                format!("the next one is due in {must:?}, not never")
            }),
            Some(wait) => ensure(
                may.contains(&wait) && must.is_none_or(|must| wait <= must),
                || format!("the next one is due in {must:?}, not {wait:?}"),
            ),
        }
    }
}
