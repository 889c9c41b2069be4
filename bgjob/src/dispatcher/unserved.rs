//! Looks now and then for due jobs that no dispatcher serves, and reports them with advice.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::core::Core;
use crate::{entropy, events::Event, store::QueueCounts};

/// The shortest time between two looks. After a slow look it is longer, so that looking takes at
/// most a thousandth of the time.
const APART: Duration = Duration::from_secs(60);
/// When the first look is: soon, for people who have just deployed and watch.
const FIRST: Duration = Duration::from_secs(15);
/// A job counts as unserved once it has been due for this long while no job of its queue runs.
const DUE_ALONE: Duration = Duration::from_secs(10);
/// The same while other jobs of its queue run, but none of its name.
const DUE: Duration = Duration::from_secs(60);
/// The most kinds of jobs reported in one look.
const TOLD: usize = 10;

/// When to look next.
#[derive(Debug)]
pub(super) struct Lookout(Instant);

impl Lookout {
    pub(super) fn new() -> Self {
        Self(Instant::now() + jittered(FIRST))
    }

    /// Looks, if it is time to. A look that fails is not reported: other loops report the store's
    /// state.
    pub(super) async fn look(&mut self, core: &Core) {
        if Instant::now() < self.0 {
            return;
        }
        let begun = Instant::now();
        if let Ok(counts) = core.store.call(|store| store.counts()).await {
            tell(core, &counts);
        }
        self.0 = Instant::now() + jittered(APART).max(begun.elapsed() * 1000);
    }
}

/// `span` or up to a quarter more, so that dispatchers don't all look at the same time.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(1.0 + entropy::unit() / 4.0)
}

fn tell(core: &Core, counts: &[QueueCounts]) {
    let mut running: BTreeMap<&str, u64> = BTreeMap::new();
    for count in counts {
        *running.entry(&*count.queue).or_default() += count.running;
    }
    let unserved = counts.iter().filter_map(|count| {
        let busy = running.get(&*count.queue).is_some_and(|jobs| *jobs > 0);
        let long = if busy { DUE } else { DUE_ALONE };
        let due = count.oldest_due_age.filter(|age| *age >= long)?;
        Some((count, due, advice(core, count, busy)?))
    });
    for (count, waiting, advice) in unserved.take(TOLD) {
        core.events.emit(Event::Unserved {
            name: &count.name,
            queue: &count.queue,
            jobs: count.due,
            waiting,
            advice: &advice,
        });
    }
}

/// What to do so that such jobs run. `None`: they run, or will. `busy`: some jobs of the queue
/// run.
fn advice(core: &Core, count: &QueueCounts, busy: bool) -> Option<String> {
    let QueueCounts { queue, name, .. } = count;
    if count.running > 0 {
        return None;
    }
    let Some(hand) = core.hands.of(queue) else {
        // While jobs of the queue run, another dispatcher works on it.
        return (!busy).then(|| {
            format!(
                "no dispatcher works on the queue `{0}`: start one with `.slots(\"{0}\", n)`",
                queue.escape_debug()
            )
        });
    };
    if core.served.names.contains_key(name) {
        // The job waits for a slot, or its metadata is newer than this program.
        let free = hand.has_room() && hand.waiting() == 0;
        return free.then(|| {
            "slots are free, but this program can't read it: its metadata has a newer version \
             than `#[job]` says here"
                .to_owned()
        });
    }
    Some(match core.served.registry.get(name) {
        Some(_) => {
            "no dispatcher that runs serves it: see `serve_jobs` and `serve_queues`".to_owned()
        }
        None => core.served.registry.unknown(name),
    })
}
