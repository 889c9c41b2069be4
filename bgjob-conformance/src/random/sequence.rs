//! Plays one program of calls. The model judges each answer, and all that can be read afterwards.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use tokio::runtime::Runtime;

use bgjob::{
    JobStore,
    store::{Filter, Slice},
};

use super::{
    Failure,
    model::{Model, Verdict},
    names::{ids, short},
    op::{Answer, Op},
    step::{Step, program},
    world::World,
};
use crate::StoreFixture;

/// Longer than any program takes on the slowest provider.
const WATCHDOG: Duration = Duration::from_secs(60);
/// How long a failed program is shrunk, in milliseconds.
const SHRINK_MS: u32 = 60_000;

/// What went wrong, and the calls up to then.
struct Wrong {
    program: String,
    why: String,
}

/// What was run.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) sequences: u64,
    pub(super) operations: u64,
    pub(super) time: Duration,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sequences, operations) = (self.sequences, self.operations);
        let seconds = self.time.as_secs_f64();
        write!(
            f,
            "{sequences} sequences, {operations} operations, {seconds:.1} s"
        )
    }
}

/// Runs the programs of these seeds. Returns the first failure, in its smallest form.
pub(super) fn run<F: StoreFixture>(
    runtime: &Runtime,
    factory: &impl AsyncFn() -> F,
    seeds: impl Iterator<Item = u64>,
) -> Result<Done, Failure> {
    let start = Instant::now();
    let operations = std::cell::Cell::new(0);
    let mut done = Done::default();
    for seed in seeds {
        let mut runner = runner(seed);
        let tree = program().new_tree(&mut runner);
        let tree = tree.expect("no program is refused");
        let result = runner.run_one(tree, |steps| {
            operations.set(operations.get() + steps.len() as u64);
            let played = runtime.block_on(play(factory, &steps));
            played.map_err(|wrong| TestCaseError::fail(wrong.why))
        });
        match result {
            Ok(_) => done.sequences += 1,
            Err(TestError::Fail(_, steps)) => {
                let text = report(runtime, factory, seed, &steps);
                return Err(Failure { seed, text });
            }
            Err(TestError::Abort(why)) => unreachable!("no program is rejected: {why}"),
        }
    }
    done.operations = operations.get();
    done.time = start.elapsed();
    Ok(done)
}

/// Draws the same values for the same seed.
pub(super) fn runner(seed: u64) -> TestRunner {
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: u32::MAX,
        max_shrink_time: SHRINK_MS,
        ..Config::default()
    };
    // Not ChaCha: each drawn value forks the generator, and that took most of the time.
    let bytes = [mixed(seed), mixed(!seed)].map(u64::to_le_bytes).concat();
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::XorShift, &bytes))
}

/// Maps neighbouring seeds far apart (the finaliser of SplitMix64).
const fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn report<F: StoreFixture>(
    runtime: &Runtime,
    factory: &impl AsyncFn() -> F,
    seed: u64,
    steps: &[Step],
) -> String {
    let wrong = match runtime.block_on(play(factory, steps)) {
        Err(wrong) => wrong,
        Ok(()) => Wrong {
            program: format!("{steps:#?}"),
            why: "it fails sometimes only".to_owned(),
        },
    };
    let Wrong { program, why } = wrong;
    format!("sequence {seed}, made as small as it can be:\n{program}{why}")
}

/// Plays one program on a new store.
async fn play<F: StoreFixture>(factory: &impl AsyncFn() -> F, steps: &[Step]) -> Result<(), Wrong> {
    let fixture = factory().await;
    let mut program = Vec::new();
    let played = tokio::time::timeout(WATCHDOG, play_on(&fixture, steps, &mut program));
    let played = played.await;
    let played = played.unwrap_or_else(|_| Err(format!("it does not end within {WATCHDOG:?}")));
    let second = fixture.second().is_some();
    let line = |(nth, op): (usize, &Op)| match second && !nth.is_multiple_of(2) {
        true => format!("  in the second process: {op}\n"),
        false => format!("  {op}\n"),
    };
    played.map_err(|why| Wrong {
        program: program.iter().enumerate().map(line).collect(),
        why: short(&why),
    })
}

async fn play_on(fixture: &dyn StoreFixture, steps: &[Step], program: &mut Vec<Op>) -> Verdict {
    let store = fixture.store();
    let second = fixture.second().unwrap_or_else(|| Arc::clone(&store));
    let stores = [store, second];
    let now = stores[0].now().await.map_err(|e| e.to_string())?;
    let mut model = Model::new(now, stores[0].capabilities().next_due);
    let mut world = World::default();
    for (nth, step) in steps.iter().enumerate() {
        // A process that reads knows everything afterwards. Half of the time it also makes the next
        // call.
        let (caller, looker) = (&*stores[nth % 2], &*stores[nth / 2 % 2]);
        let op = world.resolve(step, &model);
        program.push(op.clone());
        if let Op::Advance(by) = &op {
            fixture.advance(*by).await;
        }
        call(caller, &mut model, &op).await?;
        world.look(&model);
        for look in looks() {
            let seen = call(looker, &mut model, &look).await;
            seen.map_err(|why| format!("afterwards, {look}: {why}"))?;
        }
        let now = looker.now().await.map_err(|e| e.to_string())?;
        if now != model.now {
            return Err(format!(
                "the store's time moved by itself, from {} to {now}: sequences need one that \
                 stands still but for `advance`",
                model.now
            ));
        }
    }
    Ok(())
}

async fn call(store: &dyn JobStore, model: &mut Model, op: &Op) -> Verdict {
    let answer = op.call(store).await;
    let answer: Answer = answer.map_err(|e| format!("the store failed: {e}"))?;
    model.judge(op, &answer)
}

/// Calls that read everything.
fn looks() -> [Op; 3] {
    let all = Op::List {
        filter: Filter::default(),
        slice: Slice::first(1000),
    };
    [Op::Get(ids()), all, Op::Counts]
}
