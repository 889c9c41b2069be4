//! [`Plan`]: what goes wrong in one run, made of its number.

use std::{collections::BTreeSet, fmt, time::Duration};

use fastrand::Rng;

use crate::testing::Rates;

/// What goes wrong in one run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// All randomness of the run comes from this.
    pub(super) seed: u64,
    /// The places, by number, at which whoever passes dies.
    pub(super) deadly: BTreeSet<u64>,
    pub(super) store: Rates,
    pub(super) queue: Rates,
    /// About how often a worker is killed, frozen for a while, and shut down.
    pub(super) kill: Option<Duration>,
    pub(super) freeze: Option<Duration>,
    pub(super) shut_down: Option<Duration>,
    /// When the store and the queue are down for everybody.
    pub(super) store_down: Option<Outage>,
    pub(super) queue_down: Option<Outage>,
    /// Each process's clock is off by this at most, either way.
    pub(super) clocks_off: Duration,
    /// About how often the store forgets what was done last.
    pub(super) roll_back: Option<Duration>,
    /// From then on nothing goes wrong any more.
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

    /// The run of this number out of so many, where a calm one passes so many points: one death at
    /// each of them first, then random mixes.
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

    /// How many of so many runs have one death, each at a place of its own: half of them, if there
    /// are more places than that, to be spread over these.
    pub(super) fn single(runs: u64, points: u64) -> u64 {
        points.min(runs.div_ceil(2))
    }

    /// Few enough deaths that a job with the usual three crashes outlives them.
    fn mixed(seed: u64, points: u64) -> Self {
        let mut dice = Rng::with_seed(seed);
        let freeze = dice.u8(..3) == 0;
        let deaths = if freeze { 1 } else { dice.usize(0..=2) };
        // Somewhat beyond those of the calm run: what goes wrong adds some.
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

    /// As much as the protocol has to bear, for as long as this.
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

/// Something is down, again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    every: Duration,
    lasts: Duration,
}

impl Outage {
    /// Whether it is down at this time; never at the beginning.
    pub(super) fn is_at(self, time: Duration) -> bool {
        let millis = |span: Duration| span.as_millis();
        millis(time) % millis(self.every) >= millis(self.every.saturating_sub(self.lasts))
    }
}

/// Each fault is there in every other run only (what always goes wrong hides what seldom does).
/// The hard ones are those that a job's attempts or the caller's process are lost to.
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
