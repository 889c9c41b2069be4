//! Shows how far it is, and what is waited for.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bgjob::{DispatcherHandle, JobManager, JobState, Result, Timestamp};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::hash::Tally;

/// Between two looks at the store, at least.
const TICK: Duration = Duration::from_millis(200);
/// Between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(5);
/// When nothing has ended for so long, say why.
const QUIET: Duration = Duration::from_secs(2);

/// A progress bar on a terminal; elsewhere a line now and then.
pub struct Progress {
    jobs: JobManager,
    queue: String,
    tally: Arc<Tally>,
    bar: ProgressBar,
    began: Instant,
    /// When a line was last written.
    line: Instant,
    /// The last number of ended jobs, and since when.
    ended: (u64, Instant),
    /// How long the store took to count.
    counting: Duration,
}

/// How the jobs of a queue stand.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub ready: u64,
    pub running: u64,
    pub ended: u64,
}

impl Counts {
    /// Jobs that are not over.
    pub fn left(&self) -> u64 {
        self.ready + self.running
    }
}

impl Progress {
    pub fn new(jobs: JobManager, queue: String, tally: Arc<Tally>) -> Self {
        let style = "{bar:30} {pos} of {len} files, {msg}";
        let style = ProgressStyle::with_template(style).expect("the template is valid");
        let bar = ProgressBar::no_length().with_style(style);
        let now = Instant::now();
        let (ended, counting) = ((0, now), Duration::ZERO);
        Self {
            jobs,
            queue,
            tally,
            bar,
            began: now,
            line: now,
            ended,
            counting,
        }
    }

    /// Says what is there from former runs.
    pub async fn greet(&mut self, store: &str) -> Result<()> {
        let ended = self.counts().await?.ended;
        if ended > 0 {
            let afresh = "delete it to begin afresh";
            self.say(&format!(
                "{ended} files are recorded in {store} already; {afresh}"
            ));
        }
        Ok(())
    }

    /// Asks the store how the jobs stand.
    pub async fn counts(&mut self) -> Result<Counts> {
        let asked = Instant::now();
        let mut counts = Counts::default();
        for count in self.jobs.counts().await? {
            if *count.queue == *self.queue {
                counts.ready += count.waiting();
                counts.running += count.running;
                counts.ended += count.succeeded + count.dead + count.cancelled;
            }
        }
        self.counting = asked.elapsed();
        Ok(counts)
    }

    /// Shows how the jobs stand.
    pub async fn show(&mut self, running: &DispatcherHandle) -> Result<Counts> {
        let counts = self.counts().await?;
        if self.ended.0 != counts.ended {
            self.ended = (counts.ended, Instant::now());
        }
        let idle = running.health().running == 0 && self.ended.1.elapsed() > QUIET;
        let message = if idle && counts.left() > 0 {
            self.waiting(counts).await?
        } else {
            self.speed()
        };
        let total = counts.ended + counts.left();
        if self.bar.is_hidden() && self.line.elapsed() >= LINE {
            self.line = Instant::now();
            eprintln!("{} of {total} files, {message}", counts.ended);
        }
        self.bar.set_length(total);
        self.bar.set_position(counts.ended);
        self.bar.set_message(message);
        Ok(counts)
    }

    /// How long to wait until the next look: many jobs take long to count, and counting should
    /// not be what the store does most.
    pub fn pause(&self) -> Duration {
        TICK.max(self.counting * 5)
    }

    fn speed(&self) -> String {
        let bytes = self.tally.bytes.load(Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        format!("{}/s", HumanBytes(bytes as u64))
    }

    /// Why nothing happens though there is something to do.
    async fn waiting(&self, counts: Counts) -> Result<String> {
        let Counts { ready, running, .. } = counts;
        if running > 0 {
            let when = "if it was killed, they come back within 15 s";
            return Ok(format!("{running} held by another process; {when}"));
        }
        let list = self.jobs.list().queue(&*self.queue).state(JobState::Ready);
        let retries = list.await?.jobs;
        let now = Timestamp::now();
        let wait = retries.iter().map(|job| job.due_at.since(now)).min();
        let seconds = wait.unwrap_or_default().as_secs_f64().ceil();
        Ok(format!(
            "{ready} wait to be tried again, the next in {seconds} s"
        ))
    }

    /// A word that stays above the bar.
    pub fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}
