//! One attempt, without store and dispatcher.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bgjob::{
    BoxError, CancelReason, JobContext, JobId, JobState, Outcome, Priority, Progress, State,
    job::{DeadReason, FailureKind},
    prelude::job,
};
use expect_test::expect;
use serde_json::{Value, json};

use crate::{app::*, fault};

#[tokio::test]
async fn a_success_is_what_the_function_returned() {
    let mailer = Arc::new(Mailer::default());
    let run = send_welcome::perform(welcome(1, "a@b.c"))
        .shared_state(Arc::clone(&mailer))
        .await;
    assert_eq!(run.outcome, Outcome::Success(1));
    assert_eq!(run.job.state(), JobState::Succeeded);
    assert_eq!(run.success(), 1);
    assert_eq!(*mailer.sent(), ["a@b.c"]);
}

#[tokio::test]
async fn an_error_says_when_it_is_tried_again() {
    for (attempt, after) in [(1, 5), (2, 10)] {
        let run = send_welcome::perform(welcome(1, "a@b.c"))
            .state(Mailer::failing(1))
            .attempt(attempt)
            .await;
        let Outcome::Retry {
            failure,
            after: Some(wait),
        } = &run.outcome
        else {
            panic!("{run}");
        };
        assert_eq!((failure.kind, wait.as_secs()), (FailureKind::Error, after));
        assert_eq!(run.job.state(), JobState::Ready);
        assert_eq!(run.job.due_at.since(run.at).as_secs(), after);
    }
}

#[tokio::test]
async fn the_last_attempt_s_error_is_the_end() {
    let last = send_welcome::perform(welcome(1, "a@b.c"))
        .state(Mailer::failing(1))
        .attempt(3);
    let run = last.await;
    assert_eq!(run.job.dead_reason(), Some(DeadReason::Errors));
    assert_eq!(run.failure().message(), "the mail server is down");
    expect!["send_welcome  attempt 3  dead (errors): the mail server is down"]
        .assert_eq(&run.to_string());
    let more = send_welcome::perform(welcome(1, "a@b.c"))
        .state(Mailer::failing(1))
        .attempt(3);
    assert_eq!(more.max_attempts(4).await.job.state(), JobState::Ready);
}

#[tokio::test]
async fn an_abort_is_the_end_at_once() {
    let run = send_welcome::perform(welcome(1, "nowhere"))
        .state(Mailer::default())
        .await;
    assert_eq!(run.job.dead_reason(), Some(DeadReason::Aborted));
    expect!["send_welcome  attempt 1  dead (aborted): this is no address"]
        .assert_eq(&run.to_string());
}

#[tokio::test]
async fn a_snooze_and_what_serde_only_writes() {
    let asked = Arc::new(Mutex::new(1_u32));
    let poll = || {
        poll_invoice::perform(7)
            .shared_state(Arc::clone(&asked))
            .raw()
    };
    expect!["poll_invoice  attempt 1  snoozed for 1h"].assert_eq(&poll().await.to_string());
    assert_eq!(poll().await.success().as_str(), "\"paid\"");
}

#[tokio::test]
async fn a_panic_is_caught() {
    let run = explode::perform("bang".to_owned()).await;
    assert_eq!(run.failure().kind, FailureKind::Panic);
    expect!["explode  attempt 1  retry in 1s: bang"].assert_eq(&run.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_kept_and_takes_no_time() {
    let run = hang::perform(()).await;
    assert_eq!(run.failure().kind, FailureKind::Timeout);
    assert_eq!(run.job.progress, Some(Progress::of(1, 2)));
    expect!["hang  attempt 1  dead (errors): not done within its timeout (30s)"]
        .assert_eq(&run.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_comes_when_it_is_said_to() {
    let begun = tokio::time::Instant::now();
    let run = hang::perform(()).cancel_after(Duration::from_secs(3)).await;
    // Three seconds, then five to end by itself.
    assert_eq!(begun.elapsed().as_secs(), 8);
    assert_eq!(run.job.state(), JobState::Cancelled);
    expect!["hang  attempt 1  cancelled"].assert_eq(&run.to_string());

    let run = urgent::perform(()).cancel_after(Duration::ZERO).await;
    assert!(run.success(), "it was cancelled before it began");
    assert!(!urgent::perform(()).await.success());
}

#[job]
async fn tell(_: (), ctx: JobContext) -> Outcome<String> {
    let (queue, tags, headers) = (ctx.queue(), ctx.tags(), ctx.headers());
    let (priority, of) = (ctx.priority(), ctx.max_attempts());
    let text = format!(
        "{} {queue} {tags:?} {headers:?} {priority:?} {of}",
        ctx.id()
    );
    Outcome::Success(text)
}

#[tokio::test]
async fn all_that_an_enqueue_can_say_can_be_said() {
    let id = JobId::from_key("seven");
    let told = tell::perform(())
        .id(id)
        .queue("elsewhere")
        .tag("blue")
        .header("tenant", "ada")
        .priority(Priority::Low)
        .max_attempts(7);
    let expected = format!("{id} elsewhere [\"blue\"] {{\"tenant\": \"ada\"}} Low 7");
    assert_eq!(told.await.success(), expected);
}

/// Version 1 had seconds, version 0 the word `never` besides.
fn to_millis(old: Value, version: u32) -> Result<Value, BoxError> {
    match old.as_u64() {
        Some(secs) => Ok(json!(secs * 1000)),
        None if version == 0 => Ok(json!(0)),
        None => Err("no number".into()),
    }
}

#[job(version = 2, upgrade = to_millis)]
async fn wait_for(millis: u64) -> Outcome<u64> {
    Outcome::Success(millis)
}

#[tokio::test]
async fn metadata_of_an_older_version_is_upgraded() {
    assert_eq!(wait_for::perform(7).await.success(), 7);
    assert_eq!(wait_for::perform(7).version(1).await.success(), 7000);
    let never = |version| wait_for::perform(7).metadata("never").version(version);
    assert_eq!(never(0).await.success(), 0);
    let run = never(1).await;
    assert_eq!(run.job.dead_reason(), Some(DeadReason::Decode));
    let text = fault(async { wait_for::perform(7).version(3).await }).await;
    expect!["`.version(3)` of `wait_for`: the newest it reads is 2, that of its attribute"]
        .assert_eq(&text);
}

#[tokio::test]
async fn an_attempt_that_no_job_has_is_refused() {
    assert_eq!(tell::perform(()).attempt(5).await.attempt, 5);
    assert_eq!(
        tell::perform(()).max_attempts(6).attempt(6).await.attempt,
        6
    );
    let none = fault(async { tell::perform(()).attempt(0).await }).await;
    expect!["`.attempt(0)` of `tell`: it has attempts 1 to 5; `.max_attempts(n)` says otherwise"]
        .assert_eq(&none);
    let many = fault(async { tell::perform(()).attempt(6).await }).await;
    expect!["`.attempt(6)` of `tell`: it has attempts 1 to 5; `.max_attempts(n)` says otherwise"]
        .assert_eq(&many);
}

#[tokio::test]
async fn blocking_code_runs_as_well() {
    assert_eq!(hash::perform("four".to_owned()).await.success(), 4);
}

#[tokio::test]
async fn a_context_of_one_s_own_calls_the_plain_function() {
    let ctx = tell::perform(()).queue("mine").attempt(2).context();
    assert_eq!((ctx.attempt(), ctx.is_cancelled()), (2, false));
    ctx.report(Progress::of(1, 2));
    // Looking does not take it away.
    assert_eq!(ctx.reported(), Some(Progress::of(1, 2)));
    assert_eq!(ctx.reported(), Some(Progress::of(1, 2)));
    ctx.cancel(CancelReason::Shutdown);
    ctx.cancel(CancelReason::User);
    assert_eq!(ctx.cancel_reason(), Some(CancelReason::Shutdown));
    ctx.cancelled().await;
    let Outcome::Success(told) = tell((), ctx).await else {
        panic!("it succeeds")
    };
    assert!(told.contains(" mine "), "{told}");
}

#[tokio::test]
async fn the_function_is_still_one() {
    let mailer = State::new(Mailer::default());
    let sent = send_welcome(welcome(1, "a@b.c"), mailer.clone()).await;
    assert_eq!((sent.ok(), mailer.sent().len()), (Some(1), 1));
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[allow(dead_code, reason = "it gets lost")]
struct Lossy {
    #[serde(skip_serializing)]
    lost: u8,
}

#[job]
async fn lossy(_: ()) -> Outcome<Lossy> {
    Outcome::Success(Lossy { lost: 1 })
}

#[job]
async fn lossy_metadata(_: Lossy) {}

#[tokio::test]
async fn metadata_is_really_written_and_read() {
    let run = lossy_metadata::perform(Lossy { lost: 1 }).await;
    assert_eq!(run.job.dead_reason(), Some(DeadReason::Decode));
    assert_eq!(run.failure().kind, FailureKind::Decode);
}

#[tokio::test]
async fn a_test_s_own_faults_are_told() {
    let missing = fault(async { send_welcome::perform(welcome(1, "a@b.c")).await }).await;
    let missing = missing.replace(char::is_numeric, "");
    expect![
        "job `send_welcome` (tests/testing/app.rs:) needs `State<Mailer>`: add `.state(mailer)`"
    ]
    .assert_eq(&missing);
    let queue = fault(async { explode::perform(String::new()).queue("No").await }).await;
    assert!(
        queue.starts_with("queue names are 1–64 bytes of"),
        "{queue}"
    );
    let result = fault(async { lossy::perform(()).await }).await;
    expect![[r#"
        the result of `lossy` can't be read as the type it was written from:
          the JSON does not fit the type: the field `lost` is missing (line: 1, column: 2)
          written: {}
          type: testing::perform::Lossy
        `.raw()` leaves it as JSON"#]]
    .assert_eq(&result);
    let none = async { explode::perform(String::new()).await.failure().clone() };
    expect!["the attempt did not fail: explode  attempt 1  succeeded"]
        .assert_eq(&fault(none).await);
    let one = async { explode::perform("bang".to_owned()).await.success() };
    expect!["the attempt did not succeed: explode  attempt 1  retry in 1s: bang"]
        .assert_eq(&fault(one).await);
}
