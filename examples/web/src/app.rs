//! Everything put together: the way up and the way down.

use std::{net::SocketAddr, time::Duration};

use bgjob::{BoxError, prelude::*};
use clap::Parser;
use lettre::message::Mailbox;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::oneshot, time::timeout};
use tracing::{info, warn};

use crate::{
    mail::Mailer,
    routes::{App, router},
    users,
};

/// How long requests may go on after the signal to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// A web application with background jobs.
#[derive(Debug, Parser)]
pub struct Config {
    /// The database of the application and of its jobs.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The mail server: `smtp://host:25`, `smtps://user:password@host`.
    #[arg(long, env = "SMTP_URL", hide_env_values = true)]
    smtp_url: String,
    /// Where requests are listened for; port 0 is a free one.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Whom mails are from.
    #[arg(long, env = "MAIL_FROM", default_value = "Example <hello@example.org>")]
    mail_from: Mailbox,
    /// How long a process that died keeps its jobs from others, in seconds.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 30)]
    lease_seconds: u64,
}

/// Runs until a SIGTERM or Ctrl-C. Then it answers the requests that are there, and after that
/// lets the jobs end that run: until its last request the application may enqueue.
///
/// # Errors
/// Where something that it needs is not there.
pub async fn run(config: Config) -> Result<(), BoxError> {
    // Before the first claim: a signal that ends the process would cost the jobs at hand a crash.
    let signal = bgjob::shutdown_signal();
    // This one is not awaited. It keeps further signals from ending the process until the end.
    let _signals = bgjob::shutdown_signal();
    let pool = PgPool::connect(&config.database_url).await?;
    users::migrate(&pool).await?;
    // Jobs have connections of their own: requests that wait for one hold up no job.
    let jobs = JobManager::connect(&config.database_url).await?;
    let listener = TcpListener::bind(config.listen).await?;

    let dispatcher = JobDispatcher::builder(&jobs)
        .state(Mailer::new(&config.smtp_url, config.mail_from)?)
        .lease(Duration::from_secs(config.lease_seconds))
        .start()
        .await?;
    info!("listening on http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router(App { pool, jobs }))
        .with_graceful_shutdown(async { drop(stopped.await) });
    let server = tokio::spawn(server.into_future());

    signal.await?;
    info!("stopping: no more requests");
    drop(stop);
    match timeout(LAST_REQUESTS, server).await {
        Ok(served) => served??,
        Err(_) => warn!("requests were still open after {LAST_REQUESTS:?}"),
    }
    dispatcher.begin_shutdown();
    // A second signal hurries.
    let drained = dispatcher.until_signal().await?;
    // What was given back is no failure: another process runs it, or this one when it is back.
    info!(
        "stopped: {} jobs ended, {} given back",
        drained.drained, drained.released
    );
    Ok(())
}
