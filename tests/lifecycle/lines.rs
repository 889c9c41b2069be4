//! What stands in the log, word by word.

use std::fmt;

use bgjob::{JobError, JobId, Registry, job};
use serde_json::{Value, json};

use crate::support::{Call, Fault, Lines, Probe, World, jobs::*, pass, secs};

#[derive(Debug)]
struct Busy(std::io::Error);

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bank is busy")
    }
}

impl std::error::Error for Busy {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Fails as its metadata says.
#[job(name = "charge", max_attempts = 5, timeout = "20s")]
async fn charge(how: String) -> Result<(), JobError> {
    let busy = || Busy(std::io::Error::other("connection refused"));
    match &*how {
        "busy" => Err(JobError::retry_in(secs(90), busy())),
        "stolen" => Err(JobError::abort("the card is stolen")),
        "lines" => Err(JobError::abort("one\ntwo\u{1b}[2J\u{202e}")),
        "long" => Err(JobError::abort("x".repeat(10_000))),
        "panic" => panic!("out of paper"),
        "hang" => std::future::pending().await,
        "snooze" => Err(JobError::snooze(secs(60))),
        _ => Ok(()),
    }
}

/// The same, for a while.
#[job(name = "charge_soon", deadline = "93s")]
async fn charge_soon(_: ()) -> Result<(), JobError> {
    charge("busy".to_owned()).await
}

fn charges() -> Registry {
    Registry::new().with::<charge>().with::<charge_soon>()
}

/// The warnings of a job's first attempt, and its id.
async fn warnings(how: impl Into<Value>, change: impl Fn(Setup) -> Setup) -> Vec<String> {
    let (lines, _guard) = Lines::listen();
    let world = World::new();
    let builder = world.dispatcher(charges()).worker_name("web-3");
    let running = change(builder).start().await.unwrap();
    let job = world.jobs.enqueue_raw("charge", how.into()).await.unwrap();
    world.log.recorded(job.id()).await;
    running.shutdown().await;
    let id = |line: String| line.replace(&job.id().to_string(), "ID");
    lines.warnings().into_iter().map(id).collect()
}

type Setup = bgjob::DispatcherBuilder;

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_one_line_that_says_all() {
    let lines = warnings("busy", |b| b).await;
    assert_eq!(
        lines,
        [
            "WARN job failed, retry in 1m 30s name=charge id=ID queue=default attempt=1 \
             max_attempts=5 ran=0ns worker=web-3 kind=error error=the bank is busy: connection \
             refused"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_death_is_one_line_that_says_why() {
    let lines = warnings("stolen", |b| b).await;
    assert_eq!(
        lines,
        [
            "ERROR job failed, dead: it was aborted by its handler name=charge id=ID \
             queue=default attempt=1 max_attempts=5 ran=0ns worker=web-3 dead=aborted \
             kind=error error=the card is stolen"
        ]
    );
    let lines = warnings(json!({ "number": 7 }), |b| b).await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    let dead = "ERROR job failed, dead: its metadata can't be decoded name=charge ";
    assert!(line.starts_with(dead), "{line}");
}

#[tokio::test(start_paused = true)]
async fn panics_and_timeouts_are_such_lines_too() {
    let lines = warnings("panic", |b| b).await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(line.starts_with("WARN job failed, retry in "), "{line}");
    assert!(line.ends_with("kind=panic error=out of paper"), "{line}");
    let lines = warnings("hang", |b| b).await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(line.contains(" ran=25s "), "{line}");
    let says = "kind=timeout error=not done within its timeout (20s)";
    assert!(line.ends_with(says), "{line}");
}

#[tokio::test(start_paused = true)]
async fn texts_of_errors_are_bounded_and_stay_on_their_line() {
    let lines = warnings("lines", |b| b).await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    // What moves the cursor is not kept in the history either.
    assert!(line.contains("error=one\\ntwo"), "{line}");
    assert!(line.ends_with("\\u{202e}"), "{line}");
    assert!(!line.chars().any(char::is_control), "{line}");
    let lines = warnings("long", |b| b).await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(line.ends_with("xxx…") && line.len() < 2_500, "{line}");
}

#[tokio::test(start_paused = true)]
async fn texts_of_errors_are_left_out_where_they_may_not_be_logged() {
    for how in ["busy", "stolen", "panic"] {
        let lines = warnings(how, |b| b.log_errors(false)).await;
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert!(line.contains(" kind="), "{line}");
        for secret in ["bank", "refused", "stolen", "paper", "error="] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_error_warns_nobody() {
    for how in ["fine", "snooze"] {
        let lines = warnings(how, |b| b).await;
        assert!(lines.is_empty(), "{lines:?}");
    }
}

/// The worker foresees a retry, but the store knows better.
#[tokio::test(start_paused = true)]
async fn a_death_that_nobody_foresaw_is_told_when_it_is_known() {
    let (lines, _guard) = Lines::listen();
    let world = World::new();
    let running = world.dispatcher(charges()).start().await.unwrap();
    // The retry comes before the deadline, but not once the store hears of it.
    let ends = &[Call::Finish, Call::FinishAndClaim];
    world.store.faults().always(ends, Fault::Before);
    let job = charge_soon::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    pass(secs(5)).await;
    world.store.faults().heal();
    world.log.recorded(job.id()).await;
    running.shutdown().await;
    let told = |line: &String| line.contains("name=charge_soon");
    let told: Vec<_> = lines.warnings().into_iter().filter(told).collect();
    let [foretold, known] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(
        foretold.starts_with("WARN job failed, retry in 1m 30s"),
        "{foretold}"
    );
    let dead = "ERROR job is dead: its deadline comes first name=charge_soon ";
    assert!(known.starts_with(dead), "{known}");
    assert!(
        known.contains("errors=1 crashes=0 dead=deadline error=the bank is busy"),
        "{known}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_span_is_named_after_the_job_and_holds_the_line_of_its_end() {
    let (lines, _guard) = Lines::listen();
    let world = World::new();
    let running = world.dispatcher(charges()).start().await.unwrap();
    let mut ids: Vec<JobId> = Vec::new();
    for how in ["fine", "stolen"] {
        let job = world.jobs.enqueue_raw("charge", how).await.unwrap();
        world.log.recorded(job.id()).await;
        ids.push(job.id());
    }
    running.shutdown().await;
    let spans = lines.spans();
    let [fine, stolen] = &spans[..] else {
        panic!("{spans:?}")
    };
    for (span, id) in spans.iter().zip(&ids) {
        assert_eq!(span.0["span"], "job");
        assert_eq!(span.0["otel.name"], "charge");
        assert_eq!(span.0["otel.kind"], "consumer");
        assert_eq!(span.0["id"], id.to_string());
        assert_eq!(span.0["attempt"], "1");
    }
    assert!(!fine.0.contains_key("otel.status_code"), "{fine:?}");
    assert_eq!(stolen.0["otel.status_code"], "ERROR");
    assert_eq!(stolen.0["error.type"], "error");
    let [line] = &lines.of("ERROR")[..] else {
        panic!("{:?}", lines.of("ERROR"))
    };
    assert_eq!(line.span, *stolen, "its status is known by then");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_asked_to_end_is_no_failure() {
    let (lines, _guard) = Lines::listen();
    let world = World::new();
    let running = world.start(registry(), &Probe::new()).await;
    let job = polite::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    job.cancel().await.unwrap();
    job.ended().await.unwrap();
    running.shutdown().await;
    assert!(lines.warnings().is_empty(), "{:?}", lines.warnings());
    let told = lines.of("INFO job ");
    let texts: Vec<_> = told.iter().map(|line| &*line.text).collect();
    let [asked, ended] = &texts[..] else {
        panic!("{texts:?}")
    };
    assert!(
        asked.starts_with("INFO job asked to end: cancelled name=polite"),
        "{asked}"
    );
    assert!(
        ended.starts_with("INFO job cancelled name=polite"),
        "{ended}"
    );
}
