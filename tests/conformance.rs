//! The conformance suites, on every provider there is.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bgjob::{
    JobId, JobQueue, JobStore,
    providers::{
        channel::ChannelQueue,
        file::FileDocuments,
        memory::MemoryStore,
        postgres::{PostgresOptions, PostgresStore},
        sqlite::{SqliteOptions, SqliteStore, Sync},
    },
    store::{DocumentStore, Documents},
    testing::{Faulty, ManualClock, MemoryDocuments},
};
use bgjob_conformance::{
    Clocked, DOCUMENT_CASES, LIFECYCLE_CASES, QUEUE_CASES, STORE_CASES, Stored, Timed,
};
use bgjob_test_servers::{pgbouncer::PgBouncer, postgres::Server};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

async fn memory() -> Clocked {
    let clock = ManualClock::new();
    Clocked::new(MemoryStore::with_clock(Arc::new(clock.clone())), clock)
}

bgjob_conformance::store_conformance!(memory, memory);
bgjob_conformance::store_sequences!(random_memory, memory, sequences = 2000, histories = 500);
bgjob_conformance::lifecycle_conformance!(memory_at_work, memory);

/// A folder of one test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("bgjob-conformance-{}", JobId::new()));
        std::fs::create_dir(&path).expect("the folder for temporary files can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn open(folder: &Folder, clock: &ManualClock, sync: Sync) -> SqliteStore {
    let options = SqliteOptions::new(folder.0.join("jobs.db")).sync(sync);
    let opened = options.clock(Arc::new(clock.clone())).open().await;
    opened.expect("a database can be made in an empty folder")
}

async fn sqlite() -> Clocked {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let store = open(&folder, &clock, Sync::Full).await;
    let path = folder.0.join("jobs.db");
    let damage = move |id: JobId| {
        let db = rusqlite::Connection::open(&path).expect("it is there");
        let edit = "UPDATE bgjob_jobs SET history = 'edited' WHERE id = ?1";
        let edited = db.execute(edit, [id.as_bytes()]);
        assert_eq!(edited.expect("it is right"), 1);
        std::future::ready(())
    };
    Clocked::new(store, clock).keep(folder).with_damage(damage)
}

/// As two processes have it.
async fn sqlite_twice() -> Clocked {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let store = open(&folder, &clock, Sync::Full).await;
    let second = open(&folder, &clock, Sync::Full).await;
    Clocked::new(store, clock).with_second(second).keep(folder)
}

bgjob_conformance::store_conformance!(sqlite, sqlite);
bgjob_conformance::store_sequences!(
    random_sqlite,
    sqlite_twice,
    sequences = 100,
    histories = 500
);
bgjob_conformance::lifecycle_conformance!(sqlite_at_work, sqlite_twice);

fn server() -> &'static Server {
    // Whether a commit is on the disk is not what these cases are about.
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&["fsync=off"]))
}

/// A schema of one test's own.
fn schema(url: &str, clock: &ManualClock) -> PostgresOptions {
    let name = JobId::new().to_string().replace('-', "");
    let options = PostgresOptions::from_url(url).expect("it is a URL");
    let options = options.schema(&format!("jobs_{name}")).connections(4);
    options.clock(Arc::new(clock.clone()))
}

async fn open_schema(options: PostgresOptions) -> PostgresStore {
    let opened = options.open().await;
    opened.expect("tables can be made in an empty schema")
}

async fn postgres() -> Clocked {
    let clock = ManualClock::new();
    let options = schema(&server().url(), &clock);
    let store = open_schema(options).await;
    let name = store.schema().to_owned();
    let damage = move |id: JobId| {
        let edit = ["jobs", "history"]
            .map(|table| format!("UPDATE {name}.{table} SET past = 'edited' WHERE id = '{id}';"));
        async move {
            let mut db = PgConnection::connect(&server().url())
                .await
                .expect("it answers");
            let edited = raw_sql(AssertSqlSafe(edit.concat())).execute(&mut db).await;
            assert_eq!(edited.expect("it is right").rows_affected(), 1);
        }
    };
    Clocked::new(store, clock).with_damage(damage)
}

async fn postgres_twice() -> Clocked {
    twice(&server().url()).await
}

async fn twice(url: &str) -> Clocked {
    let clock = ManualClock::new();
    let options = schema(url, &clock);
    let store = open_schema(options.clone()).await;
    Clocked::new(store, clock).with_second(open_schema(options).await)
}

bgjob_conformance::store_conformance!(postgres, postgres);
bgjob_conformance::store_sequences!(
    random_postgres,
    postgres_twice,
    sequences = 100,
    histories = 200
);
bgjob_conformance::lifecycle_conformance!(postgres_at_work, postgres_twice);

/// A pooler that has fewer connections than the cases make.
fn pooler() -> String {
    static POOLER: OnceLock<PgBouncer> = OnceLock::new();
    let pooler = POOLER.get_or_init(|| PgBouncer::start(server(), 5));
    format!("{}?bgjob.pooler=transaction", pooler.url("postgres"))
}

async fn postgres_pooled() -> Clocked {
    let clock = ManualClock::new();
    Clocked::new(open_schema(schema(&pooler(), &clock)).await, clock)
}

async fn postgres_pooled_twice() -> Clocked {
    twice(&pooler()).await
}

bgjob_conformance::store_conformance!(postgres_pooled, postgres_pooled, without = [Wakes]);
bgjob_conformance::lifecycle_conformance!(postgres_pooled_at_work, postgres_pooled_twice);

async fn memory_documents() -> Stored {
    Stored::new(MemoryDocuments::new(Arc::new(ManualClock::new())))
}

bgjob_conformance::document_conformance!(memory_documents, memory_documents);

async fn memory_documents_wrapped() -> Stored {
    let documents = MemoryDocuments::new(Arc::new(ManualClock::new()));
    let documents: Arc<dyn DocumentStore> = Arc::new(documents);
    Stored::new(Faulty::new(documents))
}

bgjob_conformance::document_conformance!(memory_documents_wrapped, memory_documents_wrapped);

async fn documents() -> Clocked {
    let clock = ManualClock::new();
    let documents = MemoryDocuments::new(Arc::new(clock.clone()));
    Clocked::new(Documents::new(documents), clock)
}

/// Two adapters on the same documents.
async fn documents_twice() -> Clocked {
    let clock = ManualClock::new();
    let documents = MemoryDocuments::new(Arc::new(clock.clone())).shared();
    let documents = Arc::new(documents);
    let second = Documents::new(Arc::clone(&documents));
    Clocked::new(Documents::new(documents), clock).with_second(second)
}

bgjob_conformance::store_conformance!(documents, documents);
bgjob_conformance::store_sequences!(
    random_documents,
    documents_twice,
    sequences = 2000,
    histories = 500
);
bgjob_conformance::lifecycle_conformance!(documents_at_work, documents_twice);

/// Types that nobody knows, behind wrappers without faults. For the wrappers one store is enough:
/// `tidy` sees to it that they hand every call on.
async fn documents_wrapped() -> Clocked {
    let clock = ManualClock::new();
    let documents = MemoryDocuments::new(Arc::new(clock.clone()));
    let documents: Arc<dyn DocumentStore> = Arc::new(documents);
    let store: Arc<dyn JobStore> = Arc::new(Documents::new(Faulty::new(documents)));
    Clocked::new(Faulty::new(store), clock)
}

bgjob_conformance::store_conformance!(documents_wrapped, documents_wrapped);

async fn open_files(folder: &Folder, clock: &ManualClock) -> FileDocuments {
    let opened = FileDocuments::with_clock(folder.0.join("jobs"), Arc::new(clock.clone())).await;
    opened.expect("a store can be made in an empty folder")
}

async fn file_documents() -> Stored {
    let folder = Folder::new();
    let documents = open_files(&folder, &ManualClock::new()).await;
    Stored::new(documents).keep(folder)
}

bgjob_conformance::document_conformance!(file_documents, file_documents);

async fn file() -> Clocked {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let documents = open_files(&folder, &clock).await;
    let root = folder.0.join("jobs/documents");
    let damage = move |id: JobId| {
        let name = id.to_string();
        let path = root.join(&name[..7]).join(format!("{name}.json"));
        std::fs::write(path, "edited").expect("it is there");
        std::future::ready(())
    };
    Clocked::new(Documents::new(documents), clock)
        .keep(folder)
        .with_damage(damage)
}

async fn file_twice() -> Clocked {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let documents = open_files(&folder, &clock).await;
    let second = Documents::new(open_files(&folder, &clock).await);
    let clocked = Clocked::new(Documents::new(documents), clock);
    clocked.with_second(second).keep(folder)
}

bgjob_conformance::store_conformance!(file, file, without = [Wakes]);
bgjob_conformance::store_sequences!(random_file, file_twice, sequences = 100, histories = 500);
bgjob_conformance::lifecycle_conformance!(file_at_work, file_twice);

async fn channel() -> Timed {
    Timed::new(ChannelQueue::new(), Duration::from_secs(30))
}

bgjob_conformance::queue_conformance!(channel, channel, without = [Shared]);

async fn channel_wrapped() -> Timed {
    let queue: Arc<dyn JobQueue> = Arc::new(ChannelQueue::new());
    Timed::new(Faulty::new(queue), Duration::from_secs(30))
}

bgjob_conformance::queue_conformance!(channel_wrapped, channel_wrapped, without = [Shared]);

/// The hints of a store that is known to be good.
async fn channel_at_work() -> Clocked {
    memory().await.with_queue(ChannelQueue::new())
}

bgjob_conformance::lifecycle_conformance!(channel_at_work, channel_at_work);

#[test]
fn every_case_has_a_name_of_its_own() {
    let stores = STORE_CASES.iter().map(|case| (case.area, case.name));
    let queues = QUEUE_CASES.iter().map(|case| (case.area, case.name));
    let mut names: Vec<_> = stores.chain(queues).collect();
    own_names(&mut names);
    let documents = DOCUMENT_CASES.iter().map(|case| (case.area, case.name));
    own_names(&mut documents.collect());
    let lifecycles = LIFECYCLE_CASES.iter().map(|case| (case.area, case.name));
    own_names(&mut lifecycles.collect());
    println!(
        "{} store cases, {} queue cases, {} document cases, {} lifecycle cases",
        STORE_CASES.len(),
        QUEUE_CASES.len(),
        DOCUMENT_CASES.len(),
        LIFECYCLE_CASES.len()
    );
}

fn own_names(names: &mut Vec<(&str, &str)>) {
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
