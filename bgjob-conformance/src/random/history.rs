//! Histories: several threads make calls for one job at the same time. Some order of the calls must
//! explain all their answers, and each race has exactly one winner.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use proptest::{
    array::{uniform3, uniform4},
    prelude::any,
    strategy::{Strategy, ValueTree},
};
use tokio::runtime::{Handle, Runtime};

use bgjob::{Durability, JobStore};

use super::{
    Failure,
    linearize::{Event, linearizable},
    model::Model,
    names::{ids, short},
    op::{Answer, Op},
    races::{self, CONTESTS, Race, THREADS},
    sequence::runner,
};
use crate::StoreFixture;

/// Longer than any call takes on the slowest provider.
const WATCHDOG: Duration = Duration::from_secs(60);
/// How long further histories are run if calls seldom overlap, as on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was run.
#[derive(Debug, Default)]
pub(super) struct Done {
    histories: u64,
    /// The histories in which calls of different threads really overlapped.
    overlapping: u64,
    /// The histories of races that have one winner.
    contests: u64,
    operations: u64,
    time: Duration,
    /// How many histories have to overlap.
    floor: u64,
}

impl Done {
    /// Checks that there were races at all: calls that wait for each other always pass.
    pub(super) fn raced(&self) -> Result<(), String> {
        if self.overlapping >= self.floor {
            return Ok(());
        }
        Err(format!(
            "calls overlapped in {} of {} histories, {} are the least: so nothing is proved. Does \
             the store block its caller, or has the machine one core?",
            self.overlapping, self.histories, self.floor
        ))
    }
}

/// How many of these histories have to overlap.
///
/// Measured on two cores: calls overlapped in 28 to 44 of a hundred histories of the memory store,
/// whose calls take a microsecond, and in half a history of a hundred when the cores were busy with
/// other work; in 71 to 82 with documents in memory; in all of them if anything is written or sent.
fn floor(durability: Durability, histories: u64) -> u64 {
    match durability {
        Durability::Volatile => histories * 2 / 100,
        _ => histories / 2,
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories of {THREADS} threads, {} of them with calls that overlapped, {} races \
             with one winner each, {} operations, {:.1} s",
            self.histories,
            self.overlapping,
            self.contests,
            self.operations,
            self.time.as_secs_f64()
        )
    }
}

/// Runs the histories of these seeds, and for a while more of them if too few overlapped. Returns
/// the first failure.
pub(super) fn run<F: StoreFixture>(
    runtime: &Runtime,
    factory: &impl AsyncFn() -> F,
    seeds: Range<u64>,
) -> Result<Done, Failure> {
    let start = Instant::now();
    let mut done = Done::default();
    let asked = seeds.end - seeds.start;
    for seed in seeds.start.. {
        let over = done.raced().is_ok() || start.elapsed() > PATIENCE;
        if seed >= seeds.end && over {
            break;
        }
        let race = draw(seed);
        let fixture = runtime.block_on(factory());
        let failed = |text| Failure { seed, text };
        let mut model = runtime.block_on(prepare(&fixture, &race)).map_err(failed)?;
        let store = fixture.store();
        let second = fixture.second().unwrap_or_else(|| Arc::clone(&store));
        // Tasks interleave at their awaits, threads anywhere.
        let threads = seed % 4 < 2;
        done.floor = floor(store.capabilities().durability, asked);
        let events = runtime.block_on(history([store, second], &race, threads));
        judge(&mut model, &race, &events).map_err(failed)?;
        done.histories += 1;
        done.overlapping += u64::from(overlap(&events));
        done.contests += u64::from(race.wins.is_some());
        done.operations += events.len() as u64;
    }
    done.time = start.elapsed();
    Ok(done)
}

/// Every other race has one winner; the rest are arbitrary calls.
fn draw(seed: u64) -> Race {
    if seed.is_multiple_of(2) {
        let nth = (seed / 4) as usize % CONTESTS.len();
        return CONTESTS[nth]();
    }
    let draws = uniform4(uniform3(any::<u8>())).new_tree(&mut runner(seed));
    races::mixed(&draws.expect("no draw is refused").current())
}

/// Makes the calls before the race, one after the other.
async fn prepare(fixture: &dyn StoreFixture, race: &Race) -> Result<Model, String> {
    let store = fixture.store();
    let now = store.now().await.map_err(|e| e.to_string())?;
    let mut model = Model::new(now, false);
    for op in &race.before {
        if let Op::Advance(by) = op {
            fixture.advance(*by).await;
        }
        let answer = op.call(&*store).await.map_err(|e| e.to_string())?;
        model.judge(op, &answer)?;
    }
    Ok(model)
}

/// Runs the threads, every other one in the second process, then reads what is left.
async fn history(stores: [Arc<dyn JobStore>; 2], race: &Race, threads: bool) -> Vec<Event> {
    let start = Arc::new(Start {
        time: AtomicU64::new(0),
        waiting: AtomicUsize::new(THREADS),
    });
    let runtime = Handle::current();
    let run = |(thread, ops): (usize, &Vec<Op>)| {
        let store = Arc::clone(&stores[thread % 2]);
        let (start, ops) = (Arc::clone(&start), ops.clone());
        let calls = async move {
            start.wait().await;
            let mut events = Vec::new();
            for op in ops {
                events.extend(event(&*store, &start.time, thread, op).await);
            }
            events
        };
        if threads {
            let runtime = runtime.clone();
            tokio::task::spawn_blocking(move || runtime.block_on(calls))
        } else {
            tokio::spawn(calls)
        }
    };
    let running: Vec<_> = race.threads.iter().enumerate().map(run).collect();
    let mut events = Vec::new();
    for calls in running {
        append(&mut events, calls.await.expect("who calls the store ends"));
    }
    append(
        &mut events,
        event(&*stores[0], &start.time, THREADS, Op::Get(ids())).await,
    );
    events
}

/// Where all threads begin at once.
struct Start {
    time: AtomicU64,
    waiting: AtomicUsize,
}

impl Start {
    /// Spins: waking a thread takes longer than most calls.
    async fn wait(&self) {
        self.waiting.fetch_sub(1, SeqCst);
        while self.waiting.load(SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Makes one call. A call that does two things gives two events.
async fn event(store: &dyn JobStore, time: &AtomicU64, thread: usize, op: Op) -> Vec<Event> {
    let called = time.fetch_add(1, SeqCst);
    let answer = tokio::time::timeout(WATCHDOG, op.call(store)).await;
    let answered = time.fetch_add(1, SeqCst);
    let answer = answer.unwrap_or_else(|_| panic!("{op} does not end within {WATCHDOG:?}"));
    let answer = answer.unwrap_or_else(|e| panic!("{op} failed: {e}"));
    let event = |op, answer, after| Event {
        thread,
        op,
        answer,
        called,
        answered,
        after,
    };
    match (op, answer) {
        (Op::FinishAndClaim { ends, want, by }, Answer::Both(finished, claimed)) => vec![
            event(Op::Finish(ends), Answer::Finished(finished), None),
            event(
                Op::ClaimReady { want, by },
                Answer::Claimed(claimed),
                Some(0),
            ),
        ],
        (op, answer) => vec![event(op, answer, None)],
    }
}

/// Adds the events of a thread. `after` becomes the index of the event before.
fn append(events: &mut Vec<Event>, more: Vec<Event>) {
    for mut event in more {
        let last = events.len().wrapping_sub(1);
        event.after = event.after.map(|_| last);
        events.push(event);
    }
}

fn judge(model: &mut Model, race: &Race, events: &[Event]) -> Result<(), String> {
    if let Some(wins) = race.wins {
        let winners = events.iter().filter(|event| wins(&event.answer)).count();
        if winners != 1 {
            let what = format!("{winners} winners where there is to be one");
            return Err(report(race, events, &what));
        }
    }
    if linearizable(model, events) {
        return Ok(());
    }
    let what = "no order of these calls gives these answers";
    Err(report(race, events, what))
}

/// Whether calls of different threads overlapped.
fn overlap(events: &[Event]) -> bool {
    let pairs = |a: &Event| {
        let during = |b: &&Event| a.called < b.called && b.called < a.answered;
        events.iter().any(|b| during(&b))
    };
    events.iter().any(pairs)
}

fn report(race: &Race, events: &[Event], what: &str) -> String {
    let mut out = format!("{}: {what}\n", race.name);
    for op in &race.before {
        out += &format!("  before: {op}\n");
    }
    let mut sorted: Vec<_> = events.iter().collect();
    sorted.sort_by_key(|event| event.called);
    for event in sorted {
        let Event {
            thread,
            op,
            answer,
            called,
            answered,
            ..
        } = event;
        out += &format!("  {called}..{answered} thread {thread}: {op} -> {answer:?}\n");
    }
    short(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_that_never_race_prove_nothing() {
        let raced = |overlapping, floor| {
            let done = Done {
                overlapping,
                floor,
                ..Done::default()
            };
            done.raced().is_ok()
        };
        for (durability, least) in [(Durability::Volatile, 10), (Durability::OsCrash, 250)] {
            let floor = floor(durability, 500);
            assert!(raced(least, floor));
            assert!(!raced(least - 1, floor));
        }
        // A single history, replayed, may be one without overlap.
        assert!(raced(0, floor(Durability::OsCrash, 1)));
    }
}
