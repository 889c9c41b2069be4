//! From the call that enqueues to the start of the handler, on a worker that has nothing to do.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    Peer, Result, Rows, report,
    work::{latencies, stamped, time_jobs},
};

const SAMPLES: usize = 200;
/// The first job finds a database that nobody has used, and connections that have never made such a
/// call: it comes before the samples.
const FIRST: usize = 1;
const PATIENCE: Duration = Duration::from_secs(20);
/// A worker has made its connections and come to rest by then.
const START: Duration = Duration::from_secs(1);
/// The last job has started by then.
const END: Duration = Duration::from_millis(100);

/// Producer and worker in one process.
pub(crate) async fn within<P: Peer>(url: &str) -> Result<()> {
    let peer = P::open(url.to_owned(), Rows::Kept).await?;
    let producer = peer.clone();
    time_jobs();
    tokio::spawn(async move {
        sleep(START).await;
        if let Err(error) = send(&producer).await {
            eprintln!("{}: {error}", P::NAME);
        }
    });
    arrived("pickup", &peer).await
}

/// The producer in a process of its own, so that only the server can tell the worker.
pub(crate) async fn across<P: Peer>(url: &str) -> Result<()> {
    let peer = P::open(url.to_owned(), Rows::Kept).await?;
    time_jobs();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("produce")
        .stdout(Stdio::null())
        .spawn()?;
    arrived("across", &peer).await?;
    child.wait()?;
    Ok(())
}

/// What the other process does.
pub(crate) async fn produce<P: Peer>(url: &str) -> Result<()> {
    let peer = P::open(url.to_owned(), Rows::Kept).await?;
    sleep(START).await;
    send(&peer).await?;
    // The end of a process and of its connections keeps both cores busy for milliseconds.
    sleep(END).await;
    Ok(())
}

/// The jobs, one at a time, with pauses that fit no timer's beat.
async fn send<P: Peer>(peer: &P) -> Result<()> {
    for _ in 0..FIRST + SAMPLES {
        sleep(Duration::from_micros(fastrand::u64(5_000..25_000))).await;
        peer.enqueue(stamped()).await?;
    }
    Ok(())
}

/// Works until all of them have come.
async fn arrived<P: Peer>(name: &str, peer: &P) -> Result<()> {
    let all = async {
        let begun = Instant::now();
        while latencies().len() < FIRST + SAMPLES {
            if begun.elapsed() > PATIENCE {
                return Err(format!("only {} of {SAMPLES} came", latencies().len()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::select! {
        ended = peer.work() => {
            ended?;
            return Err("the worker ended by itself".into());
        }
        all = all => all?,
    }
    let mut took = latencies().split_off(FIRST);
    took.sort();
    let at = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    report::<P>(&format!("{name} p50"), at(0.5));
    report::<P>(&format!("{name} p99"), at(0.99));
    Ok(())
}
