//! The database of a service, on SQLite and on PostgreSQL.
//!
//! The tests on PostgreSQL are ignored unless asked for; they make databases of
//! their own on the server that `MERCAT_TEST_POSTGRES` names
//! (`postgres://postgres@127.0.0.1:5432`).

mod events;
mod fixture;
mod repeats;
mod writes;
