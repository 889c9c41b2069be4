//! Access to what only the fuzz targets need. Not part of the API.

pub use crate::providers::file::fuzz::{folder_of, id_of, path, read, write};
