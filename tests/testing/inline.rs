//! Inline mode: each enqueue runs its own jobs.

use std::{future::pending, sync::Mutex, time::Duration};

use bgjob::{JobState, State, prelude::job, refute_enqueued, testing::TestJobs};
use expect_test::expect;
use tokio::{join, time::timeout};

use crate::{app::*, fault, jobs::with_mailer};

#[tokio::test]
async fn an_enqueue_runs_the_job_inline_and_those_it_enqueues() {
    let (jobs, mailer) = with_mailer(Mailer::default());
    let jobs = jobs.inline();
    let job = tell_friends::enqueue(&jobs, 7).await.unwrap();
    assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
    assert_eq!(mailer.sent().len(), 2);
    let many = hash::enqueue_all(&jobs, ["a".to_owned(), "bc".to_owned()])
        .await
        .unwrap();
    assert_eq!(many[1].result().await.unwrap(), 2);
    expect![[r#"
          0s  send_welcome  attempt 1  succeeded
          0s  send_welcome  attempt 1  succeeded
          0s  tell_friends  attempt 1  succeeded
          0s  hash          attempt 1  succeeded
          0s  hash          attempt 1  succeeded
    "#]]
    .assert_eq(&jobs.ran().to_string());

    // What is delayed waits.
    send_welcome::enqueue(&jobs, welcome(1, "a@b.c"))
        .delay(HOUR)
        .await
        .unwrap();
    assert_eq!(mailer.sent().len(), 2);
    assert_eq!(jobs.drain_for(HOUR).await.len(), 1);
    refute_enqueued!(jobs, send_welcome);
}

#[tokio::test]
async fn a_job_that_fails_inline_fails_the_test() {
    let (jobs, mailer) = with_mailer(Mailer::failing(1));
    let jobs = jobs.inline();
    let (failing, nested) = (jobs.manager(), jobs.manager());
    let text = fault(async move { send_welcome::enqueue(&failing, welcome(1, "a@b.c")).await });
    expect![[r#"
        a job that ran inline failed:
          send_welcome  attempt 1  retry in 5s: the mail server is down"#]]
    .assert_eq(&text.await);
    *mailer.failures.lock().unwrap() = 1;
    let text = fault(async move { tell_friends::enqueue(&nested, 7).await }).await;
    expect![[r#"
        a job that ran inline failed:
          tell_friends  attempt 1  retry in 1s: a job that ran inline failed:
          send_welcome  attempt 1  retry in 5s: the mail server is down"#]]
    .assert_eq(&text);
    drop(jobs);
}

#[tokio::test]
async fn the_manager_alone_runs_them_as_well() {
    let manager = TestJobs::new().inline().manager();
    let job = hash::enqueue(&manager, "four".to_owned()).await.unwrap();
    assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
    let copy = manager.clone();
    drop(manager);
    let job = hash::enqueue(&copy, "four".to_owned()).await.unwrap();
    assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
}

#[tokio::test]
async fn a_manager_whose_jobs_nobody_runs_any_more_says_so() {
    let jobs = TestJobs::new();
    let early = jobs.manager();
    let jobs = jobs.inline();
    let job = hash::enqueue(&early, "four".to_owned()).await.unwrap();
    assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
    drop(jobs);
    let text = fault(async move { hash::enqueue(&early, "x".to_owned()).await }).await;
    expect![
        "the `TestJobs` that ran this manager's jobs inline is gone: keep it, or use a manager \
         that was taken after `.inline()`"
    ]
    .assert_eq(&text);
}

/// Takes a while of tokio's time, which is paused.
#[job(name = "take_a_while")]
async fn take(millis: u64, done: State<Mutex<Vec<u64>>>) -> Result<(), &'static str> {
    let span = Duration::from_millis(millis);
    _ = timeout(span, pending::<()>()).await;
    done.lock().unwrap().push(millis);
    if millis == 13 {
        return Err("unlucky");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_of_several_enqueues_at_a_time_has_run_its_own() {
    let jobs = TestJobs::new().state(Mutex::new(Vec::<u64>::new()));
    let jobs = jobs.inline();
    let enqueue = async |millis| {
        let job = take::enqueue(&jobs, millis).await.unwrap();
        assert_eq!(job.status().await.unwrap(), JobState::Succeeded, "{millis}");
    };
    let enqueue_two = async || {
        for job in take::enqueue_all(&jobs, [10, 50]).await.unwrap() {
            assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
        }
    };
    // The second of the two waits while another enqueue looks for something to run.
    join!(enqueue_two(), enqueue(20), enqueue(30));
    // Many at a time are not one inside the other.
    let many: Vec<_> = (100..200)
        .map(|millis| take::enqueue(&jobs, millis).into_future())
        .map(tokio::spawn)
        .collect();
    for one in many {
        let job = one.await.unwrap().unwrap();
        assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_its_own_enqueue_s() {
    let jobs = TestJobs::new().state(Mutex::new(Vec::<u64>::new()));
    let (good, bad) = (jobs.inline().manager(), 13);
    let other = good.clone();
    let good = tokio::spawn(async move { take::enqueue_all(&good, [10, 50]).await });
    let text = fault(async move { take::enqueue(&other, bad).await }).await;
    expect![[r#"
        a job that ran inline failed:
          take_a_while  attempt 1  retry in 1s: unlucky"#]]
    .assert_eq(&text);
    for job in good.await.unwrap().unwrap() {
        assert_eq!(job.status().await.unwrap(), JobState::Succeeded);
    }
}

#[tokio::test]
async fn an_enqueue_runs_no_jobs_of_others() {
    let (jobs, _) = with_mailer(Mailer::default());
    let earlier = hash::enqueue(&jobs, "before".to_owned()).await.unwrap();
    let jobs = jobs.inline();
    let delayed = hash::enqueue(&jobs, "x".to_owned()).delay(HOUR);
    let delayed = delayed.await.unwrap();
    jobs.clock().advance(DAY);
    let unknown = jobs.enqueue_raw("send_wellcome", 1).await.unwrap();
    let elsewhere = hash::enqueue(&jobs, "x".to_owned()).queue("elsewhere");
    let elsewhere = elsewhere.await.unwrap();
    hash::enqueue(&jobs, "own".to_owned()).await.unwrap();
    assert_eq!(jobs.ran().len(), 1);
    for waits in [&earlier, &delayed, &elsewhere] {
        assert_eq!(waits.status().await.unwrap(), JobState::Ready);
    }
    assert_eq!(unknown.status().await.unwrap(), JobState::Ready);
    assert_eq!(jobs.drain().await.len(), 2);
}
