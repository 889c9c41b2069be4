//! A worker: a process that runs jobs until it is ended, and notes what it does.

use std::{path::Path, sync::Arc, time::Duration};

use bgjob::{Event, JobId, prelude::*, store::Finished};
use serde::{Deserialize, Serialize};

use crate::{ledger::Ledger, store::Store};

/// The shortest lease there is, so that the runs are short too.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// More than the load needs: jobs that are found once a second must not queue up.
const SLOTS: usize = 25;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) key: String,
    millis: u64,
    /// Enqueues another piece from where it runs.
    child: bool,
}

impl Work {
    /// The n-th piece: 5 ms to 2 s, most of them short.
    pub(crate) fn number(n: u64) -> Self {
        let millis = match n % 20 {
            0 => 2000,
            1 | 2 => 700,
            m => 5 + (m - 3) * 10,
        };
        Self {
            key: format!("work-{n}"),
            millis,
            child: n % 5 == 3,
        }
    }

    fn child(&self) -> Option<Self> {
        self.child.then(|| Self {
            key: format!("{}-child", self.key),
            millis: 50,
            child: false,
        })
    }
}

/// Takes its time. Kills are many here, so a job may see many crashes; and it is kept for longer
/// than any run takes, as the judge looks for it in the end.
#[job(max_crashes = 100, retain = "7d")]
pub(crate) async fn work(
    meta: Work,
    ctx: JobContext,
    ledger: State<Arc<Ledger>>,
    jobs: State<JobManager>,
) -> Result<(), JobError> {
    let _run = Run::start(Arc::clone(&ledger), &ctx);
    if let Some(child) = meta.child() {
        let id = JobId::from_key(&child.key);
        work::enqueue(&jobs, child).id(id).await?;
        ledger.note("acked", id, 0);
        ledger.sync();
    }
    tokio::time::sleep(Duration::from_millis(meta.millis)).await;
    Ok(())
}

/// Notes when the handler begins and ends, also where it is dropped before it returns.
struct Run {
    ledger: Arc<Ledger>,
    id: JobId,
}

impl Run {
    fn start(ledger: Arc<Ledger>, ctx: &JobContext) -> Self {
        ledger.note("start", ctx.id(), u64::from(ctx.crashes()));
        Self {
            ledger,
            id: ctx.id(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.ledger.note("end", self.id, 0);
    }
}

/// What lies beside a villain in a process's hands, and has done nothing wrong. Takes its time, but
/// not again after a crash, when those like it wait in line.
#[job]
pub(crate) async fn bystander(millis: u64, ctx: JobContext) {
    if millis > 0 && ctx.crashes() == 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Evil {
    /// Aborts its process.
    Abort,
    /// Asks for memory until there is none, which aborts the process too.
    Hoard,
}

#[job]
pub(crate) async fn villain(evil: Evil) {
    if matches!(evil, Evil::Abort) {
        std::process::abort();
    }
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(std::hint::black_box(Vec::with_capacity(64 << 20)));
    }
}

/// The soak's job: short, and soon forgotten, so that the database can stay as it is.
#[job(retain = "10s")]
pub(crate) async fn chore(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub(crate) async fn run(
    store: Store,
    folder: &Path,
    lease: Duration,
    drain: Duration,
) -> bgjob::Result<()> {
    let ledger = Arc::new(Ledger::open(folder));
    let jobs = store.open_soon(folder).await?;
    tokio::spawn(count_tasks(Arc::clone(&ledger)));
    let heard = Arc::clone(&ledger);
    let drained = JobDispatcher::builder(&jobs)
        .lease(lease)
        .default_slots(SLOTS)
        .drain(drain)
        .cancel_within(Duration::from_millis(500))
        .state(Arc::clone(&ledger))
        .state(jobs.clone())
        .on_event(move |event| note_success(&heard, event))
        .run()
        .await?;
    ledger.note("released", "-", drained.released as u64);
    Ok(())
}

fn note_success(ledger: &Ledger, event: &Event<'_>) {
    if let Event::Recorded {
        job,
        answer: Finished::Applied(JobState::Succeeded),
        ..
    } = event
        && &*job.spec.name == work::NAME
    {
        ledger.note("success", job.id, 0);
        ledger.sync();
    }
}

/// Notes now and then how many tasks there are.
async fn count_tasks(ledger: Arc<Ledger>) {
    loop {
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        ledger.note("tasks", tasks, 0);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}
