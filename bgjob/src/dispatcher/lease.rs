//! The lease loop: renews the jobs this dispatcher holds. It has its own thread and runtime, so
//! that a job that blocks the other threads costs no job its lease.
//!
//! The thread ends with the dispatcher, even if the dispatcher ends because its runtime does.
//!
//! The loop also fences: a job without a good renewal is given up before its lease can end. And it
//! ends jobs that their slot can't end, because the handler blocks.

use std::{
    collections::HashSet,
    panic::resume_unwind,
    slice,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    config::Config,
    core::Core,
    gone::let_go,
    handler::{ask_to_end, time_limit},
    phases::ShutdownPhase,
    record::{finish, recorded},
    slot::end_of_blocked,
    told::tell_end,
};
use crate::{
    CancelReason, entropy,
    events::{Event, Span},
    extract::HeldJob,
    job::limits,
    store::{Ending, Renewal, Renewed},
};

/// A held job old enough to be renewed.
struct Tracked {
    held: Arc<HeldJob>,
    /// The lease is lost or fenced, or the job was ended as stuck: it is no longer renewed.
    given_up: bool,
}

/// Runs until the dispatcher has stopped, on a separate thread unless time is simulated. The
/// future returns when the loop has ended.
pub(super) async fn run(core: Arc<Core>) {
    // Dropped with this future, and so when its runtime ends: then `gone` resolves.
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
    // The loop is over, so this does not block.
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
            () = core.phases.reached(ShutdownPhase::Stopped) => return,
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
        // Cancels are looked for without waiting for a renewal, in young jobs too.
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

/// When to look for cancels: soon after a notification, but at most every [`Looks::APART`].
#[derive(Default)]
struct Looks {
    /// A running job was cancelled, perhaps one of ours. Cleared by the next look.
    asked: bool,
    /// When the last look was.
    last: Option<Instant>,
}

impl Looks {
    const APART: Duration = Duration::from_millis(800);

    /// How long to wait for the next round: `tick`, or less if a look is due earlier.
    fn wait(&self, tick: Duration) -> Duration {
        match self.last {
            Some(last) if self.asked => tick.min(Self::APART.saturating_sub(last.elapsed())),
            _ => tick,
        }
    }

    /// Whether to look now. If so, notes that the look has happened.
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

/// Asks cancelled jobs to end. Returns true if the store can't list them, so that only a renewal of
/// all held jobs can tell which ones are cancelled.
async fn hear_cancels(core: &Core, tracked: &[Tracked]) -> bool {
    let call = core.store.unlimited(|store| store.cancelled());
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
            ask_to_end(core, &held, CancelReason::User);
        }
    }
    false
}

/// Stores what jobs have reported that are about to be asked to end: there may be no later renewal
/// to carry the report. Where the store fails, the next renewal carries it, if there is one.
async fn report(core: &Core, ours: &[Arc<HeldJob>]) {
    let reported = ours.iter().filter_map(|held| {
        let progress = held.take_progress()?;
        Some((held, progress))
    });
    let (reporters, renewals): (Vec<_>, Vec<_>) = reported
        .take(limits::BATCH)
        .map(|(held, progress)| {
            let renewal = Renewal::new(held.job.id, held.job.token);
            (held, renewal.progress(progress))
        })
        .unzip();
    if renewals.is_empty() {
        return;
    }
    let lease = core.config.lease;
    let call = core.store.unlimited(|store| store.renew(&renewals, lease));
    // A job whose lease is lost learns of it at the next renewal.
    if !matches!(timeout(lease / 15, call).await, Ok(Ok(_))) {
        for (held, renewal) in reporters.into_iter().zip(renewals) {
            if let Some(progress) = renewal.progress {
                held.give_back_progress(progress);
            }
        }
    }
}

/// Renews the jobs that are due, a batch at a time. A call that fails is repeated at the next tick.
/// Returns whether the store answered all of them.
async fn renew(core: &Core, tracked: &mut [Tracked], age: Duration) -> bool {
    let mut good = true;
    let mut due: Vec<_> = tracked
        .iter_mut()
        .filter(|job| !job.given_up && job.held.good().elapsed() >= age && !job.held.is_settled())
        .collect();
    for batch in due.chunks_mut(limits::BATCH) {
        let renewals: Vec<_> = batch
            .iter()
            .map(|job| {
                let mut renewal = Renewal::new(job.held.job.id, job.held.job.token);
                renewal.progress = job.held.take_progress();
                renewal
            })
            .collect();
        let sent = Instant::now();
        let lease = core.config.lease;
        let call = core.store.unlimited(|store| store.renew(&renewals, lease));
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
                // A store that hangs would hang for each further batch; fencing must not wait.
                if failed.is_err() {
                    return false;
                }
            }
        }
    }
    good
}

/// How long a renewal may take: until the first of the jobs is given up, within bounds.
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
                ask_to_end(core, &job.held, CancelReason::User);
            }
        }
        // Its end was decided meanwhile, and perhaps recorded: all is well.
        Renewed::Lost if job.held.is_decided() => {}
        Renewed::Lost => {
            job.given_up = true;
            ask_to_end(core, &job.held, CancelReason::LeaseLost);
        }
    }
}

/// Gives up a job whose lease may soon end, so that it never runs on two workers at once.
fn fence(core: &Core, job: &mut Tracked) {
    if !job.given_up && job.held.good().elapsed() >= core.config.fence_at() {
        job.given_up = true;
        ask_to_end(core, &job.held, CancelReason::LeaseLost);
    }
}

/// If a handler blocks its thread, neither the handler nor its slot can notice the time-out. Then
/// its end is recorded from here, and the slot stays taken until the handler returns.
async fn end_stuck(core: &Core, job: &mut Tracked) {
    /// The extra time after the time-out and its grace period, for a slot that is only slow.
    const PATIENCE: Duration = Duration::from_secs(2);
    let held = &job.held;
    let Some(described) = core.served.descriptor(held) else {
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
    let end = end_of_blocked(core, held, described);
    tell_end(core, held, Some(&end), ran, &Span::none());
    core.events.emit(Event::SlotStuck { job: &held.job });
    let ending = Ending::new(held.job.id, held.job.token, end.clone());
    // A short limit, because the renewals of the other jobs wait.
    let finish = core
        .store
        .unlimited(|store| finish(store, slice::from_ref(&ending)));
    match timeout(core.config.lease / 15, finish).await {
        Ok(Ok(answers)) => {
            for answer in answers {
                recorded(core, held, &end, answer, false);
            }
        }
        // The fetch loop tries again as soon as a thread is free to run it.
        _ => core.end(Arc::clone(held), end),
    }
}

/// Emits an event when the runtime that runs the jobs has not ticked for two lease lengths.
fn check_pulse(core: &Core) {
    let silent = core.beats.age(&core.beats.pulse);
    let limit = 2 * core.config.lease;
    let tick = Duration::from_secs(1);
    // About once per stall: only in the tick that passes the limit.
    if silent >= limit && silent < limit + tick {
        core.events.emit(Event::RuntimeStalled { silent });
    }
}
