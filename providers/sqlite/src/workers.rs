//! The names of workers.

use rusqlite::{OptionalExtension, Result};

use bgjob_core::job::Owner;

use super::{connect::Db, tx::Tx, value::Sql};

/// The table is not part of the versions of the schema, as programs of any version work without it.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS bgjob_workers(
    owner BLOB PRIMARY KEY, name TEXT NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID";

/// For how many milliseconds a name is kept after the last call of its worker.
const KEPT: i64 = 31 * 24 * 60 * 60 * 1000;

impl Tx<'_> {
    pub(super) fn name_worker(&mut self, owner: Owner, name: &str) -> Result<()> {
        let now = self.now.as_millis();
        self.db
            .prepare_cached("DELETE FROM bgjob_workers WHERE seen < ?1")?
            .execute([now - KEPT])?;
        self.db
            .prepare_cached("INSERT OR REPLACE INTO bgjob_workers VALUES(?1, ?2, ?3)")?
            .execute((Sql(owner), name, now))?;
        Ok(())
    }
}

impl Db {
    pub(super) fn worker_names(&mut self, owners: &[Owner]) -> Result<Vec<Option<String>>> {
        let mut name = self
            .db
            .prepare_cached("SELECT name FROM bgjob_workers WHERE owner = ?1")?;
        owners
            .iter()
            .map(|owner| name.query_row([Sql(*owner)], |row| row.get(0)).optional())
            .collect()
    }
}
