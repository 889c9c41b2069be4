//! The nemesis: kills and freezes workers while they hold jobs, and their server meanwhile.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    Ground,
    crew::Crew,
    ledger::{Ledger, Tail},
    worker::LEASE,
};

/// How long it looks for somebody to strike before it gives up: the work must have ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to strike, and within what span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strikes {
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    /// Of the server, where there is one.
    pub(crate) server_kills: usize,
    /// Who is in the middle of a job that has crashed more often than this is not struck.
    pub(crate) spare: u64,
    pub(crate) span: Duration,
}

impl Strikes {
    /// The same rhythm for another span.
    pub(crate) fn within(self, span: Duration) -> Self {
        let share = span.as_secs_f64() / self.span.as_secs_f64();
        let part = |all: usize| (all as f64 * share).ceil().min(all as f64) as usize;
        Self {
            kills: part(self.kills),
            stops: part(self.stops),
            server_kills: part(self.server_kills),
            span,
            ..self
        }
    }
}

/// Strikes as the plan says, then waits until all go on again.
pub(crate) async fn strike(ground: &Ground, crew: &mut Crew, ledger: &Arc<Ledger>, plan: Strikes) {
    let mut dice = fastrand::Rng::with_seed(plan.kills as u64);
    let mut hands = Hands::new(ground);
    let strikes = plan.kills + plan.stops;
    let mut pace = Pace::new(plan.span, strikes);
    let mut stops = 0;
    for n in 0..strikes {
        pace.next(&mut dice).await;
        let Some(victim) = find(crew, &mut hands, plan.spare, &mut dice).await else {
            return;
        };
        pace.struck();
        // The first one early, so that its end is not what the run waits for.
        if n * plan.stops >= stops * strikes && stops < plan.stops {
            // After one and a half leases the store has given up on it; after three somebody else
            // has begun its jobs.
            let span = LEASE.mul_f64(if stops % 2 == 0 { 3.0 } else { 1.5 });
            crew.workers[victim].freeze(span, ledger);
            stops += 1;
        } else {
            let pid = crew.workers[victim].pid();
            crew.workers[victim].kill();
            ledger.note("kill", pid, 0);
            crew.replace(victim);
        }
    }
    while crew.workers.iter().any(|worker| worker.is_frozen()) {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Crashes the server now and then, as the plan says. It comes back by itself.
pub(crate) async fn strike_server(ground: &Ground, ledger: &Ledger, plan: Strikes) {
    let Some(server) = &ground.server else {
        return;
    };
    let mut dice = fastrand::Rng::with_seed(plan.server_kills as u64);
    let mut pace = Pace::new(plan.span, plan.server_kills);
    for _ in 0..plan.server_kills {
        pace.next(&mut dice).await;
        let server = Arc::clone(server);
        ledger.note("server-kill", "-", 0);
        let back = tokio::task::spawn_blocking(move || server.crash());
        back.await.expect("it comes back");
        pace.struck();
    }
}

/// When to strike: at random moments, one in each equal part of a span. Where that was not
/// possible, as on a disk that stood still for a while, what is late comes at twice the pace, not
/// all at once.
struct Pace {
    part: Duration,
    /// When the next part begins.
    next: Instant,
    earliest: Instant,
}

impl Pace {
    fn new(span: Duration, strikes: usize) -> Self {
        let now = Instant::now();
        Self {
            part: span / u32::try_from(strikes.max(1)).expect("not so many"),
            next: now,
            earliest: now,
        }
    }

    async fn next(&mut self, dice: &mut fastrand::Rng) {
        let at = self.next + self.part.mul_f64(dice.f64());
        self.next += self.part;
        let at = at.max(self.earliest);
        sleep(at.saturating_duration_since(Instant::now())).await;
    }

    fn struck(&mut self) {
        self.earliest = Instant::now() + self.part / 2;
    }
}

/// A worker, at random, that is in the middle of something.
async fn find(
    crew: &Crew,
    hands: &mut Hands,
    spare: u64,
    dice: &mut fastrand::Rng,
) -> Option<usize> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        hands.look();
        let first = dice.usize(..crew.workers.len());
        let mut order = (0..crew.workers.len()).map(|n| (first + n) % crew.workers.len());
        let may = |n: &usize| {
            let worker = &crew.workers[*n];
            !worker.is_frozen() && hands.may_be_struck(worker.pid(), spare)
        };
        if let Some(victim) = order.find(may) {
            return Some(victim);
        }
        sleep(Duration::from_millis(20)).await;
    }
    None
}

/// What each process is in the middle of, as the ledger tells it.
struct Hands {
    tail: Tail,
    /// Jobs by process, each with the crashes it has seen.
    held: HashMap<u32, HashMap<String, u64>>,
}

impl Hands {
    fn new(ground: &Ground) -> Self {
        Self {
            tail: Tail::new(&ground.folder),
            held: HashMap::new(),
        }
    }

    fn look(&mut self) {
        for line in self.tail.more() {
            let held = self.held.entry(line.pid).or_default();
            match line.what.as_str() {
                "start" => _ = held.insert(line.about, line.n),
                "end" => _ = held.remove(&line.about),
                _ => {}
            }
        }
    }

    /// Whether it holds jobs, none of which has crashed more often than that before: a job's next
    /// waits would be a minute and ten minutes, and a run has to end.
    fn may_be_struck(&self, pid: u32, spare: u64) -> bool {
        let held = self.held.get(&pid);
        held.is_some_and(|jobs| !jobs.is_empty() && jobs.values().all(|n| *n <= spare))
    }
}
