//! The payments service over a real socket and a real database.
#![expect(clippy::unwrap_used, reason = "what a test cannot do without has failed it")]

#[path = "payments/shop.rs"]
mod shop;

#[path = "payments/access.rs"]
mod access;
#[path = "payments/death.rs"]
mod death;
#[path = "payments/event.rs"]
mod event;
#[path = "payments/intent.rs"]
mod intent;
#[path = "payments/ledger.rs"]
mod ledger;
#[path = "payments/race.rs"]
mod race;
#[path = "payments/refund.rs"]
mod refund;
#[path = "payments/unknown.rs"]
mod unknown;
#[path = "payments/webhook.rs"]
mod webhook;
