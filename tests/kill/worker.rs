//! A worker: a process that runs jobs until it is killed, and notes what it does.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bgjob::{Event, prelude::*, store::Finished};
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;

pub(crate) const WORKERS: usize = 3;
/// The shortest lease there is, so that the run is short too.
pub(crate) const LEASE: Duration = Duration::from_secs(5);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) key: String,
    pub(crate) millis: u64,
}

impl Work {
    /// The n-th piece: 5 ms to 2 s, most of them short.
    pub(crate) fn number(n: u64) -> Self {
        let millis = match n % 20 {
            0 => 2000,
            1 | 2 => 700,
            m => 5 + m * 10,
        };
        Self {
            key: format!("work-{n}"),
            millis,
        }
    }
}

static LEDGER: OnceLock<Ledger> = OnceLock::new();

/// Takes its time. Kills are many here, so a job may see many crashes.
#[job(max_crashes = 100, retain = "1h")]
pub(crate) async fn work(meta: Work, ctx: JobContext) -> Result<u64, JobError> {
    let ledger = LEDGER
        .get()
        .ok_or_else(|| JobError::abort("only workers run this"))?;
    ledger.note(&format!("start {} {}", ctx.id(), ctx.fence()));
    tokio::time::sleep(Duration::from_millis(meta.millis)).await;
    ledger.note(&format!("end {} {}", ctx.id(), ctx.fence()));
    Ok(ctx.fence())
}

pub(crate) fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("jobs.db").display())
}

pub(crate) async fn run(folder: &Path) -> bgjob::Result<()> {
    let ledger = LEDGER.get_or_init(|| Ledger::open(folder));
    let listener: Arc<dyn Fn(&Event<'_>) + Send + Sync> = Arc::new(move |event| {
        if let Event::Recorded {
            job,
            answer: Finished::Applied(JobState::Succeeded),
            ..
        } = event
        {
            ledger.note(&format!("success {}", job.id));
        }
    });
    let jobs = JobManager::connect(url(folder)).await?;
    let drained = JobDispatcher::builder(&jobs)
        .lease(LEASE)
        .on_event(move |event| listener(event))
        .run()
        .await?;
    ledger.note(&format!("drained {}", drained.released));
    Ok(())
}
