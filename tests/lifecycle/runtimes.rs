//! A manager in a static, and runtimes that come and go around it.

use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use bgjob::{ErrorKind, JobHandle, JobId, JobManager, JobState, Outcome, Result};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Call, Fault, World, jobs::*};

type Handle = JobHandle<Outcome<u32>>;

/// What `#[tokio::test]` makes.
fn short() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn threaded() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// Drives a future on this thread, without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

/// Says when it has been polled for the first time.
async fn told<F: Future>(polled: Sender<()>, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut polled = Some(polled);
    poll_fn(|cx| {
        let answer = future.as_mut().poll(cx);
        if let Some(polled) = polled.take() {
            let _ = polled.send(());
        }
        answer
    })
    .await
}

/// Waits on this thread until the store has been asked so often.
fn asked(world: &World, creates: usize) {
    while world.store.faults().count(Call::Create) < creates {
        thread::yield_now();
    }
}

fn enqueue(
    jobs: &JobManager,
    n: u32,
    id: Option<JobId>,
) -> Pin<Box<dyn Future<Output = Result<Handle>> + Send>> {
    let enqueue = echo::enqueue(jobs, n);
    match id {
        Some(id) => enqueue.id(id).into_future(),
        None => enqueue.into_future(),
    }
}

/// A world where two lone jobs are on their way and stay there, so that all others wait. The
/// answer ends one of them.
struct Full {
    world: World,
    lone: Runtime,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Full {
    /// The third create hangs, too.
    fn new() -> Self {
        let world = World::new();
        world.store.faults().plan(|call, n| match (call, n) {
            (Call::Create, 1..=3) => Fault::Hang,
            _ => Fault::None,
        });
        let lone = threaded();
        let mut tasks = Vec::new();
        for n in 1..=2 {
            let jobs = world.jobs.clone();
            tasks.push(lone.spawn(async move { drop(enqueue(&jobs, 0, None).await) }));
            asked(&world, n);
        }
        Self { world, lone, tasks }
    }

    /// Starts an enqueue there, and returns when it waits.
    fn waits(
        &self,
        runtime: &Runtime,
        n: u32,
        id: Option<JobId>,
    ) -> tokio::task::JoinHandle<Result<Handle>> {
        let (polled, was_polled) = mpsc::channel();
        let waits = runtime.spawn(told(polled, enqueue(&self.world.jobs, n, id)));
        was_polled.recv().unwrap();
        waits
    }

    /// One of the lone ones is given up: the next batch goes, and hangs.
    fn let_one_go(&self) {
        self.tasks[0].abort();
        asked(&self.world, 3);
    }
}

#[test]
fn a_runtime_that_ends_fails_nobody_else_s_enqueue() {
    let world = World::new();
    let enqueue_all = |thread: u32| {
        for n in 0..10 {
            let job = short().block_on(enqueue(&world.jobs, 10 * thread + n, None));
            assert!(!job.unwrap().already_existed());
        }
    };
    thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || enqueue_all(n));
        }
    });
    assert_eq!(short().block_on(world.count(JobState::Ready)), 80);
}

#[test]
fn enqueues_on_threads_without_a_runtime_wait_for_each_other() {
    let world = World::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..100).for_each(|n| drop(block_on(enqueue(&world.jobs, n, None)).unwrap()))
            });
        }
    });
    assert_eq!(short().block_on(world.count(JobState::Ready)), 800);
}

#[test]
fn a_batch_whose_runtime_ended_is_stored_by_those_who_wait_for_it() {
    let full = Full::new();
    let (ends, lives) = (threaded(), threaded());
    let first = full.waits(&ends, 1, None);
    let behind = full.waits(&lives, 2, None);
    full.let_one_go();
    ends.shutdown_background();
    let job = lives.block_on(behind).unwrap().unwrap();
    assert!(!job.already_existed(), "it stored it itself");
    assert!(lives.block_on(first).is_err(), "its runtime is gone");
    assert_eq!(lives.block_on(full.world.count(JobState::Ready)), 1);
    drop(full.lone);
}

#[test]
fn of_an_id_of_ones_own_it_is_said_that_nobody_knows() {
    let full = Full::new();
    let (ends, lives) = (threaded(), threaded());
    drop(full.waits(&ends, 1, None));
    let id = JobId::from_key("mine");
    let behind = full.waits(&lives, 2, Some(id));
    full.let_one_go();
    ends.shutdown_background();
    let error = lives.block_on(behind).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.job_id(), Some(id));
    let again = lives.block_on(enqueue(&full.world.jobs, 2, Some(id)));
    assert!(again.is_ok());
}

#[test]
fn who_waits_in_the_line_of_a_runtime_that_ends_is_passed_over() {
    let full = Full::new();
    full.world.store.faults().heal();
    let (ends, lives) = (threaded(), threaded());
    // Enough to go deep, if each were to hand on to the next.
    for n in 0..5000 {
        drop(full.waits(&ends, n, None));
    }
    let behind = full.waits(&lives, 2, None);
    ends.shutdown_background();
    full.tasks[0].abort();
    assert!(lives.block_on(behind).unwrap().is_ok());
}

#[test]
#[allow(
    clippy::async_yields_async,
    reason = "it is awaited in another runtime"
)]
fn a_runtime_that_nobody_drives_any_more_holds_up_nobody() {
    let full = Full::new();
    let (idle, lives) = (short(), threaded());
    let behind = idle.block_on(async {
        let mut first = enqueue(&full.world.jobs, 1, None);
        poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        let behind = full.waits(&lives, 2, None);
        full.tasks[0].abort();
        // The batch of both is on its way here, and then the first one is given up.
        while full.world.store.faults().count(Call::Create) < 3 {
            tokio::task::yield_now().await;
        }
        behind
    });
    let job = lives.block_on(behind).unwrap().unwrap();
    assert!(!job.already_existed());
    drop(idle);
}
