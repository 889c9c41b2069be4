//! Transactions of the drivers that bgjob knows.

mod sqlx;
