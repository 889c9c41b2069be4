//! The name of a dispatcher. It is for people, who find it in logs; nothing depends on it.

use std::{env, fs, process, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::core::Core;
use crate::{Error, Result};

/// The most bytes a name may have.
const MOST: usize = 100;

/// The default name: the host and the process id.
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

/// Checks a name.
///
/// # Errors
/// `InvalidInput` for a name that does not fit into a line of a log.
pub(super) fn check(name: &str) -> Result<()> {
    if (1..=MOST).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`worker_name` takes 1 to {MOST} bytes without control characters"
    )))
}

/// When to store this worker's name again. `None`: it was never stored.
#[derive(Debug, Default)]
pub(super) struct Introduced(Option<Instant>);

impl Introduced {
    const AGAIN: Duration = Duration::from_secs(6 * 60 * 60);
    /// The pause after a failed try. It is long, as only people miss the name.
    const LATER: Duration = Duration::from_secs(60);

    /// Stores the name, if it is time to.
    pub(super) async fn keep(&mut self, core: &Core) {
        if self.0.is_some_and(|next| Instant::now() < next) {
            return;
        }
        let (owner, name) = (core.owner, &*core.worker);
        let told = core.store.call(|store| store.name_worker(owner, name));
        let pause = match told.await {
            Ok(()) => Self::AGAIN,
            Err(_) => Self::LATER,
        };
        self.0 = Some(Instant::now() + pause);
    }
}
