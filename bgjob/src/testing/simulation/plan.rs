//! [`Plan`]: what goes wrong in one run, derived from the run's number.

use std::{collections::BTreeSet, fmt, time::Duration};

use fastrand::Rng;

use crate::testing::Rates;

/// What goes wrong in one run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// All randomness of the run comes from this.
    pub(super) seed: u64,
    /// The numbers of the places at which the process that passes dies.
    pub(super) deadly: BTreeSet<u64>,
    pub(super) store: Rates,
    pub(super) queue: Rates,
    /// About how often a worker is killed, is frozen for a while, and is shut down.
    pub(super) kill: Option<Duration>,
    pub(super) freeze: Option<Duration>,
    pub(super) shut_down: Option<Duration>,
    /// When the store and the queue are down, for all processes.
    pub(super) store_down: Option<Outage>,
    pub(super) queue_down: Option<Outage>,
    /// How far each process's clock may be off, either way.
    pub(super) clocks_off: Duration,
    /// About how often the store forgets its last changes.
    pub(super) roll_back: Option<Duration>,
    /// After this time nothing goes wrong.
    pub(super) calm_after: Duration,
}

impl Plan {
    /// The run in which nothing goes wrong.
    pub(super) fn calm(seed: u64) -> Self {
        Self {
            seed,
            deadly: BTreeSet::new(),
            store: Rates::default(),
            queue: Rates::default(),
            kill: None,
            freeze: None,
            shut_down: None,
            store_down: None,
            queue_down: None,
            clocks_off: Duration::ZERO,
            roll_back: None,
            calm_after: Duration::ZERO,
        }
    }

    /// The plan of this run, out of `runs`, if a calm run passes this many points: first one death
    /// at each point, then random mixes.
    pub(super) fn of(run: u64, runs: u64, points: u64) -> Self {
        if run == 0 {
            return Self::calm(0);
        }
        let single = Self::single(runs, points);
        if run <= single {
            let deadly = BTreeSet::from([(run - 1) * points / single.max(1)]);
            let calm_after = Duration::from_secs(600);
            return Self {
                deadly,
                calm_after,
                ..Self::calm(0)
            };
        }
        Self::mixed(run, points)
    }

    /// How many of the runs have one death, each at another place: at most half of them. If there
    /// are more places than that, the runs are spread over them.
    pub(super) fn single(runs: u64, points: u64) -> u64 {
        points.min(runs.div_ceil(2))
    }

    /// Few enough deaths that a job with the default limit of three crashes survives them.
    fn mixed(seed: u64, points: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        let freeze = dice.u8(..3) == 0;
        let deaths = if freeze { 1 } else { dice.usize(0..=2) };
        // Somewhat beyond the points of the calm run, because faults add some.
        let most = points + points / 3 + 1;
        Self {
            deadly: (0..deaths).map(|_| dice.u64(0..most)).collect(),
            store: some_rates(&mut dice, 0.04, false),
            queue: some_rates(&mut dice, 0.1, false),
            freeze: freeze.then_some(Duration::from_secs(60)),
            shut_down: (dice.u8(..4) == 0).then_some(Duration::from_secs(60)),
            calm_after: Duration::from_secs(300),
            ..Self::calm(seed)
        }
    }

    /// As many faults as the protocol has to bear, for this span.
    pub(super) fn chaos(seed: u64, span: Duration) -> Self {
        let mut dice = Rng::with_seed(seed);
        let mut every = |from: u64, to: u64| {
            let secs = dice.u64(from..to);
            dice.bool().then_some(Duration::from_secs(secs))
        };
        let (kill, freeze, shut_down) = (every(20, 400), every(30, 600), every(30, 600));
        let mut outage = || {
            let (every, lasts) = (dice.u64(120..1200), dice.u64(5..90));
            let [every, lasts] = [every, lasts].map(Duration::from_secs);
            (dice.u8(..3) == 0).then_some(Outage { every, lasts })
        };
        let (store_down, queue_down) = (outage(), outage());
        Self {
            store_down,
            queue_down,
            store: some_rates(&mut dice, 0.05, true),
            queue: some_rates(&mut dice, 0.2, true),
            kill,
            freeze,
            shut_down,
            calm_after: span,
            ..Self::calm(seed)
        }
    }
}

/// An outage that comes again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    every: Duration,
    lasts: Duration,
}

impl Outage {
    /// Whether there is an outage at this time. There is none at the beginning.
    pub(super) fn is_at(self, time: Duration) -> bool {
        let millis = |span: Duration| span.as_millis();
        millis(time) % millis(self.every) >= millis(self.every.saturating_sub(self.lasts))
    }
}

/// Each fault occurs in every other run only, because a fault that always occurs hides a rare one.
/// The hard faults are those that cost a job's attempts or kill the caller's process.
fn some_rates(dice: &mut Rng, most: f64, hard: bool) -> Rates {
    let mut rate = |share: f64| {
        if dice.bool() {
            most * share * dice.f64()
        } else {
            0.0
        }
    };
    Rates {
        before: rate(1.0),
        after: rate(1.0),
        hang: rate(0.2),
        hang_after: rate(0.2),
        twice: rate(1.0),
        late: rate(0.5),
        crash: if hard { rate(0.2) } else { 0.0 },
        crash_after: if hard { rate(0.2) } else { 0.0 },
        lasting: if hard { rate(0.2) } else { 0.0 },
        panic: if hard { rate(0.2) } else { 0.0 },
        panic_after: if hard { rate(0.2) } else { 0.0 },
        lost: rate(2.0),
        reorder: rate(2.0),
        wipe: rate(0.2),
        slow: rate(4.0),
        ..Rates::default()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for (what, every) in [
            ("kills", self.kill),
            ("freezes", self.freeze),
            ("shutdowns", self.shut_down),
        ] {
            if let Some(every) = every {
                words.push(format!("{what} every {every:?} or so"));
            }
        }
        for (what, outage) in [("store", self.store_down), ("queue", self.queue_down)] {
            if let Some(Outage { every, lasts }) = outage {
                words.push(format!("every {every:?} the {what} is down for {lasts:?}"));
            }
        }
        if let Some(every) = self.roll_back {
            words.push(format!("the store forgets every {every:?} or so"));
        }
        if !self.clocks_off.is_zero() {
            words.push(format!("clocks are off by up to {:?}", self.clocks_off));
        }
        if !self.deadly.is_empty() {
            let all: Vec<_> = self.deadly.iter().map(u64::to_string).collect();
            words.push(format!("deaths at point {}", all.join(" and ")));
        }
        for (of, rates) in [("store", &self.store), ("queue", &self.queue)] {
            let rates = rates.to_string();
            if !rates.is_empty() {
                words.push(format!("{of} calls: {rates}"));
            }
        }
        if words.is_empty() {
            f.write_str("nothing goes wrong")
        } else {
            f.write_str(&words.join("; "))
        }
    }
}
