//! The storefront: carts, and their way through a checkout to an order.
//!
//! It owns carts and checkouts. It promises that a shopper pays what the quote
//! said or nothing, that a checkout becomes one order at most, and that a
//! purchase which was begun ends, whoever dies meanwhile. It never sets a price,
//! holds stock or moves money: it asks those who do.

mod config;
mod domain;
mod error;
mod events;
mod market;
mod purchase;
mod rpc;
mod store;

use chassis::{Build, Context, Migration, Routes, Service, Statement, migration};
use contracts::{
    catalog::v1::pricing_service_client::PricingServiceClient,
    inventory::v1::inventory_service_client::InventoryServiceClient,
    orders::v1::order_service_client::OrderServiceClient,
    storefront::v1::{
        cart_service_server::CartServiceServer, checkout_service_server::CheckoutServiceServer,
    },
};

pub use config::{Config, Shipping};

/// The storefront service.
#[derive(Debug)]
pub struct Storefront;

impl Service for Storefront {
    const NAME: &'static str = "storefront";
    const MIGRATIONS: &'static [Migration] = &[migration!("0001_storefront")];
    const STATEMENTS: &'static [&'static [Statement]] = &[store::STATEMENTS];
    type Config = Config;

    fn build(context: Context<Config>) -> Build {
        Box::pin(async move {
            let settings = config::Checked::new(&context.config)?;
            let store = store::Store::new(context.database.clone());
            let market = market::Markets::new(
                context.peers.client("catalog", PricingServiceClient::new),
                context.peers.client("inventory", InventoryServiceClient::new),
            );
            let purchases = purchase::Purchases::new(
                store.clone(),
                context.peers.client("orders", OrderServiceClient::new),
                context.clock.clone(),
                settings.failpoints.clone(),
            );
            let resume = (purchases.clone(), settings.resume_after);
            context.tasks.every("resume purchases", settings.resume_period, move || {
                let (purchases, after) = resume.clone();
                async move { purchases.resume_stale(after).await }
            });
            context.consume("orders", events::Orders::new(purchases.clone()));
            let rpc =
                rpc::Rpc::new(store, market, purchases, settings, context.clock, context.pages);
            Ok(Routes::new()
                .add(CartServiceServer::new(rpc.clone()))
                .add(CheckoutServiceServer::new(rpc)))
        })
    }
}
