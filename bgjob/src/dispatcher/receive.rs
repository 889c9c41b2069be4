//! The receive loop, where a queue is configured: receive hints → claim → acknowledge at once,
//! whatever the answer → hand to the slots.

use std::{
    collections::{HashMap, HashSet},
    mem,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::core::{Core, OpenClaim, Phase};
use crate::{
    JobId, JobQueue, Result, entropy,
    events::{Event, Via},
    job::Grant,
    queue::{Delivery, Receipt},
    store::Claim,
};

/// How long one receive waits for a hint.
const WAIT: Duration = Duration::from_secs(1);
/// After how long without a hint the queue is held to have none: longer than a round trip.
const SILENCE: Duration = Duration::from_millis(50);
/// How often a claim by hints is tried before the hints go back.
const TRIES: u32 = 3;

pub(super) async fn run(core: Arc<Core>) {
    let Some(queue) = core.queue.clone() else {
        return;
    };
    while core.phase() == Phase::Running {
        match round(&core, queue.as_ref()).await {
            Ok(()) => core.queue_state.worked(),
            Err(error) => {
                ran_dry(&core);
                sleep(core.queue_state.failed(&error)).await;
                let names: Vec<_> = core.hands.iter().map(|h| Arc::clone(&h.queue)).collect();
                // A queue that was wiped comes back with nothing: make what is needed again.
                let _ = core.queue_call(|| queue.ensure(&names)).await;
            }
        }
    }
}

/// The queue has nothing: the fetch loop may look into the store instead.
fn ran_dry(core: &Core) {
    if !core.hints_dry.swap(true, Relaxed) {
        core.wake.notify_one();
    }
}

/// One round. Errors are the queue's; those of the store are dealt with inside.
async fn round(core: &Arc<Core>, queue: &dyn JobQueue) -> Result<()> {
    let room = core.room.notified();
    let want = core.wants(true);
    if want.is_empty() {
        room.await;
        return Ok(());
    }
    let mut receive = pin!(core.queue_call(|| queue.receive(&want, WAIT)));
    let soon = tokio::select! {
        biased;
        answer = &mut receive => Some(answer?),
        () = core.reached(Phase::Draining) => return Ok(()),
        () = sleep(SILENCE) => None,
    };
    let deliveries = match soon {
        Some(deliveries) => deliveries,
        None => {
            ran_dry(core);
            let late = tokio::select! {
                biased;
                answer = receive => answer?,
                () = core.reached(Phase::Draining) => return Ok(()),
            };
            still_wanted(core, queue, late).await
        }
    };
    if deliveries.is_empty() {
        ran_dry(core);
        return Ok(());
    }
    core.hints_dry.store(false, Relaxed);
    let receipts: Vec<_> = deliveries.iter().map(|d| d.receipt.clone()).collect();
    claim(core, queue, &deliveries, &receipts).await
}

/// The fetch loop may have filled the slots meanwhile: what none waits for goes back, for others.
async fn still_wanted(
    core: &Core,
    queue: &dyn JobQueue,
    deliveries: Vec<Delivery>,
) -> Vec<Delivery> {
    let mut room: HashMap<Arc<str>, usize> = core
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
        // A queue that fails delivers them again by itself; the wanted ones are here.
        let _ = core
            .queue_call(|| queue.nack(&receipts, Duration::ZERO))
            .await;
    }
    wanted
}

/// Claims by hints and acknowledges them. If the store says nothing they go back, for others; the
/// claim is repeated until it is answered, because what a lost answer granted is held.
async fn claim(
    core: &Arc<Core>,
    queue: &dyn JobQueue,
    deliveries: &[Delivery],
    receipts: &[Receipt],
) -> Result<()> {
    // A hint may come twice; the second claim would be answered like a repeated first one.
    let mut known = HashSet::new();
    let ids = deliveries.iter().map(|delivery| delivery.hint.id);
    let ids: Vec<_> = ids.filter(|id| known.insert(*id)).collect();
    let _open = OpenClaim::begin(core);
    if core.phase() > Phase::Running {
        return give_back(core, queue, receipts).await;
    }
    let mut grant = core.grant();
    let sent = Instant::now();
    let (serves, _turn) = Core::serves(core);
    let mut tries = 0;
    let mut full = Vec::new();
    while core.phase() < Phase::Stopped {
        match core
            .store_call(|| core.store.claim(&ids, &grant, &serves))
            .await
        {
            Ok(answers) => {
                core.store_state.worked();
                let unreadable = answered(&ids, &answers, &Claim::Unreadable);
                full = answered(&ids, &answers, &Claim::Full);
                take_in(core, answers, deliveries.len() - full.len(), sent);
                core.tell_unreadable(&unreadable).await;
                break;
            }
            Err(error) => sleep(core.store_state.failed(&error)).await,
        }
        tries += 1;
        if tries == TRIES {
            // A queue that fails too delivers them again by itself.
            let _ = give_back(core, queue, receipts).await;
        }
        // What the lost answer granted is answered again.
        grant = Grant {
            repeat: true,
            ..grant
        };
    }
    if tries >= TRIES {
        return Ok(());
    }
    let (full, receipts) = split(deliveries, &full);
    if !full.is_empty() {
        // Whoever has room next takes them.
        core.queue_call(|| queue.nack(&full, Duration::ZERO))
            .await?;
    }
    core.queue_call(|| queue.ack(&receipts)).await
}

/// The receipts of hints at these jobs, and the others.
fn split(deliveries: &[Delivery], ids: &[JobId]) -> (Vec<Receipt>, Vec<Receipt>) {
    let (these, others): (Vec<&Delivery>, Vec<_>) = deliveries
        .iter()
        .partition(|delivery| ids.contains(&delivery.hint.id));
    let receipts = |all: Vec<&Delivery>| all.iter().map(|d| d.receipt.clone()).collect();
    (receipts(these), receipts(others))
}

/// Those of the jobs that were answered so.
fn answered(ids: &[JobId], answers: &[Claim], so: &Claim) -> Vec<JobId> {
    let such = ids.iter().zip(answers).filter(|(_, answer)| *answer == so);
    such.map(|(id, _)| *id).collect()
}

fn take_in(core: &Core, answers: Vec<Claim>, hints: usize, sent: Instant) {
    let jobs: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Claim::Claimed(job) => Some(job),
            // Nothing to do for this hint: the store finds the job again when its time comes.
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

/// Only a store that fails sends hints back, spread out so that they don't return together.
async fn give_back(core: &Core, queue: &dyn JobQueue, receipts: &[Receipt]) -> Result<()> {
    let after = Duration::from_secs(1).mul_f64(0.5 + entropy::unit());
    core.queue_call(|| queue.nack(receipts, after)).await
}
