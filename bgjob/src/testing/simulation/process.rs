//! The life of a worker in a simulation: it starts, serves, dies or is shut down, and starts again.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use super::{points::DiesAnywhere, sim::World};
use crate::{
    DispatcherBuilder, Event, JobDispatcher, JobId, JobManager,
    lock::Locked,
    store::Finished,
    task::{self, Process},
    testing::{Call, Fault, Faults, Faulty},
};

/// Sets up a worker's dispatcher as the scenario wants it.
pub(super) type Build = dyn Fn(DispatcherBuilder) -> DispatcherBuilder + Send + Sync;

/// A place where processes run, one after the other.
pub(super) struct Host {
    name: Arc<str>,
    build: Arc<Build>,
    now: Mutex<Option<Arc<Process>>>,
    shut_down: Arc<Notify>,
}

impl Host {
    pub(super) fn new(name: String, build: Arc<Build>) -> Self {
        Self {
            name: name.into(),
            build,
            now: Mutex::default(),
            shut_down: Arc::default(),
        }
    }

    /// The process that runs here now.
    pub(super) fn process(&self) -> Option<Arc<Process>> {
        let now = self.now.locked();
        now.clone()
    }

    /// Runs one process after the other, until the runtime ends.
    pub(super) async fn live(&self, world: Arc<World>) {
        loop {
            let process = world.process();
            *self.now.locked() = Some(Arc::clone(&process));
            let (name, build) = (Arc::clone(&self.name), Arc::clone(&self.build));
            let shut_down = Arc::clone(&self.shut_down);
            process.spawn(serve(Arc::clone(&world), name, build, shut_down));
            process.died().await;
            sleep(world.throw(Duration::from_secs(5))).await;
        }
    }

    /// Kills, freezes and shuts down the process, as planned.
    pub(super) async fn suffer(&self, world: Arc<World>) {
        let plan = &world.plan;
        let ills = [
            (plan.kill, Ill::Kill),
            (plan.freeze, Ill::Freeze),
            (plan.shut_down, Ill::ShutDown),
        ];
        let mut next: Vec<_> = ills
            .into_iter()
            .filter_map(|(every, ill)| Some((world.throw(2 * every?), every?, ill)))
            .collect();
        while let Some(first) = next.iter_mut().min_by_key(|(at, ..)| *at) {
            let wait = first.0.saturating_sub(world.schedule.now());
            sleep(wait).await;
            if world.is_calm() {
                return;
            }
            let ill = first.2;
            // A fault that is still going on when the next one is planned delays that one.
            self.befall(&world, ill).await;
            first.0 = world.schedule.now() + world.throw(2 * first.1);
        }
    }

    async fn befall(&self, world: &World, ill: Ill) {
        let Some(process) = self.process() else {
            return;
        };
        world.schedule.note(&self.name, ill);
        match ill {
            Ill::Kill => process.kill(),
            Ill::ShutDown => self.shut_down.notify_one(),
            Ill::Freeze => {
                process.stop();
                sleep(world.throw(Duration::from_secs(60))).await;
                world.schedule.note(&self.name, "goes on");
                process.go_on();
            }
        }
    }
}

/// What happens to a worker from outside.
#[derive(Debug, Clone, Copy)]
enum Ill {
    Kill,
    Freeze,
    ShutDown,
}

impl fmt::Display for Ill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "is killed",
            Self::Freeze => "freezes",
            Self::ShutDown => "is asked to shut down",
        })
    }
}

/// A worker process, from start to end.
async fn serve(world: Arc<World>, who: Arc<str>, build: Arc<Build>, shut_down: Arc<Notify>) {
    world.schedule.note(&who, "starts");
    let jobs = manager(&world, &who);
    let fate = DiesAnywhere {
        points: Arc::clone(&world.points),
        who: Arc::clone(&who),
    };
    let builder = JobDispatcher::builder(&jobs)
        .middleware(fate)
        .on_event(listener(&world, &who));
    match build(builder).start().await {
        Ok(running) => {
            shut_down.notified().await;
            running.shutdown().await;
            world.schedule.note(&who, "has shut down");
        }
        Err(error) => world.broken(format!("a worker does not start: {error}")),
    }
    task::kill_this();
}

/// The manager of one process. Its calls go wrong as planned.
pub(super) fn manager(world: &Arc<World>, who: &Arc<str>) -> JobManager {
    let mut builder = JobManager::builder(world.store(faults(world, who, false)));
    if let Some(queue) = &world.queue {
        let faults = faults(world, who, true);
        builder = builder.queue(Faulty::new(Arc::clone(queue)).with_faults(faults));
    }
    let built = builder.build();
    built.expect("a volatile store and any queue go together")
}

/// The faults of one process: deaths at points, and those that the rates give.
fn faults(world: &Arc<World>, who: &Arc<str>, queue: bool) -> Faults {
    let (world, who) = (Arc::clone(world), Arc::clone(who));
    let mut dice = world.dice();
    let plan = &world.plan;
    let (rates, outage) = if queue {
        (plan.queue.clone(), plan.queue_down)
    } else {
        (plan.store.clone(), plan.store_down)
    };
    let faults = Faults::none();
    faults.plan(move |call, nth| {
        world.schedule.mix((&who, call, nth));
        if let Some(death) = death(&world, &who, call) {
            world.hit(death, call);
            return death;
        }
        if world.is_calm() {
            return Fault::None;
        }
        let down = outage.is_some_and(|outage| outage.is_at(world.schedule.now()));
        let fault = if down {
            Fault::Before
        } else {
            rates.draw(call, &mut dice)
        };
        if fault != Fault::None {
            world.hit(fault, call);
        }
        if !matches!(fault, Fault::None | Fault::Slow { .. }) {
            let text = format_args!("{call:?}: {}", fault.name());
            world.schedule.note(&who, text);
        }
        fault
    });
    faults
}

/// Calls that change something are points, both before and after they are done.
fn death(world: &World, who: &str, call: Call) -> Option<Fault> {
    let name = match call {
        Call::Create | Call::Insert => "a create",
        Call::Replace => "a change",
        Call::Claim | Call::ClaimReady => "a claim",
        Call::Finish | Call::FinishAndClaim => "an end's recording",
        Call::Renew => "a renewal",
        _ => return None,
    };
    if world.points.is_deadly(who, &format!("before {name}")) {
        return Some(Fault::Crash);
    }
    let after = world.points.is_deadly(who, &format!("after {name}"));
    after.then_some(Fault::CrashAfter)
}

/// Notes in the schedule what a process decides, and checks S4 at each start.
pub(super) fn listener(
    world: &Arc<World>,
    who: &Arc<str>,
) -> impl Fn(&Event<'_>) + Send + Sync + use<> {
    let (world, who) = (Arc::clone(world), Arc::clone(who));
    move |event| {
        let note = |text: fmt::Arguments<'_>| world.schedule.note(&who, text);
        match event {
            Event::AttemptStarted { job } => {
                world.truth.starts_now(job);
                let (name, errors, crashes) = (&job.spec.name, job.errors, job.crashes);
                note(format_args!(
                    "starts {name} {} ({errors} errors, {crashes} crashes before)",
                    Short(job.id)
                ));
            }
            Event::AttemptEnded { job, verdict, .. } => {
                let name = &job.spec.name;
                note(format_args!("{name} {} ended: {verdict:?}", Short(job.id)));
            }
            Event::Recorded { job, answer, .. } => {
                let name = &job.spec.name;
                let how = match answer {
                    Finished::Applied(state) => format!("is {state}"),
                    Finished::Lost => "was lost to another".to_owned(),
                };
                note(format_args!("{name} {} {how}", Short(job.id)));
            }
            Event::Revoked { id, state, .. } => {
                note(format_args!(
                    "takes {} from a lost worker: {state}",
                    Short(*id)
                ));
            }
            Event::Expired { id, .. } => note(format_args!("{} is too late", Short(*id))),
            Event::LoopFailed { name } => world.broken(format!("the loop {name} panicked")),
            Event::CallPanicked { part } => world.panicked(*part),
            _ => {}
        }
    }
}

/// A job's id, shortened: its end is enough to tell a few jobs apart.
struct Short(JobId);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [.., a, b] = self.0.as_bytes();
        write!(f, "…{a:02x}{b:02x}")
    }
}
