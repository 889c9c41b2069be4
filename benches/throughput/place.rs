//! [`Place`]: where a measurement's store lies.

use std::path::PathBuf;

/// A folder of its own, on the disk that temporary files are on; gone with the value.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        let name = format!("bgjob-bench-{}-{}", std::process::id(), bgjob::JobId::new());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("the folder is made");
        Self(folder)
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The URL of a store in it.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}:{}", self.at("jobs.db").display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What can't be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
