//! The judge: reads the ledger and the store and says what happened.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use bgjob::{
    JobId, Json, Timestamp,
    job::{Ended, How, Phase},
    prelude::*,
};

use crate::{
    ledger::{Backlog, Line},
    report::{Report, Window},
    store::again,
};

pub(crate) async fn report(lines: &[Line], jobs: &JobManager) -> bgjob::Result<Report> {
    let mut judge = Judge::default();
    lines.iter().for_each(|line| judge.hear(line));
    let acked = Vec::from_iter(judge.acked.iter().copied());
    for about in acked.chunks(1000) {
        let ids = about.iter().map(|id| id.parse());
        let ids = ids.collect::<bgjob::Result<Vec<JobId>>>()?;
        let found = again(async || jobs.store().get(&ids).await).await?;
        for (about, job) in about.iter().zip(found) {
            let ended = job.and_then(|job| match job.phase {
                Phase::Ended(ended) => Some(ended),
                _ => None,
            });
            judge.compare(about, ended.as_ref());
        }
    }
    Ok(judge.close())
}

/// So long nobody gets anything done only where the store stands still: the load is steady.
const STILL: Duration = Duration::from_secs(1);

/// Whether the judge sees a freeze of who has the store's lock, and takes nothing else for one.
pub(crate) fn sees_freezes() -> bool {
    const STANDSTILL: &str = "\
        10 1 acked a 0
        11 30 start a 0
        12 1 kill 30 0
        13 1 stop 31 0
        7000013 1 go-on 31 0
        7000014 32 success b 0
        7000015 32 start a 1
        7000016 33 start c 0
        7000017 1 kill 33 0
        9000018 1 acked d 0
        9000019 32 start c 1";
    let lines = parse(STANDSTILL);
    let mut judge = Judge::default();
    lines.iter().for_each(|line| judge.hear(line));
    let seen = judge.close();
    // What nobody's freeze explains is a wait like others.
    let waited = [Duration::from_micros(2_000_002)];
    (seen.standstills, seen.held_up) == (1, 1) && seen.first == waited
}

fn parse(ledger: &str) -> Vec<Line> {
    let lines = ledger.lines();
    lines.map(|line| Line::parse(line.trim())).collect()
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
        32 20 start g 0
        33 21 start h 0
        34 1 kill 21 0
        35 1 acked x 0
        36 1 acked y 0
        40 1 flood calm 0
        42 22 start x 0
        1045 22 success x 0
        1046 1 acked z 0
        1050 1 flood storm 0
        1052 22 success y 0
        1053 24 start w 0
        1054 1 kill 24 0
        1070 1 flood over 0
        1071 22 start w 1
        1072 22 success w 0
        1999 22 start h 1
        2000 23 start h 2";
    let lines = parse(CRIMES);
    let mut judge = Judge::default();
    lines.iter().for_each(|line| judge.hear(line));
    // Of its end nobody noted anything: its process was killed just after the commit.
    judge.compare("h", Some(&ended(How::Succeeded(Json::null()), 1)));
    judge.compare("b", Some(&ended(How::Cancelled, 1)));
    judge.compare("c", None);
    let seen = judge.close();
    let crimes = (seen.start_after_done, seen.double_success, seen.unexplained);
    let causes = (seen.after_kill, seen.after_stop, seen.after_other);
    let [calm, storm] = seen.flood.as_slice() else {
        return false;
    };
    crimes == (2, 1, 4)
        && causes == (3, 2, 6)
        && (seen.explained, seen.lost) == (5, 2)
        && (seen.kills, seen.hits, seen.server_kills) == (5, 4, 1)
        && seen.first == [6, 1965].map(Duration::from_micros)
        && seen.in_line == 1
        && (calm.jobs, calm.span, calm.least) == (1, Duration::from_micros(1010), 1)
        && (storm.jobs, storm.span, storm.least) == (1, Duration::from_micros(20), 2)
}

fn ended(how: How, millis: i64) -> Ended {
    Ended {
        how,
        at: Timestamp::from_millis(millis),
        purge_at: Timestamp::from_millis(millis),
    }
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
    /// Who stands still now, and when somebody last went on.
    frozen: HashSet<u32>,
    thawed: Duration,
    /// When somebody last got something done.
    moved: Duration,
    /// When the store last went on after it had stood still with somebody frozen.
    released: Duration,
    /// When each job was begun, as far as the ledger knew of no end by then.
    begun: HashMap<&'a str, Vec<Duration>>,
    backlog: Backlog,
    /// When the first window behind a backlog began.
    flooded: Option<Duration>,
    /// When the present one began, and what was seen in it.
    window: Option<(Duration, Window)>,
    report: Report,
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
        self.backlog.hear(line);
        match line.what.as_str() {
            "acked" => {
                self.acked.insert(about);
                self.move_on(line);
            }
            "terminal" => _ = self.terminal.insert(about),
            "success" => {
                *self.succeeded.entry(about).or_default() += 1;
                self.move_on(line);
                if let Some((_, window)) = &mut self.window {
                    window.jobs += 1;
                }
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
                self.frozen.insert(pid(line));
            }
            "go-on" => {
                self.stopped.insert(pid(line), line.at);
                self.frozen.remove(&pid(line));
                self.thawed = line.at;
            }
            // It explains nothing: who held a job when the server crashed goes on to hold it.
            "server-kill" => self.report.server_kills += 1,
            "flood" => self.turn(line),
            _ => {}
        }
    }

    fn start(&mut self, line: &'a Line) {
        let about = line.about.as_str();
        self.report.starts += 1;
        let over = self.terminal.contains(about) || self.succeeded.contains_key(about);
        if over {
            self.report.start_after_done += 1;
        } else {
            self.begun.entry(about).or_default().push(line.at);
        }
        if let Some((_, window)) = &mut self.window {
            window.least = window.least.min(self.backlog.depth());
        }
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
            let wait = line.at.saturating_sub(*at);
            // Behind a backlog it is a wait in line.
            if self.flooded.is_some_and(|from| *at >= from) {
                report.in_line += 1;
            } else if self.released > *at {
                report.held_up += 1;
            } else if (earlier.crashes, line.n) == (0, 1) {
                report.first.push(wait);
            } else {
                report.later.push(wait);
            }
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

    /// Somebody got something done. If nobody had for long, and somebody was frozen meanwhile, that
    /// one had the store's lock in its hands: who waited then waited for it.
    fn move_on(&mut self, line: &Line) {
        let somebody = !self.frozen.is_empty() || self.thawed > self.moved;
        if somebody && line.at.saturating_sub(self.moved) > STILL {
            self.released = line.at;
            self.report.standstills += 1;
        }
        self.moved = line.at;
    }

    fn kill(&mut self, line: &Line) {
        let pid = pid(line);
        self.frozen.remove(&pid);
        self.killed.insert(pid, line.at);
        self.report.kills += 1;
        let held = self.held.get(&pid).is_some_and(|held| !held.is_empty());
        self.report.hits += usize::from(held);
    }

    /// Behind a backlog, a window ends or begins.
    fn turn(&mut self, line: &Line) {
        self.flooded.get_or_insert(line.at);
        if let Some((from, window)) = self.window.take() {
            let span = line.at.saturating_sub(from);
            self.report.flood.push(Window { span, ..window });
        }
        if line.about != "over" {
            let least = self.backlog.depth();
            self.window = Some((
                line.at,
                Window {
                    least,
                    ..Window::default()
                },
            ));
        }
    }

    /// Compares what the ledger has of a job with the end that the store has of it. A process that
    /// is killed between its commit and its note leaves no other word of that end.
    fn compare(&mut self, about: &str, ended: Option<&Ended>) {
        let succeeded = ended.is_some_and(|ended| matches!(ended.how, How::Succeeded(_)));
        self.report.lost += usize::from(!succeeded);
        let (Some(ended), Some(begun)) = (ended, self.begun.get(about)) else {
            return;
        };
        // The store counts in whole milliseconds of the same clock: what was begun within that of
        // the end may have been before it. Nobody requeues here, so there is one end to each job.
        let millis = u64::try_from(ended.at.as_millis()).expect("after 1970");
        let after = Duration::from_millis(millis + 1);
        self.report.start_after_done += begun.iter().filter(|at| **at >= after).count();
    }

    fn close(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.acked = self.acked.len();
        report.terminal = self.terminal.len();
        report.double_success = self.succeeded.values().filter(|n| **n > 1).count();
        report.first.sort();
        report.later.sort();
        report
    }
}

fn pid(line: &Line) -> u32 {
    line.about.parse().expect("a process id")
}
