//! Paths of stores that are files.

use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// Makes a path absolute, so that it leads to the same place after the program changes its folder.
/// Links in the path stay: they may be moved on purpose.
///
/// # Errors
/// `InvalidInput` if the path is empty, or relative to a folder that is gone.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::new(
            ErrorKind::InvalidInput,
            "the path of the store is empty, or relative to a folder that is gone",
        )
        .because(error)
    })
}
