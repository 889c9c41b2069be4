//! `TestJobs`: drains, the clock, the dispatcher.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use bgjob::{
    BoxError, Clock, JobContext, JobId, JobManager, JobState, Json, Middleware, Next, Outcome,
    Priority, Registry, State,
    prelude::job,
    providers::memory::MemoryStore,
    testing::{ManualClock, TestJobs},
};
use expect_test::expect;

use crate::{app::*, fault};

pub(crate) fn with_mailer(mailer: Mailer) -> (TestJobs, Arc<Mailer>) {
    let mailer = Arc::new(mailer);
    let jobs = TestJobs::new();
    let manager = jobs.manager();
    let jobs = jobs
        .shared_state(Arc::clone(&mailer))
        .state(manager)
        .state(Mutex::new(0_u32));
    (jobs, mailer)
}

#[tokio::test]
async fn a_drain_runs_what_is_due_and_what_that_enqueues() {
    let (jobs, mailer) = with_mailer(Mailer::default());
    tell_friends::enqueue(&jobs, 7).await.unwrap();
    send_welcome::enqueue(&jobs, welcome(8, "later@b.c"))
        .delay(HOUR)
        .await
        .unwrap();
    let runs = jobs.drain().await.assert_succeeded();
    expect![[r#"
          0s  tell_friends  attempt 1  succeeded
          0s  send_welcome  attempt 1  succeeded
          0s  send_welcome  attempt 1  succeeded
    "#]]
    .assert_eq(&runs.to_string());
    assert_eq!(*mailer.sent(), ["friend-1@of-7", "friend-2@of-7"]);
    assert_eq!(runs.of::<send_welcome>().len(), 2);
    assert_eq!(runs.len(), 3);
    assert!(jobs.drain().await.is_empty(), "nothing is left that is due");
}

#[tokio::test]
async fn a_week_of_delays_retries_and_snoozes_takes_no_time() {
    let begun = Instant::now();
    let (jobs, mailer) = with_mailer(Mailer::failing(2));
    let start = jobs.clock().now();
    send_welcome::enqueue(&jobs, welcome(1, "a@b.c"))
        .delay(2 * DAY)
        .await
        .unwrap();
    let invoice = poll_invoice::enqueue(&jobs, 7).delay(DAY).await.unwrap();
    tell_friends::enqueue(&jobs, 9)
        .delay(8 * DAY)
        .await
        .unwrap();
    let runs = jobs.drain_for(7 * DAY).await.assert_succeeded();
    expect![[r#"
        1day       poll_invoice  attempt 1  snoozed for 1h
        1day 1h    poll_invoice  attempt 1  snoozed for 1h
        1day 2h    poll_invoice  attempt 1  succeeded
        2days      send_welcome  attempt 1  retry in 5s: the mail server is down
        2days 5s   send_welcome  attempt 2  retry in 10s: the mail server is down
        2days 15s  send_welcome  attempt 3  succeeded
    "#]]
    .assert_eq(&runs.to_string());
    assert_eq!(jobs.clock().now().since(start), 7 * DAY);
    assert_eq!(mailer.sent().len(), 1);
    // What ended days ago can still be looked at.
    assert_eq!(invoice.status().await.unwrap(), JobState::Succeeded);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(jobs.drain_for(DAY).await.len(), 3, "the eighth day");
    assert_eq!(jobs.ran().len(), 9);
}

#[tokio::test]
async fn urgent_jobs_go_first_then_the_order_of_the_enqueues() {
    let (jobs, _) = with_mailer(Mailer::default());
    send_welcome::enqueue(&jobs, welcome(1, "a@b.c"))
        .await
        .unwrap();
    hash::enqueue(&jobs, "x".to_owned()).await.unwrap();
    send_welcome::enqueue(&jobs, welcome(2, "a@b.c"))
        .priority(Priority::Low)
        .await
        .unwrap();
    urgent::enqueue(&jobs, ()).await.unwrap();
    expect![[r#"
          0s  urgent        attempt 1  succeeded
          0s  send_welcome  attempt 1  succeeded
          0s  hash          attempt 1  succeeded
          0s  send_welcome  attempt 1  succeeded
    "#]]
    .assert_eq(&jobs.drain().await.to_string());
}

#[tokio::test]
async fn a_job_that_fails_for_good_is_told_with_the_timeline() {
    let (jobs, _) = with_mailer(Mailer::failing(9));
    let job = send_welcome::enqueue(&jobs, welcome(1, "a@b.c"))
        .await
        .unwrap();
    let text = fault(async move { jobs.drain_for(DAY).await.assert_succeeded() }).await;
    expect![[r#"
        not every job succeeded:
        0s   send_welcome  attempt 1  retry in 5s: the mail server is down
        5s   send_welcome  attempt 2  retry in 10s: the mail server is down
        15s  send_welcome  attempt 3  dead (errors): the mail server is down
    "#]]
    .assert_eq(&text);
    assert_eq!(job.status().await.unwrap(), JobState::Dead);
}

#[tokio::test]
async fn what_is_due_and_does_not_run_is_told() {
    let (jobs, _) = with_mailer(Mailer::default());
    jobs.enqueue_raw("send_wellcome", 1).await.unwrap();
    hash::enqueue(&jobs, "x".to_owned())
        .queue("elsewhere")
        .await
        .unwrap();
    urgent::enqueue(&jobs, ()).await.unwrap();
    jobs.clock().advance(2 * HOUR);
    let text = fault(async move { jobs.drain().await.assert_succeeded() }).await;
    let text = text.replace("; ", ";\n");
    expect![[r#"
        not every job succeeded:
        left  urgent  dead (expired): it was too late to start
        left  send_wellcome  no job named `send_wellcome` is linked into this program;
        did you mean `send_welcome`?
        left  hash  its queue `elsewhere` is not served: name it with `.slots("elsewhere", n)`
    "#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn a_job_kept_for_no_time_is_told_all_the_same() {
    let (jobs, _) = with_mailer(Mailer::default());
    let gone = explode::enqueue(&jobs, String::new()).await.unwrap();
    let runs = jobs.drain().await.assert_succeeded();
    assert_eq!(runs[0].job.state(), JobState::Succeeded);
    assert!(gone.status().await.is_err());
}

#[tokio::test]
async fn a_time_by_the_host_s_clock_is_due_when_one_thinks() {
    let (jobs, _) = with_mailer(Mailer::default());
    hash::enqueue(&jobs, "now".to_owned())
        .at(SystemTime::now())
        .await
        .unwrap();
    hash::enqueue(&jobs, "then".to_owned())
        .at(SystemTime::now() + HOUR)
        .await
        .unwrap();
    assert_eq!(jobs.drain().await.len(), 1);
    assert_eq!(
        jobs.drain_until(SystemTime::now() + 2 * HOUR).await.len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn progress_and_time_outs_are_real() {
    let (jobs, _) = with_mailer(Mailer::default());
    let job = hang::enqueue(&jobs, ()).await.unwrap();
    expect![[r#"
          0s  hang  attempt 1  dead (errors): not done within its timeout (30s)
    "#]]
    .assert_eq(&jobs.drain().await.to_string());
    let stored = job.job().await.unwrap();
    assert_eq!(stored.progress.map(|p| p.done), Some(1));
}

/// Cancels the job it is told of, as an operator would.
#[job(queue = "first")]
async fn call_off(other: JobId, jobs: State<JobManager>) -> Result<bool, BoxError> {
    Ok(jobs.cancel(other).await? == JobState::Cancelled)
}

#[tokio::test]
async fn what_a_job_does_to_the_next_one_holds() {
    let (jobs, _) = with_mailer(Mailer::default());
    let other = JobId::new();
    call_off::enqueue(&jobs, other).await.unwrap();
    jobs.clock().advance(Duration::from_secs(1));
    let second = hash::enqueue(&jobs, "x".to_owned()).id(other);
    let second = second.await.unwrap();
    let runs = jobs.drain().await;
    expect![[r#"
        1s  call_off  attempt 1  succeeded
    "#]]
    .assert_eq(&runs.to_string());
    let found = runs[0].clone().success();
    assert_eq!(found.as_str(), "true", "it was still waiting");
    assert_eq!(second.status().await.unwrap(), JobState::Cancelled);
}

#[tokio::test]
async fn of_several_queues_the_longest_due_goes_first() {
    let (jobs, mailer) = with_mailer(Mailer::default());
    for minutes in [2, 1, 5] {
        let text = minutes.to_string();
        let job = hash::enqueue(&jobs, text).delay(Duration::from_secs(60 * minutes));
        job.await.unwrap();
    }
    for minutes in [4, 3] {
        let to = welcome(minutes, &format!("{minutes}@b.c"));
        let job = send_welcome::enqueue(&jobs, to).delay(Duration::from_secs(60 * minutes));
        job.await.unwrap();
    }
    // All are due at once: a drain that has to choose, unlike one that moves the clock.
    jobs.clock().advance(HOUR);
    let runs = jobs.drain().await.assert_succeeded();
    let due: Vec<_> = runs.iter().map(|run| run.job.due_at).collect();
    assert!(due.is_sorted() && due.len() == 5, "{due:?}\n{runs}");
    assert_eq!(*mailer.sent(), ["3@b.c", "4@b.c"]);
}

#[tokio::test]
async fn jobs_without_end_are_stopped() {
    let (jobs, _) = with_mailer(Mailer::default());
    forever::enqueue(&jobs, ()).await.unwrap();
    let drain = async move { jobs.drain().await };
    expect!["20000 jobs ran, and `forever` is due: does a job enqueue itself without end?"]
        .assert_eq(&fault(drain).await);
    let (jobs, _) = with_mailer(Mailer::default());
    let jobs = jobs.inline();
    let text = fault(async move { forever::enqueue(&jobs, ()).await }).await;
    expect!["jobs that run inline enqueue each other without end"].assert_eq(&text);
}

struct Doubling;

#[async_trait::async_trait]
impl Middleware for Doubling {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        let outcome = next.run(job).await;
        match outcome {
            Outcome::Success(json) => Json::encode(&(2 * json.decode::<usize>().unwrap()))
                .map_or_else(|_| Outcome::Snooze(HOUR), Outcome::Success),
            other => other,
        }
    }
}

#[tokio::test]
async fn the_dispatcher_s_own_settings_hold() {
    let jobs = TestJobs::new().dispatcher(|d| {
        d.middleware(Doubling)
            .slots("elsewhere", 1)
            .registry(Registry::new().with::<hash>())
    });
    let job = hash::enqueue(&jobs, "four".to_owned())
        .queue("elsewhere")
        .await
        .unwrap();
    jobs.drain().await.assert_succeeded();
    assert_eq!(job.result().await.unwrap(), 8);
}

#[tokio::test]
async fn a_manager_of_one_s_own_does_as_well() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(Arc::new(clock.clone()));
    let manager = JobManager::builder(store).build().unwrap();
    let jobs = TestJobs::over(manager, clock);
    hash::enqueue(&jobs, "x".to_owned())
        .delay(DAY)
        .await
        .unwrap();
    assert_eq!(jobs.drain_for(DAY).await.assert_succeeded().len(), 1);
}

#[job]
async fn unready(_: (), _: bgjob::State<u8>) {}

#[tokio::test]
async fn a_service_that_is_missing_is_named() {
    let jobs = TestJobs::new();
    // Other jobs of the program may need what they like.
    hash::enqueue(&jobs, "x".to_owned()).await.unwrap();
    jobs.drain().await.assert_succeeded();
    unready::enqueue(&jobs, ()).await.unwrap();
    let text = fault(async move { jobs.drain().await })
        .await
        .replace(char::is_numeric, "");
    expect!["job `unready` (tests/testing/jobs.rs:) needs `State<u>`: add `.state(u)`"]
        .assert_eq(&text);
}
