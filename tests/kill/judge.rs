//! The judge: reads the ledger and the store and says what happened.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use bgjob::{JobId, prelude::*};

use crate::{
    ledger::Line,
    report::{Rate, Report},
    store::again,
};

pub(crate) async fn report(lines: &[Line], jobs: &JobManager) -> bgjob::Result<Report> {
    let mut judge = Judge::default();
    lines.iter().for_each(|line| judge.hear(line));
    let mut report = judge.close();
    let acked: Vec<_> = judge.acked.iter().collect();
    for ids in acked.chunks(1000) {
        let ids = ids.iter().map(|id| id.parse());
        let ids = ids.collect::<bgjob::Result<Vec<JobId>>>()?;
        for job in again(async || jobs.store().get(&ids).await).await? {
            let succeeded = job.is_some_and(|job| job.state() == JobState::Succeeded);
            report.lost += usize::from(!succeeded);
        }
    }
    Ok(report)
}

/// Whether the judge sees each crime in a ledger that has one of each, and only those.
pub(crate) fn is_awake() -> bool {
    const CRIMES: &str = "\
        1 1 acked a 0
        2 10 start a 0
        3 11 start a 1
        4 11 success a 0
        5 11 end a 0
        6 10 success a 0
        7 12 start a 1
        8 12 start b 0
        9 1 kill 12 0
        15 13 start b 1
        16 13 start c 0
        17 1 stop 13 0
        18 14 start c 1
        19 14 start d 0
        20 14 end d 0
        21 15 start d 1
        22 1 kill 15 0
        23 1 kill 99 0
        24 16 start e 0
        25 1 server-kill - 0
        26 17 start e 0
        27 1 stop 18 0
        28 18 start f 0
        29 19 start f 1
        30 1 go-on 18 0
        31 18 start g 0
        32 20 start g 0";
    let lines: Vec<_> = CRIMES.lines().map(|l| Line::parse(l.trim())).collect();
    let mut judge = Judge::default();
    lines.iter().for_each(|line| judge.hear(line));
    let seen = judge.close();
    let crimes = (seen.start_after_done, seen.double_success, seen.unexplained);
    let causes = (seen.after_kill, seen.after_stop, seen.after_other);
    crimes == (1, 1, 3)
        && causes == (1, 2, 5)
        && seen.explained == 3
        && (seen.kills, seen.hits, seen.server_kills) == (3, 2, 1)
        && seen.first == [Duration::from_micros(6)]
}

#[derive(Default)]
struct Judge<'a> {
    acked: BTreeSet<&'a str>,
    terminal: HashSet<&'a str>,
    succeeded: HashMap<&'a str, usize>,
    /// The last run of each job.
    runs: HashMap<&'a str, Run>,
    /// Jobs that each process is in the middle of.
    held: HashMap<u32, HashSet<&'a str>>,
    killed: HashMap<u32, Duration>,
    /// Until when each process was stopped, if it was.
    stopped: HashMap<u32, Duration>,
    calm: Span,
    storm: Span,
    has_stormed: bool,
    report: Report,
}

/// From the first acknowledgement to the last success.
#[derive(Default)]
struct Span {
    from: Option<Duration>,
    to: Duration,
    jobs: usize,
}

struct Run {
    pid: u32,
    at: Duration,
    crashes: u64,
    has_ended: bool,
}

impl<'a> Judge<'a> {
    fn hear(&mut self, line: &'a Line) {
        let about = line.about.as_str();
        match line.what.as_str() {
            "acked" => {
                self.acked.insert(about);
                self.span().from.get_or_insert(line.at);
            }
            "terminal" => _ = self.terminal.insert(about),
            "success" => {
                *self.succeeded.entry(about).or_default() += 1;
                let span = self.span();
                span.jobs += 1;
                span.to = line.at;
            }
            "start" => self.start(line),
            "end" => {
                self.held.entry(line.pid).or_default().remove(about);
                if let Some(run) = self.runs.get_mut(about)
                    && run.pid == line.pid
                {
                    run.has_ended = true;
                }
            }
            "kill" => self.kill(line),
            "stop" => {
                self.report.stops += 1;
                self.stopped.insert(pid(line), Duration::MAX);
            }
            "go-on" => _ = self.stopped.insert(pid(line), line.at),
            // It explains nothing: who held a job when the server crashed goes on to hold it.
            "server-kill" => self.report.server_kills += 1,
            "storm" => self.has_stormed = true,
            _ => {}
        }
    }

    fn start(&mut self, line: &'a Line) {
        let about = line.about.as_str();
        self.report.starts += 1;
        let over = self.terminal.contains(about) || self.succeeded.contains_key(about);
        self.report.start_after_done += usize::from(over);
        self.held.entry(line.pid).or_default().insert(about);
        let run = Run {
            pid: line.pid,
            at: line.at,
            crashes: line.n,
            has_ended: false,
        };
        if let Some(earlier) = self.runs.insert(about, run) {
            self.start_again(&earlier, line);
        }
    }

    /// A job is started although it was before: because its holder was killed or stood still, or
    /// because that gave it up itself, as when the store stood still.
    fn start_again(&mut self, earlier: &Run, line: &Line) {
        let report = &mut self.report;
        let killed = self.killed.get(&earlier.pid);
        // It is noted before the signal is sent, which takes a moment: it may begin a job in that.
        let stopped = self.stopped.get(&earlier.pid);
        let stopped = stopped.is_some_and(|until| *until >= earlier.at);
        if let Some(at) = killed {
            report.after_kill += 1;
            let first = (earlier.crashes, line.n) == (0, 1);
            let recoveries = if first {
                &mut report.first
            } else {
                &mut report.later
            };
            recoveries.push(line.at.saturating_sub(*at));
        } else if stopped {
            report.after_stop += 1;
        } else {
            report.after_other += 1;
        }
        if !earlier.has_ended {
            if killed.is_some() || stopped {
                report.explained += 1;
            } else {
                report.unexplained += 1;
            }
        }
    }

    fn kill(&mut self, line: &Line) {
        let pid = pid(line);
        self.killed.insert(pid, line.at);
        self.report.kills += 1;
        let held = self.held.get(&pid).is_some_and(|held| !held.is_empty());
        self.report.hits += usize::from(held);
    }

    fn span(&mut self) -> &mut Span {
        if self.has_stormed {
            &mut self.storm
        } else {
            &mut self.calm
        }
    }

    fn close(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.acked = self.acked.len();
        report.terminal = self.terminal.len();
        report.double_success = self.succeeded.values().filter(|n| **n > 1).count();
        report.calm = self.calm.rate();
        report.storm = self.storm.rate();
        report.first.sort();
        report.later.sort();
        report
    }
}

impl Span {
    fn rate(&self) -> Rate {
        Rate {
            jobs: self.jobs,
            span: self.to.saturating_sub(self.from.unwrap_or_default()),
        }
    }
}

fn pid(line: &Line) -> u32 {
    line.about.parse().expect("a process id")
}
