//! The main job on real input: hashes every file of a directory tree, one background job a file,
//! in a store that survives `kill -9`.
//!
//! ```text
//! cargo run --release -p quickstart -- DIR
//! ```
//!
//! * [`hash`]: the job, an annotated function
//! * [`walk`]: finds files and hands them on in batches
//! * [`path`]: names of any bytes as metadata
//! * [`progress`] and [`report`]: what the user sees
//! * [`args`]: the command line

mod args;
mod hash;
mod path;
mod progress;
mod report;
mod walk;

use std::{fs::File, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use bgjob::{BoxError, DispatcherHandle, prelude::*};
use clap::Parser;
use tokio::{sync::mpsc, time::sleep};

use args::Args;
use hash::{Tally, hash_file};
use path::FilePath;
use progress::Progress;
use report::Report;
use walk::{Tree, Walked};

/// How long a killed process keeps its jobs from others. Shorter than usual: someone waits.
const LEASE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quickstart: {error}");
            let causes = std::iter::successors(error.source(), |cause| cause.source());
            causes.for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, BoxError> {
    let mut tree = Tree::new(args.dir)?;
    let jobs = JobManager::connect(&args.store).await?;
    let own = walk::store_files(&args.store);
    own.iter()
        .chain(&args.output)
        .for_each(|file| tree.skip(file));
    if let Some(output) = &args.output {
        // Better to hear now than in the end that it can't be written.
        let opened = File::options().append(true).create(true).open(output);
        opened.map_err(|error| format!("{} can't be written: {error}", output.display()))?;
    }

    let tally = Arc::new(Tally::default());
    let mut dispatcher = JobDispatcher::builder(&jobs)
        .state(Arc::clone(&tally))
        .serve_jobs([hash_file::NAME])
        .serve_queues([tree.queue()])
        .lease(LEASE);
    if let Some(workers) = args.workers {
        dispatcher = dispatcher.default_slots(workers.into());
    }
    let running = dispatcher.start().await?;

    let mut progress = Progress::new(jobs.clone(), tree.queue(), Arc::clone(&tally));
    progress.greet(&args.store).await?;
    let walked = tokio::select! {
        walked = hash_all(&jobs, &tree, &running, &mut progress) => walked?,
        heard = tokio::signal::ctrl_c() => {
            heard?;
            return interrupted(running, progress).await;
        }
    };
    running.shutdown().await;
    progress.end();
    let report = Report::read(&jobs, &tree, args.output.as_deref()).await?;
    let _ = report.print(&walked, &tally, progress.elapsed());
    let all_well = report.is_clean() && walked.unreadable.is_empty();
    Ok(ExitCode::from(u8::from(!all_well)))
}

/// Enqueues a job for each file and waits until all are over.
async fn hash_all(
    jobs: &JobManager,
    tree: &Tree,
    running: &DispatcherHandle,
    progress: &mut Progress,
) -> Result<Walked, BoxError> {
    let mut walk = pin!(enqueue_all(jobs, tree));
    let walked = loop {
        tokio::select! {
            walked = &mut walk => break walked?,
            () = sleep(progress.pause()) => progress.show(running).await?,
        };
    };
    while progress.show(running).await?.left() > 0 {
        sleep(progress.pause()).await;
    }
    Ok(walked)
}

/// Enqueues a job for each file; the store holds them, not the memory. A file that a former run
/// has enqueued has the same id, so nothing changes for it.
async fn enqueue_all(jobs: &JobManager, tree: &Tree) -> Result<Walked, BoxError> {
    let (sender, mut batches) = mpsc::channel(2);
    let walker = tree.clone();
    let walk = tokio::task::spawn_blocking(move || walker.walk(&sender));
    while let Some(files) = batches.recv().await {
        let batch = hash_file::enqueue_all(jobs, files);
        batch.id_by(FilePath::job_id).queue(tree.queue()).await?;
    }
    Ok(walk.await?)
}

/// Lets end what runs and says how to go on.
async fn interrupted(
    running: DispatcherHandle,
    mut progress: Progress,
) -> Result<ExitCode, BoxError> {
    progress.say("stopping: waits for the files at hand; Ctrl-C again hurries");
    running.begin_shutdown();
    running.until_signal().await?;
    let counts = progress.counts().await?;
    progress.end();
    println!(
        "{} files are recorded, {} are left",
        counts.ended,
        counts.left()
    );
    println!("run the same command again to go on");
    Ok(ExitCode::from(3))
}
