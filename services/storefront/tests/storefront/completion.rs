//! The sale: agreed to, handed over, answered.

use chassis::Fault;
use contracts::{
    orders::v1::{OwnerKind, RefusalReason},
    storefront::v1::{
        CartStatus, CheckoutStatus, ErrorReason, complete_checkout_response::Outcome,
    },
};
use prost::Message;
use testkit::request_id;
use tonic::Code;

use crate::{
    Shop, addresses, amounts, cents, completion_of, fakes::Ends, is_replay, payment, preconditions,
    refused, shipping, sold,
};

#[tokio::test]
async fn a_checkout_becomes_an_order_for_the_total_of_its_quote() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let outcome = shop.complete(&checkout).await.unwrap();
    let order = sold(&outcome);
    assert_eq!(cents(&order.total), 4_032);
    assert_eq!(order.number, "M-1");

    let purchase = shop.world.orders.purchases().remove(0);
    assert_eq!(purchase.checkout_id, checkout.checkout_id);
    assert_eq!((purchase.owner_id.as_str(), purchase.owner_kind()), ("alice", OwnerKind::Customer));
    assert_eq!(purchase.email, "alice@example.com");
    assert_eq!(purchase.payment_method, "pm_ok");
    assert_eq!(purchase.quote_hash, checkout.quote_hash);
    assert_eq!(purchase.return_uri, "https://shop.example/back");
    assert_eq!(purchase.shipping_address, addresses(&checkout).shipping_address);
    let lines: Vec<_> = purchase
        .lines
        .iter()
        .map(|line| (line.sku.as_str(), line.quantity, cents(&line.subtotal), cents(&line.total)))
        .collect();
    assert_eq!(lines, [("mug", 2, 2_500, 3_025), ("tea", 1, 333, 403)]);
    let totals = purchase.totals.unwrap();
    let parts = [&totals.subtotal, &totals.tax, &totals.shipping, &totals.total].map(cents);
    assert_eq!(parts, amounts(&checkout.totals));

    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
    assert_eq!(shop.completion(&checkout).await.unwrap(), outcome);
    assert_eq!(shop.events().await, ["CheckoutStarted", "CheckoutCompleted", "CartConverted"]);
}

#[tokio::test]
async fn what_was_agreed_to_does_not_change_with_the_prices() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    shop.complete(&checkout).await.unwrap();
    shop.world.shelf.price("mug", 9_999);
    let found = shop.read(&checkout).await;
    assert_eq!(found.totals, checkout.totals);
    assert_eq!(found.quote_hash, checkout.quote_hash);
    assert!(!found.order_id.is_empty());
}

#[tokio::test]
async fn a_completion_sent_twice_buys_once_and_answers_the_same_bytes() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let request = completion_of(&checkout);
    let first = shop.checkouts().complete_checkout(request.clone()).await.unwrap();
    let second = shop.checkouts().complete_checkout(request.clone()).await.unwrap();
    assert!(!is_replay(&first) && is_replay(&second));
    assert_eq!(first.get_ref().encode_to_vec(), second.get_ref().encode_to_vec());
    // With another id it joins the first.
    let joined = shop.complete_with(completion_of(&checkout)).await.unwrap();
    assert_eq!(joined, *first.get_ref());
    assert_eq!(shop.world.orders.purchases().len(), 1);
    assert_eq!(shop.world.orders.asked(), 1);

    let mut other = request;
    other.return_uri = "https://shop.example/elsewhere".to_owned();
    let status = shop.complete_with(other).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(testkit::reason(&status), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_changed_price_is_told_before_anything_is_bought() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    shop.world.shelf.price("mug", 1_300);
    let request = completion_of(&checkout);
    let status = refused(shop.complete_with(request.clone()).await, ErrorReason::PriceChanged);
    assert_eq!(status.code(), Code::FailedPrecondition);
    let today = shop.read(&checkout).await;
    let fault = Fault::from_status(&status);
    let told = fault.metadata_map();
    assert_eq!(told["quote_hash"], today.quote_hash);
    assert_eq!(told["total_minor_units"], amounts(&today.totals)[3].to_string());
    assert_eq!(told["total_currency_code"], "EUR");
    assert_eq!(testkit::fields(&status), ["quote_hash"]);
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
    assert_eq!(shop.world.orders.asked(), 0);

    // Another way to ship is another price, too; agreed to, it is bought, with
    // the same id: the refusal left nothing.
    let express = shop.checkouts().set_shipping_option(shipping(&checkout, "express")).await;
    refused(shop.complete(&today).await, ErrorReason::PriceChanged);
    let mut again = request;
    again.quote_hash = express.unwrap().into_inner().quote_hash;
    sold(&shop.complete_with(again).await.unwrap().outcome.unwrap());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    shop.checkouts().set_shipping_option(shipping(&checkout, "standard")).await.unwrap();
    let checkout = shop.read(&checkout).await;
    let status = refused(shop.complete(&checkout).await, ErrorReason::CheckoutIncomplete);
    assert_eq!(status.code(), Code::FailedPrecondition);
    let named: Vec<_> = preconditions(&status).into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(named, ["email", "shipping_address", "payment_method"]);
}

#[tokio::test]
async fn lines_that_are_not_sold_any_more_are_named() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    shop.world.shelf.withdraw("tea");
    let today = shop.read(&checkout).await;
    let status = refused(shop.complete(&today).await, ErrorReason::LinesNotPurchasable);
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(preconditions(&status), [("NOT_PURCHASABLE".to_owned(), "tea".to_owned())]);
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
    assert_eq!(shop.world.orders.asked(), 0);
}

#[tokio::test]
async fn lines_that_are_short_are_named() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    shop.world.shelf.stock("mug", 1);
    let status = refused(shop.complete(&checkout).await, ErrorReason::OutOfStock);
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(preconditions(&status), [("OUT_OF_STOCK".to_owned(), "mug".to_owned())]);
    assert_eq!(shop.world.orders.asked(), 0);
    // Nothing was begun, so there is nothing to tell of.
    let status = refused(shop.completion(&checkout).await, ErrorReason::CompletionNotFound);
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn a_refused_sale_opens_the_checkout_again_and_is_told_again() {
    let refusals = [
        (RefusalReason::OutOfStock, ErrorReason::OutOfStock),
        (RefusalReason::PaymentDeclined, ErrorReason::PaymentDeclined),
        (RefusalReason::Expired, ErrorReason::PlacementRefused),
        (RefusalReason::Failed, ErrorReason::PlacementRefused),
    ];
    for (refusal, reason) in refusals {
        let shop = Shop::open().await;
        shop.world.orders.will(Ends::Refused(refusal));
        let checkout = shop.ready().await;
        let request = completion_of(&checkout);
        let status = refused(shop.complete_with(request.clone()).await, reason);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(preconditions(&status)[0].1, "mug");
        shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
        let told = refused(shop.completion(&checkout).await, reason);
        assert_eq!(told.message(), status.message());
        assert_eq!(shop.events().await, ["CheckoutStarted", "CheckoutFailed"]);

        // Another payment method, and the same request: a new placement, sold.
        shop.world.orders.will(Ends::Sold);
        shop.checkouts().set_payment_method(payment(&checkout, "pm_other")).await.unwrap();
        sold(&shop.complete_with(request).await.unwrap().outcome.unwrap());
        let purchases = shop.world.orders.purchases();
        assert_eq!(purchases.len(), 2);
        assert_ne!(purchases[0].placement_id, purchases[1].placement_id);
        assert_eq!(purchases[1].payment_method, "pm_other");
        sold(&shop.completion(&checkout).await.unwrap());
    }
}

#[tokio::test]
async fn a_purchase_that_orders_cannot_take_is_refused() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Invalid);
    let checkout = shop.ready().await;
    let status = refused(shop.complete(&checkout).await, ErrorReason::PlacementRefused);
    assert_eq!(status.message(), "the amounts do not add up");
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
    refused(shop.completion(&checkout).await, ErrorReason::PlacementRefused);
}

#[tokio::test]
async fn a_sale_that_is_not_known_yet_is_known_later() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Pending);
    let checkout = shop.ready().await;
    let request = completion_of(&checkout);
    let Some(Outcome::Pending(pending)) =
        shop.complete_with(request.clone()).await.unwrap().outcome
    else {
        panic!("it is not known yet")
    };
    assert_eq!(pending.placement_id, shop.world.orders.purchases()[0].placement_id);
    shop.stands(&checkout, CheckoutStatus::Completing, CartStatus::CheckingOut).await;
    assert_eq!(shop.completion(&checkout).await.unwrap(), Outcome::Pending(pending));

    shop.world.orders.end(Ends::Sold);
    let outcome = shop.completion(&checkout).await.unwrap();
    sold(&outcome);
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
    assert_eq!(shop.complete_with(request).await.unwrap().outcome, Some(outcome));
    assert_eq!(shop.world.orders.purchases().len(), 1);
}

#[tokio::test]
async fn orders_that_do_not_answer_leave_the_sale_under_way() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Away);
    let checkout = shop.ready().await;
    let outcome = shop.complete(&checkout).await.unwrap();
    assert!(matches!(outcome, Outcome::Pending(_)), "{outcome:?}");
    assert!(shop.world.orders.purchases().is_empty(), "it never arrived");
    assert_eq!(shop.completion(&checkout).await.unwrap(), outcome);

    // Orders know nothing of it: it is handed over now.
    shop.world.orders.will(Ends::Sold);
    sold(&shop.completion(&checkout).await.unwrap());
    assert_eq!(shop.world.orders.purchases().len(), 1);
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
}

#[tokio::test]
async fn after_a_3d_secure_step_the_sale_goes_on() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Action);
    let checkout = shop.ready().await;
    let request = completion_of(&checkout);
    let Some(Outcome::NextAction(action)) =
        shop.complete_with(request.clone()).await.unwrap().outcome
    else {
        panic!("the shopper must act")
    };
    assert_eq!(action.redirect_uri, "https://bank.example/3ds");
    assert_eq!(action.payment_intent_id, "intent");
    shop.stands(&checkout, CheckoutStatus::AwaitingAction, CartStatus::CheckingOut).await;
    // Asked again before the shopper acted, it says the same.
    let again = shop.complete_with(request.clone()).await.unwrap().outcome;
    assert_eq!(again, Some(Outcome::NextAction(action)));

    shop.world.orders.end(Ends::Sold);
    let outcome = shop.completion(&checkout).await.unwrap();
    sold(&outcome);
    assert_eq!(shop.complete_with(request).await.unwrap().outcome, Some(outcome));
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
    assert_eq!(shop.world.orders.purchases().len(), 1);
}

#[tokio::test]
async fn a_3d_secure_step_that_fails_ends_the_sale() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Action);
    let checkout = shop.ready().await;
    shop.complete(&checkout).await.unwrap();
    shop.world.orders.end(Ends::Refused(RefusalReason::PaymentDeclined));
    refused(shop.completion(&checkout).await, ErrorReason::PaymentDeclined);
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
    refused(shop.completion(&checkout).await, ErrorReason::PaymentDeclined);
}

#[tokio::test]
async fn what_was_never_completed_has_no_completion() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let status = refused(shop.completion(&checkout).await, ErrorReason::CompletionNotFound);
    assert_eq!(status.code(), Code::NotFound);
    let mut unnamed = completion_of(&checkout);
    unnamed.request_id = String::new();
    let status = shop.complete_with(unnamed).await.unwrap_err();
    assert_eq!(testkit::fields(&status), ["request_id"]);
    let mut unknown = completion_of(&checkout);
    unknown.checkout_id = request_id();
    refused(shop.complete_with(unknown).await, ErrorReason::CheckoutNotFound);
}
