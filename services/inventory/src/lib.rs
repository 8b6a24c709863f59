//! Inventory: what lies where, and what of it is promised to whom.
//!
//! It owns locations, levels, the ledger of movements and reservations.
//!
//! It promises that nothing is sold twice: a level whose row would promise more
//! than it has cannot be written. It promises that a level is the sum of its
//! movements, and that a reservation is resolved exactly once.
//!
//! It never asks another service anything, and does not know what an SKU is, what
//! it costs or who buys it.

use chassis::{
    Build, Context, Routes, Service,
    store::{Migration, Statement},
};
use contracts::inventory::v1::{
    inventory_service_server::InventoryServiceServer,
    location_service_server::LocationServiceServer, stock_service_server::StockServiceServer,
};

pub mod config;
pub mod domain;
pub mod error;

mod events;
mod rpc;
mod store;
mod sweeper;

pub use config::Config;

use rpc::Rpc;
use sweeper::Sweeper;

/// The service.
#[derive(Debug)]
pub struct Inventory;

impl Service for Inventory {
    const NAME: &'static str = "inventory";
    const MIGRATIONS: &'static [Migration] = &[chassis::migration!("0001_inventory")];
    const STATEMENTS: &'static [&'static [Statement]] = store::STATEMENTS;
    type Config = Config;

    fn build(context: Context<Config>) -> Build {
        Box::pin(async move {
            let Context { config, database, clock, pages, tasks, .. } = context;
            config.check()?;
            let sweeper = Sweeper {
                database: database.clone(),
                clock: clock.clone(),
                batch: config.sweep_batch,
            };
            tasks.every("sweeper", config.sweep_period, move || sweeper.clone().sweep());

            let rpc = Rpc { database, clock, pages };
            Ok(Routes::new()
                .add(InventoryServiceServer::new(rpc.clone()))
                .add(StockServiceServer::new(rpc.clone()))
                .add(LocationServiceServer::new(rpc)))
        })
    }
}
