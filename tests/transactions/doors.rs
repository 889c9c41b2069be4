//! What SQL hands in that Rust could not say: times, spans and shapes out of range.

use std::{sync::Arc, time::Duration};

use bgjob::{
    Job, JobId, JobManager, JobState, JobStore, Timestamp, Want,
    job::{Grant, Owner, Serves, Token, transition::SweepPolicy},
    providers::postgres::{PostgresOptions, PostgresStore},
    store::Swept,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::{Schema, connect, server};

async fn claim(jobs: &JobManager) -> Vec<JobId> {
    let grant = Grant::new(Token::random(), Owner::random(), Duration::from_secs(30));
    let serves = Serves::new(Arc::new([("resize".into(), 0)].into()));
    let want = Want::new("default", 100);
    let claimed = jobs.store().claim_ready(&[want], &grant, &serves).await;
    let claimed = claimed.expect("it answers").jobs;
    claimed.into_iter().map(|job| job.id).collect()
}

async fn job(jobs: &JobManager, id: JobId) -> Job {
    jobs.get(id)
        .await
        .expect("it answers")
        .expect("it is there")
}

/// What languages send for a time that was never set, and other times that are none.
const ZEROS: [&str; 4] = [
    "'0001-01-01'",
    "'-infinity'",
    "'4713-01-01 BC'",
    "'1969-12-31'",
];
const ENDS: [&str; 4] = [
    "'infinity'",
    "'10000-01-01'",
    "'20000-01-01'",
    "'294276-12-31'",
];

#[tokio::test]
async fn times_that_no_job_can_have_are_the_nearest_that_one_can() {
    let schema = Schema::new().await;
    let (mut early, mut late) = (Vec::new(), Vec::new());
    for at in ZEROS {
        let id = schema.enqueue(&format!("'resize', '1', at => {at}")).await;
        early.push(id.unwrap_or_else(|error| panic!("{at}: {error}")));
    }
    for at in ENDS {
        let id = schema.enqueue(&format!("'resize', '1', at => {at}")).await;
        late.push(id.unwrap_or_else(|error| panic!("{at}: {error}")));
    }
    for id in &early {
        assert_eq!(job(&schema.jobs, *id).await.due_at, Timestamp::MIN);
    }
    for id in late {
        assert_eq!(job(&schema.jobs, id).await.due_at, Timestamp::MAX);
        schema.jobs.cancel(id).await.expect("it can be cancelled");
    }
    let mut claimed = claim(&schema.jobs).await;
    claimed.sort_unstable();
    early.sort_unstable();
    assert_eq!(claimed, early, "they are due");
}

#[tokio::test]
async fn a_job_of_the_zero_time_with_an_expiry_is_swept_and_all_others_too() {
    let schema = Schema::new().await;
    let zero = "'resize', '1', at => '0001-01-01', expires => '1 hour', retain => '0'";
    let zero = schema.enqueue(zero).await.expect("it is taken");
    let late = "'resize', '1', at => '2001-01-01', expires => '1 hour'";
    let late = schema.enqueue(late).await.expect("it is taken");
    let store = schema.jobs.store();
    let swept = store.sweep(10, &SweepPolicy::default()).await;
    let swept = swept.expect("it answers");
    assert_eq!(swept.len(), 2, "{swept:?}");
    for due in [zero, late] {
        let expired = |one: &Swept| matches!(one, Swept::Expired { id, .. } if *id == due);
        assert!(swept.iter().any(expired), "{due} of {swept:?}");
    }
    for id in [zero, late] {
        assert_eq!(job(&schema.jobs, id).await.state(), JobState::Dead);
    }
    store.purge(10).await.expect("it answers");
}

/// Plants times as older programs stored them, and some that nobody has.
async fn plant(name: &str) {
    let sql = format!(
        "UPDATE {name}.jobs SET due_at = -62135596800000, expires_at = -62135596740000
             WHERE metadata = '1';
         UPDATE {name}.ready e SET due_at = j.due_at, touch_at = j.due_at, until = j.expires_at
             FROM {name}.jobs j WHERE j.id = e.id AND j.metadata = '1';
         UPDATE {name}.jobs SET due_at = 568971820800000 WHERE metadata = '2';
         UPDATE {name}.ready e SET due_at = j.due_at, touch_at = j.due_at
             FROM {name}.jobs j WHERE j.id = e.id AND j.metadata = '2'"
    );
    let done = raw_sql(AssertSqlSafe(sql))
        .execute(&mut connect().await)
        .await;
    done.expect("the statements are right");
}

#[tokio::test]
async fn times_that_are_stored_already_are_mended_with_the_tables() {
    let name = format!("jobs_{}", JobId::new().to_string().replace('-', ""));
    let options = PostgresOptions::from_url(&server().url()).expect("it is a URL");
    let options = options.schema(&name);
    let before = PostgresStore::migrations(&options)
        .await
        .expect("it answers");
    for step in &before[..2] {
        let made = raw_sql(AssertSqlSafe(step.sql.as_str()));
        made.execute(&mut connect().await)
            .await
            .expect("they can be made");
    }
    // As the function of before stored them.
    let (mut stored, mut db) = (Vec::new(), connect().await);
    for at in ["'0001-01-01'", "'20000-01-01'"] {
        let call = format!("SELECT {name}.enqueue('resize', '1', at => {at})");
        let id = sqlx::query_scalar(AssertSqlSafe(call)).fetch_one(&mut db);
        let id: sqlx::types::Uuid = id.await.expect("it took all of them");
        stored.push(JobId::from(id));
    }
    let (zero, end) = (stored[0], stored[1]);
    let store = options.open().await.expect("it opens");
    let jobs = JobManager::builder(store).build().expect("it can all");
    assert_eq!(claim(&jobs).await, [zero]);
    jobs.cancel(end).await.expect("it can be cancelled");
    assert_eq!(job(&jobs, end).await.state(), JobState::Cancelled);
}

#[tokio::test]
async fn a_job_at_a_time_that_none_can_have_can_be_changed() {
    let schema = Schema::new().await;
    let zero = schema.enqueue("'resize', '1'").await.expect("it is taken");
    let end = schema.enqueue("'resize', '2'").await.expect("it is taken");
    plant(&schema.name).await;
    schema.jobs.cancel(zero).await.expect("it can be cancelled");
    schema
        .jobs
        .reschedule(end, bgjob::job::Due::Now)
        .await
        .expect("it can be moved");
    assert_eq!(claim(&schema.jobs).await, [end]);
}

#[tokio::test]
async fn a_job_that_cannot_be_changed_fails_no_other_ones_sweep() {
    let schema = Schema::new().await;
    let mut late = Vec::new();
    for _ in 0..5 {
        let id = schema
            .enqueue("'resize', '1', at => '2001-01-01', expires => '1 hour'")
            .await;
        late.push(id.expect("it is taken"));
    }
    let stuck = late[2];
    let trigger = format!(
        "CREATE FUNCTION jobs.no() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF OLD.id = '{stuck}' THEN RAISE 'no'; END IF; RETURN OLD; END $$;
         CREATE TRIGGER no BEFORE DELETE OR UPDATE ON jobs.jobs
             FOR EACH ROW EXECUTE FUNCTION jobs.no()"
    );
    schema.run(&trigger).await.expect("it is right");
    let swept = schema.jobs.store().sweep(10, &SweepPolicy::default()).await;
    let swept = swept.expect("one job is no reason to fail");
    for job in late {
        let is_it = |one: &Swept| match one {
            Swept::Unreadable { id } => *id == job && job == stuck,
            Swept::Expired { id, .. } => *id == job && job != stuck,
            _ => false,
        };
        assert!(swept.iter().any(is_it), "{job} in {swept:?}");
    }
}

#[tokio::test]
async fn nothing_at_all_is_said_by_nulls() {
    let schema = Schema::new().await;
    let plain = schema.enqueue("'resize', '1'").await.expect("it is taken");
    let nulls = "'resize', '1', delay => NULL, at => NULL, id => NULL, unique_key => NULL,
        expires => NULL, deadline => NULL, headers => NULL, tags => NULL, timeout => NULL,
        backoff => NULL";
    let nulls = schema.enqueue(nulls).await.expect("it is taken");
    let empty = "'resize', '1', headers => '{}', tags => '{}'";
    let empty = schema.enqueue(empty).await.expect("it is taken");
    let plain = job(&schema.jobs, plain).await;
    for id in [nulls, empty] {
        assert_eq!(job(&schema.jobs, id).await.spec, plain.spec);
    }
}

#[tokio::test]
async fn spans_are_what_rust_would_take() {
    let schema = Schema::new().await;
    let day = Duration::from_secs(24 * 60 * 60);
    for (span, days) in [
        ("1 month", 30),
        ("1 year", 365),
        ("10 years", 3650),
        ("1 month -1 day", 29),
    ] {
        let all = format!(
            "'resize', '1', expires => '{span}', deadline => '{span}', retain => '{span}', \
             timeout => '{span}', delay => '{span}'"
        );
        let id = schema
            .enqueue(&all)
            .await
            .unwrap_or_else(|e| panic!("{span}: {e}"));
        let job = job(&schema.jobs, id).await;
        let expected = day * days;
        assert_eq!(job.spec.expires, Some(expected), "{span}");
        assert_eq!(job.spec.deadline, Some(expected), "{span}");
        assert_eq!(job.spec.timeout, Some(expected), "{span}");
        assert_eq!(job.spec.retain, expected, "{span}");
        assert_eq!(job.due_at.since(job.created_at), expected, "{span}");
    }
    for argument in ["delay", "expires", "deadline", "retain", "timeout"] {
        for span in [
            "10 years 1 day",
            "-1 us",
            "-1 month",
            "1 month -31 days",
            "178000000 years",
        ] {
            let call = format!("'resize', '1', {argument} => '{span}'");
            let error = schema.enqueue(&call).await.expect_err(&call).to_string();
            assert!(error.contains(argument), "{call}: {error}");
        }
    }
}

#[tokio::test]
async fn a_backoff_is_said_as_in_the_attribute() {
    let schema = Schema::new().await;
    let call = "'resize', '1', timeout => '90 s', backoff => 'steps(1s, 1m 30s, no jitter)'";
    let spec = job(
        &schema.jobs,
        schema.enqueue(call).await.expect("it is taken"),
    )
    .await
    .spec;
    assert_eq!(spec.timeout, Some(Duration::from_secs(90)));
    let backoff = spec.backoff.as_ref().expect("it is said");
    let waits = [1, 2, 9].map(|errors| backoff.wait(errors).as_secs());
    assert_eq!(waits, [1, 90, 90]);
    for wrong in [
        "",
        "5s",
        "linear()",
        "exponential(0s)",
        "steps(1.5h)",
        "constant(1s, max 2s)",
    ] {
        let call = format!("'resize', '1', backoff => '{wrong}'");
        let error = schema.enqueue(&call).await.expect_err(wrong).to_string();
        assert!(error.contains("\"backoff\" is"), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn limits_are_the_managers() {
    let schema = Schema::new().await;
    let size = |bytes: usize| format!("to_jsonb(repeat('a', {}))", bytes - 2);
    let fits = format!("'resize', {}", size(256 * 1024));
    schema
        .enqueue(&fits)
        .await
        .expect("it is what a manager takes");
    let large = format!("'resize', {}", size(256 * 1024 + 1));
    let error = schema.enqueue(&large).await.expect_err("it is too large");
    assert!(error.to_string().contains("\"max_metadata\""), "{error}");
    let told = format!("'resize', {}, max_metadata => 1048576", size(1024 * 1024));
    schema.enqueue(&told).await.expect("it was told");
    let nested = |deep: usize| format!("'resize', '{}{}'", "[".repeat(deep), "]".repeat(deep));
    schema.enqueue(&nested(127)).await.expect("it can be read");
    for wrong in [
        nested(128),
        format!("'resize', '1', max_metadata => {}", 1024 * 1024 + 1),
        "'resize', '1', max_metadata => NULL".to_owned(),
        "'resize', '1', version => 4294967296".to_owned(),
        "'resize', '1', tags => ARRAY[ARRAY['a'], ARRAY['b']]".to_owned(),
        "'resize', '1', tags => array_fill('a'::text, ARRAY[33])".to_owned(),
        "'resize', '1', headers => '\"a\"'".to_owned(),
        "'resize', '1', headers => '{\"a\": null}'".to_owned(),
        "'resize', '1', headers => jsonb_build_object('a', repeat('b', 16384))".to_owned(),
        "'resize', '1', priority => 'High'".to_owned(),
        "'resize', '1', priority => NULL".to_owned(),
        "'resize', '1', queue => NULL".to_owned(),
        "E'resize\\n', '1'".to_owned(),
    ] {
        let error = schema.enqueue(&wrong).await.expect_err(&wrong).to_string();
        assert!(
            error.contains("this job can't be enqueued"),
            "{wrong}: {error}"
        );
    }
    // Counted as in Rust: bytes of names, values and tags, whatever JSON makes of them.
    let quotes = "'resize', '1', headers => jsonb_build_object('a', repeat('\"', 16383))";
    schema.enqueue(quotes).await.expect("it fits");
}

/// What the guide shows, tried word by word.
#[tokio::test]
async fn who_may_only_enqueue_can_do_no_more() {
    let schema = Schema::new().await;
    let guide = include_str!("../../docs/transactions.md");
    let (_, door) = guide
        .split_once("```sql\n-- Only enqueues")
        .expect("it is there");
    let (door, _) = door.split_once("```").expect("the block ends");
    let role = format!("writer_{}", schema.name);
    let door = format!("--{door}")
        .replace("bgjob.", "jobs.")
        .replace("writer", &role);
    schema
        .run(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .expect("it is new");
    schema
        .run(
            &door
                .replace("app.", &format!("app_{}.", schema.name))
                .replace("SCHEMA app", &format!("SCHEMA app_{}", schema.name)),
        )
        .await
        .expect("the guide is right");
    let url = server().url_as(&server().url(), &role);
    let mut writer = PgConnection::connect(&url).await.expect("it may log in");
    let trick = "SET search_path = pg_temp, public; CREATE TEMP TABLE jobs(id int)";
    raw_sql(trick).execute(&mut writer).await.expect("it may");
    let call = format!("SELECT app_{}.send_welcome(7)", schema.name);
    let sent = raw_sql(AssertSqlSafe(call)).execute(&mut writer).await;
    sent.expect("it may enqueue");
    for forbidden in ["SELECT * FROM jobs.jobs", "SELECT jobs.enqueue('pay', '1')"] {
        let sql = forbidden.replace("jobs.", &format!("{}.", schema.name));
        let done = raw_sql(AssertSqlSafe(sql)).execute(&mut writer).await;
        let error = done.expect_err("it may do no more").to_string();
        assert!(error.contains("permission denied"), "{error}");
    }
    let listed = schema.jobs.list().limit(10).await.expect("it answers");
    assert_eq!(listed.jobs.len(), 1);
}

#[tokio::test]
async fn a_key_is_the_same_in_sql_and_in_rust() {
    let schema = Schema::new().await;
    let first = schema.enqueue("'resize', '1', unique_key => 'k'").await;
    let first = first.expect("it is taken");
    let job = schema.jobs.enqueue_raw("resize", 2).unique_key("k").await;
    let job = job.expect("it is there");
    assert_eq!((job.id(), job.already_existed()), (first, true));
    // It belongs to the name.
    let other = schema.jobs.enqueue_raw("crop", 2).unique_key("k").await;
    let other = other.expect("it is another key");
    assert!(!other.already_existed());
    let again = schema.enqueue("'crop', '1', unique_key => 'k'").await;
    assert_eq!(again.expect("it is there"), other.id());
    // Unless it is said to be shared.
    let shared = schema
        .enqueue("'resize', '1', shared_unique_key => 'k'")
        .await;
    let shared = shared.expect("it is another key");
    let job = schema
        .jobs
        .enqueue_raw("resize", 2)
        .shared_unique_key("k")
        .await;
    assert_eq!(job.expect("it is there").id(), shared);
    let refused = schema
        .jobs
        .enqueue_raw("crop", 2)
        .shared_unique_key("k")
        .await;
    let refused = refused.expect_err("it is another function's");
    assert_eq!(
        refused.kind(),
        bgjob::ErrorKind::AlreadyExists,
        "{refused:?}"
    );
    let refused = schema
        .enqueue("'crop', '1', shared_unique_key => 'k'")
        .await;
    let refused = refused.expect_err("it is another function's").to_string();
    assert!(
        refused.contains("\"resize\" has its shared key"),
        "{refused}"
    );
    let both = schema.enqueue("'crop', '1', unique_key => 'k', shared_unique_key => 'k'");
    let both = both.await.expect_err("which is it").to_string();
    assert!(both.contains("not both"), "{both}");
}

#[tokio::test]
async fn an_id_is_a_repeat_whatever_the_metadata() {
    let schema = Schema::new().await;
    let id = "id => 'f47ac10b-58cc-4372-a567-0e02b2c3d479'";
    let first = schema.enqueue(&format!("'resize', '1', {id}")).await;
    let first = first.expect("it is taken");
    for again in ["'resize', '2'", "'resize', '{\"a\": 1}', queue => 'images'"] {
        let again = schema.enqueue(&format!("{again}, {id}")).await;
        assert_eq!(again.expect("it is a repeat"), first);
    }
    let refused = schema.enqueue(&format!("'crop', '1', {id}")).await;
    let refused = refused.expect_err("it is another job's").to_string();
    assert!(refused.contains("has its id, of \"resize\""), "{refused}");
    // The same in a transaction of Rust's.
    let mut db = connect().await;
    let again = schema.jobs.enqueue_raw("resize", 3).id(first);
    let again = again.in_transaction(&mut db).await.expect("it is a repeat");
    assert!(again.already_existed());
    let refused = schema.jobs.enqueue_raw("crop", 3).id(first);
    let refused = refused
        .in_transaction(&mut db)
        .await
        .expect_err("it is another job's");
    assert_eq!(
        refused.kind(),
        bgjob::ErrorKind::AlreadyExists,
        "{refused:?}"
    );
    assert!(refused.to_string().contains("`resize`"), "{refused}");
}
