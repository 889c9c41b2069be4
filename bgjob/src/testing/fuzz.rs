//! Ways to what fuzz targets need and nobody else does. Not part of the API.

pub use crate::providers::file::fuzz::{folder_of, id_of, path, read, write};
