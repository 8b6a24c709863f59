//! The database of a service: SQLite or PostgreSQL, one SQL text for both.
//!
//! # Layout
//! - [`Config`]: where the database is and how hard it tries.
//! - [`Database`]: opened once, cloned everywhere. Reads go to a pool of readers,
//!   [`Database::write`] is the one way to change anything.
//! - [`Statement`], [`statements!`](crate::statements), [`Value`],
//!   [`args!`](crate::args): what is sent. [`FromRow`], [`Row`]: what comes back.
//! - [`Tx`]: a transaction, as a write sees it.
//! - [`Migration`]: the schema, applied at the start.
//! - [`Error`]: what went wrong, with the violated constraint's name.
//!
//! # One text for two engines
//! Parameters are `$1..$n`. Tables are singular, ids are TEXT, times BIGINT
//! microseconds, money and counts BIGINT. No `now()`, no SERIAL; `cast($1 as
//! bigint)` where a type cannot be inferred, `cast(sum(x) as bigint)`. What
//! differs is a token: see [`Statement`]. `sqlx` is named nowhere else.

mod config;
mod database;
mod error;
mod migrate;
mod postgres;
mod row;
mod sqlite;
mod statement;
mod tx;
mod value;
mod writer;

pub use config::{Config, Synchronous, Url};
pub use database::Database;
pub use error::{Error, Kind};
pub use migrate::Migration;
pub use row::{Column, FromRow, Row};
pub use statement::{Engine, Statement, Text};
pub use tx::{Origin, Tx};
pub use value::{Value, json_texts};
