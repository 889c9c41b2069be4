//! What others have made of the database, and what they let us do there.

use std::{sync::Arc, time::Instant};

use bgjob::{
    ErrorKind, JobManager, JobStore,
    job::transition::SweepPolicy,
    providers::postgres::{PostgresOptions, PostgresStore},
    store::Created,
};

use sqlx::{Connection, PgConnection, raw_sql};

use crate::support::{
    PATIENCE, Told, claim, count_at, database, dispatcher, enqueue, name, new, open, run_at,
    server, soon, succeed, url,
};

/// A database of one test's own, as its owner sees it.
pub(crate) struct Own {
    pub(crate) url: String,
}

impl Own {
    pub(crate) async fn new() -> Self {
        let name = database().await;
        Self { url: url(&name) }
    }

    async fn run(&self, sql: &str) {
        run_at(&self.url, sql.to_owned()).await;
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::from_url(&self.url).expect("it is a URL")
    }

    /// A role that may log in, and its URL.
    async fn role(&self, rights: &str) -> (String, PostgresOptions) {
        let role = name();
        self.run(&format!(
            "CREATE ROLE {role} LOGIN; {}",
            rights.replace("$role", &role)
        ))
        .await;
        let url = server().url_as(&self.url, &role);
        (role, PostgresOptions::from_url(&url).expect("it is a URL"))
    }
}

/// One job from its enqueue to its end, and a purge.
async fn lives(store: &PostgresStore) {
    let created = store.create(&[new(None)]).await.expect("it answers");
    assert_eq!(created, [Created::Created]);
    let claimed = claim(store, 10).await;
    assert_eq!(claimed.len(), 1);
    succeed(store, claimed).await;
    let policy = SweepPolicy::default();
    assert_eq!(store.sweep(10, &policy).await.expect("it answers"), []);
    store.purge(1000).await.expect("it answers");
}

#[tokio::test]
async fn a_publication_of_all_tables_hinders_nothing() {
    let own = Own::new().await;
    let store = open(&own.options()).await;
    own.run("CREATE PUBLICATION everything FOR ALL TABLES")
        .await;
    let mut gone = new(None);
    Arc::make_mut(&mut gone.spec).retain = std::time::Duration::ZERO;
    store.create(&[gone]).await.expect("it answers");
    let claimed = claim(&store, 1).await;
    succeed(&store, claimed).await;
    own.run("UPDATE bgjob.gone SET until = 0").await;
    lives(&store).await;
    let left = count_at(&own.url, "SELECT count(*) FROM bgjob.gone").await;
    assert_eq!(left, 0, "the purge has deleted it");
    let keyless = "SELECT count(*) FROM pg_class c
        WHERE c.relnamespace = 'bgjob'::regnamespace AND c.relkind IN ('r', 'p')
          AND c.relpersistence = 'p' AND c.relreplident <> 'f'
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    let keyless = count_at(&own.url, keyless).await;
    assert_eq!(keyless, 0, "tables that nobody could delete from");
}

#[tokio::test]
async fn a_step_of_the_purge_that_fails_stops_no_other() {
    let own = Own::new().await;
    let store = open(&own.options()).await;
    let mut short = new(None);
    Arc::make_mut(&mut short.spec).retain = std::time::Duration::from_nanos(1);
    store.create(&[short]).await.expect("it answers");
    let claimed = claim(&store, 1).await;
    succeed(&store, claimed).await;
    own.run(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
         CREATE TRIGGER no BEFORE DELETE ON bgjob.gone FOR EACH STATEMENT EXECUTE FUNCTION no();
         CREATE TRIGGER no BEFORE DELETE ON bgjob.gone_own
             FOR EACH STATEMENT EXECUTE FUNCTION no()",
    )
    .await;
    let until = Instant::now() + PATIENCE;
    // Its time comes within a millisecond.
    while store
        .purge(1000)
        .await
        .expect("a trigger of others is no failure of the store")
        == 0
    {
        assert!(Instant::now() < until, "it was not purged");
    }
}

#[tokio::test]
async fn rows_that_are_hidden_are_no_empty_store() {
    let own = Own::new().await;
    let store = open(&own.options()).await;
    let (_, app) = own
        .role(
            "GRANT USAGE ON SCHEMA bgjob TO $role;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bgjob TO $role",
        )
        .await;
    let worker = open(&app).await;
    own.run("ALTER TABLE bgjob.ready ENABLE ROW LEVEL SECURITY")
        .await;
    // At work already, and newly opened.
    let error = worker.create(&[new(None)]).await.expect_err("it may not");
    let again = app.clone().open().await.expect_err("it would find nothing");
    let looked = worker.counts().await.expect_err("it would see nothing");
    for error in [error, again, looked] {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(text.contains("row security"), "{error:?}");
    }
    // Who owns the tables is exempt.
    lives(&store).await;
}

#[tokio::test]
async fn words_of_sql_are_names_like_others() {
    let own = Own::new().await;
    for word in [
        "order", "user", "default", "select", "table", "all", "public",
    ] {
        let store = open(&own.options().schema(word)).await;
        lives(&store).await;
        let call = format!("SELECT 1::bigint FROM \"{word}\".enqueue('resize', '1')");
        assert_eq!(count_at(&own.url, &call).await, 1, "{word}");
    }
    for word in ["information_schema", "pg_catalog", "pg_x"] {
        let opened = own.options().schema(word).open().await;
        let error = opened.expect_err("it is PostgreSQL's own");
        assert!(error.to_string().contains("PostgreSQL's own"), "{error}");
    }
}

#[tokio::test]
async fn a_commit_wakes_who_sleeps_in_a_schema_named_like_a_word() {
    let own = Own::new().await;
    let jobs = JobManager::builder(open(&own.options().schema("order")).await).build();
    let jobs = jobs.expect("it has all it needs");
    let told = Arc::new(Told::default());
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    enqueue(&jobs, 0..1).await;
    told.more(1).await;
    drop(running);
}

#[tokio::test]
async fn tables_that_were_emptied_are_used_as_they_are() {
    let own = Own::new().await;
    let store = open(&own.options()).await;
    lives(&store).await;
    own.run(
        "DO $$ DECLARE t text; BEGIN
             SELECT string_agg(format('bgjob.%I', relname), ', ') INTO t FROM pg_class
             WHERE relnamespace = 'bgjob'::regnamespace AND relkind IN ('r', 'p')
               AND relname NOT IN ('migrations', 'lanes');
             EXECUTE 'TRUNCATE ' || t; END $$",
    )
    .await;
    lives(&store).await;
    let spans = "SELECT count(*) FROM bgjob.history_spans";
    let there = "SELECT count(*) - 1 FROM pg_inherits WHERE inhparent = 'bgjob.history'::regclass";
    let (spans, there) = (
        count_at(&own.url, spans).await,
        count_at(&own.url, there).await,
    );
    assert_eq!(spans, there, "each table of history is known again");
    assert!(there > 0, "there is one");
}

#[tokio::test]
async fn sequences_that_are_behind_hinder_no_claim() {
    let own = Own::new().await;
    let store = open(&own.options()).await;
    for _ in 0..3 {
        store.create(&[new(None)]).await.expect("it answers");
        assert_eq!(claim(&store, 1).await.len(), 1);
    }
    own.run(
        "DO $$ DECLARE s record; BEGIN
             FOR s IN SELECT oid::regclass AS name FROM pg_class
                 WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'S'
             LOOP EXECUTE format('ALTER SEQUENCE %s RESTART', s.name); END LOOP; END $$",
    )
    .await;
    lives(&store).await;
}

/// What `docs/postgres.md` says that programs need, tried word by word.
fn documented_rights() -> String {
    let guide = include_str!("../../docs/postgres.md");
    let (_, rights) = guide
        .split_once("CREATE ROLE app LOGIN;")
        .expect("it is there");
    let (rights, _) = rights.split_once("```").expect("the block ends");
    rights.replace("TO app;", "TO $role;")
}

#[tokio::test]
async fn the_rights_in_the_guide_are_enough() {
    let own = Own::new().await;
    let hardened = format!(
        "REVOKE ALL ON DATABASE {} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        own.url.rsplit('/').next().expect("it has a name")
    );
    own.run(&hardened).await;
    PostgresStore::migrate(&own.options())
        .await
        .expect("the owner may");
    let connect = format!(
        "GRANT CONNECT ON DATABASE {} TO $role;",
        own.url.rsplit('/').next().expect("it has a name")
    );
    let (_, app) = own
        .role(&format!("{connect} {}", documented_rights()))
        .await;
    let store = open(&app.clone().migrate(false)).await;
    lives(&store).await;
    // Beside a queue too.
    let touching = SweepPolicy::default().touch(Some(SweepPolicy::TOUCH));
    store
        .sweep(10, &touching)
        .await
        .expect("an index is not needed");
    let jobs = JobManager::builder(store)
        .build()
        .expect("it has all it needs");
    let told = Arc::new(Told::default());
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    enqueue(&jobs, 0..20).await;
    told.more(20).await;
    let _ = soon(running.shutdown()).await;
    told.each_once(20);
    // A table of history that the owner makes later is theirs too.
    own.run("DELETE FROM bgjob.history_spans WHERE false; SELECT bgjob.add_spans(4102444800000)")
        .await;
    let table = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) x
        WHERE c.relname LIKE 'history\\_4%' AND x.privilege_type = 'DELETE'
          AND x.grantee <> c.relowner";
    assert_eq!(count_at(&own.url, table).await, 1);
}

#[tokio::test]
async fn a_schema_that_is_there_needs_no_right_to_make_one() {
    let own = Own::new().await;
    let (_, app) = own.role("CREATE SCHEMA bgjob AUTHORIZATION $role").await;
    lives(&open(&app).await).await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let own = Own::new().await;
    drop(open(&own.options()).await);
    for (rights, says) in [
        ("", "grant it USAGE"),
        ("GRANT USAGE ON SCHEMA bgjob TO $role", "SELECT, INSERT"),
    ] {
        let (_, app) = own.role(rights).await;
        let opened = app.migrate(false).open().await;
        let error = opened.expect_err("it may not");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.to_string().contains(says), "{rights}: {error:?}");
    }
    let (_, app) = own.role("").await;
    let error = app.schema("other").open().await.expect_err("it may not");
    assert!(error.to_string().contains("grant it CREATE"), "{error:?}");
}

#[tokio::test]
async fn tables_of_others_in_the_schema_are_named_or_in_nobodys_way() {
    let own = Own::new().await;
    own.run(
        "CREATE SCHEMA app; CREATE TABLE app.orders(id int); CREATE TABLE app.history_x(id int);
         ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
         CREATE SCHEMA web; CREATE TABLE web.jobs(id int);
         CREATE SCHEMA site; CREATE TABLE site.migrations(id int, migration text, batch int)",
    )
    .await;
    lives(&open(&own.options().schema("app")).await).await;
    for schema in ["web", "site"] {
        let opened = own.options().schema(schema).open().await;
        let error = opened.expect_err("they have other columns");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("a schema of its own"), "{error:?}");
    }
}

#[tokio::test]
async fn the_name_of_a_program_is_its_own() {
    let own = Own::new().await;
    for (url, name) in [
        (own.url.clone(), "bgjob"),
        (
            format!("{}?application_name=orders-worker", own.url),
            "orders-worker",
        ),
    ] {
        let options = PostgresOptions::from_url(&url).expect("it is a URL");
        let store = open(&options).await;
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND pid <> pg_backend_pid() AND application_name";
        let named = count_at(&own.url, &format!("{others} = '{name}'")).await;
        assert!(named > 0, "{name}");
        drop(store);
    }
}

#[tokio::test]
async fn where_the_server_allows_few_connections_calls_take_turns() {
    let own = Own::new().await;
    drop(open(&own.options()).await);
    let (role, app) = own
        .role(
            "ALTER ROLE $role CONNECTION LIMIT 3; GRANT USAGE ON SCHEMA bgjob TO $role;
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bgjob TO $role",
        )
        .await;
    let store = Arc::new(open(&app).await);
    let began = Instant::now();
    let calls = (0..16).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..10 {
                store
                    .create(&[new(None)])
                    .await
                    .expect("one comes back soon");
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        soon(call).await.expect("it does not panic");
    }
    assert!(
        began.elapsed().as_secs() < 8,
        "none waited until its time was up"
    );
    own.run(&format!("ALTER ROLE {role} CONNECTION LIMIT 0"))
        .await;
    let error = app.open().await.expect_err("it may not");
    let text = error.to_string();
    assert!(
        text.contains("use fewer") && text.contains("raise"),
        "{error:?}"
    );
}

#[tokio::test]
async fn where_nobody_listens_is_said_at_once() {
    for options in ["", "?bgjob.connections=1"] {
        let began = Instant::now();
        let url = format!("postgres://me:secret@127.0.0.1:1/db{options}");
        let error = JobManager::connect(url).await.expect_err("nobody listens");
        assert!(began.elapsed().as_secs() < 1, "it waited");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the server can't be reached"), "{text}");
    }
}

#[test]
fn options_show_no_password() {
    let url = "postgres://me:hunter2@host/db?password=hunter2&bgjob.schema=a";
    let options = PostgresOptions::from_url(url).expect("it is a URL");
    let pool = sqlx_pool(url);
    for options in [options, PostgresOptions::from_pool(pool)] {
        let text = format!("{options:?} {options:#?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("host"), "{text}");
    }
    for url in [
        "host=db user=me password=hunter2",
        "hunter2",
        "a b=hunter2:x",
    ] {
        let text = format!("{:?}", JobManager::connect(url).queue_url(url));
        assert!(!text.contains("hunter2"), "{text}");
    }
}

fn sqlx_pool(url: &str) -> sqlx::PgPool {
    let url = url.split('?').next().expect("it has a start");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("it can be made");
    let _entered = runtime.enter();
    sqlx::PgPool::connect_lazy(url).expect("it is a URL")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_notifications_leads_to_few_claims() {
    let own = Own::new().await;
    let database = own.url.rsplit('/').next().expect("it has a name");
    own.run(&format!(
        "ALTER DATABASE {database} SET track_functions = 'all'"
    ))
    .await;
    let store = open(&own.options()).await;
    let jobs = JobManager::builder(store).build();
    let jobs = jobs.expect("it has all it needs");
    let told = Arc::new(Told::default());
    let running = dispatcher(&jobs, &told).start().await.expect("it starts");
    let mut other = PgConnection::connect(&own.url).await.expect("it answers");
    let began = Instant::now();
    for _ in 0..3000 {
        let said = raw_sql("NOTIFY bgjob_bgjob, 'default'").execute(&mut other);
        said.await.expect("anybody may");
    }
    let most = i64::try_from(began.elapsed().as_millis() / 5).expect("it is small") + 100;
    let _ = soon(running.shutdown()).await;
    drop(jobs);
    let claims = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_user_functions
        WHERE funcname LIKE 'claim%'";
    let claims = count_at(&own.url, claims).await;
    assert!(claims <= most, "{claims} claims, more than {most}");
    println!("{claims} claims, at most {most}");
}
