//! The function for triggers, psql and other languages.

use std::time::Duration;

use bgjob::{JobId, Priority, Timestamp, job::Job};
use sqlx::{AssertSqlSafe, Row, postgres::PgRow};

use crate::{Schema, connect};

impl Schema {
    /// The id that this call answers.
    pub(crate) async fn enqueue(&self, arguments: &str) -> Result<JobId, sqlx::Error> {
        let call = format!("SELECT {}.enqueue({arguments}) AS id", self.name);
        let row: PgRow = sqlx::query(AssertSqlSafe(call))
            .fetch_one(&mut connect().await)
            .await?;
        let id: sqlx::types::Uuid = row.try_get("id")?;
        Ok(id.into())
    }

    async fn job(&self, id: JobId) -> Job {
        let job = self.jobs.get(id).await.expect("it answers");
        job.expect("it is there")
    }
}

#[tokio::test]
async fn a_call_with_two_arguments_is_a_plain_enqueue() {
    let schema = Schema::new().await;
    let id = schema
        .enqueue(r#"'resize', '{"image": 7}'"#)
        .await
        .expect("it is taken");
    let called = schema.job(id).await;
    let metadata = serde_json::json!({ "image": 7 });
    let plain = schema
        .jobs
        .enqueue_raw("resize", metadata)
        .await
        .expect("it is taken");
    let mut plain = schema.job(plain.id()).await;
    // The server writes JSON with blanks.
    let mut spec = (*plain.spec).clone();
    spec.metadata = called.spec.metadata.clone();
    plain.spec = spec.into();
    assert_eq!(called.spec, plain.spec);
    let metadata: serde_json::Value = called.spec.metadata.decode().expect("it is JSON");
    assert_eq!(metadata, serde_json::json!({ "image": 7 }));
    assert_eq!(called.due_at, called.created_at);
    // Ids grow with time, so a batch of them is remembered cheaply.
    let bytes = *id.as_bytes();
    assert_eq!((bytes[6] >> 4, bytes[8] >> 6), (7, 2));
    let made = u64::from_be_bytes([
        0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5],
    ]);
    let made = Timestamp::from_millis(i64::try_from(made).expect("it is a time"));
    assert!(made.since(called.created_at) < Duration::from_secs(1));
    assert!(called.created_at.since(made) < Duration::from_secs(1));
}

#[tokio::test]
async fn everything_can_be_said() {
    let schema = Schema::new().await;
    let all = r#"'resize', 'null', queue => 'images', priority => 'high', delay => '90 s',
        id => 'f47ac10b-58cc-4372-a567-0e02b2c3d479', unique_key => 'it''s', version => 3,
        max_attempts => 2, max_crashes => 1, expires => '1 minute', deadline => '2 hours',
        retain => '0', headers => '{"tenant": "7"}', tags => ARRAY['a,b', 'c']"#;
    let id = schema.enqueue(all).await.expect("it is taken");
    assert_eq!(id.to_string(), "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    let job = schema.job(id).await;
    let spec = &job.spec;
    assert_eq!(
        (&*spec.queue, spec.priority, spec.version),
        ("images", Priority::High, 3)
    );
    assert_eq!(job.due_at.since(job.created_at), Duration::from_secs(90));
    assert_eq!(spec.unique_key.as_deref(), Some("resize/it's"));
    assert_eq!((spec.max_attempts, spec.max_crashes), (2, 1));
    assert_eq!(spec.expires, Some(Duration::from_secs(60)));
    assert_eq!(spec.deadline, Some(Duration::from_secs(7200)));
    assert_eq!(spec.retain, Duration::ZERO);
    assert_eq!(spec.headers["tenant"], "7");
    assert_eq!(spec.tags, ["a,b", "c"]);
    // The same again, another one with its key, another one with its id.
    assert_eq!(schema.enqueue(all).await.expect("it is taken"), id);
    let other = schema.enqueue("'resize', '1', unique_key => 'it''s'").await;
    assert_eq!(other.expect("it is there"), id);
    let refused = schema.enqueue("'crop', '1', id => 'f47ac10b-58cc-4372-a567-0e02b2c3d479'");
    let refused = refused.await.expect_err("it is another job's");
    assert!(
        refused.to_string().contains("another one has its id"),
        "{refused}"
    );
    let at = schema
        .enqueue("'resize', '1', at => '2100-01-01 00:00:00.5+00'")
        .await;
    let at = schema.job(at.expect("it is taken")).await.due_at;
    assert_eq!(at.as_millis(), 4_102_444_800_500);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let schema = Schema::new().await;
    for (arguments, says) in [
        ("'a b', '1'", r#""name" has"#),
        ("NULL, '1'", r#""name" has"#),
        ("'a', NULL", r#""metadata" is JSON"#),
        ("'a', '1', queue => '../up'", r#""queue" has"#),
        (
            "'a', '1', priority => 'urgent'",
            r#""priority" is critical"#,
        ),
        (
            "'a', '1', delay => '1 s', at => now()",
            r#""delay" or "at""#,
        ),
        ("'a', '1', delay => '-1 s'", r#""delay" is at most"#),
        ("'a', '1', unique_key => ''", r#""unique_key" has"#),
        ("'a', '1', version => -1", r#""version" is"#),
        ("'a', '1', max_attempts => 0", r#""max_attempts" is"#),
        ("'a', '1', max_crashes => 1001", r#""max_crashes" is"#),
        ("'a', '1', expires => '11 years'", r#""expires" is"#),
        ("'a', '1', deadline => '-1 s'", r#""deadline" is"#),
        ("'a', '1', retain => NULL", r#""retain" is"#),
        ("'a', '1', headers => '{\"a\": 1}'", r#""headers" is"#),
        ("'a', '1', headers => '[]'", r#""headers" is"#),
        ("'a', '1', tags => ARRAY['a', NULL]", r#""tags" has"#),
        ("'a', to_jsonb(repeat('a', 1048577))", r#""metadata" has"#),
    ] {
        let error = schema.enqueue(arguments).await.expect_err(says).to_string();
        assert!(error.contains(says), "{arguments}: {error}");
        assert!(error.contains("this job can't be enqueued"), "{error}");
    }
    assert_eq!(schema.jobs.counts().await.expect("it answers").len(), 0);
}

#[tokio::test]
async fn a_trigger_enqueues() {
    let schema = Schema::new().await;
    let table = format!("users_{}", schema.name);
    let set_up = "CREATE TABLE $table(id bigint PRIMARY KEY, name text);
        CREATE FUNCTION welcome_$table() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM jobs.enqueue('send_welcome', to_jsonb(NEW), queue => 'mail');
            RETURN NEW;
        END $$;
        CREATE TRIGGER welcome AFTER INSERT ON $table
            FOR EACH ROW EXECUTE FUNCTION welcome_$table();
        COMMIT;
        BEGIN; INSERT INTO $table VALUES(1, 'lost'); ROLLBACK;
        INSERT INTO $table VALUES(2, 'Ada'), (3, 'Lin');";
    let set_up = set_up.replace("$table", &table);
    schema.run(&set_up).await.expect("it is right");
    let listed = schema
        .jobs
        .list()
        .queue("mail")
        .limit(10)
        .await
        .expect("it answers");
    let mut users: Vec<serde_json::Value> = listed
        .jobs
        .iter()
        .map(|job| job.spec.metadata.decode().expect("it is JSON"))
        .collect();
    // Their ids are of one millisecond.
    users.sort_by_key(|user| user["id"].as_i64());
    let expected =
        [(2, "Ada"), (3, "Lin")].map(|(id, name)| serde_json::json!({ "id": id, "name": name }));
    assert_eq!(users, expected);
}
