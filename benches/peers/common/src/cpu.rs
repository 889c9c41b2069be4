//! The time that processes have spent on a core.

use std::{fs, time::Duration};

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    },
    unistd::{SysconfVar, sysconf},
};

/// That of this process.
pub(crate) fn own() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("one may ask for one's own");
    let total = usage.user_time() + usage.system_time();
    Duration::from_micros(total.num_microseconds().unsigned_abs())
}

/// That of the server: its first process and all that it has started, those that ended included.
/// Nothing where `SERVER_PID` does not say which it is.
pub(crate) fn server() -> Option<Duration> {
    let server: u32 = std::env::var("SERVER_PID").ok()?.parse().ok()?;
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name of the program may have spaces, and ends with the last parenthesis.
        let Some((start, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let numbers: Vec<u64> = rest.split(' ').map(|n| n.parse().unwrap_or(0)).collect();
        let [_, parent, ..] = numbers[..] else {
            continue;
        };
        // utime and stime; for the first also cutime and cstime.
        if start.starts_with(&format!("{server} ")) {
            ticks += numbers[11..15].iter().sum::<u64>();
        } else if parent == u64::from(server) {
            ticks += numbers[11..13].iter().sum::<u64>();
        }
    }
    let a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(Duration::from_secs_f64(ticks as f64 / a_second as f64))
}
