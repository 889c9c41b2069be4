//! [`Process`]: a simulated process. Its tasks share one source of randomness and one clock, and
//! can be stopped, resumed and killed together. A killed process runs no more of its code, not even
//! to clean up.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use fastrand::Rng;
use tokio::{sync::Notify, task::AbortHandle};

use bgjob_core::clock;

use crate::lock::Locked;
use crate::{Clock, entropy};

thread_local! {
    /// The process that this thread runs now.
    static THIS: RefCell<Option<Arc<Process>>> = const { RefCell::new(None) };
}

/// A simulated process.
pub(crate) struct Process {
    clock: Arc<dyn Clock>,
    died: Notify,
    inner: Mutex<ProcessState>,
}

struct ProcessState {
    life: Life,
    dice: Rng,
    /// Wakers of tasks that were polled while the process was stopped.
    parked: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    /// The length of `tasks` at which the finished ones are cleared out.
    clear_at: usize,
}

/// Whether the tasks of a process run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Stopped,
    Dead,
}

impl Process {
    /// A process that draws its randomness from this seed and reads the time from this clock.
    pub(crate) fn new(seed: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            died: Notify::new(),
            inner: Mutex::new(ProcessState {
                life: Life::Running,
                dice: Rng::with_seed(seed),
                parked: Vec::new(),
                tasks: Vec::new(),
                clear_at: 64,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, ProcessState> {
        self.inner.locked()
    }

    /// Starts a task in this process.
    pub(crate) fn spawn<F>(self: &Arc<Self>, future: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let task = tokio::spawn(Within::new(Some(Arc::clone(self)), future));
        self.keep(task.abort_handle());
    }

    /// Stops the process: none of its tasks runs until it [goes on](Self::go_on).
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        if inner.life == Life::Running {
            inner.life = Life::Stopped;
        }
    }

    /// Lets a stopped process run again.
    pub(crate) fn go_on(&self) {
        let mut inner = self.lock();
        if inner.life == Life::Stopped {
            inner.life = Life::Running;
            let parked = mem::take(&mut inner.parked);
            drop(inner);
            parked.into_iter().for_each(Waker::wake);
        }
    }

    /// Kills the process: none of its tasks ever runs again.
    pub(crate) fn kill(&self) {
        let mut inner = self.lock();
        inner.life = Life::Dead;
        inner.parked.clear();
        let tasks = mem::take(&mut inner.tasks);
        drop(inner);
        tasks.iter().for_each(AbortHandle::abort);
        self.died.notify_one();
    }

    /// Returns when the process has died. Only one task may wait.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    fn keep(&self, task: AbortHandle) {
        let mut inner = self.lock();
        if inner.life == Life::Dead {
            return task.abort();
        }
        if inner.tasks.len() >= inner.clear_at {
            inner.tasks.retain(|task| !task.is_finished());
            inner.clear_at = 2 * inner.tasks.len().max(32);
        }
        inner.tasks.push(task);
    }

    /// Whether a task may be polled. If the process is stopped, the task is woken when it goes on.
    fn may_run(&self, cx: &Context<'_>) -> bool {
        let mut inner = self.lock();
        if inner.life == Life::Stopped {
            inner.parked.push(cx.waker().clone());
        }
        inner.life == Life::Running
    }

    /// Makes this thread run the process until the returned guard is dropped.
    fn enter(self: &Arc<Self>) -> Inside {
        let dice = self.lock().dice.clone();
        Inside {
            before: THIS.replace(Some(Arc::clone(self))),
            dice: entropy::swap(Some(dice)),
            clock: clock::simulated::swap(Some(Arc::clone(&self.clock))),
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("life", &self.lock().life)
            .finish_non_exhaustive()
    }
}

/// A guard: restores what this thread ran before the process.
struct Inside {
    before: Option<Arc<Process>>,
    dice: Option<Rng>,
    clock: Option<Arc<dyn Clock>>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let process = THIS.replace(self.before.take());
        let dice = entropy::swap(self.dice.take());
        clock::simulated::swap(self.clock.take());
        if let (Some(process), Some(dice)) = (process, dice) {
            process.lock().dice = dice;
        }
    }
}

/// A future that runs as part of a process, if there is one.
pub(crate) struct Within<F> {
    process: Option<Arc<Process>>,
    /// `None` only during the drop.
    future: Option<Pin<Box<F>>>,
}

impl<F> Within<F> {
    pub(crate) fn new(process: Option<Arc<Process>>, future: F) -> Self {
        let future = Some(Box::pin(future));
        Self { process, future }
    }

    /// A future that runs as part of the process that this thread runs.
    pub(crate) fn this(future: F) -> Self {
        Self::new(THIS.with_borrow(Clone::clone), future)
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let future = this.future.as_mut().expect("not dropped yet").as_mut();
        match &this.process {
            None => future.poll(cx),
            Some(process) if process.may_run(cx) => {
                let _inside = process.enter();
                future.poll(cx)
            }
            Some(_) => Poll::Pending,
        }
    }
}

impl<F> Drop for Within<F> {
    fn drop(&mut self) {
        // Tasks that the future's drop starts belong to the process too.
        let _inside = self.process.as_ref().map(Process::enter);
        self.future = None;
    }
}

/// Whether a simulated process runs this.
pub(crate) fn is_simulated() -> bool {
    THIS.with_borrow(Option::is_some)
}

/// Kills the process that runs this, if one does.
pub(crate) fn kill_this() {
    if let Some(process) = THIS.with_borrow(Clone::clone) {
        process.kill();
    }
}

/// Registers a task with the process that runs this, if one does.
pub(crate) fn note(task: AbortHandle) {
    if let Some(process) = THIS.with_borrow(Clone::clone) {
        process.keep(task);
    }
}
