//! Metadata: too large, too deep, and spelled in every odd way that is JSON.

use std::collections::BTreeMap;

use bgjob::{
    ErrorKind, JobManager, JobState, Json, Outcome, Registry, job, job::limits,
    providers::memory::MemoryStore,
};
use serde::{Deserialize, Serialize};

use crate::support::{Folder, Told, check_others, dispatch, echo, manager, memory, says, soon};

#[job(name = "any")]
async fn any(value: serde_json::Value) -> Outcome<bool> {
    Outcome::Success(!value.is_null())
}

#[job(name = "number")]
async fn number(_: f64) {}

#[job(name = "text")]
async fn text(text: String) -> Outcome<String> {
    Outcome::Success(text)
}

#[derive(Serialize, Deserialize)]
struct Pair {
    a: u32,
}

#[job(name = "pair")]
async fn pair(_: Pair) {}

#[job(name = "map")]
async fn map(map: BTreeMap<String, u32>) -> Outcome<u32> {
    Outcome::Success(map["a"])
}

fn registry() -> Registry {
    Registry::new()
        .with::<any>()
        .with::<number>()
        .with::<text>()
        .with::<pair>()
        .with::<map>()
}

/// A string that is so many bytes as JSON.
fn string(bytes: usize) -> String {
    "x".repeat(bytes - 2)
}

#[tokio::test(start_paused = true)]
async fn metadata_beyond_the_limit_is_refused_and_at_it_is_not() {
    let hard = || JobManager::builder(MemoryStore::new()).max_metadata(limits::METADATA_HARD);
    for (jobs, most) in [
        (memory(), limits::METADATA),
        (hard().build().unwrap(), limits::METADATA_HARD),
    ] {
        for bytes in [most - 1, most] {
            jobs.enqueue_raw("text", string(bytes)).await.unwrap();
        }
        let error = jobs
            .enqueue_raw("text", string(most + 1))
            .await
            .unwrap_err();
        let size = format!("metadata is {} bytes, more than the {most}", most + 1);
        let remedy = "store the data elsewhere and enqueue its key, or raise";
        says(
            &error,
            ErrorKind::InvalidInput,
            &[&size, remedy, "`max_metadata`", "name: text"],
        );
        assert_eq!(
            jobs.counts().await.unwrap()[0].total(),
            2,
            "nothing else is stored"
        );
        let waiting = jobs.list().limit(1).await.unwrap();
        let error = jobs
            .edit(&waiting.jobs[0], &string(most + 1))
            .await
            .unwrap_err();
        says(&error, ErrorKind::InvalidInput, &[&size]);
    }
    let error = hard()
        .max_metadata(limits::METADATA_HARD + 1)
        .build()
        .unwrap_err();
    says(
        &error,
        ErrorKind::InvalidInput,
        &["`max_metadata` is 1048577", "1 to 1048576"],
    );
}

/// The largest metadata there can be goes all the way, on a disk too.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_metadata_runs_on_every_store() {
    let folder = Folder::new();
    let clock = std::sync::Arc::new(bgjob::SystemClock);
    for store in crate::support::stores(&folder, clock).await {
        let jobs = JobManager::builder(store)
            .max_metadata(limits::METADATA_HARD)
            .build()
            .unwrap();
        let _running = dispatch(&jobs, registry(), &Told::default()).await;
        let large = string(limits::METADATA_HARD);
        // What it returns is refused, as it is larger than a result may be.
        let error = soon(
            text::enqueue(&jobs, large)
                .max_attempts(1)
                .await
                .unwrap()
                .result(),
        )
        .await;
        says(&error.unwrap_err(), ErrorKind::JobDead, &["errors"]);
    }
}

/// Raw metadata, the job it is for, and what it comes to: a result, or what the error says.
const ODD: &[(&str, &str, Result<&str, &str>)] = &[
    ("number", "1e400", Err("number out of range")),
    ("any", "1e400", Err("number out of range")),
    ("number", "-0.0", Ok("null")),
    ("number", "123456789012345678901234567890", Ok("null")),
    (
        "pair",
        r#"{"a":1,"a":2}"#,
        Err("does not fit the type (line: 1"),
    ),
    ("map", r#"{"a":1,"a":2}"#, Ok("2")),
    ("pair", r#"{"a":1,"z":{"a":2}}"#, Ok("null")),
    ("pair", r#"{"a":4294967296}"#, Err("does not fit the type")),
    ("pair", "{}", Err("does not fit the type")),
    ("pair", "null", Err("does not fit the type")),
    ("text", r#""\ud800""#, Err("hex escape")),
    ("text", r#""\udc00\ud800""#, Err("surrogate")),
    ("any", r#"{"\ud800":1}"#, Err("hex escape")),
    ("text", r#""\ud83e\udd80""#, Ok("\"🦀\"")),
    ("text", r#""\u0000a\u0000""#, Ok(r#""\u0000a\u0000""#)),
    (
        "text",
        "\"\u{202e}a\u{308}\u{feff}\u{10ffff}\"",
        Ok("\"\u{202e}a\u{308}\u{feff}\u{10ffff}\""),
    ),
    ("any", "[ \n\t1 ]", Ok("true")),
];

#[tokio::test(start_paused = true)]
async fn odd_json_runs_or_is_dead_with_its_reason_and_its_metadata() {
    let jobs = memory();
    let _running = dispatch(&jobs, registry(), &Told::default()).await;
    for (name, raw, comes_to) in ODD {
        let metadata = Json::parse(*raw).expect(raw);
        let odd = jobs.enqueue_raw(*name, metadata).await.unwrap();
        let beside = echo::enqueue(&jobs, 7).await.unwrap();
        let ended = odd.ended().await.unwrap();
        assert_eq!(
            ended.spec.metadata.as_str(),
            *raw,
            "it is kept as it was spelled"
        );
        match comes_to {
            Ok(result) => assert_eq!(ended.result().map(Json::as_str), Some(*result), "{raw}"),
            Err(reason) => {
                let failure = ended.last_error().expect(raw);
                assert_eq!(format!("{:?}", failure.kind), "Decode", "{raw}");
                assert!(
                    failure.message().contains(reason),
                    "{raw}: {}",
                    failure.message()
                );
                assert_eq!(ended.dead_reason().unwrap().as_str(), "decode");
            }
        }
        assert_eq!(beside.result().await.unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn json_is_as_deep_as_can_be_read() {
    let jobs = memory();
    let _running = dispatch(&jobs, registry(), &Told::default()).await;
    for (depth, ends) in [
        (127, JobState::Succeeded),
        (128, JobState::Dead),
        (10_000, JobState::Dead),
        (100_000, JobState::Dead),
    ] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let raw = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            let jobs = jobs.clone();
            if raw.len() > limits::METADATA {
                continue;
            }
            let deep = jobs
                .enqueue_raw("any", Json::parse(raw).unwrap())
                .await
                .unwrap();
            let ended = deep.ended().await.unwrap();
            assert_eq!(ended.state(), ends, "{depth}");
            if ends == JobState::Dead {
                let text = ended.last_error().unwrap().message().to_owned();
                assert!(text.contains("recursion limit exceeded"), "{text}");
            }
        }
    }
    check_others(&jobs).await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_before_it_is_stored() {
    let jobs = manager(MemoryStore::new());
    for raw in [
        "",
        "{",
        "nul",
        "[1,]",
        "\u{0}",
        "1 2",
        "\"\n\"",
        "NaN",
        "'a'",
        "\u{feff}1",
    ] {
        says(
            &Json::parse(raw).unwrap_err(),
            ErrorKind::InvalidInput,
            &["this is not JSON"],
        );
    }
    let no_keys = BTreeMap::from([((1, 2), 3)]);
    let error = jobs.enqueue_raw("any", no_keys).await.unwrap_err();
    says(
        &error,
        ErrorKind::InvalidInput,
        &["can't be written as JSON"],
    );
    assert!(jobs.counts().await.unwrap().is_empty());
}
