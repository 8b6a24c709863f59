//! From what we know to what we say.

use chassis::{Money, Time};
use contracts::storefront::v1 as proto;

use crate::{
    domain::{Cart, CartStatus, CheckoutStatus, PricedLine, Problem, Quote, ShippingChoice},
    purchase::Progress,
};

/// A cart with today's quote, or without any.
pub(super) fn cart(cart: Cart, quote: Option<&Quote>) -> proto::Cart {
    let lines = match quote {
        Some(quote) => quote.lines.iter().map(line).collect(),
        None => cart
            .lines
            .iter()
            .map(|line| proto::CartLine {
                line_id: line.line_id.clone(),
                sku: line.sku.clone(),
                quantity: line.quantity,
                ..proto::CartLine::default()
            })
            .collect(),
    };
    proto::Cart {
        etag: cart.etag(),
        status: cart_status(cart.status).into(),
        totals: quote.map(totals),
        create_time: Some(cart.create_time.timestamp()),
        update_time: Some(cart.update_time.timestamp()),
        currency_code: cart.currency.code().to_owned(),
        cart_id: cart.id,
        owner_id: cart.owner_id,
        lines,
    }
}

/// A priced line.
pub(super) fn line(priced: &PricedLine) -> proto::CartLine {
    let PricedLine { line, offer, subtotal, tax, problems } = priced;
    let (product_id, variant_id, title, unit_price) =
        offer.as_ref().map_or_else(Default::default, |offer| {
            (
                offer.product_id.clone(),
                offer.variant_id.clone(),
                offer.title.clone(),
                offer.unit_price,
            )
        });
    proto::CartLine {
        line_id: line.line_id.clone(),
        sku: line.sku.clone(),
        quantity: line.quantity,
        product_id,
        variant_id,
        title,
        unit_price: unit_price.map(Money::into),
        subtotal: Some((*subtotal).into()),
        tax: Some((*tax).into()),
        problems: problems.iter().map(problem).collect(),
    }
}

fn problem(problem: &Problem) -> proto::LineProblem {
    let kind = match problem {
        Problem::NotSold => proto::LineProblemKind::NotSold,
        Problem::LowStock { .. } => proto::LineProblemKind::LowStock,
    };
    proto::LineProblem { kind: kind.into(), message: problem.to_string() }
}

/// The totals of a quote.
pub(super) fn totals(quote: &Quote) -> proto::Totals {
    proto::Totals {
        subtotal: Some(quote.subtotal.into()),
        tax: Some(quote.tax.into()),
        shipping: Some(quote.shipping_amount.into()),
        total: Some(quote.total.into()),
    }
}

/// A way to ship.
pub(super) fn shipping(choice: &ShippingChoice) -> proto::ShippingOption {
    proto::ShippingOption {
        code: choice.code.clone(),
        title: choice.title.clone(),
        amount: Some(choice.amount.into()),
    }
}

pub(super) fn cart_status(status: CartStatus) -> proto::CartStatus {
    match status {
        CartStatus::Active => proto::CartStatus::Active,
        CartStatus::CheckingOut => proto::CartStatus::CheckingOut,
        CartStatus::Converted => proto::CartStatus::Converted,
    }
}

/// The kept name of a status to filter by; empty for any.
pub(super) fn status_filter(status: proto::CartStatus) -> &'static str {
    match status {
        proto::CartStatus::Unspecified => "",
        proto::CartStatus::Active => CartStatus::Active.name(),
        proto::CartStatus::CheckingOut => CartStatus::CheckingOut.name(),
        proto::CartStatus::Converted => CartStatus::Converted.name(),
    }
}

pub(super) fn checkout_status(status: CheckoutStatus) -> proto::CheckoutStatus {
    match status {
        CheckoutStatus::Open => proto::CheckoutStatus::Open,
        CheckoutStatus::Completing => proto::CheckoutStatus::Completing,
        CheckoutStatus::AwaitingAction => proto::CheckoutStatus::AwaitingAction,
        CheckoutStatus::Completed => proto::CheckoutStatus::Completed,
        CheckoutStatus::Cancelled => proto::CheckoutStatus::Cancelled,
    }
}

/// The answer to a completion that has not failed.
pub(super) fn completion(progress: Progress) -> Option<proto::CompleteCheckoutResponse> {
    use proto::complete_checkout_response::Outcome;
    let outcome = match progress {
        Progress::Sold { order, total } => Outcome::Order(proto::PlacedOrder {
            order_id: order.id,
            number: order.number,
            total: Some(total),
        }),
        Progress::Action(action) => Outcome::NextAction(proto::CheckoutAction {
            payment_intent_id: action.payment_intent_id,
            redirect_uri: action.redirect_uri,
            expire_time: action.expire_time,
        }),
        Progress::Pending { placement_id } => {
            Outcome::Pending(proto::CheckoutPending { placement_id })
        }
        Progress::Refused(_) => return None,
    };
    Some(proto::CompleteCheckoutResponse { outcome: Some(outcome) })
}

/// A moment, as messages have it.
pub(super) fn time(time: Time) -> Option<prost_types::Timestamp> {
    Some(time.timestamp())
}
