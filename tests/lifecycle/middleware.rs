//! Middleware: the order of it, and what it may do.

use async_trait::async_trait;
use bgjob::{JobContext, JobState, Json, Middleware, Next, Outcome};

use crate::support::{Probe, World, jobs, secs};

struct Say(&'static str, Probe);

#[async_trait]
impl Middleware for Say {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        self.1.say(format!("{} before {}", self.0, job.name()));
        let outcome = next.run(job).await;
        self.1.say(format!("{} after", self.0));
        outcome
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_added_first_is_outermost_and_a_queues_own_is_only_its_own() {
    let world = World::new();
    let probe = Probe::new();
    let builder = world.dispatcher(jobs::registry()).state(probe.clone());
    let builder = builder
        .slots("other", 1)
        .middleware(Say("one", probe.clone()))
        .middleware_for("other", Say("two", probe.clone()))
        .middleware(Say("three", probe.clone()));
    let _running = builder.start().await.unwrap();
    probe.open(2);
    let job = jobs::gated::enqueue(&world.jobs, "job".to_owned());
    job.queue("other").await.unwrap().result().await.unwrap();
    let all = "one before gated, two before gated, three before gated, job, three after, two \
               after, one after";
    assert_eq!(probe.said().join(", "), all);
    let job = jobs::gated::enqueue(&world.jobs, "job".to_owned());
    job.await.unwrap().result().await.unwrap();
    let fewer = "one before gated, three before gated, job, three after, one after";
    assert_eq!(probe.said()[7..].join(", "), fewer);
}

/// Leaves jobs out, replaces outcomes, panics.
struct Meddle;

#[async_trait]
impl Middleware for Meddle {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        match job.tags().first().map(String::as_str) {
            Some("left out") => Outcome::Success(Json::encode(&99).expect("a number")),
            Some("replaced") => {
                next.run(job).await;
                Outcome::Success(Json::encode(&98).expect("a number"))
            }
            Some("once more") if job.fence() == 1 => Outcome::Snooze(secs(60)),
            Some("panic") => panic!("in the middle"),
            _ => next.run(job).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_may_leave_out_replace_and_panic() {
    let world = World::new();
    let builder = world.dispatcher(jobs::registry()).state(Probe::new());
    let _running = builder.middleware(Meddle).start().await.unwrap();
    for (tag, result) in [
        ("left out", 99),
        ("replaced", 98),
        ("once more", 1),
        ("no", 1),
    ] {
        let job = jobs::echo::enqueue(&world.jobs, 1).tag(tag).await.unwrap();
        assert_eq!(job.result().await.unwrap(), result, "{tag}");
    }
    let job = jobs::echo::enqueue(&world.jobs, 1)
        .tag("panic")
        .max_attempts(1)
        .await
        .unwrap();
    assert_eq!(job.ended().await.unwrap().state(), JobState::Dead);
}
