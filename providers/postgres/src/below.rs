//! The look beside the claims, for entries that claims pass over.

use sqlx::Row;
use tokio::time::Instant;

use bgjob_core::Result;

use super::{
    db::{Db, call},
    error::translate,
    floors::Below,
};

impl Db {
    /// Looks for entries that claims pass over.
    pub(super) async fn look_below(&self) -> Result<()> {
        let Some(Below {
            lanes,
            floors,
            span,
        }) = self.floors.to_look()
        else {
            return Ok(());
        };
        let begun = Instant::now();
        let look = call(&self.sql.below).bind(lanes).bind(floors).bind(span);
        let rows = self.rows(look).await?;
        let took = begun.elapsed();
        let read = || {
            let (walked, below) = rows.split_last().expect("the last row is always there");
            let below = below.iter().map(|row| {
                let rank: i32 = row.try_get("rank")?;
                let rank = usize::try_from(rank).unwrap_or(0);
                Ok((row.try_get("lane")?, rank, row.try_get("due_at")?))
            });
            let walked: i64 = walked.try_get("due_at")?;
            Ok((walked, below.collect::<sqlx::Result<Vec<_>>>()?))
        };
        let (walked, below) = read().map_err(translate)?;
        let walked = u64::try_from(walked).unwrap_or(0);
        self.floors.looked(span, &below, walked, took);
        Ok(())
    }
}
