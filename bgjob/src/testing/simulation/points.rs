//! [`Points`]: counts the places at which a process can die, and knows those at which one does.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
};

use async_trait::async_trait;

use super::schedule::Schedule;
use crate::{JobContext, Json, Middleware, Next, Outcome, task};

/// All places of one run, in the order in which they are passed.
#[derive(Debug)]
pub(super) struct Points {
    passed: AtomicU64,
    deadly: BTreeSet<u64>,
    schedule: Arc<Schedule>,
}

impl Points {
    pub(super) fn new(deadly: BTreeSet<u64>, schedule: Arc<Schedule>) -> Self {
        Self {
            passed: AtomicU64::new(0),
            deadly,
            schedule,
        }
    }

    /// How many places were passed.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Relaxed)
    }

    /// Passes a place. Returns whether the process dies there.
    pub(super) fn is_deadly(&self, who: &str, what: &str) -> bool {
        let deadly = self.deadly.contains(&self.passed.fetch_add(1, Relaxed));
        if deadly {
            self.schedule.note(who, format_args!("dies {what}"));
        }
        deadly
    }
}

thread_local! {
    /// The points of the process whose handler is polled on this thread, and its name.
    static HERE: RefCell<Option<(Arc<Points>, Arc<str>)>> = const { RefCell::new(None) };
}

/// A place at which a simulated process may die. Put one into each fake service that handlers use,
/// before and after an effect that lasts. The schedule shows the place by this name. Outside a
/// simulation it does nothing.
///
/// ```
/// use bgjob::testing::simulation::step;
///
/// async fn charge(card: &str) {
///     step("before the charge").await;
///     // … charge it …
///     step("after the charge").await;
/// }
/// # let _ = charge;
/// ```
pub async fn step(what: &str) {
    let Some((points, who)) = HERE.with_borrow(Clone::clone) else {
        return;
    };
    points.schedule.note(&who, format_args!("step: {what}"));
    if points.is_deadly(&who, &format!("at the step: {what}")) {
        task::kill_this();
        std::future::pending::<()>().await;
    }
}

/// Wraps each handler: the process may die wherever the handler waits, and at its end.
pub(super) struct DiesAnywhere {
    pub(super) points: Arc<Points>,
    pub(super) who: Arc<str>,
}

#[async_trait]
impl Middleware for DiesAnywhere {
    async fn handle(&self, job: JobContext, next: Next<'_>) -> Outcome<Json> {
        let name = job.name().to_owned();
        let mut handler = pin!(next.run(job));
        let mut dead = false;
        poll_fn(|cx| {
            // The slot polls once more before it comes to rest.
            if dead {
                return Poll::Pending;
            }
            let here = Some((Arc::clone(&self.points), Arc::clone(&self.who)));
            let before = HERE.replace(here);
            let polled = handler.as_mut().poll(cx);
            HERE.set(before);
            let place = match polled {
                Poll::Pending => "in a wait of",
                Poll::Ready(_) => "at the end of",
            };
            if self.points.is_deadly(&self.who, &format!("{place} {name}")) {
                dead = true;
                task::kill_this();
                return Poll::Pending;
            }
            polled
        })
        .await
    }
}
