//! The RPCs: parse, ask, answer.

mod cart;
mod checkout;
mod completion;
mod convert;

use chassis::{Caller, Clock, Fault, Pages, Principal};

use crate::{
    config::Checked,
    domain::{Cart, OwnerKind, Quote},
    error::Error,
    market::Markets,
    purchase::Purchases,
    store::Store,
};

/// Serves carts and checkouts.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    store: Store,
    market: Markets,
    purchases: Purchases,
    settings: Checked,
    clock: Clock,
    pages: Pages,
}

// === impl Rpc ===

impl Rpc {
    pub(crate) fn new(
        store: Store,
        market: Markets,
        purchases: Purchases,
        settings: Checked,
        clock: Clock,
        pages: Pages,
    ) -> Self {
        Self { store, market, purchases, settings, clock, pages }
    }

    /// Today's quote for a cart, shipped so if a way to ship is chosen.
    async fn quote(&self, cart: &Cart, shipping_code: &str) -> Result<Quote, Error> {
        let market = self.market.of(&cart.lines, cart.currency).await?;
        let shipping = self.settings.shipping_option(shipping_code, cart.currency);
        Ok(Quote::of(
            &cart.lines,
            cart.currency,
            &market,
            shipping,
            self.settings.shipping_tax_rate_micros,
        )?)
    }
}

/// What the caller is, as an owner.
fn owner_kind(caller: &Caller) -> Result<OwnerKind, Fault> {
    caller.demand_subject()?;
    Ok(match caller.principal() {
        Principal::Customer { .. } | Principal::Staff { .. } => OwnerKind::Customer,
        Principal::Guest { .. } | Principal::Anonymous => OwnerKind::Guest,
    })
}
