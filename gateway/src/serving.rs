//! What is served now: contracts, routes and the way to the services, as one
//! value that is exchanged whole when the descriptors change. A request keeps the
//! one it began with.

use std::{collections::BTreeMap, sync::Arc};

use chassis::{
    Contract, Error, Keys, Peers, Routes,
    channel::{self, Callers},
    guard::Guard,
    serve::{Limits, Stack, reflection},
    service::{Host, public_keys},
};
use transcode::Schema;

use crate::{
    config::Config,
    docs::Document,
    health::Aggregate,
    learn::Learned,
    openapi, proxy,
    rates::Rates,
    rest::{Plans, Sunsets},
};

/// What is served now.
pub(crate) struct Serving {
    pub(crate) schema: Arc<Schema>,
    pub(crate) plans: Plans,
    /// Every call to a service goes through here.
    pub(crate) stack: Stack,
    /// The document at `/openapi.json`.
    pub(crate) document: Document,
}

/// What a [`Serving`] is made with, whatever the descriptors.
pub(crate) struct Maker {
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) limits: Limits,
    /// Bytes of a request's head that the port reads.
    pub(crate) head_bytes: u32,
    /// Where each service or upstream is, by name.
    pub(crate) addresses: BTreeMap<String, String>,
    /// The bounds of calls to them.
    pub(crate) channel: channel::Config,
    pub(crate) keys: Keys,
    pub(crate) health: Aggregate,
    pub(crate) rates: Arc<Rates>,
    pub(crate) sunsets: Sunsets,
}

// === impl Maker ===

impl Maker {
    /// The way to the services of a contract.
    pub(crate) fn peers(&self, contract: &Arc<Contract>) -> Peers {
        // The edge has no identity of its own in the mesh: it acts for its callers.
        Peers::with_config(
            Arc::clone(contract),
            self.host.telemetry.service(crate::NAME),
            self.host.switchboard.clone(),
            self.addresses.clone(),
            channel::Config { callers: Callers::Strangers, ..self.channel.clone() },
            Arc::new(|| None),
        )
    }

    /// Compiles everything for what was learned.
    pub(crate) fn make(&self, learned: &Learned) -> Result<Serving, Error> {
        let contract = &learned.contract;
        let schema = Arc::new(if learned.is_foreign {
            let (schema, problems) = Schema::lenient(contract.pool());
            for problem in problems {
                tracing::warn!(%problem, "an http rule cannot be served and is left out");
            }
            schema
        } else {
            crate::schema(contract)?
        });
        let peers = self.peers(contract);
        let fetch = peers.clone();
        self.keys.fetch_from(Arc::new(move || Box::pin(public_keys(fetch.clone()))));
        self.health.watch(contract, &peers, learned.is_foreign);
        let exposed: Vec<String> = contract
            .pool()
            .services()
            .map(|service| service.full_name().to_owned())
            .filter(|name| contract.owner(name).is_some())
            .collect();
        let local = reflection(Routes::new().add(self.health.server()), contract, &exposed)
            .map_err(|error| {
                Error::Build("reflection cannot be served".to_owned(), Some(Box::new(error)))
            })?;
        let guard =
            Guard::new(Arc::clone(contract), self.keys.clone(), self.limits.max_request_bytes);
        let rates = Arc::clone(&self.rates);
        let timing = self.config.server_timing;
        let proxy = proxy::Proxy::new(local, contract, &peers, &exposed, guard, rates, timing);
        let telemetry = self.host.telemetry.service(crate::NAME);
        let stack = Stack::new(contract, telemetry, self.limits.clone(), proxy);
        let described = openapi::Limits::of(&self.config, self.head_bytes);
        for name in self.sunsets.unknown(&schema) {
            tracing::warn!(name, "gateway.sunsets names what is not served");
        }
        let sunsets = self.sunsets.clone();
        let plans = Plans::new(&schema, &sunsets);
        let document = Document::new(contract, &schema, learned.is_foreign, described, sunsets);
        Ok(Serving { schema, plans, stack, document })
    }
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("schema", &self.schema).finish_non_exhaustive()
    }
}
