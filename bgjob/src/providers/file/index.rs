//! The index: which documents are filed under which keys. It is ordered in memory, and on the disk
//! it is a log that the processes share.
//!
//! ```text
//! bgjob index 1 5f0c…          a new number whenever the log is written anew
//! +r,mail,2,… 018b…            a batch: keys that documents get
//! -l,018b… 018b…               and lose
//! .                            the end of a batch whose documents are written
//! ```
//!
//! A batch is logged before its documents are written, and its end after. If the last batch of a
//! log has no end, a process died in between: the documents of the batch say how far it came. A log
//! that can't be read is made anew from all documents.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    mem,
    path::{Path, PathBuf},
};

use crate::{
    JobId, entropy,
    store::{Document, Filed, Key, KeyRange},
};

use super::disk::{self, Failed};

const TITLE: &str = "bgjob index 1 ";

/// A log longer than this is written anew once most of its lines are out of date.
const LONG: usize = 10_000;

#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    filed: BTreeSet<Filed>,
    /// The log's first line, as it was when it was last read.
    title: String,
    /// How many bytes of the log have been read.
    read: u64,
    lines: usize,
    log: Option<File>,
}

/// One change: a key is added, or else removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) adds: bool,
    pub(super) filed: Filed,
}

/// The result of reading the log.
pub(super) enum Log {
    /// The whole log has been read.
    Known,
    /// A process died within this batch. This many bytes of the batch's log are whole lines.
    Unfinished { batch: Vec<Change>, size: u64 },
    /// The log is missing, or its content is not that of a log.
    Unusable,
}

impl Index {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            path: root.join("index.log"),
            filed: BTreeSet::new(),
            title: String::new(),
            read: 0,
            lines: 0,
            log: None,
        }
    }

    /// Reads what other processes have logged.
    pub(super) fn refresh(&mut self) -> io::Result<Log> {
        let opened = disk::private().read(true).write(true).open(&self.path);
        let mut log = match opened {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Log::Unusable),
            Err(error) => return Err(error),
        };
        let mut title = vec![0; TITLE.len() + 17];
        match log.read_exact(&mut title) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Log::Unusable);
            }
            Err(error) => return Err(error),
        }
        if !title.starts_with(TITLE.as_bytes()) {
            return Ok(Log::Unusable);
        }
        if title != self.title.as_bytes() {
            self.title = String::from_utf8_lossy(&title).into_owned();
            self.read = title.len() as u64;
            self.lines = 0;
            self.filed.clear();
        }
        // A log never gets shorter than what was read: an older one was put in its place.
        if log.metadata()?.len() < self.read {
            return Ok(Log::Unusable);
        }
        log.seek(SeekFrom::Start(self.read))?;
        let mut news = Vec::new();
        log.read_to_end(&mut news)?;
        self.log = Some(log);
        Ok(self.take_in(&news))
    }

    fn take_in(&mut self, news: &[u8]) -> Log {
        let (mut batch, mut size) = (Vec::new(), 0);
        for line in news.split_inclusive(|&byte| byte == b'\n') {
            if !line.ends_with(b"\n") {
                // The batch was not fully logged, so its documents were not touched.
                return Log::Unfinished { batch, size };
            }
            size += line.len() as u64;
            if line == b".\n" {
                self.end(mem::take(&mut batch), mem::take(&mut size));
            } else if let Some(change) = Change::read(line) {
                batch.push(change);
            } else {
                return Log::Unusable;
            }
        }
        if size == 0 {
            Log::Known
        } else {
            Log::Unfinished { batch, size }
        }
    }

    /// Applies a finished batch of this size.
    fn end(&mut self, batch: Vec<Change>, size: u64) {
        self.read += size;
        self.lines += batch.len();
        for Change { adds, filed } in batch {
            if adds {
                self.filed.insert(filed);
            } else {
                self.filed.remove(&filed);
            }
        }
    }

    /// Logs a batch. Its changes count once it is [`finished`](Self::finish).
    pub(super) fn begin(&mut self, batch: &[Change]) -> io::Result<&File> {
        self.append(self.read, batch)
    }

    fn append(&mut self, at: u64, changes: &[Change]) -> io::Result<&File> {
        let mut text = String::new();
        changes.iter().for_each(|change| change.write(&mut text));
        let log = self.log.as_mut().expect("a log that was refreshed is open");
        log.seek(SeekFrom::Start(at))?;
        log.write_all(text.as_bytes())?;
        Ok(log)
    }

    /// Ends an unfinished batch with what became of it. The batch stays in the log until then.
    pub(super) fn settle(
        &mut self,
        mut batch: Vec<Change>,
        size: u64,
        settled: Vec<Change>,
    ) -> Result<(), Failed> {
        let end = self.read + size;
        let log = self.log.as_mut().expect("a log that was refreshed is open");
        log.set_len(end)?;
        let log = self.append(end, &settled)?.try_clone()?;
        disk::sync(&[log])?;
        batch.extend(settled);
        self.finish(batch)?;
        Ok(())
    }

    /// Ends the batch that was begun, once its documents are written. If the end is lost, the batch
    /// is checked and ended again.
    pub(super) fn finish(&mut self, batch: Vec<Change>) -> io::Result<()> {
        let log = self.log.as_mut().expect("a log with a batch is open");
        log.write_all(b".\n")?;
        let size = log.stream_position()? - self.read;
        self.end(batch, size);
        Ok(())
    }

    /// Whether most of the log is out of date.
    pub(super) fn is_long(&self) -> bool {
        self.lines > LONG + 4 * self.filed.len()
    }

    /// Writes the log anew, with the current keys.
    pub(super) fn compact(&mut self) -> Result<(), Failed> {
        let filed = mem::take(&mut self.filed);
        self.write_anew(filed)
    }

    /// Writes the log anew, with these keys.
    pub(super) fn write_anew(
        &mut self,
        filed: impl IntoIterator<Item = Filed>,
    ) -> Result<(), Failed> {
        let number = u64::from_le_bytes(entropy::bytes());
        let mut text = format!("{TITLE}{number:016x}\n");
        for filed in filed {
            Change { adds: true, filed }.write(&mut text);
        }
        text.push_str(".\n");
        self.title.clear();
        disk::replace(&self.path, text.as_bytes())?;
        self.refresh()?;
        Ok(())
    }

    pub(super) fn scan(&self, range: &KeyRange, after: Option<&Filed>, limit: usize) -> Vec<Filed> {
        range.page(&self.filed, after, limit)
    }
}

impl Change {
    /// The changes that take a document from the keys `before` to the keys `after`.
    pub(super) fn between<'a>(
        id: JobId,
        before: &'a [Key],
        after: &'a [Key],
    ) -> impl Iterator<Item = Self> + 'a {
        let change = move |adds, key: &Key| Self {
            adds,
            filed: (key.clone(), id),
        };
        let added = after.iter().filter(|key| !before.contains(key));
        let removed = before.iter().filter(|key| !after.contains(key));
        added
            .map(move |key| change(true, key))
            .chain(removed.map(move |key| change(false, key)))
    }

    /// The change as the document says it turned out. A document that can't be read stays under all
    /// its keys: a key too many does no harm, a key too few would hide the document.
    pub(super) fn settled(&self, document: Option<&Document>) -> Self {
        let adds = document.is_some_and(|document| {
            document.version.0.is_empty() || document.keys.contains(&self.filed.0)
        });
        let filed = self.filed.clone();
        Self { adds, filed }
    }

    fn write(&self, text: &mut String) {
        let sign = if self.adds { '+' } else { '-' };
        let (key, id) = &self.filed;
        writeln!(text, "{sign}{} {id}", key.as_str()).expect("a string can be written to");
    }

    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        let (sign, rest) = line.split_at_checked(1)?;
        let (key, id) = rest.split_once(' ')?;
        let adds = match sign {
            "+" => true,
            "-" => false,
            _ => return None,
        };
        Some(Self {
            adds,
            filed: (Key::new(key), id.parse().ok()?),
        })
    }
}
