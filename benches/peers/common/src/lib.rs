//! What the programs share: the job, the measures, and the line that each of them prints.
//!
//! A peer is what implements [`Peer`]; its `main` is [`run`]. Everything that is measured is
//! measured here, so that it is measured alike.
#![forbid(unsafe_code)]

mod cpu;
mod latency;
mod measure;
mod work;

use std::{env, future::Future, process::exit};

pub use work::{Email, email, handle};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whether the row of a job that succeeded is to stay. Most peers know one of the two only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    Kept,
    Deleted,
}

/// One of those that are compared.
pub trait Peer: Clone + Send + Sync + 'static {
    /// As it is called in the table.
    const NAME: &str;
    /// Whether it has a call that enqueues many.
    const HAS_BULK: bool = true;

    /// Connects to the database, and makes its tables if they are missing.
    fn open(url: String, rows: Rows) -> impl Future<Output = Result<Self>>;

    /// One job; it is durable when this returns.
    fn enqueue(&self, email: Email) -> impl Future<Output = Result<()>> + Send;

    /// Many, by the best call it has.
    fn enqueue_all(&self, emails: Vec<Email>) -> impl Future<Output = Result<()>> + Send;

    /// Runs jobs until this is dropped.
    fn work(&self) -> impl Future<Output = Result<()>>;

    /// A query: how many of `n` jobs the store has not recorded the end of.
    fn left(n: u64) -> String;
}

/// `drain N kept|deleted`, `enqueue`, `bulk`, `pickup` or `across`, once, in the database of
/// `DATABASE_URL`.
pub fn run<P: Peer>() {
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    if let Err(error) = runtime.block_on(measured::<P>()) {
        eprintln!("{}: {error}", P::NAME);
        exit(1);
    }
    // Not all of them can be stopped; there is nothing to keep.
    exit(0);
}

async fn measured<P: Peer>() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let url = env::var("DATABASE_URL")?;
    match args[..] {
        ["drain", n, "kept"] => measure::drain::<P>(&url, n.parse()?, Rows::Kept).await,
        ["drain", n, "deleted"] => measure::drain::<P>(&url, n.parse()?, Rows::Deleted).await,
        ["enqueue"] => measure::enqueue::<P>(&url).await,
        ["bulk"] => measure::bulk::<P>(&url).await,
        ["pickup"] => latency::within::<P>(&url).await,
        ["across"] => latency::across::<P>(&url).await,
        ["produce"] => latency::produce::<P>(&url).await,
        _ => Err("drain N kept|deleted, enqueue, bulk, pickup or across".into()),
    }
}

/// One measurement: a line of three columns.
fn report<P: Peer>(measure: &str, value: f64) {
    println!("{}\t{measure}\t{value:.3}", P::NAME);
}
