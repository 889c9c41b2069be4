//! The store of `examples/own_provider`, as its author tests it: the public suite, and what only
//! this store can get wrong.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bgjob::{
    Durability, ErrorKind, JobDispatcher, JobError, JobId, JobManager, Registry, SystemClock, job,
    store::{Document, DocumentStore, Documents, Inserted, Key, KeyRange, Replaced, Version},
    testing::{Call, Faulty, ManualClock, Rates},
};
use bgjob_conformance::{Clocked, DOCUMENT_CASES, LIFECYCLE_CASES, STORE_CASES, Stored};

use bgjob_redb::RedbDocuments;

/// A file of one test's own, gone with it.
struct TempFile(PathBuf);

impl TempFile {
    fn new() -> Self {
        let name = format!("bgjob-redb-{}.redb", JobId::new());
        Self(std::env::temp_dir().join(name))
    }

    async fn open(&self) -> bgjob::Result<RedbDocuments> {
        RedbDocuments::open(&self.0, Arc::new(SystemClock)).await
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        std::fs::remove_file(&self.0).ok();
    }
}

#[job]
async fn square(n: u64) -> Result<u64, JobError> {
    Ok(n * n)
}

async fn fresh_documents() -> Stored {
    let file = TempFile::new();
    let documents = file.open().await.expect("a file can be made there");
    Stored::new(documents).keep(file)
}

bgjob_conformance::document_conformance!(redb_documents, fresh_documents);

async fn fresh() -> Clocked {
    let (file, clock) = (TempFile::new(), ManualClock::new());
    let opened = RedbDocuments::open(&file.0, Arc::new(clock.clone())).await;
    let documents = opened.expect("a file can be made there");
    Clocked::new(Documents::new(documents), clock).keep(file)
}

bgjob_conformance::store_conformance!(redb, fresh, without = []);
bgjob_conformance::store_sequences!(random_redb, fresh, sequences = 100, histories = 100);
bgjob_conformance::lifecycle_conformance!(redb_at_work, fresh);

fn document(body: &str) -> Document {
    Document {
        id: JobId::from_key("a"),
        version: Version::default(),
        keys: vec![Key::new("r,1"), Key::new("t,1")],
        body: body.into(),
    }
}

fn all() -> KeyRange {
    KeyRange {
        from: Key::new("a"),
        until: Key::new("z"),
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() -> bgjob::Result<()> {
    let file = TempFile::new();
    let store = file.open().await?;
    store.insert(&[document("{}")]).await?;
    drop(store);

    let store = file.open().await?;
    let [Some(found)] = &store.get(&[JobId::from_key("a")]).await?[..] else {
        panic!("it is there");
    };
    assert_eq!((&*found.body, found.keys.len()), (&b"{}"[..], 2));
    assert_eq!(store.scan(&all(), None, 9).await?.len(), 2);
    Ok(())
}

/// `Documents` compares versions to learn whether a document changed; one that came back after it
/// was deleted must not look unchanged, not even to a process that started in between.
#[tokio::test]
async fn no_version_comes_twice() -> bgjob::Result<()> {
    let file = TempFile::new();
    let id = JobId::from_key("a");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let store = file.open().await?;
        assert_eq!(store.insert(&[document("{}")]).await?, [Inserted::Inserted]);
        let [Some(found)] = &store.get(&[id]).await?[..] else {
            panic!("it is there");
        };
        assert!(!seen.contains(&found.version), "{:?}", found.version);
        seen.push(found.version.clone());
        let deleted = store.delete(&[(id, found.version.clone())]).await?;
        assert_eq!(deleted, [Replaced::Replaced]);
        assert_eq!(store.scan(&all(), None, 9).await?, []);
    }
    Ok(())
}

#[tokio::test]
async fn one_process_at_a_time() -> bgjob::Result<()> {
    let file = TempFile::new();
    let store = file.open().await?;
    assert!(!store.capabilities().shared);
    assert_eq!(store.capabilities().durability, Durability::OsCrash);

    let error = file.open().await.expect_err("it is open already");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("one process at a time"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_no_redb_file_is_left_alone() {
    let file = TempFile::new();
    std::fs::write(&file.0, "my diary").expect("it can be written");
    let error = file.open().await.expect_err("it is no database");
    assert!(!error.to_string().contains("diary"), "{error}");
    let text = std::fs::read_to_string(&file.0).expect("it is still there");
    assert_eq!(text, "my diary");
}

/// The store fails, answers get lost or come late, and its clock is wrong.
#[tokio::test]
async fn jobs_get_done_whatever_goes_wrong() -> bgjob::Result<()> {
    let file = TempFile::new();
    let store = Faulty::new(file.open().await?);
    let faults = store.faults().clone();
    let jobs = JobManager::builder(Documents::new(store)).build()?;
    let registry = Registry::new().with::<square>();
    let builder = JobDispatcher::builder(&jobs).registry(registry);
    let running = builder.start().await?;

    let rates = Rates {
        before: 0.1,
        after: 0.1,
        slow: 0.2,
        ..Rates::default()
    };
    faults.clock_behind(Duration::from_secs(3));
    faults.sow(7, rates);

    let ids = [2, 3, 5, 7, 11].map(|n| (JobId::from_key(n.to_string()), n));
    for (id, n) in ids {
        // Under the same id it is safe to repeat.
        while square::enqueue(&jobs, n).id(id).await.is_err() {}
    }
    for (id, n) in ids {
        let done = loop {
            if let Ok(done) = jobs.handle::<u64>(id).result().await {
                break done;
            }
        };
        assert_eq!(done, n * n);
    }
    assert!(faults.count(Call::Replace) > 0);
    running.shutdown().await;
    Ok(())
}

/// How many methods a contract has: those that must be written, and those with a default.
fn methods(code: &str, contract: &str) -> (usize, usize) {
    let file = syn::parse_file(code).expect("the contract is Rust");
    let found = file.items.into_iter().find_map(|item| match item {
        syn::Item::Trait(item) if item.ident == contract => Some(item),
        _ => None,
    });
    let methods = found.into_iter().flat_map(|item| item.items);
    let defaults: Vec<bool> = methods
        .filter_map(|item| match item {
            syn::TraitItem::Fn(method) => Some(method.default.is_some()),
            _ => None,
        })
        .collect();
    let with = defaults.iter().filter(|default| **default).count();
    (defaults.len() - with, with)
}

#[test]
fn the_guide_counts_the_methods_of_the_contracts() {
    let guide = include_str!("../docs/write-a-provider.md");
    let jobs = include_str!("../bgjob-core/src/store/jobs.rs");
    let documents = include_str!("../bgjob-core/src/store/documents.rs");
    let queue = include_str!("../bgjob-core/src/queue.rs");
    for (contract, code) in [
        ("JobStore", jobs),
        ("DocumentStore", documents),
        ("JobQueue", queue),
    ] {
        let (required, defaults) = methods(code, contract);
        let row = guide
            .lines()
            .find(|line| line.contains(&format!("| `{contract}` |")));
        let row = row.expect("the table has each contract");
        assert!(
            row.contains(&format!("| {required} methods")),
            "{required}: {row}"
        );
        let says = format!("; {defaults} ha");
        assert!(defaults == 0 || row.contains(&says), "{defaults}: {row}");
    }
}

/// The guide is about this store: what it shows is cut out of it, or out of this file.
#[test]
fn the_guide_shows_what_is_there() {
    let whole = [
        include_str!("../examples/own_provider/redb/src/lib.rs"),
        include_str!("../examples/own_provider/src/main.rs"),
        include_str!("own_provider.rs"),
    ];
    let guide = include_str!("../docs/write-a-provider.md");
    let blocks = guide.split("```rust").skip(1);
    let mut shown = 0;
    for block in blocks.map(|rest| rest.split("```").next().unwrap_or_default()) {
        let there = whole.iter().any(|file| file.contains(block.trim_end()));
        assert!(there, "the guide shows what is not there:{block}");
        shown += 1;
    }
    assert!(shown > 9, "{shown} pieces");
    // A case that is named is a case.
    let named = guide
        .split('`')
        .filter(|word| word.matches("::").count() == 1 && !word.contains(char::is_whitespace));
    let named: Vec<_> = named
        .filter(|word| word.starts_with(char::is_lowercase))
        .collect();
    for case in &named {
        let (area, name) = case.split_once("::").expect("it was chosen by that");
        let of_store = STORE_CASES.iter().map(|case| (case.area, case.name));
        let of_documents = DOCUMENT_CASES.iter().map(|case| (case.area, case.name));
        let at_work = LIFECYCLE_CASES.iter().map(|case| (case.area, case.name));
        let there = of_store
            .chain(of_documents)
            .chain(at_work)
            .any(|case| case == (area, name));
        assert!(there, "{case} is no case of the suite");
    }
    assert!(named.len() > 9, "{named:?}");
}
