//! What a dispatcher is called: for people, who find it in logs. Nothing rests on it.

use std::{env, fs, process, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::core::Core;
use crate::{Error, Result};

/// The most bytes of a name.
const MOST: usize = 100;

/// The host and the process id.
pub(super) fn default() -> Arc<str> {
    format!("{}:{}", host(), process::id()).into()
}

fn host() -> String {
    let set = |name: &str| env::var(name).ok();
    let kernel = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = kernel()
        .or_else(|| set("HOSTNAME"))
        .or_else(|| set("COMPUTERNAME"));
    let host = host.unwrap_or_default();
    match host.trim() {
        host if check(host).is_ok() => host.to_owned(),
        _ => "unknown-host".to_owned(),
    }
}

/// # Errors
/// `InvalidInput` for a name that can't stand in a line of a log.
pub(super) fn check(name: &str) -> Result<()> {
    if (1..=MOST).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`worker_name` takes 1 to {MOST} bytes without control characters"
    )))
}

/// When the store is to hear again what this worker is called.
#[derive(Debug, Default)]
pub(super) struct Introduced(Option<Instant>);

impl Introduced {
    const AGAIN: Duration = Duration::from_secs(6 * 60 * 60);
    /// After a try that failed: nobody misses it but people.
    const LATER: Duration = Duration::from_secs(60);

    /// Tells the store, if it is time to.
    pub(super) async fn keep(&mut self, core: &Core) {
        if self.0.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let (owner, name) = (core.owner, &*core.worker);
        let told = core.store_call(|| core.store.name_worker(owner, name));
        let pause = match told.await {
            Ok(()) => Self::AGAIN,
            Err(_) => Self::LATER,
        };
        self.0 = Some(Instant::now() + pause);
    }
}
