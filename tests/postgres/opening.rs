//! URLs, names, and how the tables come to be.

use bgjob::{ErrorKind, JobManager, JobStore, providers::postgres::PostgresStore, store::Created};

use crate::support::{fresh, new, open, options, run, server};

#[tokio::test]
async fn what_is_no_name_of_a_schema_is_refused() {
    let url = server().url();
    for name in [
        "",
        "a b",
        "a;drop table x",
        "A",
        "1a",
        "pg_jobs",
        "\"a\"",
        "ä",
        "a\0",
        "a--",
        "a/**/b",
        "$schema$",
        "a.jobs; DROP SCHEMA bgjob CASCADE; --",
    ] {
        let options = options().schema(name);
        let printed = PostgresStore::migrations(&options).await;
        let printed = printed.expect_err("whoever runs them trusts them");
        let opened = options.open().await;
        let opened = opened.expect_err("it goes into statements");
        for error in [printed, opened] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        }
    }
    let opened = JobManager::connect(format!("{url}?bgjob.schema=a'b")).await;
    let error = opened.expect_err("it goes into statements");
    assert!(error.to_string().contains("schema"), "{error}");
}

#[tokio::test]
async fn what_is_wrong_in_a_url_is_said_without_its_password() {
    let wrong = [
        "postgres://me:secret@127.0.0.1:1/db?bgjob.schema=A",
        "postgres://me:secret@127.0.0.1:1/db?bgjob.conections=1",
        "postgres://me:secret@127.0.0.1:1/db?bgjob.connections=0",
        "postgres://me:secret@127.0.0.1:port/db",
        "postgres://me:secret@127.0.0.1:1/db?sslmode=perhaps",
        "postgres:me:secret",
    ];
    for url in wrong {
        let error = JobManager::connect(url).await.expect_err("it is wrong");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let opened = JobManager::connect("postgres://me:secret@127.0.0.1:1/db").await;
    let error = opened.expect_err("nobody listens on this port");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("the server can't be reached"), "{text}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_as_the_mistake() {
    let url = server().url();
    let url = url.strip_suffix("postgres").expect("it ends with it");
    let url = format!("{url}nothing");
    let error = JobManager::connect(url).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let options = fresh();
    let store = open(&options).await;
    let schema = store.schema().to_owned();
    run(format!(
        "INSERT INTO {schema}.migrations(version, oldest) VALUES(99, 99)"
    ))
    .await;
    let error = options.open().await.expect_err("they are newer");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn tables_can_be_made_by_hand() {
    let options = fresh().migrate(false);
    let error = options.clone().open().await.expect_err("there are none");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let steps = PostgresStore::migrations(&options).await;
    for step in steps.expect("the server answers") {
        assert!(!step.applied);
        run(step.sql).await;
    }
    let store = open(&options).await;
    let created = store.create(&[new(None)]).await;
    assert_eq!(created.expect("it answers"), [Created::Created]);
    let steps = PostgresStore::migrations(&options).await;
    assert!(steps.expect("it answers").iter().all(|step| step.applied));
}

#[tokio::test]
async fn tables_can_be_made_beforehand_by_another_program() {
    let options = fresh().migrate(false);
    // Several at once, and again: only the first has something to do.
    let (one, other) = tokio::join!(
        PostgresStore::migrate(&options),
        PostgresStore::migrate(&options)
    );
    one.expect("the server answers");
    other.expect("the server answers");
    PostgresStore::migrate(&options).await.expect("it answers");
    let steps = PostgresStore::migrations(&options).await;
    assert!(steps.expect("it answers").iter().all(|step| step.applied));
    drop(open(&options).await);
}
