//! What a dispatcher is called: for people, who find it in logs. Nothing rests on it.

use std::{env, fs, process, sync::Arc};

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
