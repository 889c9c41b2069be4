//! What handlers may do wrong: metadata they can't read, upgrades that fail, results and errors
//! that can't be kept.

use std::{collections::BTreeMap, error::Error, fmt};

use bgjob::{
    ErrorKind, JobError, JobState, Outcome, Registry, job,
    job::{DeadReason, FailureKind, limits},
};
use serde_json::Value;

use crate::support::{Told, check_others, dispatch, memory, says};

#[job(name = "address")]
async fn address(_: (String, u32)) {}

/// The same job once somebody has mended it.
mod mended {
    use bgjob::{Outcome, job};

    #[job(name = "address")]
    pub(super) async fn address(word: String) -> Outcome<String> {
        Outcome::Success(word)
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_that_no_longer_decodes_is_kept_and_runs_when_the_code_is_mended() {
    let jobs = memory();
    let running = dispatch(&jobs, Registry::new().with::<address>(), &Told::default()).await;
    let job = jobs
        .enqueue_raw("address", "the secret street")
        .await
        .unwrap();
    let ended = job.ended().await.unwrap();
    assert_eq!(ended.dead_reason(), Some(DeadReason::Decode));
    let failure = ended.last_error().unwrap();
    assert_eq!(
        (failure.kind, ended.errors, ended.fence),
        (FailureKind::Decode, 1, 1)
    );
    assert!(
        failure.message().contains("does not fit the type"),
        "{failure:?}"
    );
    assert!(
        !format!("{ended:?}").contains("secret"),
        "it is quoted nowhere"
    );
    assert_eq!(ended.spec.metadata.as_str(), "\"the secret street\"");
    running.shutdown().await;

    let registry = Registry::new().with::<mended::address>();
    let _running = dispatch(&jobs, registry, &Told::default()).await;
    jobs.requeue(job.id()).await.unwrap();
    let result = jobs.handle::<String>(job.id()).result().await.unwrap();
    assert_eq!(result, "the secret street");
    let history = job.job().await.unwrap().history;
    assert_eq!(history.len(), 1, "what happened stays known");
}

#[job(name = "upgraded", version = 3, upgrade = upgrade)]
async fn upgraded(n: u32) -> Outcome<u32> {
    Outcome::Success(n)
}

#[allow(clippy::needless_pass_by_value, reason = "an upgrade takes its value")]
fn upgrade(value: Value, version: u32) -> Result<Value, JobError> {
    match (version, value.as_str()) {
        (0, _) => Err(JobError::retry("version 0 was never in use")),
        (1, Some("panic")) => panic!("as told"),
        (1, Some("word")) => Ok("still a word".into()),
        // What an upgrade makes may be as deep as it likes: it is no text any more.
        (1, Some("deep")) => Ok((0..200).fold(Value::Null, |deep, _| Value::Array(vec![deep]))),
        _ => Ok(7.into()),
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_fails_costs_its_own_job_only() {
    let jobs = memory();
    let _running = dispatch(&jobs, Registry::new().with::<upgraded>(), &Told::default()).await;
    let check = async |version, metadata: &str, kind, text: &str| {
        let job = jobs
            .enqueue_raw("upgraded", metadata.to_owned())
            .version(version);
        let ended = job.max_attempts(1).await.unwrap().ended().await.unwrap();
        assert_eq!(ended.state(), JobState::Dead, "{metadata}");
        let failure = ended.last_error().unwrap();
        assert_eq!(failure.kind, kind, "{metadata}");
        assert!(failure.message().contains(text), "{metadata}: {failure:?}");
        assert_eq!(
            ended.spec.metadata.as_str(),
            format!("{metadata:?}"),
            "it is kept as it was"
        );
        assert_eq!(ended.spec.version, version);
        check_others(&jobs).await;
    };
    check(0, "any", FailureKind::Decode, "version 0 was never in use").await;
    check(1, "panic", FailureKind::Panic, "as told").await;
    check(
        1,
        "word",
        FailureKind::Decode,
        "the upgraded metadata does not fit the type",
    )
    .await;
    check(
        1,
        "deep",
        FailureKind::Decode,
        "the value is nested too deep for JSON",
    )
    .await;
    let old = jobs
        .enqueue_raw("upgraded", "fine")
        .version(2)
        .await
        .unwrap();
    old.ended().await.unwrap();
    assert_eq!(jobs.handle::<u32>(old.id()).result().await.unwrap(), 7);
}

#[job(name = "returns", max_attempts = 1)]
async fn returns(bytes: usize) -> Outcome<String> {
    Outcome::Success("x".repeat(bytes))
}

#[job(name = "no_json", max_attempts = 1)]
async fn no_json(_: ()) -> Outcome<BTreeMap<(u8, u8), u8>> {
    Outcome::Success([((1, 2), 3)].into())
}

#[tokio::test(start_paused = true)]
async fn a_result_that_can_not_be_kept_is_an_error_of_its_own_kind() {
    let jobs = memory();
    let registry = Registry::new().with::<returns>().with::<no_json>();
    let _running = dispatch(&jobs, registry, &Told::default()).await;
    let most = limits::RESULT - 2;
    for bytes in [most - 1, most] {
        let result = returns::enqueue(&jobs, bytes).await.unwrap().result().await;
        assert_eq!(result.unwrap().len(), bytes);
    }
    let large = returns::enqueue(&jobs, most + 1)
        .await
        .unwrap()
        .ended()
        .await
        .unwrap();
    let failure = large.last_error().unwrap();
    assert_eq!(failure.kind, FailureKind::Result);
    let text = "the result is 65537 bytes, more than the 65536 allowed: store it elsewhere and";
    assert!(failure.message().contains(text), "{failure:?}");
    let job = no_json::enqueue(&jobs, ())
        .await
        .unwrap()
        .ended()
        .await
        .unwrap();
    let failure = job.last_error().unwrap();
    assert_eq!(failure.kind, FailureKind::Result);
    assert!(
        failure.message().contains("can't be written as JSON"),
        "{failure:?}"
    );
}

/// Errors as nobody should make them.
#[derive(Debug)]
enum Odd {
    /// Is its own cause.
    Circle,
    /// Has so many causes.
    Chain(usize, Option<Box<Odd>>),
    /// Says nothing, and its cause does.
    Silent(Box<Odd>),
    Long(usize),
    Control,
    /// Panics when asked what it says.
    Mute,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Circle => f.write_str("round"),
            Self::Chain(n, _) => write!(f, "cause {n}"),
            Self::Silent(_) => Ok(()),
            Self::Long(n) => f.write_str(&"é".repeat(*n)),
            Self::Control => f.write_str("a\0\u{1b}[31mb\r\nc\u{9f}"),
            Self::Mute => panic!("it has no words"),
        }
    }
}

impl Error for Odd {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Circle => Some(self),
            Self::Chain(_, next) => next.as_deref().map(|next| next as _),
            Self::Silent(cause) => Some(&**cause),
            _ => None,
        }
    }
}

impl Odd {
    fn named(what: &str) -> Self {
        match what {
            "circle" => Self::Circle,
            "chain" => (0..1_000).fold(Self::Control, |chain, n| {
                Self::Chain(n, Some(Box::new(chain)))
            }),
            "silent" => Self::Silent(Box::new(Self::Chain(1, None))),
            "long" => Self::Long(1_000_000),
            "control" => Self::Control,
            _ => Self::Mute,
        }
    }
}

#[job(name = "errs", max_attempts = 1)]
async fn errs(what: String) -> Result<(), Odd> {
    Err(Odd::named(&what))
}

#[tokio::test(start_paused = true)]
async fn errors_of_any_shape_are_kept_cut_and_clean() {
    let jobs = memory();
    let _running = dispatch(&jobs, Registry::new().with::<errs>(), &Told::default()).await;
    let check = async |what: &str, kind, first: &str, count| {
        let ended = errs::enqueue(&jobs, what.to_owned())
            .await
            .unwrap()
            .ended()
            .await
            .unwrap();
        let failure = ended.last_error().unwrap();
        assert_eq!(
            (failure.kind, failure.messages.len()),
            (kind, count),
            "{what}: {failure:?}"
        );
        assert!(failure.message().starts_with(first), "{what}: {failure:?}");
        let bytes: usize = failure.messages.iter().map(String::len).sum();
        assert!(bytes <= limits::ERROR, "{what}: {bytes}");
        let clean = |text: &String| text.chars().all(|c| c == '\n' || !c.is_control());
        assert!(failure.messages.iter().all(clean), "{what}: {failure:?}");
    };
    check("circle", FailureKind::Error, "round", 16).await;
    check("chain", FailureKind::Error, "cause 999", 16).await;
    check("silent", FailureKind::Error, "cause 1", 1).await;
    check("long", FailureKind::Error, "éé", 1).await;
    check("control", FailureKind::Error, "a\u{fffd}", 1).await;
    check("mute", FailureKind::Panic, "it has no words", 1).await;
    check_others(&jobs).await;
}

/// bgjob's own error, printed with its causes, comes to an end too.
#[test]
fn an_error_that_is_its_own_cause_can_be_printed() {
    let error = bgjob::Error::new(ErrorKind::Internal, "it went wrong").because(Odd::Circle);
    says(&error, ErrorKind::Internal, &["it went wrong"]);
    let text = format!("{error:?}");
    assert_eq!(text.matches("because: round").count(), 16, "{text}");
}
