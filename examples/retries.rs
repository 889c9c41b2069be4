//! What an attempt can end in: try again, try again later, give up, or not yet.

use std::{error::Error, time::Duration};

use bgjob::{BoxError, extract::Attempts, prelude::*};

/// Any error means: try again after the backoff, as long as there are attempts left.
#[job(max_attempts = 3, backoff = "constant(10ms)")]
async fn flaky(fails: u32, attempts: Attempts) -> Result<String, BoxError> {
    println!("flaky: attempt {} of {}", attempts.this, attempts.max);
    if attempts.this <= fails {
        return Err(format!("failure {}", attempts.this).into());
    }
    Ok("it works".to_owned())
}

/// A [`JobError`] says more than "failed".
#[job(max_attempts = 5, backoff = "exponential(1h, max 1d)")]
async fn charge(card: String, attempts: Attempts) -> Result<String, JobError> {
    println!("charge {card}: attempt {}", attempts.this);
    match card.as_str() {
        // Nobody will ever be able to charge it.
        "stolen" => Err(JobError::abort("the card is stolen")),
        // The bank said when: that counts instead of the hour of the backoff.
        "busy" if attempts.this == 1 => Err(JobError::retry_in(
            Duration::from_millis(10),
            "the bank is busy",
        )),
        _ => Ok(format!("charged {card}")),
    }
}

/// `Snooze` is no error: no attempt is spent.
#[job(max_attempts = 1)]
async fn delivered(parcel: u32, ctx: JobContext) -> Outcome<String> {
    // The fence grows with each start, also with those that spend no attempt.
    println!(
        "parcel {parcel}: look {}, attempt {}",
        ctx.fence(),
        ctx.attempt()
    );
    if ctx.fence() < 3 {
        return Outcome::Snooze(Duration::from_millis(10));
    }
    Outcome::Success(format!("parcel {parcel} is there"))
}

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;
    let dispatcher = JobDispatcher::builder(&jobs).start().await?;

    for fails in [1, 9] {
        let job = flaky::enqueue(&jobs, fails).await?;
        tell(job.result().await);
    }
    for card in ["busy", "stolen"] {
        let job = charge::enqueue(&jobs, card.to_owned()).await?;
        tell(job.result().await);
    }
    let job = delivered::enqueue(&jobs, 7).await?;
    tell(job.result().await);

    dispatcher.shutdown().await;
    Ok(())
}

/// Dead jobs are kept for 30 days: someone can mend the cause and requeue them.
fn tell(result: bgjob::Result<String>) {
    match result {
        Ok(text) => println!("= {text}"),
        Err(error) => match error.source() {
            Some(last) => println!("= {:?}, at last because of: {last}", error.kind()),
            None => println!("= {:?}", error.kind()),
        },
    }
}
