//! Everything the service says in SQL.
//!
//! - [`location`]: where stock lies.
//! - [`level`]: what lies there, and the one conditional update by which units
//!   are taken.
//! - [`ledger`]: [`ledger::book`], through which every other change of a level
//!   goes, so that none is without its movement.
//! - [`reservation`]: promises, each of whose ends is one compare-and-set.

pub(crate) mod ledger;
pub(crate) mod level;
pub(crate) mod location;
pub(crate) mod reservation;

use chassis::{Time, store::Statement};

/// Every statement of the service.
pub(crate) const STATEMENTS: &[&[Statement]] =
    &[location::STATEMENTS, level::STATEMENTS, ledger::STATEMENTS, reservation::STATEMENTS];

/// Before every text of a list sorted upwards.
pub(crate) const FIRST: &str = "";
/// After every id of a list sorted downwards, in any collation.
pub(crate) const LAST: &str = "z";

/// Who changes something, why and when: for the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) now: Time,
}
