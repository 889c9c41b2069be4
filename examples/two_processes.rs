//! Two processes on one SQLite file: a web server that enqueues and does small things itself, and a
//! worker for the heavy ones. The example starts itself a second time as the worker.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
};

use bgjob::prelude::*;

/// Which of the two this process is.
struct Role(&'static str);

#[job(queue = "quick")]
async fn greet(name: String, role: State<Role>) -> Result<String, JobError> {
    Ok(format!("hello {name}, says the {}", role.0))
}

#[job(queue = "heavy")]
async fn factor(number: u64, role: State<Role>) -> Result<String, JobError> {
    let divides = |n: &u64| number.is_multiple_of(*n);
    let found = (2..).take_while(|n| n * n <= number).find(divides);
    let what = found.map_or("prime".to_owned(), |n| format!("{n} x {}", number / n));
    Ok(format!("{number} is {what}, says the {}", role.0))
}

async fn connect(file: &Path) -> bgjob::Result<JobManager> {
    JobManager::connect(format!("sqlite:{}", file.display())).await
}

/// The second process: heavy jobs only, until the first one is gone or says so.
async fn work(file: &Path) -> bgjob::Result<()> {
    let jobs = connect(file).await?;
    // Its input ends when the first process closes it, and also when that is killed.
    let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let drained = JobDispatcher::builder(&jobs)
        .serve_queues(["heavy"])
        .state(Role("worker"))
        .run_until(asked)
        .await?;
    println!("worker: gave back {}", drained.released);
    Ok(())
}

/// The first process.
async fn serve(file: &Path) -> bgjob::Result<()> {
    let jobs = connect(file).await?;
    let dispatcher = JobDispatcher::builder(&jobs)
        .serve_queues(["quick"])
        .state(Role("web server"))
        .start()
        .await?;

    let quick = greet::enqueue(&jobs, "Ada".to_owned()).await?;
    let heavy = factor::enqueue_all(&jobs, [8_633, 1_000_003, 999_999_999_989]).await?;
    println!("{}", quick.result().await?);
    for job in &heavy {
        // Results come out of the store, whichever process put them in.
        println!("{}", job.result().await?);
    }
    dispatcher.shutdown().await;
    Ok(())
}

fn start_worker(file: &Path) -> std::io::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.arg(file).stdin(Stdio::piped()).spawn()
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    if let Some(file) = std::env::args_os().nth(1) {
        return work(Path::new(&file)).await;
    }
    let folder = std::env::temp_dir().join(format!("bgjob-two-processes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary files can be written");
    let file = folder.join("jobs.db");

    let mut worker = start_worker(&file).expect("a program can start itself");
    let served = serve(&file).await;
    drop(worker.stdin.take());
    let status = worker.wait().expect("it was started here");
    println!("worker: {status}");
    served?;

    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    Ok(())
}
