//! Orders: what was agreed with a customer, and what became of it.
//!
//! It owns orders, their timelines and parcels, and the checkout saga: the one
//! place in the mesh that knows how far a purchase has come. It promises that a
//! checkout has at most one live order, that an order whose sale is final is
//! never lost, and that a purchase which does not come about leaves nothing
//! reserved and nothing charged. It never prices anything, never counts stock and
//! never talks to a payment provider.
//!
//! # Layout
//! - [`domain`]: what an order is and how it may change. Pure.
//! - [`saga`]: placing, cancelling and shipping, step by step.
//! - `rpc`: the contract's methods. `store`: the only SQL. `events`: what payments tells.

pub mod config;
pub mod domain;
pub mod error;
mod events;
mod number;
mod rpc;
pub mod saga;
mod store;

use chassis::{Build, Context, Migration, Routes, Statement, saga::Sagas};
use contracts::{
    inventory::v1::inventory_service_client::InventoryServiceClient,
    orders::v1::{
        order_service_server::OrderServiceServer, saga_admin_service_server::SagaAdminServiceServer,
    },
    payments::v1::{
        payment_service_client::PaymentServiceClient, refund_service_client::RefundServiceClient,
    },
};

pub use config::Config;
pub use error::Error;

/// The orders service.
#[derive(Debug)]
pub struct Orders;

impl chassis::Service for Orders {
    const NAME: &'static str = "orders";
    const MIGRATIONS: &'static [Migration] = &[chassis::migration!("0001_orders")];
    const STATEMENTS: &'static [&'static [Statement]] = &[store::STATEMENTS];
    type Config = Config;

    fn build(context: Context<Config>) -> Build {
        Box::pin(async move {
            let peers = saga::Peers {
                inventory: context.peers.client("inventory", InventoryServiceClient::new),
                payments: context.peers.client("payments", PaymentServiceClient::new),
                refunds: context.peers.client("payments", RefundServiceClient::new),
            };
            let sagas = Sagas::builder(
                &context.database,
                &context.clock,
                &context.tasks,
                context.config.sagas.clone(),
            )
            .saga(saga::place::Place::new(peers.clone(), &context.config))
            .saga(saga::cancel::Cancel::new(peers.clone()))
            .saga(saga::fulfill::Ship::new(peers))
            .start()
            .await?;
            context.consume("payments", events::Payments::new(sagas.clone()));
            let rpc = rpc::Rpc::new(&context, sagas);
            Ok(Routes::new()
                .add(OrderServiceServer::new(rpc.clone()))
                .add(SagaAdminServiceServer::new(rpc)))
        })
    }
}
