//! The crew: the worker processes of a run, and what can be done to them.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Ground, ledger::Ledger, store::Store, worker::LEASE};

/// Keeps as many workers as it began with. None of them outlives it.
pub(crate) struct Crew {
    store: Store,
    folder: PathBuf,
    terms: Terms,
    pub(crate) workers: Vec<Worker>,
}

/// How the workers work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) lease: Duration,
    pub(crate) drain: Duration,
    /// For `ulimit -v`, in KiB.
    pub(crate) memory: Option<u64>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: LEASE,
            drain: Duration::from_secs(20),
            memory: None,
        }
    }
}

pub(crate) struct Worker {
    child: Child,
    frozen_until: Option<Instant>,
}

impl Crew {
    pub(crate) fn start(ground: &Ground, n: usize, terms: Terms) -> Self {
        let mut crew = Self {
            store: ground.store,
            folder: ground.folder.clone(),
            terms,
            workers: Vec::new(),
        };
        crew.workers = (0..n).map(|_| crew.hire()).collect();
        crew
    }

    fn hire(&self) -> Worker {
        let me = std::env::current_exe().expect("the test has a path");
        // No core files; `exec`, so that the process started is the worker itself.
        let memory = self.terms.memory.map(|kib| format!("ulimit -v {kib}; "));
        let script = format!(
            "ulimit -c 0; {}exec \"$0\" \"$@\"",
            memory.unwrap_or_default()
        );
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(me);
        command.arg("--worker").arg(&self.folder);
        command.arg(self.store.name());
        for span in [self.terms.lease, self.terms.drain] {
            command.arg(span.as_millis().to_string());
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Worker {
            child: command.spawn().expect("a worker starts"),
            frozen_until: None,
        }
    }

    /// Puts a new worker in the place of one that is gone.
    pub(crate) fn replace(&mut self, n: usize) {
        self.workers[n] = self.hire();
    }

    /// Replaces those that died by themselves; how each did.
    pub(crate) fn replace_dead(&mut self) -> Vec<ExitStatus> {
        let mut ends = Vec::new();
        for n in 0..self.workers.len() {
            if let Some(end) = self.workers[n].ended() {
                ends.push(end);
                self.replace(n);
            }
        }
        ends
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.kill();
        }
    }
}

impl Worker {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen_until
            .is_some_and(|until| Instant::now() < until)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// `kill -9`, of this one process; returns when it is gone.
    pub(crate) fn kill(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        self.child.wait().expect("it is gone");
    }

    pub(crate) fn terminate(&self) {
        signal("-TERM", self.pid());
    }

    /// Stops the process for a while. It does not know, and goes on as if nothing had been.
    pub(crate) fn freeze(&mut self, span: Duration, ledger: &Arc<Ledger>) {
        // Those a second awake again are struck again.
        self.frozen_until = Some(Instant::now() + span + Duration::from_secs(1));
        let (pid, ledger) = (self.pid(), Arc::clone(ledger));
        ledger.note("stop", pid, 0);
        signal("-STOP", pid);
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            ledger.note("go-on", pid, 0);
            signal("-CONT", pid);
        });
    }
}

/// Whether a process was ended by a signal before it could listen to it.
pub(crate) fn by_signal(end: ExitStatus) -> bool {
    end.signal().is_some()
}

fn signal(name: &str, pid: u32) {
    let mut command = Command::new("kill");
    let status = command.arg(name).arg(pid.to_string()).stderr(Stdio::null());
    // A process that is gone by now is what was wanted.
    status.status().expect("`kill` is there");
}
