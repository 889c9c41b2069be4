//! Threads for code that blocks. There is one for each piece of such code at work, so the number of
//! slots bounds them. An idle thread is kept for a while. The threads belong to no runtime: neither
//! the end of a runtime nor the end of the process waits for them.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::lock::Locked;

type Work = Box<dyn FnOnce() + Send>;

/// How long a thread waits for more work before it ends.
const KEPT: Duration = Duration::from_secs(10);

static POOL: Pool = Pool {
    state: Mutex::new(PoolState::new(0)),
    news: Condvar::new(),
};

struct Pool {
    state: Mutex<PoolState>,
    news: Condvar,
}

struct PoolState {
    /// Work that no thread has taken yet.
    line: VecDeque<Work>,
    /// The number of threads.
    threads: usize,
    /// The number of threads that wait for work.
    idle: usize,
    /// The id of the process that the threads belong to: a fork has none of them.
    process: u32,
}

impl PoolState {
    const fn new(process: u32) -> Self {
        Self {
            line: VecDeque::new(),
            threads: 0,
            idle: 0,
            process,
        }
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.locked()
    }
}

/// Does this work on a thread that does nothing else meanwhile.
///
/// # Errors
/// If there is no thread and none can be started.
pub(crate) fn on_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut state = POOL.state();
    let process = if cfg!(target_family = "wasm") {
        0
    } else {
        std::process::id()
    };
    if state.process != process {
        *state = PoolState::new(process);
    }
    state.line.push_back(Box::new(work));
    if state.idle >= state.line.len() {
        POOL.news.notify_one();
        return Ok(());
    }
    let thread = thread::Builder::new().name("bgjob-blocking".to_owned());
    match thread.spawn(serve) {
        Ok(_) => state.threads += 1,
        // One of the existing threads takes the work later.
        Err(_) if state.threads > 0 => {}
        Err(error) => {
            state.line.pop_back();
            return Err(error);
        }
    }
    Ok(())
}

/// The loop of a thread.
fn serve() {
    while let Some(work) = next() {
        // The work itself reports how it ended.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

/// Waits for the next work. `None`: there was none for [`KEPT`].
fn next() -> Option<Work> {
    let mut state = POOL.state();
    loop {
        if let Some(work) = state.line.pop_front() {
            return Some(work);
        }
        state.idle += 1;
        let (woken, waited) = POOL
            .news
            .wait_timeout(state, KEPT)
            .unwrap_or_else(PoisonError::into_inner);
        state = woken;
        state.idle -= 1;
        if waited.timed_out() && state.line.is_empty() {
            state.threads -= 1;
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::mpsc::channel, thread::ThreadId};

    use super::*;

    /// The threads that did `n` pieces of work at the same time.
    fn at_a_time(n: usize) -> HashSet<ThreadId> {
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(n));
        let (done, heard) = channel();
        for _ in 0..n {
            let (barrier, done) = (std::sync::Arc::clone(&barrier), done.clone());
            let work = move || {
                barrier.wait();
                done.send(thread::current().id()).expect("it is heard");
            };
            on_thread(work).expect("there is a thread");
        }
        heard.iter().take(n).collect()
    }

    #[test]
    fn each_work_has_a_thread_and_threads_are_used_again() {
        assert_eq!(at_a_time(5).len(), 5);
        let mut seen = HashSet::new();
        for _ in 0..50 {
            seen.extend(at_a_time(1));
        }
        assert!(seen.len() <= 10, "{}", seen.len());
    }

    #[test]
    fn a_panic_ends_no_thread() {
        on_thread(|| panic!("as told")).expect("there is a thread");
        assert_eq!(at_a_time(3).len(), 3);
    }
}
