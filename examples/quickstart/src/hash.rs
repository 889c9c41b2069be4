//! The job: reads one file and says what is in it.

use std::{
    fs::{self, File},
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bgjob::{BoxError, prelude::*};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::path::{FilePath, hex};

/// Read at a time; files are never held whole.
const CHUNK: usize = 64 * 1024;

/// What is recorded of a file: the job's result.
#[derive(Debug, Serialize, Deserialize)]
pub struct Facts {
    pub size: u64,
    /// Line feeds.
    pub lines: u64,
    pub sha256: String,
    /// Its MIME type, judged by its first bytes.
    pub kind: String,
    /// How long it took.
    pub micros: u64,
}

/// Counts what this run has hashed: a service of the dispatcher, for the progress bar.
#[derive(Debug, Default)]
pub struct Tally {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
}

/// Hashes one file.
///
/// `blocking`: reading files blocks, so it runs off the async threads. A process that is killed
/// counts as a crash of the jobs it had in hand; here that is the user's good right, so it may
/// happen often.
#[job(
    blocking,
    max_attempts = 3,
    max_crashes = 1000,
    backoff = "constant(1s)",
    timeout = "6h",
    retain = "30d"
)]
pub fn hash_file(
    file: FilePath,
    tally: State<Arc<Tally>>,
    ctx: JobContext,
) -> Result<Facts, BoxError> {
    let started = Instant::now();
    let path = file.get()?;
    // It was a regular file when it was found. A pipe in its place would block for ever.
    let found = fs::symlink_metadata(&path)?;
    if !found.is_file() {
        return Err("it is no regular file any more".into());
    }
    let mut content = File::open(&path)?;
    let mut chunk = vec![0; CHUNK];
    let (mut sha, mut kind, mut size, mut lines) = (Sha256::new(), "inode/x-empty", 0, 0);
    loop {
        let n = content.read(&mut chunk)?;
        let bytes = &chunk[..n];
        if n == 0 {
            break;
        }
        if size == 0 {
            kind = kind_of(bytes);
        }
        sha.update(bytes);
        size += n as u64;
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        tally.bytes.fetch_add(n as u64, Relaxed);
        ctx.report(Progress::of(size, found.len()));
        if ctx.is_cancelled() {
            // At a shutdown this is no error: the job is given back.
            return Err("it was asked to end".into());
        }
    }
    tally.files.fetch_add(1, Relaxed);
    Ok(Facts {
        size,
        lines,
        sha256: hex(&sha.finalize()),
        kind: kind.to_owned(),
        micros: started.elapsed().as_micros() as u64,
    })
}

/// The type of a file that begins like this.
fn kind_of(head: &[u8]) -> &'static str {
    if let Some(known) = infer::get(head) {
        return known.mime_type();
    }
    // A character may be cut in two where the chunk ends.
    let text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    if text && !head.contains(&0) {
        "text/plain"
    } else {
        "application/octet-stream"
    }
}
