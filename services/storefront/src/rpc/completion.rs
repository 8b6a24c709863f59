//! The click that buys: begins a purchase or joins the one under way, and says how
//! it stands.

use std::time::Duration;

use chassis::{
    Caller, Money,
    idempotency::{self, Begin, KEEP_MONEY, Key},
};
use contracts::{
    orders::v1::{
        OrderLine, OrderTotals, OwnerKind as OrderOwnerKind, PlaceOrderRequest, ShippingSelection,
    },
    storefront::v1::{CompleteCheckoutRequest, CompleteCheckoutResponse},
    values::v1::PostalAddress,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Rpc,
    checkout::{hash, missing, sold},
    convert,
};
use crate::{
    domain::{Cart, CartStatus, Checkout, CheckoutStatus, OwnerKind, PricedLine, Quote},
    error::Error,
    purchase::Progress,
    store,
};

/// How long a completion may take before another call with its `request_id` may
/// begin it anew; carrying it on is possible at once.
const COMPLETION_LEASE: Duration = Duration::from_secs(60);
/// How often a completion is looked at that is settled while it is looked at.
const COMPLETION_LOOKS_MAX: u32 = 3;

/// What the first transaction of a completion found.
enum Begun {
    /// The answer was given before.
    Replayed(Response<CompleteCheckoutResponse>),
    /// A purchase that this call or another has begun.
    UnderWay(Box<Checkout>),
}

// === impl Rpc ===

impl Rpc {
    /// `CompleteCheckout`.
    pub(super) async fn complete(
        &self,
        request: Request<CompleteCheckoutRequest>,
    ) -> Result<Response<CompleteCheckoutResponse>, Status> {
        let key = Key::of(&request).map(|key| key.keep(KEEP_MONEY));
        let owner = Caller::of(&request).scope().owner().map(str::to_owned);
        let message = request.into_inner();
        let mut looks = 1;
        let checkout = loop {
            match self.begin_purchase(&message, owner.as_deref(), key.clone()).await {
                Err(Error::EtagMismatch) if looks < COMPLETION_LOOKS_MAX => looks += 1,
                Err(error) => return Err(error.into()),
                Ok(Begun::Replayed(response)) => return Ok(response),
                Ok(Begun::UnderWay(checkout)) => break checkout,
            }
        };
        let progress = match checkout.status {
            CheckoutStatus::Completing => self.purchases.place(&checkout).await?,
            CheckoutStatus::AwaitingAction => self.purchases.look(&checkout).await?,
            CheckoutStatus::Completed => sold(&checkout)?,
            CheckoutStatus::Open | CheckoutStatus::Cancelled => {
                return Err(Error::CheckoutNotOpen.into());
            }
        };
        self.answer(checkout, progress, key).await
    }

    /// Begins the purchase of an open checkout, or joins the one under way.
    async fn begin_purchase(
        &self,
        message: &CompleteCheckoutRequest,
        owner: Option<&str>,
        key: Option<Key>,
    ) -> Result<Begun, Error> {
        let mut checkout = self.store.find_checkout(&message.checkout_id, owner).await?;
        let prepared = match checkout.status {
            CheckoutStatus::Open => match self.prepare(&checkout, message).await {
                Ok(prepared) => Some(prepared),
                // Another call may have begun it between our reads, and taken the
                // last unit: what it began is joined.
                Err(error) => {
                    checkout = self.store.find_checkout(&message.checkout_id, owner).await?;
                    match checkout.status {
                        CheckoutStatus::Open | CheckoutStatus::Cancelled => return Err(error),
                        CheckoutStatus::Completing
                        | CheckoutStatus::AwaitingAction
                        | CheckoutStatus::Completed => None,
                    }
                }
            },
            CheckoutStatus::Completing
            | CheckoutStatus::AwaitingAction
            | CheckoutStatus::Completed => None,
            CheckoutStatus::Cancelled => return Err(Error::CheckoutNotOpen),
        };
        if prepared.is_none() {
            self.purchases.overtake(&checkout).await?;
        }
        let checkout_id = checkout.id.clone();
        let found = self
            .store
            .database()
            .write(move |tx| {
                Box::pin(async move {
                    if let Some(key) = &key {
                        match idempotency::begin(tx, key, COMPLETION_LEASE).await? {
                            Begin::Done(stored) => return Ok(Err(stored)),
                            // Whoever runs it, this call can carry it on.
                            Begin::Fresh | Begin::Running => {}
                        }
                    }
                    // The checkout before its cart, as where the purchase is settled.
                    let current = store::lock_checkout(tx, &checkout_id, None).await?;
                    match (current.status, prepared) {
                        (CheckoutStatus::Open, Some((cart, placement_id, purchase))) => {
                            store::begin_purchase(tx, &checkout, &cart, &placement_id, purchase)
                                .await?;
                            Ok(Ok(store::lock_checkout(tx, &checkout_id, None).await?))
                        }
                        // It was under way and is open again: nothing was begun.
                        (CheckoutStatus::Open, None) => Err(Error::EtagMismatch),
                        _ => Ok(Ok(current)),
                    }
                })
            })
            .await?;
        match found {
            Ok(checkout) => Ok(Begun::UnderWay(Box::new(checkout))),
            Err(stored) => Ok(Begun::Replayed(idempotency::replay(stored)?)),
        }
    }

    /// Everything that must hold before a purchase begins, and the purchase.
    async fn prepare(
        &self,
        checkout: &Checkout,
        message: &CompleteCheckoutRequest,
    ) -> Result<(Cart, String, Vec<u8>), Error> {
        let cart = self.store.find_cart(&checkout.cart_id, None).await?;
        match cart.status {
            CartStatus::Active => {}
            CartStatus::CheckingOut | CartStatus::Converted => return Err(Error::CartNotActive),
        }
        let missing = missing(checkout);
        if !missing.is_empty() {
            return Err(Error::CheckoutIncomplete { missing });
        }
        if cart.lines.is_empty() {
            return Err(Error::CartEmpty);
        }
        let quote = self.quote(&cart, &checkout.shipping_code).await?;
        let hash = hash(&quote);
        if hash != message.quote_hash {
            return Err(Error::PriceChanged { quote_hash: hash, total: quote.total });
        }
        let broken = |wanted: fn(&PricedLine) -> bool| -> Vec<(String, String)> {
            let why = |line: &PricedLine| {
                line.problems.first().map(ToString::to_string).unwrap_or_default()
            };
            quote
                .lines
                .iter()
                .filter(|line| wanted(line))
                .map(|line| (line.line.sku.clone(), why(line)))
                .collect()
        };
        let unsold = broken(|line| !line.has_price());
        if !unsold.is_empty() {
            return Err(Error::NotPurchasable { lines: unsold });
        }
        let short = broken(|line| !line.problems.is_empty());
        if !short.is_empty() {
            return Err(Error::OutOfStock { lines: short });
        }
        let placement_id = self.clock.id();
        let purchase = purchase_of(checkout, &quote, message, &placement_id)?;
        Ok((cart, placement_id, purchase.encode_to_vec()))
    }

    /// Writes down how the purchase stands, and says it.
    pub(super) async fn answer(
        &self,
        checkout: impl Into<Box<Checkout>>,
        progress: Progress,
        key: Option<Key>,
    ) -> Result<Response<CompleteCheckoutResponse>, Status> {
        let checkout = *checkout.into();
        let response = convert::completion(progress.clone());
        // Only a sale is final: until then the same call asks again.
        let is_final = matches!(progress, Progress::Sold { .. });
        let settlement =
            store::Settlement::of(&progress).filter(|_| checkout.status.is_under_way());
        let placement_id = checkout.placement_id.clone().unwrap_or_default();
        if settlement.is_some() || (is_final && key.is_some()) {
            let response = response.clone();
            self.store
                .database()
                .write(move |tx| {
                    Box::pin(async move {
                        // The key first, as where the purchase begins: whoever waits
                        // for the other does so in one order.
                        match (key, response) {
                            (Some(key), Some(response)) if is_final => {
                                idempotency::finish(tx, &key, &response).await?;
                            }
                            // It failed and left nothing: it may be tried again.
                            (Some(key), None) => idempotency::forget(tx, &key).await?,
                            _ => {}
                        }
                        if let Some(settlement) = &settlement {
                            store::settle(tx, &checkout, &placement_id, settlement).await?;
                        }
                        Ok::<_, Error>(())
                    })
                })
                .await?;
        }
        match (response, progress) {
            (Some(response), _) => Ok(Response::new(response)),
            (None, Progress::Refused(refusal)) => Err(Error::PlacementRefused { refusal }.into()),
            (None, _) => Err(Error::CompletionNotFound.into()),
        }
    }
}

/// What is handed to the orders service.
fn purchase_of(
    checkout: &Checkout,
    quote: &Quote,
    message: &CompleteCheckoutRequest,
    placement_id: &str,
) -> Result<PlaceOrderRequest, Error> {
    let address = |kept: &Option<Vec<u8>>| kept.as_deref().map(PostalAddress::decode).transpose();
    let mut lines = Vec::with_capacity(quote.lines.len());
    for priced in &quote.lines {
        let Some(offer) = &priced.offer else { continue };
        lines.push(OrderLine {
            sku: priced.line.sku.clone(),
            product_id: offer.product_id.clone(),
            variant_id: offer.variant_id.clone(),
            title: offer.title.clone(),
            quantity: i64::from(priced.line.quantity),
            unit_price: offer.unit_price.map(Money::into),
            subtotal: Some(priced.subtotal.into()),
            tax_rate_micros: offer.tax_rate_micros,
            tax: Some(priced.tax.into()),
            total: Some(priced.subtotal.checked_add(priced.tax)?.into()),
            price_version: offer.price_version.clone(),
            ..OrderLine::default()
        });
    }
    Ok(PlaceOrderRequest {
        request_id: placement_id.to_owned(),
        placement_id: placement_id.to_owned(),
        checkout_id: checkout.id.clone(),
        owner_id: checkout.owner_id.clone(),
        owner_kind: match checkout.owner_kind {
            OwnerKind::Guest => OrderOwnerKind::Guest,
            OwnerKind::Customer => OrderOwnerKind::Customer,
        }
        .into(),
        email: checkout.email.clone(),
        lines,
        totals: Some(OrderTotals {
            subtotal: Some(quote.subtotal.into()),
            shipping: Some(quote.shipping_amount.into()),
            tax: Some(quote.tax.into()),
            total: Some(quote.total.into()),
        }),
        shipping_address: address(&checkout.shipping_address)?,
        billing_address: address(&checkout.billing_address)?,
        shipping: quote.shipping.as_ref().map(|choice| ShippingSelection {
            shipping_option_id: choice.code.clone(),
            title: choice.title.clone(),
            price: Some(choice.amount.into()),
            tax_rate_micros: choice.tax_rate_micros,
            tax: Some(choice.tax.into()),
        }),
        payment_method: checkout.payment_method.clone(),
        return_uri: message.return_uri.clone(),
        quote_hash: message.quote_hash.clone(),
    })
}
