//! The inventory service over a real socket and a real database.
#![expect(clippy::unwrap_used, reason = "what a test cannot do without has failed it")]

#[path = "inventory/warehouse.rs"]
mod warehouse;

#[path = "inventory/ledger.rs"]
mod ledger;
#[path = "inventory/location.rs"]
mod location;
#[path = "inventory/race.rs"]
mod race;
#[path = "inventory/reservation.rs"]
mod reservation;
#[path = "inventory/stock.rs"]
mod stock;
