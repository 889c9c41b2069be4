//! The judge: reads the ledger and the store and says what went wrong, if anything.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    time::Duration,
};

use bgjob::{JobId, prelude::*};

use crate::{Plan, ledger::Line, worker::WORKERS};

/// What a run showed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    acked: usize,
    succeeded: usize,
    lost: usize,
    start_after_done: usize,
    double_success: usize,
    kills: usize,
    starts: usize,
    /// Second starts after a kill: how it should be.
    explained: usize,
    /// Second starts while the first holder lived and had not ended.
    unexplained: usize,
    /// From a job's first kill to its next start.
    first: Vec<Duration>,
    /// From a later kill: its backoff is a minute, then ten.
    later: Vec<Duration>,
    took: Duration,
}

pub(crate) async fn report(
    lines: &[Line],
    jobs: &JobManager,
    took: Duration,
) -> bgjob::Result<Report> {
    let mut report = Report {
        took,
        ..Report::default()
    };
    let mut acked = BTreeSet::new();
    let mut over = HashSet::new();
    let mut succeeded: HashMap<&str, usize> = HashMap::new();
    let mut killed: HashMap<u32, Duration> = HashMap::new();
    // Who is in the middle of a job, and since when.
    let mut running: HashMap<&str, u32> = HashMap::new();
    let mut hit = HashSet::new();
    for line in lines {
        let about = line.about.as_str();
        match line.what.as_str() {
            "acked" => _ = acked.insert(about),
            "kill" => {
                killed.insert(about.parse().expect("a process id"), line.at);
                report.kills += 1;
            }
            "start" => {
                report.starts += 1;
                report.start_after_done += usize::from(over.contains(about));
                match running.insert(about, line.pid).map(|pid| killed.get(&pid)) {
                    Some(Some(at)) => {
                        report.explained += 1;
                        let first = hit.insert(about);
                        let which = if first {
                            &mut report.first
                        } else {
                            &mut report.later
                        };
                        which.push(line.at - *at);
                    }
                    Some(None) => report.unexplained += 1,
                    None => {}
                }
            }
            "end" if running.get(about) == Some(&line.pid) => _ = running.remove(about),
            "terminal" => _ = over.insert(about),
            "success" => *succeeded.entry(about).or_default() += 1,
            _ => {}
        }
    }
    report.double_success = succeeded.values().filter(|n| **n > 1).count();
    report.acked = acked.len();
    for id in acked {
        let id: JobId = id.parse()?;
        match jobs.get(id).await?.map(|job| job.state()) {
            Some(JobState::Succeeded) => report.succeeded += 1,
            _ => report.lost += 1,
        }
    }
    report.first.sort();
    report.later.sort();
    Ok(report)
}

impl Report {
    pub(crate) fn is_good(&self, plan: Plan) -> bool {
        let crimes = self.lost + self.start_after_done + self.double_success + self.unexplained;
        crimes == 0
            && self.acked == plan.jobs as usize
            && self.kills == plan.kills
            // A run in which no kill hit a job in the middle has shown nothing.
            && self.explained > 0
            && percentile(&self.first, 99) <= FIRST
    }
}

/// The most that 99 of 100 jobs may wait after a first crash: L2 of the promises.
const FIRST: Duration = Duration::from_secs(40);

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .copied()
        .unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acked,
            succeeded,
            lost,
            start_after_done,
            double_success,
            ..
        } = self;
        let Self {
            kills,
            starts,
            explained,
            unexplained,
            took,
            ..
        } = self;
        let (p50, p99) = (percentile(&self.first, 50), percentile(&self.first, 99));
        let last = percentile(&self.later, 100);
        let rate = *succeeded as f64 / took.as_secs_f64();
        writeln!(f, "acked {acked}, succeeded {succeeded}, lost {lost}")?;
        writeln!(
            f,
            "start after done {start_after_done}, double success {double_success}"
        )?;
        writeln!(
            f,
            "kills {kills}, each of a process that held jobs; {WORKERS} workers"
        )?;
        writeln!(
            f,
            "starts {starts}: again after a kill {explained}, unexplained {unexplained}"
        )?;
        writeln!(
            f,
            "recovery after a first crash p50 {p50:.1?}, p99 {p99:.1?}"
        )?;
        writeln!(
            f,
            "after a later one at most {last:.1?}; {rate:.0} jobs/s over {took:.1?}"
        )
    }
}
