//! Panics of handlers stay inside, and so do those of who listens.

use tracing::span;

use bgjob::{
    Event, JobState, State, job,
    job::{AttemptEnd, FailureKind},
};

use crate::support::{Probe, World, jobs, pass, secs};

#[job(name = "panics", backoff = "constant(1s)", max_attempts = 2)]
async fn panics(when: String, probe: State<Probe>) {
    let _inside = probe.enter();
    match when.as_str() {
        "first poll" => panic!("at the {when}"),
        "later" => {
            pass(secs(1)).await;
            panic!("{when}");
        }
        "drop" => {
            let _bomb = Bomb;
            pass(secs(600)).await;
        }
        _ => std::panic::panic_any(7_u8),
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("while it was dropped");
    }
}

async fn check(when: &str, says: &str) {
    let world = World::new();
    let probe = Probe::new();
    let builder = world.dispatcher(jobs::registry().with::<panics>());
    let running = builder
        .state(probe.clone())
        .default_slots(1)
        .start()
        .await
        .unwrap();
    let job = panics::enqueue(&world.jobs, when.to_owned()).await.unwrap();
    let ended = job.ended().await.unwrap();
    assert_eq!((ended.state(), ended.errors), (JobState::Dead, 2), "{when}");
    for attempt in &ended.history {
        let AttemptEnd::Failed(failure) = &attempt.end else {
            panic!("{attempt:?}");
        };
        assert_eq!(failure.kind, FailureKind::Panic, "{when}");
        assert_eq!(failure.message(), says);
    }
    // The only slot lives.
    let next = jobs::echo::enqueue(&world.jobs, 1).await.unwrap();
    assert_eq!(next.result_within(secs(10)).await.unwrap(), 1);
    assert_eq!((probe.running(), running.health().stuck), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_its_own_kind_and_the_next_job_runs() {
    check("first poll", "at the first poll").await;
    check("later", "later").await;
    check("something else", "panicked with a value that is no text").await;
}

/// It is dropped five seconds after its time-out, and panics in that.
#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_handler_stays_inside_too() {
    check("drop", "while it was dropped").await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_costs_nothing_but_what_it_would_have_heard() {
    let world = World::new();
    let builder = world.dispatcher(jobs::registry()).state(Probe::new());
    let builder = builder.on_event(|event| {
        assert!(
            !matches!(event, Event::AttemptStarted { .. }),
            "a bad listener"
        );
        assert!(!matches!(event, Event::Recorded { .. }), "a bad listener");
    });
    let running = builder.default_slots(1).start().await.unwrap();
    for n in 0..3 {
        let job = jobs::echo::enqueue(&world.jobs, n).await.unwrap();
        assert_eq!(job.result_within(secs(10)).await.unwrap(), n);
    }
    running.shutdown().await;
}

/// A subscriber of `tracing` that panics whatever it hears of.
struct Grumpy;

impl tracing::Subscriber for Grumpy {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        panic!("a bad subscriber")
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("a bad subscriber")
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_log_that_panics_costs_nothing_but_its_lines() {
    let _log = tracing::subscriber::set_default(Grumpy);
    let world = World::new();
    let builder = world.dispatcher(jobs::registry()).state(Probe::new());
    let running = builder.default_slots(1).start().await.unwrap();
    for n in 0..3 {
        let job = jobs::echo::enqueue(&world.jobs, n).await.unwrap();
        assert_eq!(job.result_within(secs(10)).await.unwrap(), n);
    }
    assert_eq!(running.shutdown().await.unknown, 0);
}
