//! File names as JSON: any bytes, nothing lost.

use std::path::{Path, PathBuf};

use bgjob::{BoxError, JobId};
use serde::{Deserialize, Serialize};

/// A path as it goes into metadata and output. JSON is UTF-8 and names of files need not be, so one
/// that isn't has its exact bytes beside what can be shown of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FilePath {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
}

impl FilePath {
    /// How this path is written.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_string_lossy().into_owned(),
            path_hex: path
                .to_str()
                .is_none()
                .then(|| hex(path.as_os_str().as_encoded_bytes())),
        }
    }

    /// The path that was written.
    pub fn get(&self) -> Result<PathBuf, BoxError> {
        self.path_hex
            .as_deref()
            .map_or_else(|| Ok(PathBuf::from(&self.path)), from_hex)
    }

    /// The job of this file, whichever run enqueues it: the same key is the same job, so a second
    /// run enqueues nothing twice. An absolute path is never mistaken for hex: it has a `/`.
    pub fn job_id(&self) -> JobId {
        JobId::from_key(self.path_hex.as_ref().unwrap_or(&self.path))
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn from_hex(text: &str) -> Result<PathBuf, BoxError> {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    let bytes = text.as_bytes().chunks(2).map(byte);
    let bytes = bytes.collect::<Result<Vec<_>, BoxError>>()?;
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(not(unix))]
fn from_hex(_: &str) -> Result<PathBuf, BoxError> {
    Err("names that are no Unicode can be opened on Unix only".into())
}
