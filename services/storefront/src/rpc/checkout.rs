//! `CheckoutService`.

use std::time::Duration;

use chassis::{
    Caller, Money,
    idempotency::{self, Begin, KEEP_MONEY, Key},
};
use contracts::{
    orders::v1::{
        OrderLine, OrderTotals, OwnerKind as OrderOwnerKind, PlaceOrderRequest, Refusal,
        ShippingSelection,
    },
    storefront::v1::{
        CancelCheckoutRequest, Checkout as CheckoutMessage, CompleteCheckoutRequest,
        CompleteCheckoutResponse, GetCheckoutRequest, GetCompletionRequest,
        ListShippingOptionsRequest, ListShippingOptionsResponse, SetAddressesRequest,
        SetContactRequest, SetPaymentMethodRequest, SetShippingOptionRequest, StartCheckoutRequest,
        checkout_service_server::CheckoutService,
    },
    values::v1::PostalAddress,
};
use prost::{Message, Name};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, owner_kind};
use crate::{
    domain::{
        Cart, CartStatus, Checkout, CheckoutStatus, OwnerKind, PricedLine, Quote, ShippingChoice,
        looks_like_a_card,
    },
    error::Error,
    purchase::{self, Progress},
    store,
};

/// How long a completion may take before another call with its `request_id` may
/// begin it anew; carrying it on is possible at once.
const COMPLETION_LEASE: Duration = Duration::from_secs(60);
/// How often a completion is looked at that is settled while it is looked at.
const COMPLETION_LOOKS_MAX: u32 = 3;

#[tonic::async_trait]
impl CheckoutService for Rpc {
    async fn start_checkout(
        &self,
        request: Request<StartCheckoutRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        let caller = Caller::of(&request);
        let kind = owner_kind(caller)?;
        let owner = caller.scope().owner().map(str::to_owned);
        let response = self
            .store
            .database()
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let cart = store::lock_cart(tx, &message.cart_id, owner.as_deref()).await?;
                    if cart.status == CartStatus::Converted {
                        return Err(Error::CartNotActive);
                    }
                    if cart.lines.is_empty() {
                        return Err(Error::CartEmpty);
                    }
                    let checkout = store::start_checkout(tx, &cart, kind).await?;
                    unquoted(&checkout)
                })
            })
            .await?;
        self.quoted(response).await
    }

    async fn get_checkout(
        &self,
        request: Request<GetCheckoutRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let checkout = self.store.find_checkout(&request.get_ref().checkout_id, owner).await?;
        self.quoted(Response::new(unquoted(&checkout)?)).await
    }

    async fn set_contact(
        &self,
        request: Request<SetContactRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        self.fill_in(
            request,
            |message| message.checkout_id.clone(),
            |checkout, message| {
                checkout.email = message.email;
                Ok(())
            },
        )
        .await
    }

    async fn set_addresses(
        &self,
        request: Request<SetAddressesRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        self.fill_in(
            request,
            |message| message.checkout_id.clone(),
            |checkout, message| {
                checkout.shipping_address =
                    message.shipping_address.map(|address| address.encode_to_vec());
                checkout.billing_address =
                    message.billing_address.map(|address| address.encode_to_vec());
                Ok(())
            },
        )
        .await
    }

    async fn list_shipping_options(
        &self,
        request: Request<ListShippingOptionsRequest>,
    ) -> Result<Response<ListShippingOptionsResponse>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let checkout = self.store.find_checkout(&request.get_ref().checkout_id, owner).await?;
        let cart = self.store.find_cart(&checkout.cart_id, None).await?;
        let goods = self.quote(&cart, "").await?.subtotal;
        let rate = self.settings.shipping_tax_rate_micros;
        let mut options: Vec<ShippingChoice> = Vec::new();
        for option in &self.settings.shipping {
            options.extend(ShippingChoice::of(option, goods, rate).map_err(Error::from)?);
        }
        options.sort_by_key(|option| option.amount.minor);
        let shipping_options = options.iter().map(convert::shipping).collect();
        Ok(Response::new(ListShippingOptionsResponse { shipping_options }))
    }

    async fn set_shipping_option(
        &self,
        request: Request<SetShippingOptionRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let message = request.get_ref();
        let checkout = self.store.find_checkout(&message.checkout_id, owner).await?;
        let cart = self.store.find_cart(&checkout.cart_id, None).await?;
        if self.settings.shipping_option(&message.code, cart.currency).is_none() {
            let known = self.settings.shipping.iter().map(|option| option.code.clone()).collect();
            return Err(Error::ShippingOptionUnknown { code: message.code.clone(), known }.into());
        }
        self.fill_in(
            request,
            |message| message.checkout_id.clone(),
            |checkout, message| {
                checkout.shipping_code = message.code;
                Ok(())
            },
        )
        .await
    }

    async fn set_payment_method(
        &self,
        request: Request<SetPaymentMethodRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        if looks_like_a_card(&request.get_ref().payment_method) {
            return Err(Error::PaymentMethodInvalid.into());
        }
        self.fill_in(
            request,
            |message| message.checkout_id.clone(),
            |checkout, message| {
                checkout.payment_method = message.payment_method;
                Ok(())
            },
        )
        .await
    }

    async fn complete_checkout(
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

    async fn get_completion(
        &self,
        request: Request<GetCompletionRequest>,
    ) -> Result<Response<CompleteCheckoutResponse>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let checkout = self.store.find_checkout(&request.get_ref().checkout_id, owner).await?;
        let progress = match checkout.status {
            CheckoutStatus::Completing | CheckoutStatus::AwaitingAction => {
                self.purchases.look(&checkout).await?
            }
            CheckoutStatus::Completed => sold(&checkout)?,
            CheckoutStatus::Open | CheckoutStatus::Cancelled => {
                let refusal = checkout.refusal.as_deref().ok_or(Error::CompletionNotFound)?;
                let refusal = Refusal::decode(refusal).map_err(Error::from)?;
                return Err(Error::PlacementRefused { refusal }.into());
            }
        };
        self.answer(checkout, progress, None).await
    }

    async fn cancel_checkout(
        &self,
        request: Request<CancelCheckoutRequest>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        let owner = Caller::of(&request).scope().owner().map(str::to_owned);
        let response = self
            .store
            .database()
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let mut checkout =
                        store::lock_checkout(tx, &message.checkout_id, owner.as_deref()).await?;
                    store::cancel_checkout(tx, &mut checkout).await?;
                    unquoted(&checkout)
                })
            })
            .await?;
        self.quoted(response).await
    }
}

/// What the first transaction of a completion found.
enum Begun {
    /// The answer was given before.
    Replayed(Response<CompleteCheckoutResponse>),
    /// A purchase that this call or another has begun.
    UnderWay(Box<Checkout>),
}

impl Rpc {
    /// Keeps something that the shopper filled in.
    async fn fill_in<M, C>(
        &self,
        request: Request<M>,
        checkout_id: fn(&M) -> String,
        change: C,
    ) -> Result<Response<CheckoutMessage>, Status>
    where
        M: Message + Name + Clone + 'static,
        C: FnOnce(&mut Checkout, M) -> Result<(), Error> + Send + 'static,
    {
        let owner = Caller::of(&request).scope().owner().map(str::to_owned);
        let response = self
            .store
            .database()
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let mut checkout =
                        store::lock_checkout(tx, &checkout_id(&message), owner.as_deref()).await?;
                    if checkout.status != CheckoutStatus::Open {
                        return Err(Error::CheckoutNotOpen);
                    }
                    change(&mut checkout, message)?;
                    store::update_checkout(tx, &mut checkout).await?;
                    unquoted(&checkout)
                })
            })
            .await?;
        self.quoted(response).await
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
    async fn answer(
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

    /// Puts today's quote on a checkout that is open, and the agreed one on
    /// another.
    async fn quoted(
        &self,
        response: Response<CheckoutMessage>,
    ) -> Result<Response<CheckoutMessage>, Status> {
        let (metadata, mut message, extensions) = response.into_parts();
        let checkout = self.store.find_checkout(&message.checkout_id, None).await?;
        match &checkout.purchase {
            Some(_) => {
                let purchase = purchase::kept_purchase(&checkout)?;
                message.quote_hash = purchase.quote_hash.clone();
                agreed(&mut message, purchase);
            }
            None => {
                let cart = self.store.find_cart(&message.cart_id, None).await?;
                let quote = self.quote(&cart, &checkout.shipping_code).await?;
                message.lines = quote.lines.iter().map(convert::line).collect();
                message.totals = Some(convert::totals(&quote));
                message.shipping_option = quote.shipping.as_ref().map(convert::shipping);
                message.quote_hash = hash(&quote);
            }
        }
        Ok(Response::from_parts(metadata, message, extensions))
    }
}

/// A checkout without lines and totals.
fn unquoted(checkout: &Checkout) -> Result<CheckoutMessage, Error> {
    let address = |kept: &Option<Vec<u8>>| kept.as_deref().map(PostalAddress::decode).transpose();
    Ok(CheckoutMessage {
        checkout_id: checkout.id.clone(),
        cart_id: checkout.cart_id.clone(),
        owner_id: checkout.owner_id.clone(),
        status: convert::checkout_status(checkout.status).into(),
        email: checkout.email.clone(),
        shipping_address: address(&checkout.shipping_address)?,
        billing_address: address(&checkout.billing_address)?,
        has_payment_method: !checkout.payment_method.is_empty() || checkout.purchase.is_some(),
        missing: match checkout.status {
            CheckoutStatus::Open => missing(checkout).into_iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        },
        order_id: checkout.order.as_ref().map(|order| order.id.clone()).unwrap_or_default(),
        create_time: convert::time(checkout.create_time),
        update_time: convert::time(checkout.update_time),
        ..CheckoutMessage::default()
    })
}

/// What must still be given.
fn missing(checkout: &Checkout) -> Vec<&'static str> {
    [
        ("email", checkout.email.is_empty()),
        ("shipping_address", checkout.shipping_address.is_none()),
        ("shipping_option", checkout.shipping_code.is_empty()),
        ("payment_method", checkout.payment_method.is_empty()),
    ]
    .into_iter()
    .filter(|(_, is_missing)| *is_missing)
    .map(|(name, _)| name)
    .collect()
}

fn hash(quote: &Quote) -> String {
    chassis::hash::hex(quote.canonical().as_bytes())
}

fn sold(checkout: &Checkout) -> Result<Progress, Error> {
    let order = checkout.order.clone().ok_or(Error::CompletionNotFound)?;
    let total = purchase::kept_purchase(checkout)?
        .totals
        .and_then(|totals| totals.total)
        .unwrap_or_default();
    Ok(Progress::Sold { order, total })
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

/// The lines and totals that were agreed to.
fn agreed(message: &mut CheckoutMessage, purchase: PlaceOrderRequest) {
    use contracts::storefront::v1::{CartLine, ShippingOption, Totals};
    message.lines = purchase
        .lines
        .into_iter()
        .map(|line| CartLine {
            sku: line.sku,
            quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
            product_id: line.product_id,
            variant_id: line.variant_id,
            title: line.title,
            unit_price: line.unit_price,
            subtotal: line.subtotal,
            tax: line.tax,
            ..CartLine::default()
        })
        .collect();
    message.totals = purchase.totals.map(|totals| Totals {
        subtotal: totals.subtotal,
        tax: totals.tax,
        shipping: totals.shipping,
        total: totals.total,
    });
    message.shipping_option = purchase.shipping.map(|selection| ShippingOption {
        code: selection.shipping_option_id,
        title: selection.title,
        amount: selection.price,
    });
}
