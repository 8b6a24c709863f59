//! Payments: what customers owe for their orders, and every try to collect it.
//!
//! It owns intents, attempts, refunds, the ledger and the webhooks of providers.
//!
//! It promises that an order is charged once: an order has one open intent, an
//! intent one attempt alive, and the provider hears of an attempt under one key,
//! which was written down before. It promises that refunds never exceed what was
//! captured, nor captures what was authorized: constraints of the database. It
//! promises that every movement of money is in the ledger with both its sides.
//!
//! It never takes a lost answer for a failure: that is UNKNOWN until the provider
//! has spoken. It never holds a transaction open while the provider is asked. It
//! never sees a card number: whatever looks like one is refused unstored.

use std::sync::Arc;

use chassis::{
    Build, Context, Error, Routes, Service,
    failpoint::Malformed,
    store::{Migration, Statement},
};
use contracts::payments::v1::{
    ledger_service_server::LedgerServiceServer, payment_service_server::PaymentServiceServer,
    payment_webhook_service_server::PaymentWebhookServiceServer,
    refund_service_server::RefundServiceServer,
};

pub mod config;
pub mod domain;
pub mod error;
pub mod provider;
pub mod signature;

mod events;
mod messages;
mod rpc;
mod store;
mod till;

pub use config::Config;

use provider::sandbox::{Mail, Sandbox};
use rpc::Rpc;
use till::Till;

/// The service.
#[derive(Debug)]
pub struct Payments;

impl Service for Payments {
    const NAME: &'static str = "payments";
    const MIGRATIONS: &'static [Migration] =
        &[chassis::migration!("0001_payments"), chassis::migration!("0002_sandbox")];
    const STATEMENTS: &'static [&'static [Statement]] = store::STATEMENTS;
    type Config = Config;

    fn build(context: Context<Config>) -> Build {
        Box::pin(async move {
            let Context { config, database, clock, pages, tasks, .. } = context;
            config.check()?;
            let mut secrets: Vec<Vec<u8>> = config
                .webhook_secrets
                .iter()
                .map(|secret| secret.expose().as_bytes().to_owned())
                .collect();
            if secrets.is_empty() {
                secrets.push(clock.token().into_bytes());
            }
            let signing = secrets[0].clone();
            let sandbox = Sandbox::new(database.clone(), clock.clone(), &config.gateway_uri);
            let till = Till {
                database,
                clock,
                tasks: tasks.clone(),
                provider: Arc::new(sandbox.clone()),
                secrets: Arc::new(secrets),
                failpoints: config.failpoints.parse().map_err(|error: Malformed| {
                    Error::build(format!("`payments.failpoints` cannot be read: {error}"))
                })?,
            };

            let due = till.clone();
            tasks.every("sync", config.sync_period, move || due.clone().sync_due());
            let left_over = till.clone();
            tasks.every("webhooks", config.sync_period, move || {
                left_over.clone().process_left_over()
            });
            let mail = Mail::new(sandbox, till.clone(), signing);
            tasks.every("sandbox_webhooks", config.sandbox_period, move || mail.clone().send());

            let rpc = Rpc { till, pages };
            Ok(Routes::new()
                .add(PaymentServiceServer::new(rpc.clone()))
                .add(RefundServiceServer::new(rpc.clone()))
                .add(LedgerServiceServer::new(rpc.clone()))
                .add(PaymentWebhookServiceServer::new(rpc)))
        })
    }
}
