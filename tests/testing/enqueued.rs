//! `assert_enqueued!` and `refute_enqueued!`, and what they say.

use std::time::{Duration, SystemTime};

use bgjob::{JobId, Priority, assert_enqueued, refute_enqueued, testing::TestJobs};
use expect_test::expect;

use crate::{app::*, fault};

async fn some() -> TestJobs {
    let jobs = TestJobs::new().state(Mailer::default());
    let enqueue = send_welcome::enqueue(&jobs, welcome(7, "a@b.c"));
    enqueue
        .tag("sign-up")
        .header("tenant", "ada")
        .unique_key("w7")
        .await
        .unwrap();
    let enqueue = send_welcome::enqueue(&jobs, welcome(8, "x@b.c")).queue("bulk");
    enqueue
        .delay(HOUR)
        .priority(Priority::Low)
        .max_attempts(9)
        .await
        .unwrap();
    hash::enqueue(&jobs, "x".to_owned())
        .id(JobId::from_key("x"))
        .await
        .unwrap();
    jobs
}

#[tokio::test]
async fn each_thing_can_be_asked_for() {
    let jobs = some().await;
    assert_enqueued!(jobs, send_welcome);
    assert_enqueued!(jobs, send_welcome,);
    assert_enqueued!(jobs, send_welcome, welcome(7, "a@b.c"));
    assert_enqueued!(jobs, send_welcome, |to| to.user == 8);
    assert_enqueued!(
        &jobs,
        send_welcome,
        |Welcome { email, .. }| email.starts_with('x'),
        queue = "bulk"
    );
    assert_enqueued!(
        jobs.manager(),
        hash,
        "x".to_owned(),
        id = JobId::from_key("x")
    );
    assert_enqueued!(
        jobs,
        send_welcome,
        tag = "sign-up",
        header = ("tenant", "ada")
    );
    assert_enqueued!(
        jobs,
        send_welcome,
        unique_key = "w7",
        delay = Duration::ZERO
    );
    assert_enqueued!(jobs, send_welcome, |to: &Welcome| to.user == 8);
    let user = 8;
    assert_enqueued!(jobs, send_welcome, move |to| to.user == user, count = 1);
    let found = assert_enqueued!(
        jobs,
        send_welcome,
        priority = Priority::Low,
        max_attempts = 9,
        delay = HOUR,
        count = 1,
    );
    assert_eq!(&*found[0].spec.queue, "bulk");
    assert_enqueued!(jobs, send_welcome, count = 2);
    assert_enqueued!(jobs, urgent, count = 0);
    refute_enqueued!(jobs, urgent);
    refute_enqueued!(jobs, send_welcome, welcome(7, "a@b"));
    refute_enqueued!(jobs, send_welcome, |to| to.user == 7, queue = "bulk");
}

#[tokio::test]
async fn it_is_told_what_is_there_nearest_first() {
    let jobs = some().await;
    let text = fault(async move {
        assert_enqueued!(
            jobs,
            send_welcome,
            welcome(8, "a@b.c"),
            queue = "mail",
            tag = "sign-up"
        )
    });
    expect![[r#"
        no waiting job fits: send_welcome
          with metadata {"email":"a@b.c","user":8}
          with queue "mail"
          with tag "sign-up"
        nearest first, of 3 jobs:
          send_welcome  due now
            metadata.user is 7, not 8
          send_welcome  due in 1h
            metadata.email is "x@b.c", not "a@b.c"
            queue is "bulk", not "mail"
            tags are [], without "sign-up"
          hash  due now"#]]
    .assert_eq(&text.await);
}

#[tokio::test]
async fn every_difference_has_its_words() {
    let jobs = some().await;
    let text = fault(async move {
        assert_enqueued!(
            jobs,
            send_welcome,
            |to| to.user == 9,
            priority = Priority::High,
            max_attempts = 2,
            unique_key = "k",
            id = JobId::from_key("k"),
            delay = Duration::from_secs(60),
            header = ("tenant", "lin"),
        )
    });
    let ids = |text: String| {
        let words = text.split(' ').map(|word| {
            if word.len() > 30 && word.contains("-7") {
                "ID,"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    expect![[r#"
        no waiting job fits: send_welcome
          with metadata that fits |to| to.user == 9
          with priority High
          with max_attempts 2
          with unique_key "k"
          with id 918f8654-c8f5-535d-aab7-0fc493bf9fe8
          with delay 1m
          with header tenant "lin"
        nearest first, of 3 jobs:
          send_welcome  due now
            metadata is {"user":7,"email":"a@b.c"}
            priority is Normal, not High
            max_attempts is 3, not 2
            unique_key is "w7", not "k"
            id is ID, not 918f8654-c8f5-535d-aab7-0fc493bf9fe8
            delay is 0s, not 1m
            header tenant is "ada", not "lin"
          send_welcome  due in 1h
            metadata is {"user":8,"email":"x@b.c"}
            priority is Low, not High
            max_attempts is 9, not 2
            unique_key is missing
            id is ID, not 918f8654-c8f5-535d-aab7-0fc493bf9fe8
            delay is 1h, not 1m
            header tenant is missing
          hash  due now"#]]
    .assert_eq(&ids(text.await));
}

#[tokio::test]
async fn a_time_is_asked_for_as_it_was_given() {
    let jobs = TestJobs::new();
    let at = SystemTime::UNIX_EPOCH + 24_000 * DAY;
    let job = hash::enqueue(&jobs, "x".to_owned()).at(at);
    let due = job.await.unwrap().job().await.unwrap().due_at;
    assert_enqueued!(jobs, hash, at = at);
    assert_enqueued!(jobs, hash, at = due);
    refute_enqueued!(jobs, hash, at = at + HOUR);
    let text = fault(async move { assert_enqueued!(jobs, hash, at = at + HOUR) }).await;
    // How long from now is another matter.
    let (before, after) = text.split_once(" due in ").unwrap();
    let text = format!("{before}{}", &after[after.find('\n').unwrap()..]);
    expect![[r#"
        no waiting job fits: hash
          with at 2035-09-17T01:00:00.000Z
        nearest first, of 1 job:
          hash 
            at is 2035-09-17T00:00:00.000Z, not 2035-09-17T01:00:00.000Z"#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn a_job_that_is_over_waits_no_more() {
    let jobs = some().await;
    jobs.drain().await.assert_succeeded();
    let text = fault(async move { assert_enqueued!(jobs, hash) }).await;
    expect![[r#"
        no waiting job fits: hash
        nearest first, of 3 jobs:
          hash  succeeded
            is succeeded, does not wait
          send_welcome  succeeded
          send_welcome  due in 1h"#]]
    .assert_eq(&text);
    let none = TestJobs::new();
    let text = fault(async move { assert_enqueued!(none, urgent) }).await;
    expect![[r#"
        no waiting job fits: urgent
        there are no jobs at all"#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn too_many_are_told_and_not_all_shown() {
    let jobs = TestJobs::new();
    hash::enqueue_all(&jobs, (0..9).map(|n| n.to_string()))
        .await
        .unwrap();
    let manager = jobs.manager();
    let text = fault(async move { assert_enqueued!(manager, hash, |text| text != "0", count = 1) });
    expect![[r#"
        8 jobs waiting fit, not 1: hash
          with metadata that fits |text| text != "0"
        nearest first, of 9 jobs:
          hash  due now
          hash  due now
          hash  due now
          hash  due now
          hash  due now
          and 4 more"#]]
    .assert_eq(&text.await);
    let text = fault(async move { refute_enqueued!(jobs, hash, |text| text.len() == 1) }).await;
    expect![[r#"
        a waiting job fits that should not be there: hash
          with metadata that fits |text| text.len() == 1
        those that fit, of 9 jobs:
          hash  due now
            metadata is "0"
          hash  due now
            metadata is "1"
          hash  due now
            metadata is "2"
          hash  due now
            metadata is "3"
          hash  due now
            metadata is "4"
          and 4 more"#]]
    .assert_eq(&text);
}

#[tokio::test]
async fn what_should_not_be_there_is_shown() {
    let jobs = some().await;
    let text = fault(async move { refute_enqueued!(jobs, send_welcome, queue = "bulk") }).await;
    expect![[r#"
        a waiting job fits that should not be there: send_welcome
          with queue "bulk"
        those that fit, of 3 jobs:
          send_welcome  due in 1h
            metadata is {"user":8,"email":"x@b.c"}"#]]
    .assert_eq(&text);
}
