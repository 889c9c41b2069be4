//! The stores a run can be on. A further one is a variant, a name and a URL.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bgjob::{prelude::*, store::Documents};
use clap::ValueEnum;
use tokio::time::sleep;

use bgjob_test_servers::postgres::Server;

use crate::redb::SharedRedb;

/// The file that says where a server is.
const ADDRESS: &str = "url";

/// Where the jobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    Sqlite,
    /// Each process has a channel of its own beside the shared file, so most hints never reach
    /// whom they would help: idle repair and touches make up for them.
    #[value(name = "sqlite+channel")]
    SqliteChannel,
    File,
    /// `examples/own_provider`, opened for each call.
    Redb,
    /// A server of the run's own.
    Postgres,
}

impl Store {
    pub(crate) const ALL: [Self; 5] = [
        Self::Sqlite,
        Self::SqliteChannel,
        Self::File,
        Self::Redb,
        Self::Postgres,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::SqliteChannel => "sqlite+channel",
            Self::File => "file",
            Self::Redb => "redb",
            Self::Postgres => "postgres",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|store| store.name() == name)
    }

    /// How many jobs the load has every tenth of a second: well below what the store can do beside
    /// other work. (Behind a backlog, what crashed would wait its turn like everything else.)
    pub(crate) fn pace(self) -> u64 {
        match self {
            Self::Sqlite | Self::SqliteChannel | Self::Postgres => 4,
            // Each job is three files written through to the disk, under one lock for all.
            Self::File | Self::Redb => 1,
        }
    }

    /// Whether a server runs beside it, which can be killed too.
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Postgres)
    }

    /// What has to run beside it. Where it is to be found is written into the run's folder.
    pub(crate) fn serve(self, folder: &Path) -> Option<Server> {
        let server = self.is_served().then(|| Server::start(&[]));
        if let Some(server) = &server {
            std::fs::write(folder.join(ADDRESS), server.url()).expect("the folder is ours");
        }
        server
    }

    pub(crate) async fn open(self, folder: &Path) -> bgjob::Result<JobManager> {
        let database = format!("sqlite:{}", folder.join("jobs.db").display());
        match self {
            Self::Sqlite => JobManager::connect(database).await,
            Self::SqliteChannel => JobManager::connect(database).queue_url("channel:").await,
            Self::File => {
                JobManager::connect(format!("file:{}", folder.join("jobs").display())).await
            }
            Self::Redb => {
                let documents = Documents::new(SharedRedb::new(folder));
                JobManager::builder(documents).build()
            }
            Self::Postgres => {
                let url = std::fs::read_to_string(folder.join(ADDRESS));
                JobManager::connect(url.expect("the run has a server")).await
            }
        }
    }

    /// Opens it, also while its server is coming back.
    pub(crate) async fn open_soon(self, folder: &Path) -> bgjob::Result<JobManager> {
        again(async || self.open(folder).await).await
    }
}

/// Asks again where the answer may be another one soon.
pub(crate) async fn again<T>(ask: impl AsyncFn() -> bgjob::Result<T>) -> bgjob::Result<T> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let begun = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.is_retryable() && begun.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}
