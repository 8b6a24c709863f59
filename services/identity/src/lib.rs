//! Identity: who is calling.
//!
//! It owns accounts, passwords, sessions, roles and address books. It promises
//! that a password is never kept, only an Argon2id hash of it; that a refresh
//! token is good once, and its replay ends the session; that whoever is
//! suspended cannot sign in or refresh; that nobody hands out a permission they
//! do not hold. It never sees a cart, an order or a payment, and it calls no
//! other service: the others verify its tokens by themselves.

mod config;
mod domain;
mod error;
mod hasher;
mod rpc;
mod store;
mod token;

use std::{sync::Arc, time::Duration};

use chassis::{Build, Context, Fault, Migration, Routes, Service, migration};
use contracts::identity::v1::{
    access_service_server::AccessServiceServer, auth_service_server::AuthServiceServer,
    user_service_server::UserServiceServer,
};

pub use config::Config;

use crate::{hasher::Hasher, rpc::Rpc, token::Mint};

/// How often the signing keys are read again.
const KEYS_PERIOD: Duration = Duration::from_secs(30);
/// How often what no longer matters is forgotten.
const SWEEP_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The identity service.
#[derive(Debug)]
pub struct Identity;

// === impl Identity ===

impl Service for Identity {
    const NAME: &'static str = "identity";
    const MIGRATIONS: &'static [Migration] = &[migration!("0001_identity")];
    const STATEMENTS: &'static [&'static [chassis::Statement]] = store::STATEMENTS;
    type Config = Config;

    fn build(context: Context<Config>) -> Build {
        Box::pin(async move {
            let Context { config, database, clock, tasks, pages, keys, contract, .. } = context;
            if config.access_token_lifetime > config::ACCESS_TOKEN_LIFETIME_MAX {
                return Err(chassis::Error::build(
                    "`identity.access_token_lifetime` must be at most 15m",
                ));
            }
            let hasher = Hasher::new(&config).map_err(Fault::from)?;
            let mint = Mint::open(
                database.clone(),
                clock.clone(),
                keys.clone(),
                config.access_token_lifetime,
            )
            .await
            .map_err(Fault::from)?;

            // This service verifies with its own keys, without asking itself.
            let own = mint.clone();
            keys.fetch_from(Arc::new(move || {
                let own = own.clone();
                Box::pin(async move {
                    own.reload().await?;
                    Ok(own.published())
                })
            }));
            let again = mint.clone();
            tasks.every("signing-keys", KEYS_PERIOD, move || {
                let again = again.clone();
                async move { again.reload().await }
            });

            let rpc = Rpc::new(&config, (database, clock, pages), (mint, hasher), &contract);
            rpc.ensure_admin(&config).await.map_err(Fault::from)?;
            let sweeper = rpc.clone();
            tasks.every("sweeper", SWEEP_PERIOD, move || {
                let sweeper = sweeper.clone();
                async move { sweeper.sweep().await }
            });

            Ok(Routes::new()
                .add(AuthServiceServer::new(rpc.clone()))
                .add(UserServiceServer::new(rpc.clone()))
                .add(AccessServiceServer::new(rpc)))
        })
    }
}
