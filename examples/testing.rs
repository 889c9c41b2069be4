//! Testing jobs: a small app, and what the kit of the feature `testing` tells about it. In a
//! program of your own each of these functions is a `#[tokio::test]`.

use std::{sync::Mutex, time::Duration};

use bgjob::{assert_enqueued, prelude::*, refute_enqueued, testing::TestJobs};
use serde::{Deserialize, Serialize};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// ---- the app ----

#[derive(Serialize, Deserialize)]
struct Invoice {
    order: u64,
    cents: u64,
}

/// The bank, as tests have it: it refuses as often as it is told to.
#[derive(Default)]
struct Bank {
    refusals: Mutex<u32>,
}

#[job(queue = "money", max_attempts = 4, backoff = "exponential(1h, max 1d)")]
async fn charge(
    invoice: Invoice,
    bank: State<Bank>,
    jobs: State<JobManager>,
) -> Result<u64, JobError> {
    if invoice.cents == 0 {
        return Err(JobError::abort("there is nothing to charge"));
    }
    {
        let mut refusals = bank.refusals.lock().expect("no job panics with the lock");
        if *refusals > 0 {
            *refusals -= 1;
            return Err(JobError::retry("the bank says no"));
        }
    }
    let order = invoice.order;
    ask_for_review::enqueue(&jobs, order).delay(5 * DAY).await?;
    Ok(invoice.cents)
}

#[job]
async fn ask_for_review(_order: u64) {}

/// Code that enqueues: what most tests are about.
async fn place_order(jobs: &JobManager, order: u64, cents: u64) -> bgjob::Result<()> {
    let invoice = Invoice { order, cents };
    charge::enqueue(jobs, invoice)
        .delay(HOUR)
        .tag("web")
        .await?;
    Ok(())
}

// ---- its tests ----

fn test_jobs(bank: Bank) -> TestJobs {
    let jobs = TestJobs::new();
    let manager = jobs.manager();
    jobs.state(bank).state(manager)
}

/// One attempt, by itself.
async fn an_order_of_nothing_is_not_charged() {
    let jobs = TestJobs::new();
    let nothing = Invoice { order: 7, cents: 0 };
    let run = charge::perform(nothing)
        .state(Bank::default())
        .state(jobs.manager())
        .await;
    println!("{run}");
    assert_eq!(run.job.state(), JobState::Dead);
}

/// What code enqueues.
async fn an_order_is_charged_later() -> bgjob::Result<()> {
    let jobs = TestJobs::new();
    place_order(&jobs, 7, 900).await?;
    assert_enqueued!(
        jobs,
        charge,
        |invoice| invoice.order == 7,
        delay = HOUR,
        tag = "web"
    );
    refute_enqueued!(jobs, ask_for_review);
    Ok(())
}

/// A week in a moment: the delay, the refusals, what comes after.
async fn an_order_survives_a_stubborn_bank() -> bgjob::Result<()> {
    let refusals = Mutex::new(2);
    let jobs = test_jobs(Bank { refusals });
    place_order(&jobs, 7, 900).await?;
    print!("{}", jobs.drain_for(7 * DAY).await.assert_succeeded());
    Ok(())
}

/// Each enqueue runs its job at once.
async fn an_order_is_charged_inline() -> bgjob::Result<()> {
    let jobs = test_jobs(Bank::default()).inline();
    let invoice = Invoice { order: 8, cents: 5 };
    let charged = charge::enqueue(&jobs, invoice).await?.result().await?;
    println!("charged {charged}");
    assert_enqueued!(jobs, ask_for_review, 8, delay = 5 * DAY);
    Ok(())
}

/// What a test says that fails.
async fn a_failing_test() -> bgjob::Result<()> {
    let jobs = TestJobs::new();
    place_order(&jobs, 7, 900).await?;
    assert_enqueued!(
        jobs,
        charge,
        Invoice {
            order: 7,
            cents: 950
        },
        queue = "money",
        tag = "shop"
    );
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> bgjob::Result<()> {
    println!("-- one attempt");
    an_order_of_nothing_is_not_charged().await;
    println!("-- what was enqueued");
    an_order_is_charged_later().await?;
    println!("as expected");
    println!("-- a week");
    an_order_survives_a_stubborn_bank().await?;
    println!("-- inline");
    an_order_is_charged_inline().await?;
    println!("-- a test that fails");
    std::panic::set_hook(Box::new(|panic| {
        println!("{}", panic.payload_as_str().unwrap_or(""))
    }));
    let failed = tokio::spawn(a_failing_test()).await;
    assert!(failed.is_err(), "it fails");
    Ok(())
}
