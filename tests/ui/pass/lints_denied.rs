//! A library's strictest lints have nothing to say about what is generated.
#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations,
    unreachable_pub,
    unused_qualifications,
    unused_results,
    single_use_lifetimes,
    nonstandard_style,
    future_incompatible,
    rust_2018_idioms,
    rust_2024_compatibility,
    clippy::all,
    clippy::pedantic,
    clippy::nursery
)]

use bgjob::prelude::*;

/// Says hello.
#[job(queue = "mail", timeout = "1m", backoff = "steps(1s, 2s)")]
pub async fn greet(name: String, ctx: JobContext) -> Result<String, std::io::Error> {
    Ok(format!("hello {name}, {}", ctx.id()))
}

/// Says it slowly.
#[job(blocking, version = 1, upgrade = newer)]
pub fn greet_slowly(name: String, _: State<u8>) -> Result<String, std::io::Error> {
    Ok(name)
}

fn newer(value: serde_json::Value, _: u32) -> Result<serde_json::Value, std::io::Error> {
    Ok(value)
}

mod private {
    #[bgjob::job]
    async fn nobody_calls_this(_: ()) {}
}

fn main() {}
