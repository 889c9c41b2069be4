//! The lease loop: renews what this process holds, from a thread and runtime of its own, so that
//! a job that blocks the others' threads does not cost them their leases.
//!
//! The thread ends with the dispatcher, also where that ends because its runtime does.
//!
//! It also fences: without a good renewal a job is given up before its lease can end. And it ends
//! what its slot can't, because the handler blocks.

use std::{
    collections::HashSet,
    panic::resume_unwind,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    core::{Config, Core, Phase},
    execute::{time_limit, timed_out},
    gone::let_go,
    record::finish,
};
use crate::{
    CancelReason,
    calls::contained,
    entropy,
    events::{Event, Part, Span},
    extract::Held,
    job::{End, Retry, limits},
    store::{Ending, Held as Renewal, Renewed},
};

/// A held job old enough to be renewed.
struct Tracked {
    held: Arc<Held>,
    /// Its slot did not end it in time; nothing more is done for it.
    given_up: bool,
}

/// Runs until the dispatcher has stopped; on a thread of its own unless time is simulated.
/// The future returns when the loop has ended.
pub(super) async fn run(core: Arc<Core>) {
    // Dropped with this future, and so when the runtime ends that runs it.
    let (alive, gone) = oneshot::channel::<()>();
    if !core.config.lease_thread {
        return looped(core, gone).await;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(_) => return looped(core, gone).await,
    };
    let (ended, mut over) = watch::channel(());
    let thread = std::thread::Builder::new()
        .name("bgjob-lease".to_owned())
        .spawn({
            let core = Arc::clone(&core);
            move || {
                // Dropped when the thread ends, however it ends.
                let _ended = ended;
                runtime.block_on(looped(core, gone));
            }
        });
    let Ok(thread) = thread else {
        let (_alive, gone) = oneshot::channel();
        return looped(core, gone).await;
    };
    while over.changed().await.is_ok() {}
    drop(alive);
    // It is over, so this does not block.
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

async fn looped(core: Arc<Core>, mut gone: oneshot::Receiver<()>) {
    let mut tracked: Vec<Tracked> = Vec::new();
    let mut cancels = core.manager.inner.cancels.subscribe();
    let tick = (core.config.lease / 30).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let mut looks = Looks::default();
    loop {
        let pause = looks.wait(tick.mul_f64(0.9 + entropy::unit() / 5.0));
        tokio::select! {
            biased;
            () = core.reached(Phase::Stopped) => return,
            _ = &mut gone => {
                let mut held = core.grants.take_older(Duration::ZERO);
                held.extend(tracked.into_iter().map(|job| job.held));
                return let_go(&core, &held).await;
            }
            changed = cancels.changed(), if !looks.asked => looks.asked = changed.is_ok(),
            () = core.renewals.wanted() => {}
            () = sleep(pause) => {}
        };
        core.beats.beat(&core.beats.lease);
        let round = core.renewals.open();
        // A cancel is looked for soon, in young jobs too.
        let cancelled = looks.is_due() && hear_cancels(&core, &tracked).await;
        let age = if cancelled || round.is_some() {
            Duration::ZERO
        } else {
            core.config.renew_at()
        };
        let old = core.grants.take_older(age);
        tracked.extend(old.into_iter().map(|held| Tracked {
            held,
            given_up: false,
        }));
        tracked.retain(|job| !job.held.is_settled());
        check_pulse(&core);
        let good = renew(&core, &mut tracked, age).await;
        if let Some(round) = round.filter(|_| good) {
            core.renewals.made(round);
        }
        for job in &mut tracked {
            fence(&core, job);
            end_stuck(&core, job).await;
        }
    }
}

/// When cancels are looked for: soon after one was heard of, and not much more than once a second.
#[derive(Default)]
struct Looks {
    /// Somebody has cancelled a running job, perhaps one of ours.
    asked: bool,
    last: Option<Instant>,
}

impl Looks {
    const APART: Duration = Duration::from_millis(800);

    /// How long to wait for the next round, that comes after `tick` if not before.
    fn wait(&self, tick: Duration) -> Duration {
        match self.last {
            Some(last) if self.asked => tick.min(Self::APART.saturating_sub(last.elapsed())),
            _ => tick,
        }
    }

    /// Whether to look now; it is noted that it was done.
    fn is_due(&mut self) -> bool {
        let due = self.asked && self.last.is_none_or(|last| last.elapsed() >= Self::APART);
        if due {
            *self = Self {
                asked: false,
                last: Some(Instant::now()),
            };
        }
        due
    }
}

/// Asks those jobs to end that someone has cancelled. Answers whether only a renewal of all that is
/// held can tell which they are.
async fn hear_cancels(core: &Core, tracked: &[Tracked]) -> bool {
    let call = contained(&core.events, Part::Store, || core.store.cancelled());
    let Ok(Ok(Some(ids))) = timeout(core.config.lease / 15, call).await else {
        return true;
    };
    let ids: HashSet<_> = ids.into_iter().collect();
    if !ids.is_empty() {
        let old = tracked.iter().filter(|job| !job.given_up);
        let old = old.map(|job| Arc::clone(&job.held));
        let mut ours = core.grants.young_of(&ids);
        ours.extend(old.filter(|held| ids.contains(&held.job.id)));
        ours.retain(|held| !held.is_decided());
        report(core, &ours).await;
        for held in ours {
            ask(core, &held, CancelReason::User);
        }
    }
    false
}

/// Stores what jobs have reported that are about to be asked to end: there may be no renewal to
/// carry it any more. It is left behind where the store fails.
async fn report(core: &Core, ours: &[Arc<Held>]) {
    let mut renewals = Vec::new();
    for held in ours.iter().take(limits::BATCH) {
        if let Some(progress) = held.take_progress() {
            renewals.push(Renewal {
                id: held.job.id,
                token: held.job.token,
                progress: Some(progress),
            });
        }
    }
    if renewals.is_empty() {
        return;
    }
    let lease = core.config.lease;
    let call = contained(&core.events, Part::Store, || {
        core.store.renew(&renewals, lease)
    });
    // Whoever has lost its lease is told by the next renewal.
    let _ = timeout(lease / 15, call).await;
}

/// Renews what is due, a batch at a time. A call that fails is repeated at the next tick. Answers
/// whether all were answered.
async fn renew(core: &Core, tracked: &mut [Tracked], age: Duration) -> bool {
    let mut good = true;
    let mut due: Vec<_> = tracked
        .iter_mut()
        .filter(|job| !job.given_up && job.held.good().elapsed() >= age && !job.held.is_settled())
        .collect();
    for batch in due.chunks_mut(limits::BATCH) {
        let renewals: Vec<_> = batch
            .iter()
            .map(|job| Renewal {
                id: job.held.job.id,
                token: job.held.job.token,
                progress: job.held.take_progress(),
            })
            .collect();
        let sent = Instant::now();
        let lease = core.config.lease;
        let call = || core.store.renew(&renewals, lease);
        let call = contained(&core.events, Part::Store, call);
        match timeout(patience(core, batch), call).await {
            Ok(Ok(answers)) => {
                for (job, answer) in batch.iter_mut().zip(answers) {
                    renewed(core, job, answer, sent);
                }
            }
            failed => {
                good = false;
                for (job, renewal) in batch.iter().zip(renewals) {
                    if let Some(progress) = renewal.progress {
                        job.held.give_back_progress(progress);
                    }
                }
                // A store that hangs would hang for each further batch, and fencing must not wait.
                if failed.is_err() {
                    return false;
                }
            }
        }
    }
    good
}

/// How long a renewal may take: not much beyond the time when the first of them is given up.
fn patience(core: &Core, batch: &[&mut Tracked]) -> Duration {
    let lease = core.config.lease;
    let ages = batch.iter().map(|job| job.held.good().elapsed());
    let left = core
        .config
        .fence_at()
        .saturating_sub(ages.max().unwrap_or_default());
    left.clamp(lease / 30, lease / 15)
}

fn renewed(core: &Core, job: &mut Tracked, answer: Renewed, sent: Instant) {
    match answer {
        Renewed::Renewed { cancel } => {
            job.held.renewed(sent);
            if cancel {
                ask(core, &job.held, CancelReason::User);
            }
        }
        // Its end was recorded while the renewal was on its way: all is well.
        Renewed::Lost if job.held.is_decided() => {}
        Renewed::Lost => {
            job.given_up = true;
            ask(core, &job.held, CancelReason::LeaseLost);
        }
    }
}

/// Gives up a job whose lease may soon end: nobody may run it beside another worker.
fn fence(core: &Core, job: &mut Tracked) {
    if !job.given_up && job.held.good().elapsed() >= core.config.fence_at() {
        job.given_up = true;
        ask(core, &job.held, CancelReason::LeaseLost);
    }
}

/// Asks a handler to end, and says so.
pub(super) fn ask(core: &Core, held: &Held, reason: CancelReason) {
    if held.cancel(reason) {
        core.events.emit(Event::CancelRequested {
            job: &held.job,
            reason,
        });
    }
}

/// A handler that blocks its thread can't see its time-out, and its slot can't either. Its end is
/// recorded from here; the slot stays taken until it returns.
async fn end_stuck(core: &Core, job: &mut Tracked) {
    /// Beyond the time-out and its grace, for a slot that is only slow.
    const PATIENCE: Duration = Duration::from_secs(2);
    let held = &job.held;
    let Some(described) = core.registry.get(&held.job.spec.name) else {
        return;
    };
    let Some(started) = held.started.get() else {
        return;
    };
    let limit = time_limit(held, described) + Config::GRACE + PATIENCE;
    if job.given_up || started.elapsed() < limit || !held.decide() {
        return;
    }
    job.given_up = true;
    core.tally.stuck.fetch_add(1, Relaxed);
    let ran = started.elapsed();
    let retry = described.wait_of(&held.job.spec, held.job.errors + 1, entropy::unit());
    let end = End::Error {
        failure: timed_out(held, described),
        retry: Retry::After(retry),
    };
    core.tell_end(held, Some(&end), ran, &Span::none());
    core.events.emit(Event::SlotStuck { job: &held.job });
    let ending = Ending {
        id: held.job.id,
        token: held.job.token,
        end: end.clone(),
    };
    // Not for long: the others' leases wait.
    let finish = || finish(core, std::slice::from_ref(&ending));
    let finish = contained(&core.events, Part::Store, finish);
    match timeout(core.config.lease / 15, finish).await {
        Ok(Ok(answers)) => {
            for answer in answers {
                core.recorded(held, &end, answer, false);
            }
        }
        // The fetch loop goes on trying, as soon as it gets a thread.
        _ => core.end(Arc::clone(held), end),
    }
}

/// Says so when the runtime that runs the jobs has not come round for two leases.
fn check_pulse(core: &Core) {
    let silent = core.beats.age(&core.beats.pulse);
    let limit = 2 * core.config.lease;
    let tick = Duration::from_secs(1);
    // Once: in the tick that passes the limit.
    if silent >= limit && silent < limit + tick {
        core.events.emit(Event::RuntimeStalled { silent });
    }
}
