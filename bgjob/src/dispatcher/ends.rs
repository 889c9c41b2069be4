//! [`Ends`]: attempts that are over and not recorded in the store yet.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::{
    extract::HeldJob,
    job::{End, limits},
    lock::Locked,
    store::Ending,
};

/// An attempt that is over, until the store has confirmed its end.
#[derive(Debug)]
pub(super) struct PendingEnd {
    pub(super) held: Arc<HeldJob>,
    pub(super) end: End,
    /// This end was sent before and not answered. If the answer now is `Lost`, the earlier call may
    /// have recorded it.
    pub(super) repeated: bool,
}

/// The ends that wait to be recorded, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends(Arc<Mutex<VecDeque<PendingEnd>>>);

impl Ends {
    fn lock(&self) -> MutexGuard<'_, VecDeque<PendingEnd>> {
        self.0.locked()
    }

    /// Adds an end. Returns whether it is the only one that waits.
    pub(super) fn push(&self, held: Arc<HeldJob>, end: End) -> bool {
        let mut ends = self.lock();
        ends.push_back(PendingEnd {
            held,
            end,
            repeated: false,
        });
        ends.len() == 1
    }

    /// Takes the first `n` ends, or fewer if they exceed the bytes of a batch, but at least one if
    /// `n` is not 0 and one waits.
    pub(super) fn take(&self, n: usize) -> EndBatch {
        let mut ends = self.lock();
        let mut bytes = 0;
        let fits = |ended: &&PendingEnd| {
            bytes += ended.end.bytes();
            bytes <= limits::BATCH_BYTES
        };
        let fitting = ends.iter().take(n).take_while(fits).count();
        let n = fitting.max(1).min(n).min(ends.len());
        EndBatch {
            ends: ends.drain(..n).collect(),
            home: self.clone(),
        }
    }

    /// An empty batch.
    pub(super) fn none(&self) -> EndBatch {
        EndBatch {
            ends: Vec::new(),
            home: self.clone(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Ends on their way to the store. If the batch is dropped without an answer, for whatever reason,
/// its ends return to the front of the line.
#[derive(Debug)]
pub(super) struct EndBatch {
    ends: Vec<PendingEnd>,
    home: Ends,
}

impl EndBatch {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether some of them were sent before.
    pub(super) fn is_repeated(&self) -> bool {
        self.ends.iter().any(|ended| ended.repeated)
    }

    /// The ends in the form that a store takes.
    pub(super) fn endings(&self) -> Vec<Ending> {
        let ending = |PendingEnd { held, end, .. }: &PendingEnd| {
            Ending::new(held.job.id, held.job.token, end.clone())
        };
        self.ends.iter().map(ending).collect()
    }

    /// The end, if the batch has exactly one.
    pub(super) fn single(&mut self) -> Option<&mut PendingEnd> {
        match self.ends.as_mut_slice() {
            [ended] => Some(ended),
            _ => None,
        }
    }

    /// Splits a batch that was sent into two halves.
    pub(super) fn halve(mut self) -> [Self; 2] {
        self.note_sent();
        let tail = Self {
            ends: self.ends.split_off(self.ends.len() / 2),
            home: self.home.clone(),
        };
        [self, tail]
    }

    /// Takes the ends out: the store has answered them, so they don't return to the line.
    pub(super) fn answered(mut self) -> Vec<PendingEnd> {
        mem::take(&mut self.ends)
    }

    fn note_sent(&mut self) {
        for ended in &mut self.ends {
            ended.repeated = true;
        }
    }
}

impl Drop for EndBatch {
    fn drop(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        self.note_sent();
        let mut home = self.home.lock();
        for ended in self.ends.drain(..).rev() {
            home.push_front(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{
        JobId, JobSpec, Json, Timestamp,
        extract::Services,
        job::{ClaimedJob, Token},
    };

    /// Pushes an end whose job is identified by its fence.
    fn push(ends: &Ends, fence: u64) -> bool {
        push_end(ends, fence, End::Release)
    }

    fn push_end(ends: &Ends, fence: u64, end: End) -> bool {
        let spec = Arc::new(JobSpec::new("a", Json::null()));
        let mut job = ClaimedJob::new(JobId::new(), spec, Token::random(), Timestamp::MIN);
        job.fence = fence;
        let held = HeldJob::new(job, Arc::new(Services::default()), Instant::now());
        ends.push(Arc::new(held), end)
    }

    /// Takes all ends as answered: the fence of each, and whether it is repeated.
    fn drain(ends: &Ends) -> Vec<(u64, bool)> {
        let all = ends.take(ends.len()).answered();
        all.iter()
            .map(|ended| (ended.held.job.fence, ended.repeated))
            .collect()
    }

    #[test]
    fn what_was_not_answered_goes_to_the_front_again_and_is_known() {
        let ends = Ends::default();
        assert!(push(&ends, 1), "nothing else waits");
        assert!(!push(&ends, 2) && !push(&ends, 3));
        let batch = ends.take(2);
        assert!(!push(&ends, 4) && !batch.is_repeated());
        drop(batch);
        assert!(ends.take(3).is_repeated() && !ends.none().is_repeated());
        let expected = [(1, true), (2, true), (3, true), (4, false)];
        assert_eq!(drain(&ends), expected);
        assert_eq!(drain(&ends), [], "what was answered does not come again");
    }

    #[test]
    fn large_results_go_in_several_batches() {
        let ends = Ends::default();
        let json = || Json::trusted("1".repeat(limits::RESULT));
        for n in 1..=200 {
            push_end(&ends, n, End::Success(json()));
        }
        let first = ends.take(limits::BATCH).answered().len();
        assert_eq!(first, limits::BATCH_BYTES / limits::RESULT);
        assert_eq!(ends.take(3).answered().len(), 3);
        assert!(ends.take(0).is_empty());
    }

    #[test]
    fn of_what_was_refused_each_half_may_have_been_recorded() {
        let ends = Ends::default();
        for n in 1..=3 {
            push(&ends, n);
        }
        let [mut head, tail] = ends.take(3).halve();
        assert!(head.single().is_some_and(|ended| ended.repeated));
        assert!(tail.is_repeated() && (head.len(), tail.len()) == (1, 2));
        drop(tail);
        drop(head);
        assert_eq!(drain(&ends), [(1, true), (2, true), (3, true)]);
    }
}
