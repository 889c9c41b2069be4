//! Enqueueing within a transaction.

use std::{sync::Arc, time::Duration};

use bgjob::{
    ErrorKind, Job, JobId, JobManager, JobSpec, JobState, JobStore, Json, job,
    job::{Due, NewJob, Owner, Priority, Token},
    store::{Created, Ending},
    testing::Faulty,
};
use sqlx::{Connection, raw_sql};

use crate::{Schema, connect, drop_schema};

#[job(queue = "mail", retain = "1h")]
async fn send_welcome(_user: u64) {}

#[tokio::test]
async fn what_is_committed_is_there_and_what_is_rolled_back_is_not() {
    let Schema { jobs, .. } = Schema::new().await;
    let mut db = connect().await;
    for commit in [false, true] {
        let mut tx = db.begin().await.expect("it answers");
        let job = send_welcome::enqueue(&jobs, 7)
            .in_transaction(&mut tx)
            .await;
        let job = job.expect("it is taken");
        let status = job.status().await.map_err(|error| error.kind());
        assert_eq!(status, Err(ErrorKind::NotFound));
        if commit {
            tx.commit().await.expect("it answers");
            assert_eq!(job.status().await.expect("it is there"), JobState::Ready);
        } else {
            tx.rollback().await.expect("it answers");
            let status = job.status().await.map_err(|error| error.kind());
            assert_eq!(status, Err(ErrorKind::NotFound));
        }
    }
}

/// Behind an `Arc` and a wrapper it can what it can by itself.
#[tokio::test]
async fn a_store_that_is_wrapped_takes_part_too() {
    let Schema { jobs, .. } = Schema::new().await;
    let wrapped: Arc<dyn JobStore> = Arc::new(Faulty::new(Arc::clone(jobs.store())));
    let jobs = JobManager::builder(Arc::new(wrapped)).build();
    let jobs = jobs.expect("there is nothing wrong with it");
    let mut db = connect().await;
    let mut tx = db.begin().await.expect("it answers");
    let job = send_welcome::enqueue(&jobs, 7)
        .in_transaction(&mut tx)
        .await;
    let job = job.expect("it is taken");
    tx.commit().await.expect("it answers");
    assert_eq!(job.status().await.expect("it is there"), JobState::Ready);
}

/// What two jobs have in common that were stored the same way at different times.
fn content(job: &Job) -> (Arc<JobSpec>, Duration, Option<Duration>, Option<Duration>) {
    let after = |time: bgjob::Timestamp| time.since(job.due_at);
    (
        Arc::clone(&job.spec),
        job.due_at.since(job.created_at),
        job.expires_at.map(after),
        job.deadline_at.map(after),
    )
}

#[tokio::test]
async fn it_is_stored_as_by_an_enqueue_of_its_own() {
    let Schema { jobs, .. } = Schema::new().await;
    let mut spec = JobSpec::new("résumé".replace('é', "e"), Json::null());
    spec.queue = "odd.queue_1".into();
    spec.version = u32::MAX;
    spec.priority = Priority::Critical;
    spec.metadata =
        Json::parse(r#"{"a":"\u0000 ' \" \\ ; -- $1 $schema$ ☃","n":1e400}"#).expect("it is JSON");
    spec.headers = [("k\0".to_owned(), "v'\"\\\u{1}".to_owned())].into();
    spec.tags = vec!["a,b".to_owned(), "{c}".to_owned(), String::new()];
    spec.unique_key = Some("key\0'".to_owned());
    spec.max_attempts = 1000;
    spec.max_crashes = 1;
    spec.expires = Some(Duration::from_nanos(1_000_001));
    spec.deadline = Some(Duration::from_secs(3));
    spec.retain = Duration::from_nanos(17);
    let mut plain = spec.clone();
    plain.unique_key = Some("another".to_owned());
    let due = Due::After(Duration::from_micros(1500));
    let new = |spec: &JobSpec| NewJob::new(JobId::new(), Arc::new(spec.clone()), due);
    let (mine, plain) = (new(&spec), new(&plain));
    let created = jobs.store().create(std::slice::from_ref(&plain)).await;
    assert_eq!(created.expect("it answers"), [Created::Created]);
    let answers = commit(&jobs, std::slice::from_ref(&mine)).await;
    assert_eq!(answers, r#"["created"]"#);
    let stored = jobs.store().get(&[mine.id, plain.id]).await;
    let stored: Vec<Job> = stored.expect("it answers").into_iter().flatten().collect();
    assert_eq!(stored[0].spec, mine.spec);
    let mut expected = content(&stored[1]);
    expected.0 = mine.spec;
    assert_eq!(content(&stored[0]), expected);
}

/// Stores these jobs in a transaction; what the statement answered.
async fn commit(jobs: &JobManager, new: &[NewJob]) -> String {
    let statement = jobs
        .store()
        .transactions()
        .expect("it can")
        .create(new)
        .await
        .expect("it answers");
    let answer: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.sql))
        .bind(statement.parameter)
        .fetch_one(&mut connect().await)
        .await
        .expect("it is taken");
    answer
}

fn new(id: JobId, name: &str, metadata: &str, key: Option<&str>) -> NewJob {
    let mut spec = JobSpec::new(name, Json::parse(metadata).expect("it is JSON"));
    spec.unique_key = key.map(str::to_owned);
    NewJob::new(id, Arc::new(spec), Due::Now)
}

#[tokio::test]
async fn a_repeat_is_told_from_another_job() {
    let Schema { jobs, .. } = Schema::new().await;
    let [id, own, third] = [JobId::new(), JobId::from_key("own"), JobId::new()];
    let batch = [
        new(id, "a", "1", Some("key")),
        new(id, "a", "1", Some("key")),
        new(id, "a", "2", None),
        new(id, "b", "1", None),
        new(own, "a", "1", Some("key")),
        new(third, "a", "1", None),
    ];
    let key = format!(r#"{{"key_taken_by" : {{"id" : "{id}", "name" : "a"}}}}"#);
    let other = r#"{"id_taken_by" : "a"}"#;
    let first = format!(r#"["created","exists","exists",{other},{key},"created"]"#);
    assert_eq!(commit(&jobs, &batch).await, first);
    assert_eq!(
        commit(&jobs, &batch).await,
        first.replace("created", "exists")
    );
    // The metadata of an edited job is no longer what it was stored with.
    let read = jobs
        .get(id)
        .await
        .expect("it answers")
        .expect("it is there");
    jobs.edit(&read, &9).await.expect("it waits");
    let edited = commit(&jobs, &batch[..4]).await;
    assert_eq!(edited, format!(r#"["exists","exists","exists",{other}]"#));
}

#[tokio::test]
async fn a_repeat_after_the_end_stores_nothing() {
    let Schema { jobs, .. } = Schema::new().await;
    for (id, kept) in [
        (JobId::new(), false),
        (JobId::from_key("own"), false),
        (JobId::new(), true),
    ] {
        let mut spec = JobSpec::new("a", Json::null());
        spec.retain = Duration::from_secs(if kept { 60 } else { 0 });
        let job = NewJob::new(id, Arc::new(spec), Due::Now);
        let batch = std::slice::from_ref(&job);
        assert_eq!(commit(&jobs, batch).await, r#"["created"]"#);
        succeed(&jobs, id).await;
        assert_eq!(commit(&jobs, batch).await, r#"["exists"]"#, "{kept}");
    }
    assert_eq!(jobs.counts().await.expect("it answers").len(), 1);
}

async fn succeed(jobs: &JobManager, id: JobId) {
    let grant = bgjob::job::Grant::new(Token::random(), Owner::random(), Duration::from_secs(30));
    let serves = bgjob::job::Serves::new(Arc::new([("a".into(), 0)].into()));
    let claimed = jobs.store().claim(&[id], &grant, &serves).await;
    assert!(matches!(
        claimed.as_deref(),
        Ok([bgjob::store::Claim::Claimed(_)])
    ));
    let ending = Ending::new(id, grant.token, bgjob::job::End::Success(Json::null()));
    jobs.store().finish(&[ending]).await.expect("it answers");
}

#[tokio::test]
async fn many_are_stored_all_or_none() {
    let Schema { jobs, .. } = Schema::new().await;
    let mut db = connect().await;
    let mut tx = db.begin().await.expect("it answers");
    let all = send_welcome::enqueue_all(&jobs, 0..2500).delay(Duration::from_secs(60));
    let handles = all.in_transaction(&mut tx).await.expect("they are taken");
    assert_eq!(handles.len(), 2500);
    assert_eq!(jobs.counts().await.expect("it answers").len(), 0);
    tx.commit().await.expect("it answers");
    assert_eq!(jobs.counts().await.expect("it answers")[0].delayed, 2500);

    let empty = send_welcome::enqueue_all(&jobs, [])
        .in_transaction(&mut db)
        .await;
    assert_eq!(empty.expect("nothing is to be done").len(), 0);
    let too_many = send_welcome::enqueue_all(&jobs, 0..1001).statement().await;
    let error = too_many.expect_err("it is one statement");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("1 to 1000 jobs"), "{error}");
}

#[tokio::test]
async fn a_driver_of_ones_own_runs_the_statement_itself() {
    let Schema { jobs, .. } = Schema::new().await;
    let statement = send_welcome::enqueue(&jobs, 1).statement().await;
    let statement = statement.expect("it can");
    assert_eq!(format!("{statement:?}").matches("user").count(), 0);
    let answer: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.sql()))
        .bind(statement.parameter())
        .fetch_one(&mut connect().await)
        .await
        .expect("it is taken");
    let job = statement.handle(&answer).expect("it is its answer");
    assert_eq!(job.status().await.expect("it is there"), JobState::Ready);
    statement.handle("hello").expect_err("it is no answer");
}

#[tokio::test]
async fn of_two_with_one_key_the_second_waits_for_the_first() {
    let Schema { jobs, .. } = Schema::new().await;
    for commit in [true, false] {
        let mut holder = connect().await;
        let mut first = holder.begin().await.expect("it answers");
        let key = format!("key {commit}");
        let enqueue = || send_welcome::enqueue(&jobs, 1).unique_key(&*key);
        let taken = enqueue()
            .in_transaction(&mut first)
            .await
            .expect("it is taken");
        let waits = tokio::spawn({
            let enqueue = enqueue();
            async move { enqueue.in_transaction(&mut connect().await).await }
        });
        if commit {
            first.commit().await.expect("it answers");
            let second = waits.await.expect("no panic").expect("it answers");
            assert!(second.already_existed());
            assert_eq!(second.id(), taken.id());
        } else {
            first.rollback().await.expect("it answers");
            let second = waits.await.expect("no panic").expect("it answers");
            assert!(!second.already_existed());
        }
    }
}

#[tokio::test]
async fn stricter_isolation_is_fine() {
    let Schema { jobs, .. } = Schema::new().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut db = connect().await;
        let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT 1");
        let begin = || raw_sql(sqlx::AssertSqlSafe(begin.as_str()));
        begin().execute(&mut db).await.expect("it answers");
        let queue = level.to_lowercase().replace(' ', "_");
        let enqueue = || send_welcome::enqueue(&jobs, 1).queue(&*queue);
        let error = enqueue().in_transaction(&mut db).await;
        let error = error.expect_err("no job was in this queue when the transaction began");
        assert!(error.is_retryable(), "{error:?}");
        raw_sql("ROLLBACK")
            .execute(&mut db)
            .await
            .expect("it answers");
        begin().execute(&mut db).await.expect("it answers");
        let job = enqueue()
            .in_transaction(&mut db)
            .await
            .expect("now there may be");
        raw_sql("COMMIT")
            .execute(&mut db)
            .await
            .expect("it answers");
        assert_eq!(job.status().await.expect("it is there"), JobState::Ready);
    }
}

#[tokio::test]
async fn what_can_not_be_done_is_said() {
    let jobs = JobManager::connect("memory:").await.expect("it can");
    let mut db = connect().await;
    let error = send_welcome::enqueue(&jobs, 1)
        .in_transaction(&mut db)
        .await;
    let error = error.expect_err("it is in memory");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("the memory store"), "{error}");

    let Schema { jobs, name } = Schema::new().await;
    drop_schema(&name).await;
    let error = send_welcome::enqueue(&jobs, 1)
        .in_transaction(&mut db)
        .await;
    let error = error.expect_err("the tables are gone");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("tables of bgjob"), "{error}");
    assert!(error.job_id().is_some());
}
