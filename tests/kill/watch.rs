//! The watch: looks into the store from outside and notes which jobs are over.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bgjob::{JobId, prelude::*};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Ground,
    ledger::{Ledger, Tail},
};

pub(crate) struct Watch {
    jobs: JobManager,
    ledger: Arc<Ledger>,
    tail: Tail,
    /// Acknowledged and not over yet; when to ask about it.
    open: HashMap<JobId, Instant>,
}

impl Watch {
    pub(crate) fn new(ground: &Ground, jobs: &JobManager, ledger: &Arc<Ledger>) -> Self {
        Self {
            jobs: jobs.clone(),
            ledger: Arc::clone(ledger),
            tail: Tail::new(&ground.folder),
            open: HashMap::new(),
        }
    }

    /// Watches until the producer is through and all it made is over, or nothing has ended for so
    /// long. Answers whether all is over.
    pub(crate) async fn until_over(&mut self, load: &JoinHandle<()>, patience: Duration) -> bool {
        let mut moved = Instant::now();
        loop {
            // Asked first: what is noted up to here is read below.
            let all_made = load.is_finished();
            let before = self.open.len();
            self.look().await;
            if all_made && self.open.is_empty() {
                return true;
            }
            if self.open.len() != before || !all_made {
                moved = Instant::now();
            } else if moved.elapsed() > patience {
                return false;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks the store about jobs that should be over by now, and now and then about the others.
    async fn look(&mut self) {
        const NOW_AND_THEN: Duration = Duration::from_secs(3);
        let now = Instant::now();
        for line in self.tail.more() {
            let Ok(id) = line.about.parse::<JobId>() else {
                continue;
            };
            match line.what.as_str() {
                "acked" => _ = self.open.entry(id).or_insert(now + NOW_AND_THEN),
                "success" => _ = self.open.entry(id).and_modify(|at| *at = now),
                _ => {}
            }
        }
        let due = self.open.iter().filter(|(_, at)| **at <= now);
        let ids: Vec<_> = due.map(|(id, _)| *id).take(1000).collect();
        for id in &ids {
            self.open.insert(*id, now + NOW_AND_THEN);
        }
        if ids.is_empty() {
            return;
        }
        // A store that can't answer now is asked again.
        let answer = timeout(Duration::from_secs(5), self.jobs.store().get(&ids)).await;
        let Ok(Ok(found)) = answer else { return };
        for (id, job) in ids.iter().zip(found) {
            // One that is gone is over too, and counts as lost.
            if job.is_none_or(|job| job.state().is_terminal()) {
                self.ledger.note("terminal", id, 0);
                self.open.remove(id);
            }
        }
        self.ledger.sync();
    }
}
