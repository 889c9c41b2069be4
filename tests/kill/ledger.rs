//! The ledger: what happened, one line an event, in files outside the store.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// One process's file.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
}

/// A line that was read back: when, which process, what, about which job or process, and a number.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: Duration,
    pub(crate) pid: u32,
    pub(crate) what: String,
    pub(crate) about: String,
    pub(crate) n: u64,
}

impl Ledger {
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join(format!("ledger-{}", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(path);
        Self {
            file: file.expect("the ledger opens"),
        }
    }

    /// Appends a line in one write, so that a kill leaves it whole or out. What a killed process
    /// has written the system keeps, so `start` and `end`, which say what a process was doing when
    /// it died, need no more: a power failure would end the run as well.
    pub(crate) fn note(&self, what: &str, about: impl std::fmt::Display, n: u64) {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let (at, pid) = (now.as_micros(), std::process::id());
        let line = format!("{at} {pid} {what} {about} {n}\n");
        (&self.file)
            .write_all(line.as_bytes())
            .expect("the ledger takes a line");
    }

    /// Makes what was noted outlast the machine too. For what the store has promised to outlast it
    /// (`acked`, `success`, `terminal`): the witness must be no weaker than the promise.
    pub(crate) fn sync(&self) {
        self.file
            .sync_data()
            .expect("the ledger is written through");
    }
}

/// The jobs that were acknowledged and that nobody has begun.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: HashSet<String>,
    begun: HashSet<String>,
}

impl Backlog {
    pub(crate) fn hear(&mut self, line: &Line) {
        let about = &line.about;
        match line.what.as_str() {
            "start" => {
                self.waiting.remove(about);
                self.begun.insert(about.clone());
            }
            // One that was begun at once may be acknowledged after that.
            "acked" if !self.begun.contains(about) => _ = self.waiting.insert(about.clone()),
            _ => {}
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.waiting.len()
    }
}

/// Reads all processes' lines, each once.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    read: HashMap<PathBuf, u64>,
}

impl Tail {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            read: HashMap::new(),
        }
    }

    /// The lines since the last call, in the order of their times (one host, one clock).
    pub(crate) fn more(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        let files = std::fs::read_dir(&self.folder).expect("the folder is there");
        for file in files.flatten() {
            if !file.file_name().to_string_lossy().starts_with("ledger-") {
                continue;
            }
            let from = self.read.entry(file.path()).or_default();
            let mut text = String::new();
            let mut file = File::open(file.path()).expect("a ledger opens");
            file.seek(SeekFrom::Start(*from)).expect("it can be sought");
            file.read_to_string(&mut text).expect("a ledger is text");
            // What ends in no line break is being written; the next look finds it whole.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            *from += whole as u64;
            lines.extend(text[..whole].lines().map(Line::parse));
        }
        lines.sort_by_key(|line| line.at);
        lines
    }
}

impl Line {
    pub(crate) fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let [at, pid, what, about, n] = words.as_slice() else {
            panic!("a torn line in a ledger: {line}")
        };
        Self {
            at: Duration::from_micros(at.parse().expect("a time")),
            pid: pid.parse().expect("a process id"),
            what: (*what).to_owned(),
            about: (*about).to_owned(),
            n: n.parse().expect("a number"),
        }
    }
}
