//! One function a target: it takes any bytes, and panics where a promise is broken. cargo-fuzz runs
//! them, and `tests/fuzz_corpus.rs` replays the corpus without it.

use std::{path::Path, sync::Arc, time::Duration};

use bgjob::{
    Cursor, Due, Job, JobId, JobManager, JobStore, Owner, Timestamp, Want,
    job::{
        End, Failure, FailureKind, Grant, Retry, Serves, Token,
        transition::{Operation, SweepPolicy},
    },
    providers::{postgres::PostgresOptions, sqlite::SqliteOptions},
    store::{Document, DocumentStore, Documents, Ending, Filter, Renewal, Slice},
    testing::{ManualClock, MemoryDocuments, fuzz},
};
use proc_macro2::TokenStream;
use serde_json::Value;

use crate::{attribute::expand_job, literal};

/// Takes any bytes; panics where a promise is broken.
#[allow(dead_code, reason = "each fuzzing binary knows its one")]
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
#[allow(dead_code, reason = "each fuzzing binary knows its one")]
pub const TARGETS: [(&str, Target); 7] = [
    ("document", document),
    ("cursor", cursor),
    ("url", url),
    ("duration", duration),
    ("backoff", backoff),
    ("attribute", attribute),
    ("file_name", file_name),
];

/// A stored document: what is read is written the same, and no call of a store fails on it.
pub fn document(data: &[u8]) {
    let id = JobId::from_key("no job's");
    let Some(mut read) = fuzz::read(data, id) else {
        return;
    };
    let written = fuzz::write(&read);
    assert_eq!(
        fuzz::read(&written, id).as_ref(),
        Some(&read),
        "what is written is read"
    );
    // Under the id it claims to have, as an intruder would put it there.
    let body: Value = serde_json::from_slice(&read.body).unwrap_or_default();
    if let Some(Ok(own)) = body["job"]["id"].as_str().map(str::parse) {
        read.id = own;
    }
    block_on(live(read));
}

/// Lives with a document at the first time, at one in between, and at the last.
async fn live(document: Document) {
    let clock = ManualClock::new();
    let store = Documents::new(MemoryDocuments::new(Arc::new(clock.clone())));
    let id = document.id;
    let inserted = store.store().insert(&[document]).await;
    assert!(inserted.is_ok());
    for time in [0, 1_700_000_000_000, i64::MAX, 0] {
        clock.set(Timestamp::from_millis(time));
        let job = store.get(&[id]).await.ok().and_then(|mut jobs| jobs.pop()?);
        let Some(job) = job else {
            // It can't be read, which is told, or has been purged.
            return;
        };
        // Its own JSON leaves the token out, which is proof of a grant, so it isn't read again.
        serde_json::to_vec(&job).expect("a job is JSON");
        let done = call_all(&store, &job).await;
        done.expect("what can be read can be worked with");
    }
}

/// Makes every call of a store on a job.
async fn call_all(store: &impl JobStore, job: &Job) -> bgjob::Result<()> {
    let (id, token) = (job.id, Token::from_bytes([7; 16]));
    let serves =
        Serves::new(Arc::new([(Arc::clone(&job.spec.name), u32::MAX)].into())).suspect(true);
    let grant = Grant::new(token, Owner::from_bytes([7; 16]), Duration::from_secs(30)).repeat(true);
    let queue = Arc::clone(&job.spec.queue);
    store.claim(&[id], &grant, &serves).await?;
    let want = [Want::new(queue, 2)];
    store.claim_ready(&want, &grant, &serves).await?;
    let held = Renewal::new(id, token);
    store.renew(&[held], grant.lease).await?;
    let policy = SweepPolicy::default().touch(Some(SweepPolicy::TOUCH));
    store.sweep(9, &policy).await?;
    let failure = Failure::new(FailureKind::Error, "x");
    let retry = Retry::After(grant.lease);
    let end = End::Error { failure, retry };
    store.finish(&[Ending::new(id, token, end)]).await?;
    for operation in [
        Operation::Reschedule(Due::Now),
        Operation::Cancel,
        Operation::Requeue(Due::Now),
    ] {
        store.operate(id, &operation).await?;
    }
    store.list(&Filter::default(), &Slice::first(9)).await?;
    store.counts().await?;
    store.purge(9).await.map(drop)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime can be made");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A cursor, or an id, as text: what is read is printed, and what is printed is read.
pub fn cursor(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Cursor>() {
        Ok(cursor) => {
            assert_eq!(cursor.to_string().parse::<Cursor>().ok(), Some(cursor));
            let id: JobId = text.parse().expect("a cursor is an id");
            assert_eq!(id.to_string(), cursor.to_string());
        }
        Err(error) => check_message(&error),
    }
}

/// A URL of a store or queue: accepted, or refused in one clean line. Nothing is opened that is
/// more than memory.
pub fn url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let refused = [
        SqliteOptions::from_url(text).err(),
        fuzz::folder_of(text).err(),
        PostgresOptions::from_url(text).err(),
    ];
    refused.iter().flatten().for_each(check_message);
    // What would make files, or call somebody.
    let opens = ["sqlite:", "file:", "postgres:", "postgresql:"];
    if !opens.iter().any(|scheme| text.starts_with(scheme)) {
        let store = async { JobManager::connect(text).await.err() };
        let queue = async { JobManager::connect("memory:").queue_url(text).await.err() };
        let refused = [block_on(store), block_on(queue)];
        refused.iter().flatten().for_each(check_message);
        assert!(text == "memory:" || refused[0].is_some(), "{text:?}");
        assert!(text == "channel:" || refused[1].is_some(), "{text:?}");
    }
}

/// A span of time in the attribute: never more than ten years, and a caret within its text.
pub fn duration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match literal::duration(text) {
        Ok(span) => assert!(span <= LONGEST, "{span:?}"),
        Err(mistake) => check_drawing(&mistake.draw(text), text),
    }
}

/// A backoff in the attribute.
pub fn backoff(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Err(mistake) = literal::backoff(text) {
        check_drawing(&mistake.draw(text), text);
    }
}

/// The attribute's arguments, a line, and the function below it: any tokens expand, and a function
/// that is one expands into code that is.
pub fn attribute(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    // Whoever nests deeper than that ends the compiler by recursion, before the attribute is asked.
    let nests = |byte: &u8| b"([{<&*!-|=".contains(byte);
    if text.len() > 2_000 || text.bytes().filter(nests).count() > 60 {
        return;
    }
    let (args, item) = text
        .split_once('\n')
        .unwrap_or((text, "async fn f(_: ()) {}"));
    let (Ok(args), Ok(item)) = (args.parse::<TokenStream>(), item.parse::<TokenStream>()) else {
        return;
    };
    let is_function = syn::parse2::<syn::ItemFn>(item.clone()).is_ok();
    let expanded = expand_job(args, item);
    if is_function {
        let code = expanded.to_string();
        assert!(syn::parse2::<syn::File>(expanded).is_ok(), "{code}");
    }
}

/// A group and a name in the file store: what is a document's is that of its id and no other, and
/// within the store.
pub fn file_name(data: &[u8]) {
    let root = Path::new("store");
    if let Ok(text) = str::from_utf8(data)
        && let Some((group, name)) = text.split_once('/')
        && let Some(id) = fuzz::id_of(group, name)
    {
        let path = root.join("documents").join(group).join(name);
        assert_eq!(fuzz::path(root, id), path);
    }
    if let Some(bytes) = data.first_chunk() {
        let id = JobId::from_bytes(*bytes);
        let path = fuzz::path(root, id);
        let parts: Vec<_> = path
            .iter()
            .map(|part| part.to_str().expect("it is text"))
            .collect();
        let ["store", "documents", group, name] = parts[..] else {
            panic!("{path:?}");
        };
        assert_eq!(fuzz::id_of(group, name), Some(id));
    }
}

const LONGEST: Duration = bgjob::job::limits::SPAN;

/// One line, of bounded length, that a terminal can show.
fn check_message(error: &bgjob::Error) {
    let text = error.to_string();
    assert!(
        !text.chars().any(char::is_control) && text.len() < 4_096,
        "{text:?}"
    );
}

/// A message, and under the text a caret within it.
fn check_drawing(drawing: &str, text: &str) {
    let lines: Vec<_> = drawing.lines().collect();
    if let [_, shown, carets] = lines[..] {
        assert_eq!(shown.strip_prefix("  "), Some(text));
        assert!(
            carets.chars().count() <= shown.chars().count() + 1,
            "{drawing}"
        );
    }
}
