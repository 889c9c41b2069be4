//! Who hears what: managers and their dispatchers share their listeners.

use std::sync::{Arc, Mutex};

use bgjob::{
    Event, JobDispatcher, JobManager, Owner, Registry, job::Phase, providers::memory::MemoryStore,
};

use crate::support::{Probe, World, jobs::*, pass, secs};

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn listener(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let heard = Arc::clone(&self.0);
        move |event| {
            let word = match event {
                Event::Created { jobs, name, queue } => format!("{jobs} {name} in {queue}"),
                Event::AttemptStarted { job } => format!("{} starts", job.spec.name),
                Event::Started { worker, .. } => format!("{worker} at work"),
                _ => return,
            };
            heard.lock().unwrap().push(word);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn echoes() -> Registry {
    Registry::new().with::<echo>()
}

#[tokio::test]
async fn a_listener_hears_both_sides_whichever_builder_it_was_given_to() {
    let [of_manager, of_first, of_second] = [(); 3].map(|()| Heard::default());
    let builder = JobManager::builder(MemoryStore::new()).on_event(of_manager.listener());
    let jobs = builder.build().unwrap();
    let dispatcher = |name: &str, heard: &Heard| {
        let builder = JobDispatcher::builder(&jobs).registry(echoes());
        builder.worker_name(name).on_event(heard.listener())
    };
    let first = dispatcher("first", &of_first).start().await.unwrap();
    let run = async |n: u32| {
        let job = echo::enqueue(&jobs, n).await.unwrap();
        job.result().await.unwrap();
    };
    run(1).await;
    let all = ["first at work", "1 echo in default", "echo starts"];
    assert_eq!(of_manager.take(), all, "once each");
    assert_eq!(of_first.take(), all);

    // One that has gone hears no more, and another does not hear for it.
    first.shutdown().await;
    let second = dispatcher("second", &of_second).start().await.unwrap();
    run(2).await;
    let all = ["second at work", "1 echo in default", "echo starts"];
    assert_eq!(of_manager.take(), all);
    assert_eq!(of_second.take(), all);
    assert!(!of_first.take().contains(&"echo starts".to_owned()));
    second.shutdown().await;
}

#[tokio::test]
async fn what_was_stored_is_told_once_for_each_name_and_queue() {
    let heard = Heard::default();
    let builder = JobManager::builder(MemoryStore::new()).on_event(heard.listener());
    let jobs = builder.build().unwrap();
    echo::enqueue_all(&jobs, 0..1_500).await.unwrap();
    assert_eq!(
        heard.take(),
        ["1000 echo in default", "500 echo in default"]
    );
    echo::enqueue_all(&jobs, 0..3).queue("other").await.unwrap();
    assert_eq!(heard.take(), ["3 echo in other"]);
}

/// A handle of a dispatcher can be handed on, and any number of them wait for its end.
#[tokio::test(start_paused = true)]
async fn clones_of_a_running_dispatcher_are_one() {
    let world = World::new();
    let builder = world.dispatcher(echoes()).worker_name("web-3");
    let running = builder.start().await.unwrap();
    let (probe, waits, late) = (running.clone(), running.clone(), running.clone());
    let waits = tokio::spawn(waits.wait());
    assert!(probe.health().is_good() && !probe.health().draining);
    assert_eq!(probe.worker(), "web-3");
    let drained = running.shutdown().await;
    assert_eq!(waits.await.unwrap(), drained);
    assert_eq!(late.wait().await, drained, "also who asks afterwards");
    assert!(probe.health().draining);
}

#[tokio::test]
async fn a_name_that_breaks_a_line_is_refused() {
    for name in ["", "a\nb", &"x".repeat(101)] {
        let builder = World::new().dispatcher(echoes()).worker_name(name);
        let error = builder.start().await.unwrap_err();
        assert!(error.to_string().contains("worker_name"), "{error}");
    }
}

/// By what is stored with a running job, and with its failed attempts.
#[tokio::test(start_paused = true)]
async fn the_store_tells_what_the_worker_of_a_job_is_called() {
    let world = World::new();
    let probe = Probe::new();
    let builder = world.dispatcher(registry()).worker_name("web-3");
    let _running = builder.state(probe.clone()).start().await.unwrap();
    let job = polite::enqueue(&world.jobs, ()).await.unwrap();
    world.log.started(job.id(), 1).await;
    pass(secs(1)).await;
    let Phase::Running(hold) = world.job(job.id()).await.phase else {
        panic!("it runs");
    };
    let named = async |owner| world.jobs.worker_names(&[owner]).await.unwrap();
    assert_eq!(named(hold.owner).await, [Some("web-3".to_owned())]);
    assert_eq!(named(Owner::random()).await, [None]);
}
