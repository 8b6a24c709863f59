//! `CheckoutService`.

use chassis::Caller;
use contracts::{
    orders::v1::{PlaceOrderRequest, Refusal},
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
    domain::{CartStatus, Checkout, CheckoutStatus, Quote, ShippingChoice, looks_like_a_card},
    error::Error,
    purchase::{self, Progress},
    store,
};

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
        self.complete(request).await
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
pub(super) fn missing(checkout: &Checkout) -> Vec<&'static str> {
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

pub(super) fn hash(quote: &Quote) -> String {
    chassis::hash::hex(quote.canonical().as_bytes())
}

pub(super) fn sold(checkout: &Checkout) -> Result<Progress, Error> {
    let order = checkout.order.clone().ok_or(Error::CompletionNotFound)?;
    let total = purchase::kept_purchase(checkout)?
        .totals
        .and_then(|totals| totals.total)
        .unwrap_or_default();
    Ok(Progress::Sold { order, total })
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
