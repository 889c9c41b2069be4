//! Numbers of kinds of jobs: what the database means by one may change while programs run.

use std::{process::Command, sync::Arc, time::Duration};

use bgjob::{
    JobId, JobStore, Json,
    job::{
        Grant, NewJob, Owner, Serves, Token,
        transition::{Operation, SweepPolicy},
    },
    providers::postgres::PostgresStore,
    store::{Claim, Claimed, Created, Filter, Slice, Swept, Want},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::{
    servers::postgres::program,
    support::{count_at, fresh, new, open, run, server, succeed},
};

const TABLES: &str = "lanes, jobs, ready, grants, held, history, history_spans, gone, gone_own";

fn named(name: &str) -> NewJob {
    let mut job = new(None);
    let spec = Arc::make_mut(&mut job.spec);
    (spec.name, spec.retain) = (name.into(), Duration::from_secs(60));
    job
}

fn serves(names: &[&str]) -> Serves {
    let jobs = names.iter().map(|name| ((*name).into(), 0));
    Serves::new(Arc::new(jobs.collect())).suspect(true)
}

fn grant() -> Grant {
    Grant::new(Token::random(), Owner::random(), Duration::from_secs(30))
}

async fn claim(store: &PostgresStore, names: &[&str]) -> Claimed {
    let want = Want::new("default", 99);
    let claimed = store.claim_ready(&[want], &grant(), &serves(names)).await;
    claimed.expect("it answers")
}

/// The names of what is claimed by whoever serves these.
async fn names(store: &PostgresStore, names: &[&str]) -> Vec<String> {
    let jobs = claim(store, names).await.jobs;
    jobs.iter().map(|job| job.spec.name.to_string()).collect()
}

async fn add(store: &PostgresStore, names: &[&str]) -> Vec<JobId> {
    let jobs: Vec<_> = names.iter().map(|name| named(name)).collect();
    let created = store.create(&jobs).await.expect("it answers");
    assert!(created.iter().all(|answer| *answer == Created::Created));
    jobs.iter().map(|job| job.id).collect()
}

async fn name_of(store: &PostgresStore, id: JobId) -> String {
    let job = store.get(&[id]).await.expect("it answers").remove(0);
    job.expect("it is there").spec.name.to_string()
}

/// Statements on a schema, whose name stands for `$`.
async fn change(schema: &str, sql: &str) {
    run(sql.replace('$', schema)).await;
}

async fn ask(schema: &str, sql: &str) -> i64 {
    count_at(&server().url(), &sql.replace('$', schema)).await
}

/// Two programs that have both seen "first" and "greet"; then the database goes to another state,
/// in which the number of "greet" is that of "pay".
async fn goes_back(to: &str) {
    let options = fresh();
    let (a, b) = (open(&options).await, open(&options).await);
    let schema = a.schema();
    for store in [&a, &b] {
        add(store, &["first", "greet"]).await;
        assert_eq!(names(store, &["first", "greet"]).await.len(), 2);
    }
    change(schema, to).await;
    let greet = add(&a, &["greet"]).await[0];
    assert_eq!(name_of(&a, greet).await, "greet", "{to}");
    assert_eq!(name_of(&b, greet).await, "greet", "{to}");
    let pay = add(&b, &["pay"]).await[0];
    assert_eq!(name_of(&a, pay).await, "pay", "{to}");
    assert_eq!(names(&a, &["nobody"]).await, [] as [&str; 0], "{to}");
    assert_eq!(names(&a, &["pay"]).await, ["pay"], "{to}");
    assert_eq!(names(&b, &["greet"]).await, ["greet"], "{to}");
    // And an edit, which gives a job another kind.
    let edited = add(&b, &["pay"]).await[0];
    let edit = Operation::Edit {
        version: 1,
        metadata: Json::trusted("2"),
        ver: 0,
    };
    b.operate(edited, &edit).await.expect("it answers");
    assert_eq!(name_of(&a, edited).await, "pay", "{to}");
}

#[tokio::test]
async fn a_number_that_stands_for_another_kind_is_refused_where_it_is_used() {
    goes_back(
        "CREATE TABLE $.old AS SELECT * FROM $.lanes;
         DELETE FROM $.lanes;
         INSERT INTO $.lanes(id, queue, name, version) OVERRIDING SYSTEM VALUE
             SELECT id, queue, 'pay', version FROM $.old WHERE name = 'greet'
             UNION ALL SELECT id, queue, 'other', version FROM $.old WHERE name = 'first'",
    )
    .await;
}

#[tokio::test]
async fn tables_may_be_emptied_under_running_programs() {
    let tables: Vec<_> = TABLES
        .split(", ")
        .map(|table| format!("$.{table}"))
        .collect();
    let tables = tables.join(", ");
    goes_back(&format!("TRUNCATE {tables} RESTART IDENTITY")).await;
    goes_back(&format!("TRUNCATE {tables}")).await;
    goes_back("DELETE FROM $.lanes; DELETE FROM $.ready; DELETE FROM $.jobs").await;
}

#[tokio::test]
async fn a_dump_may_be_put_back_under_running_programs() {
    let options = fresh();
    let a = open(&options).await;
    let schema = a.schema();
    add(&a, &["first"]).await;
    let url = server().url();
    let dump = Command::new(program("pg_dump"))
        .args(["-n", schema, "-d", &url])
        .output();
    let dump = String::from_utf8(dump.expect("it runs").stdout).expect("it is text");
    let file = std::env::temp_dir().join(format!("{schema}.sql"));
    std::fs::write(&file, dump).expect("it can be written");
    add(&a, &["greet"]).await;
    assert_eq!(names(&a, &["first", "greet"]).await.len(), 2);
    run(format!("DROP SCHEMA {schema} CASCADE")).await;
    let back = Command::new(program("psql"))
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-d", &url])
        .arg("-f")
        .arg(&file)
        .output()
        .expect("it runs");
    assert!(
        back.status.success(),
        "{}",
        String::from_utf8_lossy(&back.stderr)
    );
    std::fs::remove_file(&file).expect("it is there");
    let b = open(&options).await;
    add(&b, &["pay"]).await;
    let greet = add(&a, &["greet"]).await[0];
    assert_eq!(name_of(&b, greet).await, "greet");
    assert_eq!(
        names(&a, &["first", "greet", "pay"]).await,
        ["first", "pay", "greet"]
    );
}

#[tokio::test]
async fn sequences_that_are_behind_hold_nobody_up() {
    let options = fresh();
    let store = open(&options).await;
    let schema = store.schema();
    add(&store, &["one", "two", "three"]).await;
    assert_eq!(names(&store, &["one", "two"]).await.len(), 2);
    let behind = "ALTER TABLE $.lanes ALTER id RESTART WITH 1";
    change(schema, behind).await;
    let new: Vec<_> = (0..9).map(|n| format!("new-{n}")).collect();
    let new: Vec<_> = new.iter().map(String::as_str).collect();
    add(&store, &new).await;
    change(schema, behind).await;
    change(schema, "SELECT $.enqueue('by-sql', '1')").await;
    assert_eq!(names(&store, &new).await, new);
    assert_eq!(names(&store, &["by-sql"]).await, ["by-sql"]);
}

#[tokio::test]
async fn a_job_whose_kind_is_gone_is_in_nobodys_way() {
    let store = open(&fresh()).await;
    let schema = store.schema();
    let ids = add(&store, &["lost", "kept", "lost", "kept"]).await;
    let claimed = claim(&store, &["lost", "kept"]).await.jobs;
    succeed(&store, claimed).await;
    let waiting = add(&store, &["lost", "kept"]).await;
    change(schema, "DELETE FROM $.lanes WHERE name = 'lost'").await;

    for slice in [Slice::first(9), Slice::last(9)] {
        let listed = store.list(&Filter::default(), &slice).await;
        let jobs = listed.expect("it answers").jobs;
        assert_eq!(jobs.len(), 3, "{jobs:?}");
        assert!(jobs.iter().all(|job| &*job.spec.name == "kept"));
    }
    store.counts().await.expect("it answers");
    store.purge(9).await.expect("it answers");
    for id in [ids[0], waiting[0]] {
        let error = store.get(&[id]).await.expect_err("nobody knows what it is");
        let text = format!("{error:#?} {error}");
        assert!(text.contains("mend it, or remove it"), "{text}");
        assert!(text.contains(&id.to_string()), "{text}");
        assert!(store.operate(id, &Operation::Cancel).await.is_err());
    }
    let answer = store
        .claim(&waiting, &grant(), &serves(&["lost", "kept"]))
        .await;
    let answer = answer.expect("it answers");
    assert!(
        matches!(answer[..], [Claim::Unreadable, Claim::Claimed(_)]),
        "{answer:?}"
    );
    // A kind of that name that comes later is another one.
    add(&store, &["lost"]).await;
    assert_eq!(names(&store, &["lost"]).await, ["lost"]);
}

/// What a newer version may have left in a column. Were it read for nothing, it would be written
/// back as nothing.
#[tokio::test]
async fn what_a_newer_version_wrote_is_left_as_it_is() {
    let options = fresh();
    for strange in [
        "past = '{\"errors\":4,\"crashes\":2,\"history\":[{\"newer\":1}]}'",
        "past = '{\"errors\":4,\"stalls\":1}'",
        "past = '{\"errors\":4,\"history\":[{\"at\":1,\"end\":{\"newer\":{}}}]}'",
        // What a newer version added, each beside what this one knows.
        "past = '{\"history\":[{\"fence\":1,\"owner\":\"018bcfe5-6800-7000-8000-000000000000\",\
         \"claimed_at\":1,\"ended_at\":2,\"newer\":1,\
         \"end\":{\"failed\":{\"kind\":\"error\",\"messages\":[]}}}]}'",
        "past = '{\"history\":[{\"fence\":1,\"owner\":\"018bcfe5-6800-7000-8000-000000000000\",\
         \"claimed_at\":1,\"ended_at\":2,\
         \"end\":{\"failed\":{\"kind\":\"error\",\"messages\":[],\"newer\":1}}}]}'",
        "extra = '{\"backoff\":{\"steps\":[1],\"newer\":1}}'",
        "extra = '{'",
        "extra = '{\"newer\":1}'",
    ] {
        let store = open(&options).await;
        let schema = store.schema();
        let ids = add(&store, &["a", "a", "a"]).await;
        let such = format!("WHERE id = '{}'", ids[1]);
        change(schema, &format!("UPDATE $.jobs SET {strange} {such}")).await;
        let columns = "hashtext(concat(past, extra, due_at, lane, suspect, metadata, fence))";
        let row = format!("SELECT {columns}::bigint FROM $.jobs {such}");
        let was = ask(schema, &row).await;

        let claimed = claim(&store, &["a"]).await;
        assert_eq!(claimed.unreadable, [ids[1]], "{strange}");
        assert_eq!(claimed.jobs.len(), 2, "{strange}");
        let again = claim(&store, &["a"]).await;
        assert_eq!(
            (again.jobs, again.next_due_in),
            (Vec::new(), None),
            "{strange}"
        );
        let by_id = store.claim(&ids[1..2], &grant(), &serves(&["a"])).await;
        assert_eq!(by_id.expect("it answers"), [Claim::Unreadable], "{strange}");
        assert!(store.operate(ids[1], &Operation::Cancel).await.is_err());
        assert_eq!(ask(schema, &row).await, was, "{strange}");
        let waits = format!("SELECT count(*) FROM $.ready {such}");
        assert_eq!(ask(schema, &waits).await, 1, "{strange}");
        assert_eq!(
            ask(schema, "SELECT count(*) FROM $.grants").await,
            1,
            "{strange}"
        );
        change(
            schema,
            "DELETE FROM $.ready; DELETE FROM $.jobs; DELETE FROM $.grants",
        )
        .await;
    }
}

#[tokio::test]
async fn the_sweep_tells_of_a_running_job_that_cannot_be_read() {
    let store = open(&fresh()).await;
    let schema = store.schema();
    let ids = add(&store, &["a", "a"]).await;
    assert_eq!(names(&store, &["a"]).await.len(), 2);
    change(schema, "UPDATE $.grants SET lease_until = 1").await;
    let newer = "UPDATE $.jobs SET past = '{\"newer\":1}' WHERE id = ";
    change(schema, &format!("{newer}'{}'", ids[0])).await;
    let swept = store
        .sweep(9, &SweepPolicy::default())
        .await
        .expect("it answers");
    assert!(
        swept.contains(&Swept::Unreadable { id: ids[0] }),
        "{swept:?}"
    );
    let revoked = |swept: &Swept| matches!(swept, Swept::Revoked { id, .. } if *id == ids[1]);
    assert!(swept.iter().any(revoked), "{swept:?}");
}

#[tokio::test]
async fn kinds_that_nobody_uses_are_forgotten() {
    let store = open(&fresh()).await;
    let schema = store.schema();
    let all: Vec<_> = (0..40).map(|n| format!("kind-{n}")).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    add(&store, &all).await;
    // One waits, one runs, one is kept.
    change(
        schema,
        "DELETE FROM $.ready e USING $.lanes l WHERE l.id = e.lane
        AND l.name NOT IN ('kind-0', 'kind-1', 'kind-2')",
    )
    .await;
    change(
        schema,
        "DELETE FROM $.jobs j WHERE id NOT IN (SELECT id FROM $.ready)",
    )
    .await;
    let over = claim(&store, &["kind-2"]).await.jobs;
    succeed(&store, over).await;
    assert_eq!(names(&store, &["kind-1"]).await, ["kind-1"]);

    let minutes = |n: i64| format!("SELECT $.forget_lanes($.now_ms(NULL) + {n} * 60000)::bigint");
    assert_eq!(
        ask(schema, &minutes(0)).await,
        0,
        "they may be used again in a moment"
    );
    assert_eq!(ask(schema, &minutes(5)).await, 0);
    assert_eq!(ask(schema, &minutes(11)).await, 37);
    assert_eq!(ask(schema, "SELECT count(*) FROM $.lanes").await, 3);
    // Programs have noted their numbers.
    add(&store, &["kind-7"]).await;
    assert_eq!(
        names(&store, &["kind-7", "kind-0"]).await,
        ["kind-0", "kind-7"]
    );
    assert_eq!(
        ask(schema, &minutes(99)).await,
        0,
        "each is looked at first"
    );
}

/// While a transaction is open that has stored a job, nobody forgets what kind it is of.
#[tokio::test]
async fn a_kind_is_not_forgotten_while_a_job_of_it_is_on_its_way() {
    let store = open(&fresh()).await;
    let schema = store.schema();
    let jobs = store
        .transactions()
        .expect("it can")
        .create(&[named("slow")])
        .await
        .expect("it answers");
    let mut other = PgConnection::connect(&server().url())
        .await
        .expect("it answers");
    raw_sql("BEGIN")
        .execute(&mut other)
        .await
        .expect("it begins");
    sqlx::query(AssertSqlSafe(jobs.sql.clone()))
        .bind(&jobs.parameter)
        .execute(&mut other)
        .await
        .expect("it is stored");
    for minutes in [0, 11, 22] {
        let forget = format!("SELECT $.forget_lanes($.now_ms(NULL) + {minutes} * 60000)::bigint");
        assert_eq!(ask(schema, &forget).await, 0);
    }
    raw_sql("COMMIT")
        .execute(&mut other)
        .await
        .expect("it is committed");
    assert_eq!(names(&store, &["slow"]).await, ["slow"]);
}
