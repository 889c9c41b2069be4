//! The receive loop, if a queue is configured: receive hints → claim → hand the jobs to the slots →
//! acknowledge the hints at once, except those that found no room.

use std::{
    collections::{HashMap, HashSet},
    mem,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{core::Core, link::Link, phases::ShutdownPhase, unreadable::tell_unreadable};
use crate::{
    JobId, JobQueue, Result, entropy,
    events::{Event, Via},
    queue::{Delivery, Receipt},
    store::Claim,
};

/// How long one receive waits for a hint.
const WAIT: Duration = Duration::from_secs(1);
/// How long without a hint until the queue is assumed to have none; longer than a round trip.
const SILENCE: Duration = Duration::from_millis(50);
/// The number of tries of a claim before its hints go back to the queue.
const TRIES: u32 = 3;

pub(super) async fn run(core: Arc<Core>) {
    let Some(queue) = &core.queue else {
        return;
    };
    while core.phases.now() == ShutdownPhase::Running {
        match round(&core, queue).await {
            Ok(()) => queue.worked(),
            Err(error) => {
                core.bells.hints_ran_dry();
                sleep(queue.failed(&error)).await;
                let names = core.hands.queues();
                // A queue that was wiped comes back empty: create again what it needs.
                let _ = queue.call(|queue| queue.ensure(&names)).await;
            }
        }
    }
}

/// One round. Returns only errors of the queue; errors of the store are handled inside.
async fn round(core: &Arc<Core>, queue: &Link<dyn JobQueue>) -> Result<()> {
    let room = core.bells.for_receive();
    let want = core.hands.wants(true);
    if want.is_empty() {
        room.await;
        return Ok(());
    }
    let mut receive = pin!(queue.call(|queue| queue.receive(&want, WAIT)));
    let soon = tokio::select! {
        biased;
        answer = &mut receive => Some(answer?),
        () = core.phases.reached(ShutdownPhase::Draining) => return Ok(()),
        () = sleep(SILENCE) => None,
    };
    let deliveries = match soon {
        Some(deliveries) => deliveries,
        None => {
            core.bells.hints_ran_dry();
            let late = tokio::select! {
                biased;
                answer = receive => answer?,
                () = core.phases.reached(ShutdownPhase::Draining) => return Ok(()),
            };
            still_wanted(core, queue, late).await
        }
    };
    if deliveries.is_empty() {
        core.bells.hints_ran_dry();
        return Ok(());
    }
    core.bells.hints_came();
    let receipts: Vec<_> = deliveries.iter().map(|d| d.receipt.clone()).collect();
    claim(core, queue, &deliveries, &receipts).await
}

/// Returns the hints that free slots still want. The fetch loop may have filled slots meanwhile:
/// hints that no slot wants go back to the queue, for other dispatchers.
async fn still_wanted(
    core: &Core,
    queue: &Link<dyn JobQueue>,
    deliveries: Vec<Delivery>,
) -> Vec<Delivery> {
    let mut room: HashMap<Arc<str>, usize> = core
        .hands
        .wants(true)
        .into_iter()
        .map(|want| (want.queue, want.max))
        .collect();
    let (wanted, others): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(|delivery| {
        let left = room.get_mut(&delivery.hint.queue);
        left.is_some_and(|left| mem::replace(left, left.saturating_sub(1)) > 0)
    });
    if !others.is_empty() {
        let receipts: Vec<_> = others.into_iter().map(|other| other.receipt).collect();
        // If this fails the queue delivers them again by itself; the wanted ones are here.
        let _ = queue
            .call(|queue| queue.nack(&receipts, Duration::ZERO))
            .await;
    }
    wanted
}

/// Claims the jobs of these hints and acknowledges the hints. If the store does not answer, the
/// hints go back, for other dispatchers. The claim is still repeated for the length of a lease,
/// because the jobs that a lost answer granted are held for us.
async fn claim(
    core: &Arc<Core>,
    queue: &Link<dyn JobQueue>,
    deliveries: &[Delivery],
    receipts: &[Receipt],
) -> Result<()> {
    // A hint may come twice, but its job must not be claimed twice in one call: the second answer
    // would grant it again, like the answer to a repeated claim.
    let mut known = HashSet::new();
    let ids = deliveries.iter().map(|delivery| delivery.hint.id);
    let ids: Vec<_> = ids.filter(|id| known.insert(*id)).collect();
    let _open = core.claims.begin();
    if core.phases.now() > ShutdownPhase::Running {
        return give_back(queue, receipts).await;
    }
    let mut grant = core.grant();
    let sent = Instant::now();
    let (serves, _turn) = core.serves();
    let (mut tries, mut is_answered) = (0, false);
    let mut full = Vec::new();
    // After the lease, what a lost answer granted is no longer held for us, and what is granted now
    // would be lost at once.
    while core.phases.now() < ShutdownPhase::Stopped && sent.elapsed() < core.config.lease {
        match core
            .store
            .call(|store| store.claim(&ids, &grant, &serves))
            .await
        {
            Ok(answers) => {
                core.store.worked();
                is_answered = true;
                let unreadable = answered(&ids, &answers, &Claim::Unreadable);
                full = answered(&ids, &answers, &Claim::Full);
                take_in(core, answers, deliveries.len() - full.len(), sent);
                tell_unreadable(core, &unreadable).await;
                break;
            }
            Err(error) => sleep(core.store.failed(&error)).await,
        }
        tries += 1;
        if tries == TRIES {
            // If the queue fails too, it delivers them again by itself.
            let _ = give_back(queue, receipts).await;
        }
        // The repeated claim is granted again what a lost answer granted.
        grant = grant.repeat(true);
    }
    if tries >= TRIES {
        return Ok(());
    }
    if !is_answered {
        return give_back(queue, receipts).await;
    }
    let (full, receipts) = split(deliveries, &full);
    if !full.is_empty() {
        // The next dispatcher with room takes them.
        queue
            .call(|queue| queue.nack(&full, Duration::ZERO))
            .await?;
    }
    queue.call(|queue| queue.ack(&receipts)).await
}

/// Splits the receipts: those of hints at these jobs, and the others.
fn split(deliveries: &[Delivery], ids: &[JobId]) -> (Vec<Receipt>, Vec<Receipt>) {
    let (these, others): (Vec<&Delivery>, Vec<_>) = deliveries
        .iter()
        .partition(|delivery| ids.contains(&delivery.hint.id));
    let receipts = |all: Vec<&Delivery>| all.iter().map(|d| d.receipt.clone()).collect();
    (receipts(these), receipts(others))
}

/// The jobs that got this answer.
fn answered(ids: &[JobId], answers: &[Claim], so: &Claim) -> Vec<JobId> {
    let such = ids.iter().zip(answers).filter(|(_, answer)| *answer == so);
    such.map(|(id, _)| *id).collect()
}

fn take_in(core: &Core, answers: Vec<Claim>, hints: usize, sent: Instant) {
    let jobs: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Claim::Claimed(job) => Some(job),
            // This hint is done: if the job may still run, the store finds it again in time.
            Claim::NotDue
            | Claim::Busy
            | Claim::NotServed
            | Claim::Terminal
            | Claim::Missing
            | Claim::Full
            | Claim::Unreadable => None,
        })
        .collect();
    if jobs.len() < hints {
        core.events.emit(Event::HintsDropped {
            hints: hints - jobs.len(),
        });
    }
    core.take_in(jobs, sent, Via::Hint);
}

/// Sends hints back to the queue, as the store fails or the dispatcher drains. The delay is random,
/// so that they don't all return together.
async fn give_back(queue: &Link<dyn JobQueue>, receipts: &[Receipt]) -> Result<()> {
    let after = Duration::from_secs(1).mul_f64(0.5 + entropy::unit());
    queue.call(|queue| queue.nack(receipts, after)).await
}
