//! The nemesis: keeps workers running and kills them while they hold jobs.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bgjob::{Cursor, JobId, prelude::*};
use tokio::time::sleep;

use crate::{
    Plan,
    ledger::{Ledger, read},
    worker::{self, WORKERS, Work},
};

/// Kills as the plan says, then lets everything end. Answers how long it took.
pub(crate) async fn strike(
    folder: &Path,
    jobs: &JobManager,
    ledger: &Ledger,
    plan: Plan,
) -> bgjob::Result<Duration> {
    let begun = Instant::now();
    let mut workers: Vec<_> = (0..WORKERS).map(|_| start(folder)).collect();
    let mut terminal = HashSet::new();
    let mut kills = 0;
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut quiet_since = Instant::now();
    loop {
        // A run's pace, not a wait for something: kills come at odd moments.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sleep(Duration::from_millis(700 + (dice >> 33) % 1200)).await;
        let all = note_terminal(jobs, ledger, &mut terminal).await? >= plan.jobs as usize;
        if kills < plan.kills {
            let holding = holding(folder);
            let busy = |child: &Child| holding.get(&child.id()).copied().unwrap_or(0) > 0;
            let chosen = (dice >> 40) as usize % WORKERS;
            if busy(&workers[chosen]) {
                kill(&mut workers[chosen], ledger);
                workers[chosen] = start(folder);
                kills += 1;
                quiet_since = Instant::now();
            }
            assert!(!all, "the work ended after {kills} kills: give more --jobs");
        }
        if all || quiet_since.elapsed() > plan.patience {
            break;
        }
    }
    for worker in &mut workers {
        worker.kill().expect("a worker can be ended");
        worker.wait().expect("it ends");
    }
    Ok(begun.elapsed())
}

/// Enqueues all the work, about half as fast as the workers could do it, and notes what the store
/// acknowledged. (Behind a backlog, what crashed would wait its turn like everything else.)
pub(crate) async fn produce(jobs: JobManager, folder: PathBuf, n: u64) -> bgjob::Result<()> {
    const AT_ONCE: u64 = 6;
    let ledger = Ledger::open(&folder);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for from in (0..n).step_by(AT_ONCE as usize) {
        tick.tick().await;
        let work = (from..n.min(from + AT_ONCE)).map(Work::number);
        let handles = worker::work::enqueue_all(&jobs, work)
            .id_by(|w| JobId::from_key(&w.key))
            .await?;
        for handle in handles {
            ledger.note(&format!("acked {}", handle.id()));
        }
    }
    Ok(())
}

fn start(folder: &Path) -> Child {
    let me = std::env::current_exe().expect("the test has a path");
    let mut command = Command::new(me);
    command.arg("--worker").arg(folder).stdout(Stdio::null());
    command.spawn().expect("a worker starts")
}

/// `kill -9`, of this one process.
fn kill(worker: &mut Child, ledger: &Ledger) {
    worker.kill().expect("a worker can be killed");
    worker.wait().expect("it is gone");
    ledger.note(&format!("kill {}", worker.id()));
}

/// How many jobs each process is in the middle of.
fn holding(folder: &Path) -> HashMap<u32, i64> {
    let mut holding = HashMap::new();
    for line in read(folder) {
        match line.what.as_str() {
            "start" => *holding.entry(line.pid).or_default() += 1,
            "end" => *holding.entry(line.pid).or_default() -= 1,
            _ => {}
        }
    }
    holding
}

/// Notes which jobs the store says are over. A start after such a line would be a crime.
async fn note_terminal(
    jobs: &JobManager,
    ledger: &Ledger,
    known: &mut HashSet<JobId>,
) -> bgjob::Result<usize> {
    let mut after: Option<Cursor> = None;
    loop {
        let list = jobs.list().state(JobState::Succeeded).limit(1000);
        let page = match after {
            Some(cursor) => list.after(cursor).await?,
            None => list.await?,
        };
        for job in &page.jobs {
            if known.insert(job.id) {
                ledger.note(&format!("terminal {}", job.id));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(known.len()),
        }
    }
}
