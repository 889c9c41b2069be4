//! The names of workers.

use std::collections::HashMap;

use sqlx::Row;
use uuid::Uuid;

use bgjob_core::{Result, job::Owner};

use super::{
    db::{Db, call},
    error::translate,
};

impl Db {
    pub(super) async fn name_worker(&self, owner: Owner, name: &str) -> Result<()> {
        let note = call(&self.sql.name_worker)
            .bind(self.clock())
            .bind(Uuid::from_bytes(*owner.as_bytes()))
            .bind(name.to_owned());
        self.rows(note).await.map(drop)
    }

    pub(super) async fn worker_names(&self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        let owners: Vec<_> = owners
            .iter()
            .map(|o| Uuid::from_bytes(*o.as_bytes()))
            .collect();
        let look = call(&self.sql.worker_names).bind(owners.clone());
        let mut names: HashMap<Uuid, String> = HashMap::new();
        for row in self.rows(look).await? {
            let owner = row.try_get("owner").map_err(translate)?;
            names.insert(owner, row.try_get("name").map_err(translate)?);
        }
        Ok(owners
            .iter()
            .map(|owner| names.get(owner).cloned())
            .collect())
    }
}
