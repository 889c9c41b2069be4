//! Jobs that live in another crate, and a program that runs them.
//!
//! The linker collects jobs, and it takes a crate only if the program names it. This program
//! enqueues by name, so nothing else would name the crate: `use that_crate as _;` does.

use bgjob::prelude::*;
use bgjob_example_jobs as _;

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let jobs = JobManager::connect("memory:").await?;

    // The guard against a crate that nobody names: the dispatcher does not start without its jobs.
    let forgotten = JobDispatcher::builder(&jobs)
        .expect_jobs(["write_invoices"])
        .start()
        .await;
    println!("{}", forgotten.expect_err("there is no such job"));

    let dispatcher = JobDispatcher::builder(&jobs)
        .expect_jobs(["write_invoice"])
        .on_event(|event| {
            if let bgjob::Event::Started { jobs, .. } = event {
                println!("serves: {}", jobs.join(", "));
            }
        })
        .start()
        .await?;

    // By name, as a producer does that does not know the crate …
    let order = serde_json::json!({ "number": 17, "cents": 12_345 });
    let job = jobs.enqueue_raw("write_invoice", order).await?;
    println!("{}", job.result().await?);

    // … or typed, as one does that depends on it.
    let order = bgjob_example_jobs::Order {
        number: 18,
        cents: 999,
    };
    let job = bgjob_example_jobs::write_invoice::enqueue(&jobs, order).await?;
    println!("{}", job.result().await?);

    dispatcher.shutdown().await;
    Ok(())
}
