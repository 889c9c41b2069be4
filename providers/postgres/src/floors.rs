//! Where claims begin to search, while dead entries can't be removed.
//!
//! A claimed entry is dead, and vacuum removes it. As long as some transaction is held open,
//! however little it does, vacuum can't, and each claim would walk over all entries that were
//! claimed since: a million in ten minutes at two thousand jobs a second. So a process notes the
//! time up to which its last claims found nothing left (the floor), and begins its claims there. It
//! does so only while there are many dead entries. An entry that appears late below the floor (of a
//! job that is given back, or of a transaction that was slow to commit) is found by a look beside
//! the claims, which may take its time.
//!
//! Usually claims begin a second before that time, so that an entry that is a little late needs no
//! look. A fast drain leaves too many dead entries in a second. Then claims begin right behind the
//! dead ones, but not beyond what a transaction that was in progress at the claim may still bring.
//! A transaction has its id before it says what is "now". So what it brings is due after each claim
//! with a lower id has begun.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use bgjob_core::{
    Timestamp,
    job::{ClaimedJob, Priority},
    store::Want,
};

/// A search that walks over this many more entries than it finds, and sees those twice, has met too
/// many dead ones: it takes about a millisecond. Pages count too, as `v1/common.sql` explains.
const MANY: u64 = 2_000;

/// In milliseconds. An entry comes into sight a little after the time it is due: its transaction
/// has to commit first. A transaction that takes longer than this is not waited for.
const LATE: i64 = 1000;

/// The look at everything below the floors takes at most one part in this many of the time: a
/// server with few cores has one core less for other work while the look lasts.
const SHARE: u32 = 200;

/// The look just below the floors, where most late entries lie, is made each time, so it should
/// take about this long. The look adapts how far down it goes, in milliseconds: `NEAR_SPAN` at
/// first, `NEAR_MOST` at most.
const NEAR: Duration = Duration::from_millis(5);
const NEAR_SPAN: i64 = 10_000;
const NEAR_MOST: i64 = 24 * 60 * 60 * 1000;

/// The ranks of a lane.
const RANKS: usize = Priority::ALL.len();

#[derive(Debug, Default)]
pub(super) struct Floors(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// For a lane and rank, the time from which on entries were last found, in milliseconds.
    floors: HashMap<(i32, usize), i64>,
    /// There are many dead entries: claims begin at the floors.
    in_use: bool,
    /// When to look at everything below the floors, and how far down to look until then.
    look_at: Option<Instant>,
    near: i64,
    /// The transactions of the last claims, each with a time before it had its id, in milliseconds.
    claims: Vec<(i64, i64)>,
}

/// Which transactions were in progress at a claim.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    /// The claim's own transaction, and a time before it had its id.
    own: i64,
    begun: i64,
    /// The transactions that were in progress.
    open: Vec<i64>,
    /// All transactions from this one on were in progress or had not begun.
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

/// Where to look for entries that claims pass over.
#[derive(Debug, PartialEq)]
pub(super) struct Below {
    pub(super) lanes: Vec<i32>,
    /// One floor for each rank of each lane.
    pub(super) floors: Vec<i64>,
    /// How far below the floors; `None` is all the way.
    pub(super) span: Option<i64>,
}

/// Where a claim searches.
#[derive(Default)]
pub(super) struct Area {
    pub(super) lanes: Vec<i32>,
    /// The want that each lane is for, from 1 on.
    pub(super) of: Vec<i32>,
    /// How many of each want are asked for.
    pub(super) max: Vec<i32>,
}

/// What the database says of a search.
pub(super) struct Walk {
    /// The store's time.
    pub(super) now: Timestamp,
    /// How many entries the search walked over, dead ones included.
    pub(super) entries: u64,
    /// What was in progress before the search, if floors were in use and times are the server's.
    pub(super) picture: Option<Picture>,
}

/// A claim's search and its result.
pub(super) struct Search<'a> {
    pub(super) want: &'a [Want],
    pub(super) area: &'a Area,
    pub(super) walk: &'a Walk,
    pub(super) found: &'a [ClaimedJob],
    /// There was room for all jobs, and all could be read.
    pub(super) all: bool,
}

impl Floors {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: the numbers of lanes stand for other lanes now.
    pub(super) fn forget(&self) {
        *self.known() = Known::default();
    }

    /// Before a claim: a floor for each rank of each lane, if floors are in use.
    pub(super) fn of(&self, area: &Area) -> Option<Vec<i64>> {
        let known = self.known();
        known.in_use.then(|| known.of(&area.lanes))
    }

    /// After a claim: learns from its search.
    pub(super) fn learn(&self, search: &Search<'_>) {
        let mut known = self.known();
        // Each entry found is seen twice: for the claim, and for what is next.
        let many = search.walk.entries > MANY + 2 * search.found.len() as u64;
        if many && !known.in_use {
            known.in_use = true;
            known.look_at = Some(Instant::now());
            known.near = NEAR_SPAN;
        }
        if !known.in_use {
            return;
        }
        let picture = search.walk.picture.as_ref();
        let coming = picture.map(|open| known.coming(open, search.now()));
        // Exact floors are used only if the search met too many dead entries all the same.
        let coming = coming.filter(|_| many);
        if !search.all {
            return;
        }
        for ((nth, want), max) in (1..).zip(search.want).zip(&search.area.max) {
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

    /// Lowers the floors to what was found below. A look at everything that met few entries shows
    /// that the dead ones are gone.
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

impl Search<'_> {
    fn now(&self) -> i64 {
        self.walk.now.as_millis()
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

    /// Nothing that transactions in progress may still bring is due before this time, except what
    /// comes from transactions that have been open for long.
    fn coming(&mut self, picture: &Picture, now: i64) -> i64 {
        let long_ago = now - LATE;
        let ids = self.claims.iter().filter(|(_, begun)| *begun <= long_ago);
        // A transaction with a lower id than this has been open for long.
        let long = ids.map(|(id, _)| *id).max();
        self.claims
            .retain(|(id, begun)| Some(*id) == long || (long_ago..=now).contains(begun));
        self.claims.push((picture.own, picture.begun));
        let open = picture.open.iter().filter(|id| Some(**id) > long).min();
        let first = *open.unwrap_or(&picture.end);
        let before = self.claims.iter().filter(|(id, _)| *id < first);
        before.map(|(_, begun)| *begun).fold(long_ago, i64::max)
    }

    /// A rank that was searched to its end has nothing left until now; the rank of the last job
    /// found has nothing left before that job.
    fn raise(
        &mut self,
        search: &Search<'_>,
        (want, queue): (i32, &str),
        max: usize,
        coming: Option<i64>,
    ) {
        let mut found = search.found.iter().filter(|job| *job.spec.queue == *queue);
        let last = found.clone().nth(max - 1).and(found.next_back());
        let lanes = search.area.lanes.iter().zip(&search.area.of);
        for (lane, _) in lanes.filter(|(_, of)| **of == want) {
            for rank in 0..RANKS {
                let until = match last {
                    None => search.now(),
                    Some(last) if rank < usize::from(last.spec.priority.rank()) => search.now(),
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
    use bgjob_core::{JobId, JobSpec, Json, Timestamp, job::Token};

    fn job(queue: &str, priority: Priority, due_at: i64) -> ClaimedJob {
        let mut spec = JobSpec::new("a", Json::null());
        spec.queue = queue.into();
        spec.priority = priority;
        let (id, token) = (JobId::new(), Token::random());
        let mut job = ClaimedJob::new(id, Arc::new(spec), token, Timestamp::MIN);
        job.due_at = Timestamp::from_millis(due_at);
        job
    }

    /// A search of lane 7 for the queue x and lane 8 for y.
    fn search_at(
        floors: &Floors,
        (now, picture): (i64, Option<Picture>),
        max: [i32; 2],
        found: &[ClaimedJob],
        entries: u64,
    ) {
        floors.learn(&Search {
            want: &["x", "y"].map(|queue| Want::new(queue, 0)),
            area: &Area {
                lanes: vec![7, 8],
                of: vec![1, 2],
                max: max.to_vec(),
            },
            walk: &Walk {
                now: Timestamp::from_millis(now),
                entries,
                picture,
            },
            found,
            all: true,
        });
    }

    /// A search at 100,000 ms that does not know what was in progress.
    fn search(floors: &Floors, max: [i32; 2], found: &[ClaimedJob], walked: u64) {
        search_at(floors, (100_000, None), max, found, walked);
    }

    /// A search in transaction `own` that finds nothing among many; returns the floor of lane 7.
    fn claim(floors: &Floors, now: i64, own: i64, snapshot: &str) -> i64 {
        let picture = Picture::new(own, now - 5, snapshot).expect("it is one");
        search_at(floors, (now, Some(picture)), [1, 1], &[], u64::MAX);
        of(floors, 7).expect("they are in use")[0]
    }

    fn of(floors: &Floors, lane: i32) -> Option<Vec<i64>> {
        floors.of(&Area {
            lanes: vec![lane],
            ..Area::default()
        })
    }

    #[test]
    fn they_are_of_use_only_where_there_are_many_dead() {
        let floors = Floors::default();
        search(&floors, [10, 10], &[], MANY);
        assert_eq!(of(&floors, 7), None);
        assert_eq!(floors.to_look(), None);
        search(&floors, [10, 10], &[], MANY + 1);
        assert_eq!(of(&floors, 7), Some(vec![99_000; 4]));
        let look = floors.to_look().expect("something may have come before");
        assert_eq!((look.lanes, look.span), (vec![7, 8], None));
        floors.looked(None, &[], MANY - 1, Duration::ZERO);
        assert_eq!(of(&floors, 7), None);
    }

    #[test]
    fn nothing_is_left_before_what_was_found() {
        let floors = Floors::default();
        let two = [
            job("x", Priority::High, 5_000),
            job("x", Priority::Normal, 9_000),
        ];
        // Lane 7 gave as many as were asked for. Lane 8 was not asked and gave nothing.
        search(&floors, [2, 0], &two, u64::MAX);
        assert_eq!(of(&floors, 7), Some(vec![99_000, 99_000, 8_000, 0]));
        assert_eq!(of(&floors, 8), Some(vec![0; 4]));
        // Fewer than were asked for: nothing else is there.
        search(&floors, [0, 2], &[job("y", Priority::Normal, 9_000)], 0);
        assert_eq!(of(&floors, 8), Some(vec![99_000; 4]));
    }

    #[test]
    fn what_lies_below_lowers_them() {
        let floors = Floors::default();
        search(&floors, [1, 1], &[], u64::MAX);
        floors.looked(None, &[(7, 2, 500)], MANY, Duration::from_secs(60));
        assert_eq!(of(&floors, 7), Some(vec![99_000, 99_000, 500, 99_000]));
        // The next look at everything is hours away. Until then each look spans as much as takes
        // little time.
        let span = || floors.to_look().expect("they are in use").span;
        assert_eq!(span(), Some(NEAR_SPAN));
        floors.looked(span(), &[(8, 0, 600)], 0, NEAR);
        assert_eq!(of(&floors, 8), Some(vec![600, 99_000, 99_000, 99_000]));
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
        let picture = || Picture::new(20, 99_999, "10:15:");
        let found = [job("x", Priority::High, 98_900)];
        search_at(&floors, (100_000, picture()), [1, 0], &found, 1);
        assert_eq!(of(&floors, 7), Some(vec![99_000; 4]));
        let found = [job("x", Priority::High, 99_500)];
        search_at(&floors, (100_000, picture()), [1, 0], &found, u64::MAX);
        // It is not known when transaction 15 began.
        assert_eq!(of(&floors, 7), Some(vec![99_000; 4]));
        let picture = Picture::new(22, 100_001, "10:21:");
        search_at(&floors, (100_002, picture), [1, 0], &found, u64::MAX);
        assert_eq!(of(&floors, 7), Some(vec![99_999, 99_500, 99_000, 99_000]));
    }

    #[test]
    fn what_is_in_progress_is_waited_for_but_not_for_long() {
        let floors = Floors::default();
        search(&floors, [1, 1], &[], u64::MAX);
        // 5 may have begun at any time: it counts as one of the last second.
        assert_eq!(claim(&floors, 100_100, 10, "5:11:5"), 99_100);
        assert_eq!(claim(&floors, 100_200, 20, "5:21:5"), 99_200);
        // What a transaction with an id above 10 brings is due after 10 had begun.
        assert_eq!(claim(&floors, 100_300, 30, "15:31:15"), 100_095);
        // A second later, and not before, 20 counts as open for long, and so does 15.
        assert_eq!(claim(&floors, 101_100, 40, "15:40:15"), 100_100);
        // The snapshot ends at 40, which is in progress itself: only those before 40 are known.
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
