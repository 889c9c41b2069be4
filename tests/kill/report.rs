//! What a run with kills showed, and whether that is good.

use std::{fmt, time::Duration};

use crate::{kill::Plan, worker::LEASE};

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) acked: usize,
    pub(crate) terminal: usize,
    pub(crate) lost: usize,
    pub(crate) start_after_done: usize,
    pub(crate) double_success: usize,
    pub(crate) kills: usize,
    /// Kills of a process in the middle of jobs.
    pub(crate) hits: usize,
    pub(crate) stops: usize,
    pub(crate) server_kills: usize,
    pub(crate) starts: usize,
    /// Second starts, by what became of the first one's process.
    pub(crate) after_kill: usize,
    pub(crate) after_stop: usize,
    pub(crate) after_other: usize,
    /// Second starts while the first was in the middle, and its process killed or stopped.
    pub(crate) explained: usize,
    /// The same while its process was well.
    pub(crate) unexplained: usize,
    /// From a kill to the next start of a job that had not crashed before.
    pub(crate) first: Vec<Duration>,
    /// The same for others: their backoff is a minute, then ten.
    pub(crate) later: Vec<Duration>,
    /// How often the store stood still because who had its lock was frozen, and the restarts that
    /// waited for it: that is the time of the freeze.
    pub(crate) standstills: usize,
    pub(crate) held_up: usize,
    /// Those of kills behind a backlog, whose time says nothing.
    pub(crate) in_line: usize,
    /// Behind a backlog: in calm, then under strikes. Nothing if that was not to be seen.
    pub(crate) flood: Vec<Window>,
}

/// A span behind a backlog.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) span: Duration,
    /// That succeeded in it.
    pub(crate) jobs: usize,
    /// How many waited when the fewest did.
    pub(crate) least: usize,
}

impl Window {
    fn per_second(&self) -> f64 {
        self.jobs as f64 / self.span.as_secs_f64().max(0.001)
    }
}

/// The most that 99 of 100 jobs may wait after a first crash.
const FIRST: Duration = LEASE.saturating_add(Duration::from_secs(10));
/// In the short form the 99th is the worst, as there are less than a hundred, and it runs wherever
/// tests run: on a busy machine jobs pile up. Its bound is the promise itself (L2), which speaks of
/// a lease six times as long.
const FIRST_SHORT: Duration = Duration::from_secs(40);

impl Report {
    /// The goals it missed, in words.
    pub(crate) fn faults(&self, plan: Plan) -> Vec<String> {
        let p99 = percentile(&self.first, 99);
        let most = if plan.long { FIRST } else { FIRST_SHORT };
        let made = plan.jobs as usize;
        let goals = [
            (self.lost == 0, "jobs were lost"),
            (self.start_after_done == 0, "starts after the end"),
            (self.double_success == 0, "double successes"),
            (self.unexplained == 0, "unexplained overlaps"),
            (self.acked >= made, "not all jobs were acknowledged"),
            (self.terminal >= self.acked, "not all jobs came to an end"),
            (
                self.kills == plan.all(|strikes| strikes.kills),
                "the work ended too soon for all kills",
            ),
            (
                self.stops == plan.all(|strikes| strikes.stops),
                "the work ended too soon for all stops",
            ),
            (
                self.server_kills == plan.all(|strikes| strikes.server_kills),
                "the server was not killed as often as it should be",
            ),
            (
                self.hits * 10 >= self.kills * 9,
                "too many kills hit nothing",
            ),
            (p99 <= most, "recovery took too long"),
            // A run in which nothing was started again has shown nothing.
            (self.after_kill > 0, "no kill cost a start"),
            (
                plan.flood.is_none() || self.share_of_calm() >= 50.0,
                "less than half the throughput of calm",
            ),
            (
                self.flood.iter().all(|window| window.least > 0),
                "the backlog ran out",
            ),
        ];
        let missed = goals.iter().filter(|(good, _)| !good);
        missed.map(|(_, what)| (*what).to_owned()).collect()
    }

    /// In percent; 0 if one of the two was not seen.
    fn share_of_calm(&self) -> f64 {
        match self.flood.as_slice() {
            [calm, storm] if calm.jobs > 0 => 100.0 * storm.per_second() / calm.per_second(),
            _ => 0.0,
        }
    }
}

/// The nearest rank: the least that so many of a hundred don't exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    let at = sorted.get(rank.saturating_sub(1));
    at.copied().unwrap_or_default()
}

/// Whether percentiles are what they are said to be.
pub(crate) fn can_count() -> bool {
    let check = |samples: u64, percent, is: u64| {
        let sorted = Vec::from_iter((1..=samples).map(Duration::from_secs));
        percentile(&sorted, percent) == Duration::from_secs(is)
    };
    check(20, 99, 20)
        && check(99, 99, 99)
        && check(100, 99, 99)
        && check(101, 99, 100)
        && check(20, 50, 10)
        && check(21, 50, 11)
        && check(1, 50, 1)
        && check(7, 100, 7)
        && check(0, 99, 0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, text: String| writeln!(f, "  {name:<22}{text}");
        row("acked", self.acked.to_string())?;
        row("terminal", self.terminal.to_string())?;
        row("lost", self.lost.to_string())?;
        row("start after done", self.start_after_done.to_string())?;
        row("double success", self.double_success.to_string())?;
        let (explained, unexplained) = (self.explained, self.unexplained);
        row(
            "overlaps",
            format!("{explained} explained, {unexplained} unexplained"),
        )?;
        row(
            "second starts",
            format!(
                "{} of {} starts: {} after a kill, {} after a stop, {} other",
                self.after_kill + self.after_stop + self.after_other,
                self.starts,
                self.after_kill,
                self.after_stop,
                self.after_other
            ),
        )?;
        let share = 100 * self.hits / self.kills.max(1);
        row(
            "kills",
            format!(
                "{}, {share} % of a process that held jobs; stops {}",
                self.kills, self.stops
            ),
        )?;
        row("server kills", self.server_kills.to_string())?;
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&self.first, percent));
        row(
            "first recovery",
            format!(
                "p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?} of {}",
                self.first.len()
            ),
        )?;
        if self.standstills > 0 {
            let text = format!(
                "{} restarts, in {} freezes of who had the store's lock",
                self.held_up, self.standstills
            );
            row("held up", text)?;
        }
        if let Some(last) = self.later.last() {
            let text = format!("max {last:.1?} of {}", self.later.len());
            row("later recovery", text)?;
        }
        if let [calm, storm] = self.flood.as_slice() {
            let share = self.share_of_calm();
            let least = calm.least.min(storm.least);
            let (calm, storm) = (calm.per_second(), storm.per_second());
            row(
                "throughput",
                format!(
                    "{storm:.0} jobs/s, {share:.0} % of {calm:.0} in calm; at least {least} waited"
                ),
            )?;
            row("recoveries in line", self.in_line.to_string())?;
        }
        Ok(())
    }
}
