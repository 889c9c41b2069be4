//! What is secret is shown by nothing that is public: no `Debug`, no error, no JSON of a job.

use std::{fmt::Debug, sync::Arc, time::Duration};

use bgjob::{
    JobId, JobSpec, Json, Owner, Progress, Timestamp,
    job::{
        Due, End, Ended, Grant, Hold, How, NewJob, Phase, Serves, Token,
        transition::{self, Operation},
    },
    store::{Claim, Claimed, Document, Ending, Renewal, Statement, Version},
};

use crate::support::{echo, memory, new};

const SECRET: &str = "4111-1111";

/// As much of [`token`] as nobody is to see.
const TOKEN: [&str; 3] = ["a5a5a5a5-a5a5", "a5a5a5a5a5", "165, 165"];

fn token() -> Token {
    Token::from_bytes([0xa5; 16])
}

fn json() -> Json {
    Json::encode(SECRET).unwrap()
}

#[track_caller]
fn hides(shown: &str) {
    for secret in TOKEN.iter().chain([&SECRET]) {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

#[track_caller]
fn hidden(value: &impl Debug) {
    hides(&format!("{value:?}"));
    hides(&format!("{value:#?}").replace(char::is_whitespace, ""));
}

fn secret() -> NewJob {
    new("card", |spec| spec.metadata = json())
}

#[test]
fn no_debug_shows_metadata_tokens_or_results() {
    let new = secret();
    let grant = Grant::new(token(), Owner::random(), Duration::from_secs(9));
    hidden(&(json(), token(), grant, &new));
    hidden(&JobSpec::new("card", json()));
    let now = Timestamp::from_millis(1);
    let mut job = transition::create(&new, now);
    hidden(&job);
    let serves = Serves::new(Arc::new([("card".into(), 0)].into()));
    let claimed = transition::claim(&mut job, &grant, &serves, now).unwrap();
    hidden(&job);
    hidden(&(&claimed, Claim::Claimed(claimed.clone())));
    hidden(&Claimed::new(vec![claimed]));
    let ending = Ending::new(job.id, token(), End::Success(json()));
    hidden(&(&ending, &ending.end));
    hidden(&Renewal::new(job.id, token()).progress(Progress::of(1, 2)));
    job.phase = Phase::Ended(Ended {
        how: How::Succeeded(json()),
        at: now,
        purge_at: now,
    });
    hidden(&(&job, job.result()));
    hidden(&Operation::Edit {
        metadata: json(),
        version: 0,
        ver: 0,
    });
    hidden(&Statement {
        sql: "SELECT $1".to_owned(),
        parameter: format!("{SECRET} a5a5a5a5-a5a5"),
    });
    hidden(&Document {
        id: job.id,
        version: Version::default(),
        keys: Vec::new(),
        body: SECRET.into(),
    });
}

#[tokio::test(start_paused = true)]
async fn no_front_door_shows_metadata() {
    let jobs = memory();
    hidden(&jobs.enqueue_raw("card", SECRET));
    hidden(&echo::enqueue_all(&jobs, [41_111_111]));
    assert!(!format!("{:?}", echo::enqueue(&jobs, 41_111_111)).contains("41111111"));
    let job = jobs.enqueue_raw("card", SECRET).await.unwrap();
    hidden(&job);
    hidden(&jobs.list().await.unwrap());
    // Refused for what it holds, by its place.
    let error = jobs
        .enqueue_raw("card", [(SECRET, f64::NAN)])
        .await
        .unwrap_err();
    hidden(&error);
    hides(&error.to_string());
    let keys = std::collections::BTreeMap::from([((SECRET, 1), 1)]);
    let error = jobs.enqueue_raw("card", keys).await.unwrap_err();
    hidden(&error);
}

#[test]
fn the_json_of_a_job_shows_no_token() {
    let mut job = transition::create(
        &NewJob::new(JobId::from_key("card"), secret().spec, Due::Now),
        Timestamp::from_millis(1),
    );
    job.phase = Phase::Running(Hold {
        token: token(),
        owner: Owner::random(),
        since: Timestamp::MIN,
        lease_until: Timestamp::MIN,
        cancel: false,
    });
    let shown = serde_json::to_string(&job).unwrap();
    assert!(
        shown.contains("a5a5a5a5…"),
        "its head tells grants apart: {shown}"
    );
    assert!(TOKEN.iter().all(|token| !shown.contains(token)), "{shown}");
}
