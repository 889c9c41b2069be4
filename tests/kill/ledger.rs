//! The ledger: what happened, one line an event, in files that no kill can take back. (The
//! system keeps what a killed process has written; only a power failure would lose it.)

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

/// One process's file.
pub(crate) struct Ledger {
    file: File,
}

/// A line that was read back: when, which process, what.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: Duration,
    pub(crate) pid: u32,
    pub(crate) what: String,
    pub(crate) about: String,
}

impl Ledger {
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join(format!("ledger-{}", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self {
            file: file.expect("the ledger opens"),
        }
    }

    /// Appends a line in one write, so that a kill leaves it whole or out.
    pub(crate) fn note(&self, what: &str) {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let line = format!("{} {} {what}\n", now.as_micros(), std::process::id());
        (&self.file)
            .write_all(line.as_bytes())
            .expect("the ledger takes a line");
    }
}

/// All lines of all processes in the order of their times (one host, one clock).
pub(crate) fn read(folder: &Path) -> Vec<Line> {
    let mut lines: BTreeMap<(Duration, u32, usize), Line> = BTreeMap::new();
    let files = std::fs::read_dir(folder).expect("the folder is there");
    for file in files
        .flatten()
        .filter(|f| f.file_name().to_string_lossy().starts_with("ledger-"))
    {
        let text = std::fs::read_to_string(file.path()).expect("a ledger is text");
        for (n, line) in text.lines().enumerate() {
            let mut words = line.split(' ');
            let (Some(at), Some(pid), Some(what), Some(about)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                panic!("a torn line in a ledger: {line}")
            };
            let at = Duration::from_micros(at.parse().expect("a time"));
            let pid = pid.parse().expect("a process id");
            let line = Line {
                at,
                pid,
                what: what.to_owned(),
                about: about.to_owned(),
            };
            lines.insert((at, pid, n), line);
        }
    }
    lines.into_values().collect()
}
