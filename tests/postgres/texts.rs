//! Texts that mean something to whoever takes them for a part of a statement.

use std::sync::Arc;

use bgjob::{
    Due, Job, JobId, JobSpec, JobState, JobStore, Json, Owner, Want,
    job::{ClaimedJob, End, Failure, FailureKind, Grant, How, NewJob, Phase, Retry, Serves, Token},
    providers::postgres::{PostgresOptions, PostgresStore},
    store::{Created, Ending, Filter, Finished, Slice},
};

use crate::support::{count_at, database, open, run_at, url};

const ODD: &[&str] = &[
    "'; DROP TABLE bgjob.jobs; --",
    "'); DELETE FROM bgjob.ready; SELECT ('",
    "$schema$.jobs",
    "$$; DROP SCHEMA bgjob CASCADE; $$",
    "$1 $2 :name ? %s {}",
    "\\'; \\x00 \\u0000 \\",
    "/* no comment */ -- to the end\n;",
    "\"}],\"id\":\"0\",{\"rev\":99,\"becomes\":\"gone\"",
    "{\"a\",NULL,b}",
    "NULL",
    "E'\\047'",
    "a,b\tc\r\nd",
    "\u{202e}\u{feff}\u{fffd}\u{10ffff}🦀e\u{301}",
    "\u{1}\u{7f}\u{85}",
];

fn json(text: &str) -> Json {
    Json::trusted(serde_json::to_string(text).expect("a text is JSON"))
}

fn job(odd: &str) -> NewJob {
    let mut spec = JobSpec::new(odd, json(odd));
    spec.queue = odd.into();
    spec.headers.insert(odd.to_owned(), odd.to_owned());
    spec.tags = vec![odd.to_owned()];
    spec.unique_key = Some(odd.to_owned());
    NewJob::new(JobId::new(), Arc::new(spec), Due::Now)
}

async fn get(store: &PostgresStore, id: JobId) -> Job {
    let found = store.get(&[id]).await.expect("it answers");
    found.into_iter().flatten().next().expect("it is there")
}

async fn claim(store: &PostgresStore, job: &NewJob) -> ClaimedJob {
    let grant = Grant::new(
        Token::random(),
        Owner::random(),
        std::time::Duration::from_secs(30),
    );
    let serves =
        Serves::new(Arc::new([(job.spec.name.to_string().into(), 0)].into())).suspect(true);
    let want = Want::new(Arc::clone(&job.spec.queue), 10);
    let claimed = store.claim_ready(&[want], &grant, &serves).await;
    let mut jobs = claimed.expect("it answers").jobs;
    assert_eq!(jobs.len(), 1, "{:?}", job.spec.name);
    jobs.remove(0)
}

async fn finish(store: &PostgresStore, job: &ClaimedJob, end: End) -> Finished {
    let ending = Ending::new(job.id, job.token, end);
    let finished = store.finish(&[ending]).await;
    finished.expect("it answers").remove(0)
}

/// Takes a job all the way: what was put in is what comes out, wherever it is looked at.
async fn live(store: &PostgresStore, job: &NewJob) {
    let text = &*job.spec.name;
    let filters = [
        Filter::default().queue(text),
        Filter::default().name(text),
        Filter::default().tag(text),
    ];
    for filter in filters {
        let found = store.list(&filter, &Slice::first(10)).await;
        let found = found.expect("it answers").jobs;
        assert_eq!(found.len(), 1, "{filter:?}");
        assert_eq!(found[0].spec, job.spec);
    }
    let again = NewJob::new(JobId::new(), Arc::clone(&job.spec), job.due);
    let answer = store.create(&[again]).await.expect("it answers").remove(0);
    let Created::KeyTaken(holder) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        (holder.id, holder.name),
        (job.id, Some(job.spec.name.clone()))
    );

    let failed = claim(store, job).await;
    assert_eq!(failed.spec, job.spec);
    let failure = Failure::new(FailureKind::Error, text);
    let end = End::Error {
        failure: failure.clone(),
        retry: Retry::After(std::time::Duration::ZERO),
    };
    let ready = Finished::Applied(JobState::Ready);
    assert_eq!(finish(store, &failed, end).await, ready);
    let stored = get(store, job.id).await;
    assert_eq!(stored.spec, job.spec);
    let told = format!("{:?}", stored.history);
    assert!(told.contains(&format!("{failure:?}")), "{told}");

    let claimed = claim(store, job).await;
    let end = End::Success(json(text));
    let succeeded = Finished::Applied(JobState::Succeeded);
    assert_eq!(finish(store, &claimed, end).await, succeeded);
    let stored = get(store, job.id).await;
    assert_eq!(stored.spec, job.spec);
    let Phase::Ended(ended) = stored.phase else {
        panic!("it is over")
    };
    assert_eq!(ended.how, How::Succeeded(json(text)));
}

#[tokio::test]
async fn texts_are_values_and_nothing_else() {
    let url = url(&database().await);
    run_at(&url, "CREATE TABLE bystander AS SELECT 1 AS n".to_owned()).await;
    let options = PostgresOptions::from_url(&url).expect("it is a URL");
    let store = open(&options).await;
    let tables = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE n.nspname IN ('bgjob', 'public')";
    let before = count_at(&url, tables).await;
    let jobs: Vec<NewJob> = ODD.iter().map(|odd| job(odd)).collect();
    let created = store.create(&jobs).await.expect("it answers");
    assert!(
        created.iter().all(|one| *one == Created::Created),
        "{created:?}"
    );
    for job in &jobs {
        live(&store, job).await;
    }
    assert_eq!(count_at(&url, tables).await, before);
    assert_eq!(count_at(&url, "SELECT count(*) FROM bystander").await, 1);
    let history = count_at(&url, "SELECT count(*) FROM bgjob.history").await;
    assert_eq!(history, ODD.len() as i64);
}

/// The server can't keep a NUL in a text, nor half a character: where JSON writes them as escapes
/// it does not have to.
#[tokio::test]
async fn what_the_server_can_not_store_fails_no_batch() {
    let store = open(&crate::support::fresh()).await;
    let mut jobs: Vec<NewJob> = ["before", "a\0b", "after"].map(job).into();
    for job in &mut jobs {
        let spec = Arc::get_mut(&mut job.spec).expect("nobody else has it");
        // Names and queues can't have one: who enqueues is told.
        spec.name = "resize".into();
        spec.queue = "default".into();
    }
    let mut half = jobs[0].clone();
    half.id = JobId::new();
    let spec = Arc::make_mut(&mut half.spec);
    (spec.metadata, spec.unique_key) = (Json::trusted(r#""\ud800\u0000""#), None);
    jobs.push(half);
    let created = store.create(&jobs).await.expect("it answers");
    assert_eq!(created, [const { Created::Created }; 4]);
    for job in &jobs {
        assert_eq!(get(&store, job.id).await.spec, job.spec);
    }
    // What is rare goes another way, within a larger JSON.
    let cancel = bgjob::job::transition::Operation::Cancel;
    let requeue = bgjob::job::transition::Operation::Requeue(Due::Now);
    for job in &jobs {
        for operation in [&cancel, &requeue] {
            store.operate(job.id, operation).await.expect("it answers");
        }
        assert_eq!(get(&store, job.id).await.spec, job.spec);
    }
}
