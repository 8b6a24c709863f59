//! The database of a service, on SQLite and on PostgreSQL.
//!
//! The tests on PostgreSQL are ignored unless asked for; they make databases of
//! their own on the server that `MERCAT_TEST_POSTGRES` names
//! (`postgres://postgres@127.0.0.1:5432`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod events;
mod fixture;
mod repeats;
mod writes;
