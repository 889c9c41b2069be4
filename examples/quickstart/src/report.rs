//! What came of it: the summary, and the results as JSON lines.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bgjob::{
    BoxError, Job, JobManager,
    job::{Failure, How, Phase},
};
use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

use crate::{
    hash::{Facts, Tally},
    path::FilePath,
    walk::{Tree, Walked},
};

/// Of the slowest and of those that failed, so many are shown.
const SHOWN: usize = 5;

/// All jobs of a tree, read page by page: only what is shown is kept.
#[derive(Debug, Default)]
pub struct Report {
    succeeded: u64,
    dead: u64,
    /// Cancelled by someone.
    other: u64,
    bytes: u64,
    /// The slowest first.
    slowest: Vec<(u64, String)>,
    reasons: Vec<String>,
}

/// One line of the output.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    path: FilePath,
    #[serde(flatten)]
    facts: &'a Facts,
}

impl Report {
    /// Reads every job of the tree and writes the results, if they are wanted.
    pub async fn read(
        jobs: &JobManager,
        tree: &Tree,
        output: Option<&Path>,
    ) -> Result<Self, BoxError> {
        let mut report = Self::default();
        let mut output: Box<dyn Write> = match output {
            Some(path) => Box::new(BufWriter::new(File::create(path)?)),
            None => Box::new(io::sink()),
        };
        let list = jobs.list().queue(tree.queue()).limit(1000);
        let mut page = list.clone().await?;
        loop {
            for job in &page.jobs {
                report.add(job, tree, &mut output)?;
            }
            match page.next {
                Some(next) => page = list.clone().after(next).await?,
                None => break,
            }
        }
        output.flush()?;
        Ok(report)
    }

    fn add(&mut self, job: &Job, tree: &Tree, output: &mut dyn Write) -> Result<(), BoxError> {
        let file: FilePath = job.spec.metadata.decode()?;
        let path = tree.shown(&file.get()?);
        // A name may hold anything, and a terminal obeys some of it.
        let shown = path.to_string_lossy().escape_debug().to_string();
        let Phase::Ended(end) = &job.phase else {
            return Ok(());
        };
        match &end.how {
            How::Succeeded(result) => {
                let facts: Facts = result.decode()?;
                let line = Line {
                    path: FilePath::new(&path),
                    facts: &facts,
                };
                serde_json::to_writer(&mut *output, &line)?;
                output.write_all(b"\n")?;
                self.succeeded += 1;
                self.bytes += facts.size;
                self.slowest.push((facts.micros, shown));
                self.slowest.sort_unstable_by(|a, b| b.cmp(a));
                self.slowest.truncate(SHOWN);
            }
            How::Dead(reason) => {
                self.dead += 1;
                if self.reasons.len() < SHOWN {
                    let times = job.errors + job.crashes;
                    let why = job.last_error().map_or(reason.as_str(), Failure::message);
                    self.reasons
                        .push(format!("{shown}: {why} (tried {times} times)"));
                }
            }
            How::Cancelled => self.other += 1,
        }
        Ok(())
    }

    /// Whether every job has ended well.
    pub fn is_clean(&self) -> bool {
        self.dead + self.other == 0
    }

    /// Prints it. An error means that nobody reads it any more.
    pub fn print(&self, walked: &Walked, tally: &Tally, took: Duration) -> io::Result<()> {
        let Self {
            succeeded,
            dead,
            other,
            bytes,
            ..
        } = self;
        let mut out = io::stdout().lock();
        let (files, read) = (tally.files.load(Relaxed), tally.bytes.load(Relaxed));
        let seconds = took.as_secs_f64();
        writeln!(
            out,
            "{} files, {}: {succeeded} succeeded, {dead} dead, {other} cancelled",
            HumanCount(succeeded + dead + other),
            HumanBytes(*bytes),
        )?;
        writeln!(
            out,
            "this run: {} files, {} in {seconds:.1} s ({:.0} files/s, {}/s)",
            HumanCount(files),
            HumanBytes(read),
            files as f64 / seconds,
            HumanBytes((read as f64 / seconds) as u64),
        )?;
        if walked.passed_over > 0 {
            writeln!(
                out,
                "passed over: {} that are no regular files",
                walked.passed_over
            )?;
        }
        for (micros, path) in &self.slowest {
            writeln!(out, "slowest: {:>9.1} ms  {path}", *micros as f64 / 1000.0)?;
        }
        shorten(&mut out, "dead", &self.reasons, *dead as usize)?;
        shorten(
            &mut out,
            "unreadable",
            &walked.unreadable,
            walked.unreadable.len(),
        )
    }
}

fn shorten(out: &mut dyn Write, what: &str, lines: &[String], all: usize) -> io::Result<()> {
    for line in lines.iter().take(SHOWN) {
        writeln!(out, "{what}: {line}")?;
    }
    if all > SHOWN {
        writeln!(out, "{what}: and {} more", all - SHOWN)?;
    }
    Ok(())
}
