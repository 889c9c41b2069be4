//! The application as its users meet it: the program itself, a PostgreSQL server and a mail server,
//! all processes of their own.
#![cfg(unix)]

mod bundle;

use std::collections::BTreeSet;

use bgjob::{JobManager, JobState};
use bgjob_test_servers::{postgres, smtp};
use bundle::{Request, Silent, Web, connect, database};
use smtp::{Mail, Server};

/// How many users and how many jobs there are.
async fn counts(database: &str) -> (i64, u64) {
    let users = sqlx::query_scalar("SELECT count(*) FROM users");
    let users = users.fetch_one(&mut connect(database).await).await;
    let jobs = JobManager::connect(database).await.expect("it answers");
    let jobs = jobs.counts().await.expect("it answers");
    (
        users.expect("the table is there"),
        jobs.iter().map(|count| count.total()).sum(),
    )
}

fn succeeded(web: &Web, job: &str) {
    let job = web.job_until(job, |job| job["state"] == "succeeded");
    assert_eq!(job["attempts"], 1, "{job}");
    assert_eq!(job["last_error"], serde_json::Value::Null, "{job}");
}

fn check(mail: &Mail, to: &str, job: &str) {
    assert_eq!(mail.to, [to]);
    assert_eq!(mail.id, format!("<{job}@example.org>"));
    assert_eq!(mail.subject, "Welcome");
    assert!(mail.text.starts_with("Hello Ada,"), "{}", mail.text);
}

#[tokio::test]
async fn who_signs_up_gets_one_mail() {
    let (database, mails) = (database().await, Server::start());
    let web = Web::start(&database, &mails.url());
    let job = web.job_of("ada@example.com");
    check(&mails.next(), "ada@example.com", &job);
    succeeded(&web, &job);

    // An address has one account, however it is spelled.
    for email in ["ada@example.com", "Ada@Example.com"] {
        let (status, answer) = web.sign_up(email);
        assert_eq!(status, 409, "{answer}");
    }
    assert_eq!(counts(&database).await, (1, 1));
    for email in ["", "ada", "ada@example.com\r\nBcc: eve@example.com"] {
        assert_eq!(web.sign_up(email).0, 422, "{email}");
    }
    for id in ["1", "00000000-0000-7000-8000-000000000000"] {
        assert_eq!(web.job(id).0, 404);
    }
    let job = web.job_of("lin@example.com");
    check(&mails.next(), "lin@example.com", &job);
    succeeded(&web, &job);
    assert_eq!(counts(&database).await, (2, 2));
    assert_eq!(mails.next_now(), None);
}

#[tokio::test]
async fn a_refusal_is_for_good_or_for_now() {
    let (database, mails) = (database().await, Server::start());
    let web = Web::start(&database, &mails.url());
    let job = web.job_of("nobody@example.com");
    let job = web.job_until(&job, |job| job["state"] == "dead");
    assert_eq!(job["attempts"], 1, "{job}");
    let error = job["last_error"].as_str().expect("it has failed");
    assert!(error.contains("there is no such mailbox"), "{error}");

    let job = web.job_of("grey@example.com");
    check(&mails.next(), "grey@example.com", &job);
    let job = web.job_until(&job, |job| job["state"] == "succeeded");
    assert_eq!(job["attempts"], 2, "{job}");
    let error = job["last_error"].as_str().expect("it has failed once");
    assert!(error.contains("come again later"), "{error}");
}

#[tokio::test]
async fn a_mail_server_that_is_away_costs_no_mail() {
    let (database, mails) = (database().await, Server::start());
    let web = Web::start(&database, &mails.url());
    let port = mails.port();
    drop(mails);
    let job = web.job_of("ada@example.com");
    let tried = web.job_until(&job, |job| job["attempts"].as_u64() >= Some(2));
    assert!(["ready", "running"].contains(&tried["state"].as_str().unwrap_or("")));
    let error = tried["last_error"].as_str().expect("it has failed");
    assert!(error.contains("Connection"), "{error}");

    let mails = Server::start_at(port);
    check(&mails.next(), "ada@example.com", &job);
    web.job_until(&job, |job| job["state"] == "succeeded");
    assert_eq!(mails.next_now(), None);
}

#[tokio::test]
async fn on_the_way_down_requests_end_first_then_jobs() {
    let (database, mails) = (database().await, Server::start());
    let web = Web::start(&database, &mails.url());
    let mut ids: BTreeSet<_> = (0..5)
        .map(|n| web.job_of(&format!("u{n}@example.com")))
        .collect();
    let open = Request::sign_up(&web, "last@example.com");
    web.terminate();
    web.says("stopping");
    // It still is answered, and what it enqueues is not lost.
    let (status, answer) = open.answer();
    assert_eq!(status, 201, "{answer}");
    ids.insert(answer["job"].as_str().expect("it has an id").to_owned());
    let ended = web.ended();
    assert_eq!(ended.code(), Some(0), "{ended}");

    let jobs = JobManager::connect(&*database).await.expect("it answers");
    for id in &ids {
        let job = jobs.get(id.parse().expect("it is an id")).await;
        let state = job.expect("it answers").expect("it is there").state();
        assert!([JobState::Ready, JobState::Succeeded].contains(&state));
    }
    let web = Web::start(&database, &mails.url());
    ids.iter().for_each(|id| succeeded(&web, id));
    let sent: BTreeSet<_> = ids.iter().map(|_| mails.next().id).collect();
    let expected = ids.iter().map(|id| format!("<{id}@example.org>"));
    assert_eq!(sent, expected.collect());
    assert_eq!(mails.next_now(), None);
}

#[tokio::test]
async fn a_killed_process_costs_no_mail() {
    let (database, mails) = (database().await, Server::start());
    let silent = Silent::start();
    let web = Web::start(&database, &silent.url());
    let job = web.job_of("ada@example.com");
    let call = silent.call();
    assert_eq!(web.job(&job).1["state"], "running");
    web.kill();
    drop(call);

    let web = Web::start(&database, &mails.url());
    check(&mails.next(), "ada@example.com", &job);
    let job = web.job_until(&job, |job| job["state"] == "succeeded");
    assert_eq!(job["attempts"], 2, "{job}");
    assert_eq!(mails.next_now(), None);
}
