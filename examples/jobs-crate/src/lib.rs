//! Jobs in a crate of their own, as a larger program has them.
//!
//! They register themselves in every program that this crate is linked into; see the example
//! `other_crate`.

use bgjob::prelude::*;
use serde::{Deserialize, Serialize};

/// What the invoice is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The order's number.
    pub number: u32,
    /// Its price in cents.
    pub cents: u64,
}

/// Writes an invoice.
#[job]
pub async fn write_invoice(order: Order) -> Result<String, JobError> {
    let Order { number, cents } = order;
    Ok(format!(
        "invoice {number}: {}.{:02}",
        cents / 100,
        cents % 100
    ))
}
