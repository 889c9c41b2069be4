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
        let error = soon(text::enqueue(&jobs, large).await.unwrap().result()).await;
        says(&error.unwrap_err(), ErrorKind::JobDead, &["aborted"]);
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
    for depth in [127, 128, 10_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let raw = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            let jobs = jobs.clone();
            if raw.len() > limits::METADATA {
                continue;
            }
            let raw = Json::parse(raw).unwrap();
            let deep = jobs.enqueue_raw("any", raw.clone()).await;
            if depth == 127 {
                let ended = deep.unwrap().ended().await.unwrap();
                assert_eq!(ended.state(), JobState::Succeeded);
                continue;
            }
            let error = deep.unwrap_err();
            says(&error, ErrorKind::InvalidInput, &["nested too deep", "127"]);
            // What others have stored is Dead when it is to run.
            let new = crate::support::new("any", |spec| spec.metadata = raw);
            let id = new.id;
            jobs.store().create(&[new]).await.unwrap();
            let deep = jobs.handle::<bool>(id);
            let ended = deep.ended().await.unwrap();
            assert_eq!(ended.state(), JobState::Dead, "{depth}");
            let text = ended.last_error().unwrap().message().to_owned();
            assert!(text.contains("recursion limit exceeded"), "{text}");
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

#[job(name = "sum")]
async fn sum(numbers: Vec<f64>) -> Outcome<f64> {
    Outcome::Success(numbers.into_iter().reduce(|a, b| a + b).unwrap_or(0.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_as_they_went_on_every_store() {
    let folder = Folder::new();
    let clock = std::sync::Arc::new(bgjob::SystemClock);
    let registry = registry().with::<sum>();
    for store in crate::support::stores(&folder, clock).await {
        let jobs = manager(store);
        let _running = dispatch(&jobs, registry.clone(), &Told::default()).await;
        for odd in [
            394_301.338_356_336_75,
            f64::MIN_POSITIVE / 3.0,
            -0.0,
            f64::MAX,
        ] {
            let summed = sum::enqueue(&jobs, vec![odd]).await.unwrap();
            let summed = soon(summed.result()).await.unwrap();
            assert_eq!(summed.to_bits(), odd.to_bits(), "{odd:e}");
        }
        let error = sum::enqueue(&jobs, vec![1.0, f64::NAN]).await.unwrap_err();
        says(
            &error,
            ErrorKind::InvalidInput,
            &["NaN or infinite", "at: [1]", "name: sum"],
        );
        // A result that is none ends the job: another try would only have the same effects again.
        let infinite = sum::enqueue(&jobs, vec![f64::MAX; 2]).await.unwrap();
        let ended = soon(infinite.ended()).await.unwrap();
        assert_eq!((ended.state(), ended.errors), (JobState::Dead, 1));
        let failure = ended.last_error().unwrap();
        assert_eq!(failure.kind, bgjob::job::FailureKind::Result);
        assert!(failure.message().contains("NaN or infinite"), "{failure}");
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Amount {
    Exact(u128),
    Named(String),
}

#[derive(Serialize, Deserialize)]
struct Forgetful {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

#[job(name = "amount")]
async fn amount(_: Amount) {}

#[job(name = "forgetful")]
async fn forgetful(_: Forgetful) {}

#[job(name = "double")]
async fn double(_: Vec<Option<Option<u8>>>) {}

#[tokio::test(start_paused = true)]
async fn what_would_not_be_read_back_is_refused_before_it_is_stored() {
    let jobs = memory();
    let says = |error: bgjob::Error, texts: &[&str]| {
        says(&error, ErrorKind::InvalidInput, texts);
        assert!(!error.to_string().contains("7890"), "{error}");
    };
    let unread = "can't be read back as it is written";
    let error = amount::enqueue(&jobs, Amount::Exact(u128::MAX / 7890)).await;
    says(error.unwrap_err(), &[unread, "name: amount"]);
    let name = String::new();
    let error = forgetful::enqueue(&jobs, Forgetful { name })
        .await
        .unwrap_err();
    says(error, &[unread, "name: forgetful"]);
    let error = double::enqueue_all(&jobs, [vec![None, Some(None)]])
        .await
        .unwrap_err();
    says(error, &["read back as `None`", "at: [1]"]);
    assert!(jobs.counts().await.unwrap().is_empty());
    let name = "Ada".to_owned();
    forgetful::enqueue(&jobs, Forgetful { name }).await.unwrap();
    double::enqueue(&jobs, vec![None, Some(Some(1))])
        .await
        .unwrap();
}

#[job(name = "grown", version = 1, upgrade = wrap)]
async fn grown(amounts: Vec<u128>) -> Outcome<String> {
    Outcome::Success(format!("{amounts:?}"))
}

/// Version 0 had one amount.
fn wrap(old: serde_json::Value, _: u32) -> Result<serde_json::Value, bgjob::BoxError> {
    Ok(serde_json::json!([old, 5]))
}

#[tokio::test(start_paused = true)]
async fn integers_of_128_bits_survive_an_upgrade() {
    let jobs = memory();
    let registry = Registry::new().with::<grown>();
    let _running = dispatch(&jobs, registry, &Told::default()).await;
    for amount in [7, u128::MAX] {
        let job = jobs.enqueue_raw("grown", amount).version(0).await.unwrap();
        let ended = jobs.handle::<String>(job.id()).result().await.unwrap();
        assert_eq!(ended, format!("[{amount}, 5]"));
    }
}
