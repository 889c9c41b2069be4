//! A process that dies at one step of its transfer.

use std::{
    fmt,
    io::Read,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use bgjob::{BoxError, Event, Json, Middleware, Next, prelude::*};
use clap::ValueEnum;
use sqlx::PgPool;

use crate::{Place, book::transfer};

/// How long a dead worker keeps its job from others: the shortest there is.
const LEASE: Duration = Duration::from_secs(5);

/// Where a worker can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    Never,
    BeforeWrites,
    BetweenWrites,
    AfterWrites,
    AfterReturn,
    DuringCommit,
    AfterCommit,
}

impl Step {
    pub(crate) const ALL: [Self; 7] = [
        Self::Never,
        Self::BeforeWrites,
        Self::BetweenWrites,
        Self::AfterWrites,
        Self::AfterReturn,
        Self::DuringCommit,
        Self::AfterCommit,
    ];

    /// A queue for each, so that each worker gets the transfer that it is to die of.
    pub(crate) fn queue(self) -> String {
        self.to_string().replace(' ', "-")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::BeforeWrites => "before the first write",
            Self::BetweenWrites => "between the writes",
            Self::AfterWrites => "after the writes",
            Self::AfterReturn => "before the commit",
            Self::DuringCommit => "during the commit",
            Self::AfterCommit => "after the commit",
        })
    }
}

/// The step at which this process dies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doom(Step);

impl Doom {
    pub(crate) const NONE: Self = Self(Step::Never);

    /// Dies here, if it is here: nothing is dropped, flushed, rolled back or given back.
    pub(crate) fn at(self, step: Step) {
        if self.0 == step {
            std::process::abort();
        }
    }
}

/// What happens around the job, as seen from the step to die at.
struct Around {
    doom: Doom,
    pool: PgPool,
}

#[async_trait::async_trait]
impl Middleware for Around {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        let outcome = next.run(job).await;
        // The handler has returned; its success is recorded and committed after this.
        self.doom.at(Step::AfterReturn);
        if self.doom.0 == Step::DuringCommit {
            tokio::spawn(die_once_the_server_commits(self.pool.clone()));
        }
        outcome
    }
}

/// The commit waits for a lock; that it waits is to be seen from another connection.
async fn die_once_the_server_commits(pool: PgPool) {
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    while !sqlx::query_scalar(waits)
        .fetch_one(&pool)
        .await
        .unwrap_or(false)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Doom(Step::DuringCommit).at(Step::DuringCommit);
}

/// Does its transfer, and dies of it; ends with its input otherwise.
pub(crate) async fn run(step: Step, place: &Place) -> Result<(), BoxError> {
    let doom = Doom(step);
    let (pool, jobs) = place.open().await?;
    let asked = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let drained = JobDispatcher::builder(&jobs)
        .state(pool.clone())
        .state(doom)
        .middleware(Around { doom, pool })
        .on_event(move |event| {
            // The store has the success, and this process is the only one that knows.
            if matches!(event, Event::Recorded { .. }) {
                doom.at(Step::AfterCommit);
            }
        })
        .serve_jobs([transfer::NAME])
        .serve_queues([step.queue()])
        .lease(LEASE)
        .run_until(asked)
        .await?;
    Err(format!("it should be dead by now: {drained:?}").into())
}

/// Such a process, seen from outside.
pub(crate) struct Worker {
    pub(crate) step: Step,
    child: Child,
    /// It ends when this does, so it does not outlive the example.
    input: Option<ChildStdin>,
}

impl Worker {
    pub(crate) fn start(step: Step, url: &str, database: &str) -> std::io::Result<Self> {
        // An abort leaves no core file behind.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c 0; exec \"$0\" \"$@\""]);
        let name = step.to_possible_value().expect("no step is left out");
        command.arg(std::env::current_exe()?).arg(url);
        command.args(["--worker", name.get_name(), database]);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        Ok(Self { step, child, input })
    }

    /// How it ended.
    pub(crate) fn ended(mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait();
        drop(self.input);
        status
    }
}
