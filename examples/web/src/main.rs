//! Starts the application. `--help` tells what it takes, as arguments or from the environment.

use std::process::ExitCode;

use clap::Parser;
use tracing::error;
use web::app::{self, Config};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match app::run(Config::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            let causes = std::iter::successors(failed.source(), |&cause| cause.source());
            let causes: Vec<_> = causes.map(ToString::to_string).collect();
            error!(?causes, "{failed}");
            ExitCode::FAILURE
        }
    }
}
