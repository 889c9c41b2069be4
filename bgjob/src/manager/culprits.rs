//! Finds the jobs of a refused batch that are the cause.

use std::ops::Range;

use crate::{Error, Result, job::NewJob, store::Created};

/// After this many refusals and nothing stored, the cause may be no job (a missing permission,
/// say).
const DOUBT: usize = 3;

/// A batch that was refused for a lasting reason. It is halved until the culprits stand alone.
pub(super) struct Search<'a> {
    jobs: &'a [NewJob],
    answers: Vec<Option<Result<Created>>>,
    /// Ranges still to try. The last one here is next.
    rest: Vec<Range<usize>>,
    refusals: usize,
    stored: bool,
    /// The very last job is being tried alone: if it is refused too, the cause is no job.
    probing: bool,
}

impl<'a> Search<'a> {
    /// Begins after the whole batch was refused once.
    pub(super) fn new(jobs: &'a [NewJob]) -> Self {
        let mut search = Self {
            jobs,
            answers: jobs.iter().map(|_| None).collect(),
            rest: Vec::new(),
            refusals: 1,
            stored: false,
            probing: false,
        };
        search.halve(0..jobs.len());
        search
    }

    /// What to try next.
    pub(super) fn next(&mut self) -> Option<(Range<usize>, &'a [NewJob])> {
        let range = self.rest.pop()?;
        Some((range.clone(), &self.jobs[range]))
    }

    /// Takes the store's answer for a range.
    pub(super) fn answered(&mut self, range: Range<usize>, answer: Result<Vec<Created>>) {
        let probing = std::mem::take(&mut self.probing);
        let error = match answer {
            Ok(created) => return self.stored(range, created),
            Err(error) => error,
        };
        // A store that can't be reached now is not asked for each half either.
        if probing || error.is_retryable() {
            self.rest.clear();
            return self.refuse(0..self.jobs.len(), &error);
        }
        self.refusals += 1;
        if range.len() == 1 {
            self.refuse(range, &error);
        } else {
            self.halve(range);
        }
        if self.refusals == DOUBT && !self.stored && !self.rest.is_empty() {
            self.rest.push(self.jobs.len() - 1..self.jobs.len());
            self.probing = true;
        }
    }

    /// One answer a job, once there is nothing left to try.
    pub(super) fn done(self) -> Vec<Result<Created>> {
        self.answers.into_iter().flatten().collect()
    }

    fn stored(&mut self, range: Range<usize>, created: Vec<Created>) {
        self.stored = true;
        for (place, answer) in self.answers[range].iter_mut().zip(created) {
            place.get_or_insert(Ok(answer));
        }
    }

    fn halve(&mut self, range: Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.rest.push(middle..range.end);
        self.rest.push(range.start..middle);
    }

    fn refuse(&mut self, range: Range<usize>, error: &Error) {
        for (place, job) in self.answers[range.clone()]
            .iter_mut()
            .zip(&self.jobs[range])
        {
            place.get_or_insert_with(|| Err(error.share().about(job.id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, JobId, JobSpec, Json, job::Due};

    /// Searches a batch whose store refuses every part that contains a culprit. Returns which jobs
    /// were refused, and after how many calls.
    fn search(n: usize, refuses: impl Fn(usize) -> bool, kind: ErrorKind) -> (Vec<usize>, usize) {
        let jobs: Vec<_> = (0..n)
            .map(|_| NewJob::new(JobId::new(), JobSpec::new("a", Json::null()), Due::Now))
            .collect();
        let (mut search, mut calls) = (Search::new(&jobs), 0);
        while let Some((range, batch)) = search.next() {
            calls += 1;
            let answer = if range.clone().any(&refuses) {
                Err(Error::new(kind, "no"))
            } else {
                Ok(vec![Created::Created; batch.len()])
            };
            search.answered(range, answer);
        }
        let answers = search.done();
        assert_eq!(answers.len(), n, "one answer a job");
        let about = |n: usize| answers[n].as_ref().err().and_then(Error::job_id);
        let refused: Vec<_> = (0..n).filter(|n| answers[*n].is_err()).collect();
        assert!(refused.iter().all(|n| about(*n) == Some(jobs[*n].id)));
        (refused, calls)
    }

    #[test]
    fn culprits_anywhere_cost_nobody_else_his_job() {
        let culprits: [&[usize]; 6] = [
            &[0],
            &[999],
            &[0, 500],
            &[0, 1, 2, 3],
            &[123, 124, 998],
            &[498, 499, 500, 501],
        ];
        for culprits in culprits {
            let (refused, calls) = search(1000, |n| culprits.contains(&n), ErrorKind::InvalidInput);
            assert_eq!(refused, culprits);
            assert!(calls <= culprits.len() * 20 + 1, "{calls} calls");
        }
        let (refused, _) = search(2, |n| n == 1, ErrorKind::InvalidInput);
        assert_eq!(refused, [1]);
    }

    #[test]
    fn what_is_about_no_job_is_not_asked_for_each() {
        for n in [2, 3, 1000] {
            let (refused, calls) = search(n, |_| true, ErrorKind::Unsupported);
            assert_eq!(refused.len(), n);
            assert!(calls <= 3, "{calls} calls for {n}");
        }
        let (refused, calls) = search(1000, |_| true, ErrorKind::Timeout);
        assert_eq!((refused.len(), calls), (1000, 1));
    }
}
