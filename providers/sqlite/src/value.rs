//! bgjob's own types as values of SQLite. rusqlite's traits can't be implemented for the types of
//! another crate, so these values are wrapped on their way in and out.

use rusqlite::{
    Result, Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, Null, ToSqlOutput, ValueRef},
};

use bgjob_core::{
    JobId, Timestamp,
    job::{Owner, Token},
};

/// A type that a column can hold.
pub(super) trait Column: Sized {
    fn read(value: ValueRef<'_>) -> FromSqlResult<Self>;
    fn write(&self) -> ToSqlOutput<'_>;
}

/// A value of such a type, as a parameter of a statement.
pub(super) struct Sql<T>(pub(super) T);

/// The value of this column of a row.
pub(super) fn get<T: Column>(row: &Row<'_>, column: usize) -> Result<T> {
    let Sql(value) = row.get(column)?;
    Ok(value)
}

impl<T: Column> ToSql for Sql<T> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.0.write())
    }
}

impl<T: Column> FromSql for Sql<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        T::read(value).map(Self)
    }
}

macro_rules! bytes {
    ($($type:ty),*) => {$(
        impl Column for $type {
            fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?;
                <[u8; 16]>::try_from(bytes).map(Self::from_bytes).map_err(|_| {
                    FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() }
                })
            }

            fn write(&self) -> ToSqlOutput<'_> {
                ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes()))
            }
        }
    )*};
}

bytes!(JobId, Token, Owner);

impl Column for Timestamp {
    fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_millis)
    }

    fn write(&self) -> ToSqlOutput<'_> {
        self.as_millis().into()
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::read(value).map(Some),
        }
    }

    fn write(&self) -> ToSqlOutput<'_> {
        self.as_ref().map_or_else(|| Null.into(), T::write)
    }
}
