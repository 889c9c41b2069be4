//! Where claims begin to look, while the dead can't be removed.
//!
//! A claimed entry is dead, and vacuum removes it. As long as some transaction is held open,
//! however little it does, vacuum can't, and each claim would walk over all entries that were
//! claimed since: a million in ten minutes at two thousand jobs a second. So a process notes up
//! to where its last claims found nothing left, and begins there. It does that only while there
//! are many dead ones. What comes late below that (a job that is given back, a transaction that
//! was slow to commit) is found by a look beside the claims, which may take its time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::job::{ClaimedJob, Priority};

/// A search that walked over more entries than it found, and these, met too many dead ones: that
/// takes some milliseconds.
const MANY: u64 = 5_000;

/// Entries come into sight a little after the time they are due: their transaction has to commit.
const LATE: i64 = 1000;

/// The look for what is below costs at most one part in so many of the time.
const SHARE: u32 = 20;

/// The ranks of a lane.
const RANKS: usize = Priority::ALL.len();

#[derive(Debug, Default)]
pub(super) struct Floors(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The time from which on entries of a lane and rank were last found, in milliseconds.
    floors: HashMap<(i32, usize), i64>,
    /// There are many dead ones: claims begin at the floors.
    in_use: bool,
    /// When to look below next.
    look_at: Option<Instant>,
}

/// What a claim has found out.
pub(super) struct Search<'a> {
    /// The lanes that were searched, and the want each is for, from 1 on.
    pub(super) lanes: &'a [i32],
    pub(super) of: &'a [i32],
    /// How many of each want were asked for.
    pub(super) max: &'a [i32],
    /// What was found, with the lane of each.
    pub(super) found: &'a [(i32, &'a ClaimedJob)],
    /// How many entries were walked over, dead ones too.
    pub(super) walked: u64,
    /// When, by the store's clock.
    pub(super) now: i64,
}

impl Floors {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A floor for each rank of these lanes, where floors are in use.
    pub(super) fn of(&self, lanes: &[i32]) -> Option<Vec<i64>> {
        let known = self.known();
        known.in_use.then(|| known.of(lanes))
    }

    /// Learns from a search.
    pub(super) fn learn(&self, search: &Search<'_>) {
        let mut known = self.known();
        // Each that is found is seen once for the claim and once for what is next.
        if !known.in_use && search.walked > MANY + 2 * search.found.len() as u64 {
            known.in_use = true;
            known.look_at = Some(Instant::now());
        }
        if !known.in_use {
            return;
        }
        for (nth, max) in (1..).zip(search.max) {
            let max = usize::try_from(*max).unwrap_or(0);
            if max > 0 {
                known.raise(search, nth, max);
            }
        }
    }

    /// The lanes and floors to look below of, if it is time to.
    pub(super) fn to_look(&self) -> Option<(Vec<i32>, Vec<i64>)> {
        let known = self.known();
        known.look_at.filter(|at| *at <= Instant::now())?;
        let mut lanes: Vec<i32> = known.floors.keys().map(|(lane, _)| *lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let floors = known.of(&lanes);
        Some((lanes, floors))
    }

    /// Takes in what lay below. Once the look has met few, the dead are gone.
    pub(super) fn looked(&self, below: &[(i32, usize, i64)], walked: u64, took: Duration) {
        let mut known = self.known();
        if walked < MANY {
            *known = Known::default();
            return;
        }
        for (lane, rank, due_at) in below {
            known.floors.insert((*lane, *rank), *due_at);
        }
        known.look_at = Some(Instant::now() + took * SHARE);
    }
}

impl Known {
    fn of(&self, lanes: &[i32]) -> Vec<i64> {
        let floor = |key: (i32, usize)| self.floors.get(&key).copied().unwrap_or(0);
        let ranks = |lane: &i32| {
            let lane = *lane;
            (0..RANKS).map(move |rank| floor((lane, rank)))
        };
        lanes.iter().flat_map(ranks).collect()
    }

    /// What was searched to its end has nothing left; else nothing is left before what was found.
    fn raise(&mut self, search: &Search<'_>, want: i32, max: usize) {
        let lanes = || {
            let all = search.lanes.iter().zip(search.of);
            all.filter(move |(_, of)| **of == want)
                .map(|(lane, _)| *lane)
        };
        let mut of_want = search
            .found
            .iter()
            .filter(|(lane, _)| lanes().any(|l| l == *lane));
        let count = of_want.clone().count();
        let last = of_want
            .next_back()
            .filter(|_| count >= max)
            .map(|(_, job)| *job);
        for lane in lanes() {
            for rank in 0..RANKS {
                let until = match last {
                    None => search.now,
                    Some(last) if rank < usize::from(last.spec.priority.rank()) => search.now,
                    Some(last) if rank == usize::from(last.spec.priority.rank()) => {
                        last.due_at.as_millis()
                    }
                    Some(_) => continue,
                };
                let floor = self.floors.entry((lane, rank)).or_default();
                *floor = (*floor).max(until - LATE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{JobId, JobSpec, Json, Timestamp, job::Token};

    fn job(priority: Priority, due_at: i64) -> ClaimedJob {
        let mut spec = JobSpec::new("a", Json::null());
        spec.priority = priority;
        ClaimedJob {
            id: JobId::new(),
            spec: Arc::new(spec),
            token: Token::random(),
            fence: 1,
            epoch: 0,
            errors: 0,
            crashes: 0,
            created_at: Timestamp::MIN,
            due_at: Timestamp::from_millis(due_at),
            deadline_at: None,
            claimed_at: Timestamp::MIN,
        }
    }

    /// A search of lane 7 for want 1 and lane 8 for want 2, at 100,000 ms.
    fn search(floors: &Floors, max: [i32; 2], found: &[(i32, &ClaimedJob)], walked: u64) {
        floors.learn(&Search {
            lanes: &[7, 8],
            of: &[1, 2],
            max: &max,
            found,
            walked,
            now: 100_000,
        });
    }

    #[test]
    fn they_are_of_use_only_where_there_are_many_dead() {
        let floors = Floors::default();
        search(&floors, [10, 10], &[], MANY);
        assert_eq!(floors.of(&[7]), None);
        assert_eq!(floors.to_look(), None);
        search(&floors, [10, 10], &[], MANY + 1);
        assert_eq!(floors.of(&[7]), Some(vec![99_000; 4]));
        let (lanes, _) = floors.to_look().expect("something may have come before");
        assert_eq!(lanes, [7, 8]);
        floors.looked(&[], MANY - 1, Duration::ZERO);
        assert_eq!(floors.of(&[7]), None);
    }

    #[test]
    fn nothing_is_left_before_what_was_found() {
        let floors = Floors::default();
        let (high, normal) = (job(Priority::High, 5_000), job(Priority::Normal, 9_000));
        // As many as were asked for of lane 7, nothing of lane 8, which was not asked.
        search(&floors, [2, 0], &[(7, &high), (7, &normal)], u64::MAX);
        assert_eq!(floors.of(&[7]), Some(vec![99_000, 99_000, 8_000, 0]));
        assert_eq!(floors.of(&[8]), Some(vec![0; 4]));
        // Fewer: there is nothing else.
        search(&floors, [0, 2], &[(8, &normal)], 0);
        assert_eq!(floors.of(&[8]), Some(vec![99_000; 4]));
    }

    #[test]
    fn what_lies_below_lowers_them() {
        let floors = Floors::default();
        search(&floors, [1, 1], &[], u64::MAX);
        floors.looked(&[(7, 2, 500)], MANY, Duration::from_secs(60));
        assert_eq!(floors.of(&[7]), Some(vec![99_000, 99_000, 500, 99_000]));
        assert_eq!(
            floors.to_look(),
            None,
            "the next look is twenty minutes away"
        );
    }
}
