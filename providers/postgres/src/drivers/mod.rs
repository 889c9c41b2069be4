//! Transactions of the drivers that bgjob knows. Each has a type of its own that stands for it, so
//! that a trait of the core can be implemented for types of the driver. A crate that knows another
//! driver does the same: see [`Transaction`](bgjob_core::transaction::Transaction).

#[cfg(feature = "diesel-async")]
mod diesel_async;
#[cfg(feature = "sea-orm")]
mod sea_orm;
mod sqlx;
#[cfg(feature = "tokio-postgres")]
mod tokio_postgres;

#[cfg(feature = "diesel-async")]
pub use self::diesel_async::DieselAsync;
#[cfg(feature = "sea-orm")]
pub use self::sea_orm::SeaOrm;
pub use self::sqlx::Sqlx;
#[cfg(feature = "tokio-postgres")]
pub use self::tokio_postgres::TokioPostgres;
