//! What comes back from a query.

use bytes::Bytes;
use sqlx::{
    ColumnIndex, Row as _, TypeInfo as _, ValueRef as _, postgres::PgRow, sqlite::SqliteRow,
};

use super::Error;
use crate::Time;

/// A row of either engine, borrowed while [`FromRow`] reads it.
#[derive(Debug)]
pub struct Row<'r>(Source<'r>);

#[derive(Debug)]
enum Source<'r> {
    Sqlite(&'r SqliteRow),
    Postgres(&'r PgRow),
}

/// A type that is read from a row: a struct by column names, or a scalar or a
/// tuple of up to six by position.
pub trait FromRow: Sized + Send {
    /// Reads it.
    fn from_row(row: &Row<'_>) -> Result<Self, Error>;
}

/// A type that is read from a column.
pub trait Column: Sized + sealed::Read {}

mod sealed {
    use super::{Error, Row};

    pub trait Read: Sized {
        fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error>;
    }

    #[derive(Debug, Clone, Copy)]
    pub enum At<'c> {
        Name(&'c str),
        Position(usize),
    }
}

use sealed::{At, Read};

// === impl Row ===

impl<'r> Row<'r> {
    pub(super) fn sqlite(row: &'r SqliteRow) -> Self {
        Self(Source::Sqlite(row))
    }

    pub(super) fn postgres(row: &'r PgRow) -> Self {
        Self(Source::Postgres(row))
    }

    /// The value of a column.
    pub fn get<T: Column>(&self, column: &str) -> Result<T, Error> {
        T::read(self, At::Name(column))
    }

    /// The value of a column by its position, from 0.
    pub fn at<T: Column>(&self, position: usize) -> Result<T, Error> {
        T::read(self, At::Position(position))
    }
}

impl At<'_> {
    fn failed(self, problem: &sqlx::Error) -> Error {
        match self {
            Self::Name(name) => Error::column(name, problem),
            Self::Position(position) => Error::column(&position.to_string(), problem),
        }
    }
}

impl ColumnIndex<SqliteRow> for At<'_> {
    fn index(&self, row: &SqliteRow) -> Result<usize, sqlx::Error> {
        match self {
            Self::Name(name) => name.index(row),
            Self::Position(position) => position.index(row),
        }
    }
}

impl ColumnIndex<PgRow> for At<'_> {
    fn index(&self, row: &PgRow) -> Result<usize, sqlx::Error> {
        match self {
            Self::Name(name) => name.index(row),
            Self::Position(position) => position.index(row),
        }
    }
}

macro_rules! read {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error> {
                match &row.0 {
                    Source::Sqlite(row) => row.try_get(at),
                    Source::Postgres(row) => row.try_get(at),
                }
                .map_err(|problem| at.failed(&problem))
            }
        }

        impl Read for Option<$type> {
            fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error> {
                match &row.0 {
                    Source::Sqlite(row) => row.try_get(at),
                    Source::Postgres(row) => row.try_get(at),
                }
                .map_err(|problem| at.failed(&problem))
            }
        }
    )*};
}

read!(bool, String, Vec<u8>);

impl Read for Option<i64> {
    fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error> {
        match &row.0 {
            Source::Sqlite(row) => row.try_get(at),
            // A literal is an INT4 on PostgreSQL.
            Source::Postgres(row) => {
                row.try_get_raw(at).and_then(|value| match value.type_info().name() {
                    "INT4" => row.try_get::<Option<i32>, _>(at).map(|value| value.map(i64::from)),
                    _ => row.try_get(at),
                })
            }
        }
        .map_err(|problem| at.failed(&problem))
    }
}

impl Read for i64 {
    fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error> {
        Option::<Self>::read(row, at)?.ok_or_else(|| {
            at.failed(&sqlx::Error::ColumnDecode {
                index: String::new(),
                source: "it is null".into(),
            })
        })
    }
}

macro_rules! read_through {
    ($($type:ty: $through:ty, $convert:path;)*) => {$(
        impl Read for $type {
            fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error> {
                <$through>::read(row, at).map($convert)
            }
        }

        impl Read for Option<$type> {
            fn read(row: &Row<'_>, at: At<'_>) -> Result<Self, Error> {
                Option::<$through>::read(row, at).map(|found| found.map($convert))
            }
        }
    )*};
}

read_through! {
    Bytes: Vec<u8>, Bytes::from;
    Time: i64, Time::from_micros;
}

impl<T: Read> Column for T {}

// === impl FromRow ===

macro_rules! scalar {
    ($($type:ty),*) => {$(
        impl FromRow for $type {
            fn from_row(row: &Row<'_>) -> Result<Self, Error> {
                row.at(0)
            }
        }
    )*};
}

scalar!(i64, bool, String, Vec<u8>, Bytes, Time);
scalar!(Option<i64>, Option<bool>, Option<String>, Option<Vec<u8>>, Option<Bytes>, Option<Time>);

impl FromRow for () {
    fn from_row(_row: &Row<'_>) -> Result<Self, Error> {
        Ok(())
    }
}

macro_rules! tuple {
    ($($type:ident $position:literal),+) => {
        impl<$($type: Column + Send),+> FromRow for ($($type,)+) {
            fn from_row(row: &Row<'_>) -> Result<Self, Error> {
                Ok(($(row.at::<$type>($position)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
