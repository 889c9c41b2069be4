//! How fast is it: bgjob with its default settings beside the raw limit of the same work.
//!
//! ```text
//! cargo bench --bench throughput -- memory
//! cargo bench --bench throughput -- sqlite
//! cargo bench --bench throughput -- file
//! cargo bench --bench throughput -- postgres                # or a part: postgres/drain
//! cargo bench --bench throughput -- postgres --sync-off     # commits don't wait for the disk
//! cargo bench --bench throughput -- bloat docs/bloat.svg   # PostgreSQL, twelve minutes
//! cargo bench --bench throughput -- memory sqlite --json    # a line a measurement
//! ```
//!
//! The work: a job that counts, with about 150 bytes of JSON metadata. Every figure is the median
//! of three runs unless it says otherwise.

mod bloat;
mod file;
mod idle;
mod latency;
mod memory;
mod place;
mod postgres;
mod raw;
mod report;
mod sqlite;
mod work;

use bgjob_test_servers::postgres as server;
use report::Report;

#[tokio::main]
async fn main() -> bgjob::Result<()> {
    let args: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    // A second process of the latency measurement across processes.
    if let [role, path] = args.as_slice()
        && role == "--producer"
    {
        return latency::produce(path).await;
    }
    let mut report = Report::new(args.iter().any(|arg| arg == "--json"));
    let parts: Vec<_> = args
        .iter()
        .filter(|arg| !arg.starts_with("--"))
        .map(String::as_str)
        .collect();
    let parts = if parts.is_empty() {
        vec!["memory", "sqlite", "file", "postgres"]
    } else {
        parts
    };
    if let [part, plot @ ..] = parts.as_slice()
        && *part == "bloat"
    {
        bloat::run(&mut report, plot.first().copied()).await?;
        report.end();
        return Ok(());
    }
    let durable = !args.iter().any(|arg| arg == "--sync-off");
    for part in parts {
        match part {
            "memory" => memory::run(&mut report).await?,
            "file" => file::run(&mut report).await?,
            "sqlite" => sqlite::run(&mut report).await?,
            "postgres" => {
                for part in postgres::PARTS {
                    postgres::run(&mut report, part, durable).await?;
                }
            }
            part if let Some(part) = part.strip_prefix("postgres/")
                && postgres::PARTS.contains(&part) =>
            {
                postgres::run(&mut report, part, durable).await?;
            }
            other => {
                eprintln!(
                    "`{other}` is no part: memory, sqlite, file, bloat, postgres, or of that \
                     postgres/enqueue, /drain, /latency, /delayed"
                );
                std::process::exit(2);
            }
        }
    }
    report.end();
    Ok(())
}
