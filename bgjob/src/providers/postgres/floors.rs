//! Where claims begin to look, while the dead can't be removed.
//!
//! A claimed entry is dead, and vacuum removes it. As long as some transaction is held open,
//! however little it does, vacuum can't, and each claim would walk over all entries that were
//! claimed since: a million in ten minutes at two thousand jobs a second. So a process notes up
//! to where its last claims found nothing left, and begins there. It does that only while there
//! are many dead ones. What comes late below that (a job that is given back, a transaction that
//! was slow to commit) is found by a look beside the claims, which may take its time.
//!
//! Mostly it begins a second before that, so that what comes a little late needs no look. A fast
//! drain leaves too many dead in a second. Then it begins behind them, but not behind what a
//! transaction may bring that was in progress at the claim: one has its id before it says what is
//! "now", so that what it brings is due after each claim that had its own id earlier has begun.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    job::{ClaimedJob, Priority},
    store::Want,
};

/// A search that walked over more entries than it found, and these, met too many dead ones: that
/// takes about a millisecond. Pages count too, as `v1_functions.sql` says.
const MANY: u64 = 2_000;

/// Entries come into sight a little after the time they are due: their transaction has to commit.
/// One that takes longer is not waited for.
const LATE: i64 = 1000;

/// The look at all that is below costs at most one part in so many of the time: a server with few
/// cores has one less for the others while it lasts.
const SHARE: u32 = 200;

/// The look at what is just below, where most that is late lies, is made each time, so it takes
/// about so long. How far down that is, in milliseconds, it finds out: from, and at most.
const NEAR: Duration = Duration::from_millis(5);
const NEAR_SPAN: i64 = 10_000;
const NEAR_MOST: i64 = 24 * 60 * 60 * 1000;

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
    /// When to look at all that is below, and until then how far down.
    look_at: Option<Instant>,
    near: i64,
    /// Transactions of the last claims, and times before they had their ids, in milliseconds.
    claims: Vec<(i64, i64)>,
}

/// Which transactions were in progress at a claim.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    /// The claim's own, and a time before it had its id.
    own: i64,
    begun: i64,
    /// Those that were in progress.
    open: Vec<i64>,
    /// From this one on, all were in progress or still to come.
    end: i64,
}

impl Picture {
    /// From a `pg_snapshot`: its first transaction, its end, and those between.
    pub(super) fn new(own: i64, begun: i64, snapshot: &str) -> Option<Self> {
        let (_, rest) = snapshot.split_once(':')?;
        let (end, open) = rest.split_once(':')?;
        let open = open.split_terminator(',').map(str::parse);
        Some(Self {
            own,
            begun,
            open: open.collect::<Result<_, _>>().ok()?,
            end: end.parse().ok()?,
        })
    }
}

/// Where to look for what claims pass over.
#[derive(Debug, PartialEq)]
pub(super) struct Below {
    pub(super) lanes: Vec<i32>,
    /// Each lane's, for each rank.
    pub(super) floors: Vec<i64>,
    /// How far down; `None` is all the way.
    pub(super) span: Option<i64>,
}

/// What a claim has found out.
pub(super) struct Search<'a> {
    pub(super) want: &'a [Want],
    /// The lanes that were searched, and the want each is for, from 1 on.
    pub(super) lanes: &'a [i32],
    pub(super) of: &'a [i32],
    /// How many of each want were asked for.
    pub(super) max: &'a [i32],
    pub(super) found: &'a [ClaimedJob],
    /// There was room for all of them, and all could be read.
    pub(super) all: bool,
    /// How many entries were walked over, dead ones too.
    pub(super) walked: u64,
    /// When, by the store's clock.
    pub(super) now: i64,
    /// What was in progress before it, where floors were in use and times are the server's.
    pub(super) picture: Option<&'a Picture>,
}

impl Floors {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of lanes stand for others now.
    pub(super) fn forget(&self) {
        *self.known() = Known::default();
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
        let many = search.walked > MANY + 2 * search.found.len() as u64;
        if many && !known.in_use {
            known.in_use = true;
            known.look_at = Some(Instant::now());
            known.near = NEAR_SPAN;
        }
        if !known.in_use {
            return;
        }
        let coming = search.picture.map(|open| known.coming(open, search.now));
        // There are many even where nothing is left but for what comes late.
        let coming = coming.filter(|_| many);
        if !search.all {
            return;
        }
        for ((nth, want), max) in (1..).zip(search.want).zip(search.max) {
            let max = usize::try_from(*max).unwrap_or(0);
            if max > 0 {
                known.raise(search, (nth, &want.queue), max, coming);
            }
        }
    }

    /// Where to look now, if floors are in use.
    pub(super) fn to_look(&self) -> Option<Below> {
        let known = self.known();
        let all = known.look_at? <= Instant::now();
        let mut lanes: Vec<i32> = known.floors.keys().map(|(lane, _)| *lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        Some(Below {
            floors: known.of(&lanes),
            lanes,
            span: (!all).then_some(known.near),
        })
    }

    /// Takes in what lay below. Once a look at all of it has met few, the dead are gone.
    pub(super) fn looked(
        &self,
        span: Option<i64>,
        below: &[(i32, usize, i64)],
        walked: u64,
        took: Duration,
    ) {
        let mut known = self.known();
        if span.is_none() && walked < MANY {
            *known = Known::default();
            return;
        }
        for (lane, rank, due_at) in below {
            known.floors.insert((*lane, *rank), *due_at);
        }
        match span {
            None => known.look_at = Some(Instant::now() + took * SHARE),
            Some(span) if took > NEAR => known.near = (span / 2).max(LATE),
            Some(span) => known.near = (span * 2).min(NEAR_MOST),
        }
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

    /// Nothing is due before this that transactions in progress may still bring, but for what comes
    /// of those that have been open for long.
    fn coming(&mut self, picture: &Picture, now: i64) -> i64 {
        let long_ago = now - LATE;
        let ids = self.claims.iter().filter(|(_, begun)| *begun <= long_ago);
        // Who has a lower id than this has had it for long.
        let long = ids.map(|(id, _)| *id).max();
        self.claims
            .retain(|(id, begun)| Some(*id) == long || (long_ago..=now).contains(begun));
        self.claims.push((picture.own, picture.begun));
        let open = picture.open.iter().filter(|id| Some(**id) > long).min();
        let first = *open.unwrap_or(&picture.end);
        let before = self.claims.iter().filter(|(id, _)| *id < first);
        before.map(|(_, begun)| *begun).fold(long_ago, i64::max)
    }

    /// What was searched to its end has nothing left; else nothing is left before what was found.
    fn raise(
        &mut self,
        search: &Search<'_>,
        (want, queue): (i32, &str),
        max: usize,
        coming: Option<i64>,
    ) {
        let mut found = search.found.iter().filter(|job| *job.spec.queue == *queue);
        let last = found.clone().nth(max - 1).and(found.next_back());
        let lanes = search.lanes.iter().zip(search.of);
        for (lane, _) in lanes.filter(|(_, of)| **of == want) {
            for rank in 0..RANKS {
                let until = match last {
                    None => search.now,
                    Some(last) if rank < usize::from(last.spec.priority.rank()) => search.now,
                    Some(last) if rank == usize::from(last.spec.priority.rank()) => {
                        last.due_at.as_millis()
                    }
                    Some(_) => continue,
                };
                let exact = coming.map_or(i64::MIN, |coming| until.min(coming));
                let floor = self.floors.entry((*lane, rank)).or_default();
                *floor = (*floor).max(until - LATE).max(exact);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{JobId, JobSpec, Json, Timestamp, job::Token};

    fn job(queue: &str, priority: Priority, due_at: i64) -> ClaimedJob {
        let mut spec = JobSpec::new("a", Json::null());
        spec.queue = queue.into();
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

    /// A search of lane 7 for the queue x and lane 8 for y.
    fn search_at(
        floors: &Floors,
        (now, picture): (i64, Option<&Picture>),
        max: [i32; 2],
        found: &[ClaimedJob],
        walked: u64,
    ) {
        let want = ["x", "y"].map(|queue| Want {
            queue: queue.into(),
            max: 0,
        });
        floors.learn(&Search {
            want: &want,
            all: true,
            lanes: &[7, 8],
            of: &[1, 2],
            max: &max,
            found,
            walked,
            now,
            picture,
        });
    }

    /// One at 100,000 ms that does not know what was in progress.
    fn search(floors: &Floors, max: [i32; 2], found: &[ClaimedJob], walked: u64) {
        search_at(floors, (100_000, None), max, found, walked);
    }

    /// One in transaction `own` that finds nothing among many; the floor of lane 7 after it.
    fn claim(floors: &Floors, now: i64, own: i64, snapshot: &str) -> i64 {
        let picture = Picture::new(own, now - 5, snapshot).expect("it is one");
        search_at(floors, (now, Some(&picture)), [1, 1], &[], u64::MAX);
        floors.of(&[7]).expect("they are in use")[0]
    }

    #[test]
    fn they_are_of_use_only_where_there_are_many_dead() {
        let floors = Floors::default();
        search(&floors, [10, 10], &[], MANY);
        assert_eq!(floors.of(&[7]), None);
        assert_eq!(floors.to_look(), None);
        search(&floors, [10, 10], &[], MANY + 1);
        assert_eq!(floors.of(&[7]), Some(vec![99_000; 4]));
        let look = floors.to_look().expect("something may have come before");
        assert_eq!((look.lanes, look.span), (vec![7, 8], None));
        floors.looked(None, &[], MANY - 1, Duration::ZERO);
        assert_eq!(floors.of(&[7]), None);
    }

    #[test]
    fn nothing_is_left_before_what_was_found() {
        let floors = Floors::default();
        let two = [
            job("x", Priority::High, 5_000),
            job("x", Priority::Normal, 9_000),
        ];
        // As many as were asked for of lane 7, nothing of lane 8, which was not asked.
        search(&floors, [2, 0], &two, u64::MAX);
        assert_eq!(floors.of(&[7]), Some(vec![99_000, 99_000, 8_000, 0]));
        assert_eq!(floors.of(&[8]), Some(vec![0; 4]));
        // Fewer: there is nothing else.
        search(&floors, [0, 2], &[job("y", Priority::Normal, 9_000)], 0);
        assert_eq!(floors.of(&[8]), Some(vec![99_000; 4]));
    }

    #[test]
    fn what_lies_below_lowers_them() {
        let floors = Floors::default();
        search(&floors, [1, 1], &[], u64::MAX);
        floors.looked(None, &[(7, 2, 500)], MANY, Duration::from_secs(60));
        assert_eq!(floors.of(&[7]), Some(vec![99_000, 99_000, 500, 99_000]));
        // The next look at all is hours away; until then it is at as much as takes no time.
        let span = || floors.to_look().expect("they are in use").span;
        assert_eq!(span(), Some(NEAR_SPAN));
        floors.looked(span(), &[(8, 0, 600)], 0, NEAR);
        assert_eq!(floors.of(&[8]), Some(vec![600, 99_000, 99_000, 99_000]));
        assert_eq!(span(), Some(2 * NEAR_SPAN));
        floors.looked(span(), &[], u64::MAX, 2 * NEAR);
        assert_eq!(span(), Some(NEAR_SPAN));
        for _ in 0..20 {
            floors.looked(span(), &[], 0, NEAR);
        }
        assert_eq!(span(), Some(NEAR_MOST));
        for _ in 0..20 {
            floors.looked(span(), &[], u64::MAX, 2 * NEAR);
        }
        assert_eq!(span(), Some(LATE));
    }

    #[test]
    fn they_are_exact_where_a_second_holds_many() {
        let floors = Floors::default();
        search(&floors, [1, 1], &[], u64::MAX);
        let picture = Picture::new(20, 99_999, "10:15:").expect("it is one");
        let at = (100_000, Some(&picture));
        let found = [job("x", Priority::High, 98_900)];
        search_at(&floors, at, [1, 0], &found, 1);
        assert_eq!(floors.of(&[7]), Some(vec![99_000; 4]));
        let found = [job("x", Priority::High, 99_500)];
        search_at(&floors, at, [1, 0], &found, u64::MAX);
        // Of 15 it is not known when it began.
        assert_eq!(floors.of(&[7]), Some(vec![99_000; 4]));
        let picture = Picture::new(22, 100_001, "10:21:").expect("it is one");
        search_at(&floors, (100_002, Some(&picture)), [1, 0], &found, u64::MAX);
        assert_eq!(floors.of(&[7]), Some(vec![99_999, 99_500, 99_000, 99_000]));
    }

    #[test]
    fn what_is_in_progress_is_waited_for_but_not_for_long() {
        let floors = Floors::default();
        search(&floors, [1, 1], &[], u64::MAX);
        // 5 may have begun at any time: it counts as one of the last second.
        assert_eq!(claim(&floors, 100_100, 10, "5:11:5"), 99_100);
        assert_eq!(claim(&floors, 100_200, 20, "5:21:5"), 99_200);
        // What has its id after 10 is due after 10 had begun.
        assert_eq!(claim(&floors, 100_300, 30, "15:31:15"), 100_095);
        // A second later 20 is one of long ago, and with it 15, but not before.
        assert_eq!(claim(&floors, 101_100, 40, "15:40:15"), 100_100);
        // The snapshot ends at 40, which is in progress itself: known are those before.
        assert_eq!(claim(&floors, 101_200, 50, "5:40:5,15"), 100_295);
        assert_eq!(claim(&floors, 101_300, 60, "5:61:5,15,55"), 101_195);
        // Nothing that was learned is forgotten.
        assert_eq!(claim(&floors, 101_310, 62, "5:41:5,15,40"), 101_195);
    }

    #[test]
    fn a_snapshot_is_read_or_nothing_is_known() {
        let picture = |open: &[i64]| Picture {
            own: 1,
            begun: 2,
            open: open.to_vec(),
            end: 9,
        };
        assert_eq!(Picture::new(1, 2, "9:9:"), Some(picture(&[])));
        assert_eq!(Picture::new(1, 2, "3:9:3,5"), Some(picture(&[3, 5])));
        for wrong in ["", "9:9", "9::", "9:9:,", "9:9:a", "9:9:9:9"] {
            assert_eq!(Picture::new(1, 2, wrong), None, "{wrong}");
        }
    }
}
