//! Checkouts, up to the sale.

use contracts::storefront::v1::{
    CancelCheckoutRequest, CartStatus, Checkout, CheckoutStatus, ErrorReason,
    ListShippingOptionsRequest, ShippingOption, StartCheckoutRequest, UpdateLineRequest,
};
use prost::Message;
use testkit::request_id;
use tonic::Code;

use crate::{
    Shop, addresses, amounts, cents, completion_of, contact, is_replay, payment, refused, shipping,
};

fn cancellation(checkout: &Checkout) -> CancelCheckoutRequest {
    CancelCheckoutRequest { request_id: request_id(), checkout_id: checkout.checkout_id.clone() }
}

async fn options(shop: &Shop, checkout: &Checkout) -> Vec<ShippingOption> {
    let request = ListShippingOptionsRequest { checkout_id: checkout.checkout_id.clone() };
    let answer = shop.checkouts().list_shipping_options(request).await.unwrap();
    answer.into_inner().shipping_options
}

#[tokio::test]
async fn a_checkout_is_started_with_a_quote_and_says_what_is_missing() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    assert_eq!(checkout.status(), CheckoutStatus::Open);
    assert_eq!(checkout.owner_id, "alice");
    assert_eq!(
        checkout.missing,
        ["email", "shipping_address", "shipping_option", "payment_method"]
    );
    assert_eq!(amounts(&checkout.totals), [2_833, 595, 0, 3_428]);
    assert_eq!(checkout.lines.len(), 2);
    assert!(!checkout.quote_hash.is_empty());
    assert_eq!(shop.read(&checkout).await, checkout);
    assert_eq!(shop.events().await, ["CheckoutStarted"]);
}

#[tokio::test]
async fn a_cart_has_one_open_checkout() {
    let shop = Shop::open().await;
    let first = shop.started().await;
    let cart = shop.read_cart(&first.cart_id).await;
    assert_eq!(shop.start(&cart).await.unwrap(), first);
    let request = StartCheckoutRequest { request_id: request_id(), cart_id: cart.cart_id };
    let once = shop.checkouts().start_checkout(request.clone()).await.unwrap();
    let twice = shop.checkouts().start_checkout(request).await.unwrap();
    assert!(is_replay(&twice));
    assert_eq!(once.get_ref().encode_to_vec(), twice.get_ref().encode_to_vec());
    assert_eq!(shop.events().await, ["CheckoutStarted"]);
}

#[tokio::test]
async fn an_empty_cart_cannot_be_checked_out() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[]).await;
    let status = refused(shop.start(&cart).await, ErrorReason::CartEmpty);
    assert_eq!(status.code(), Code::FailedPrecondition);

    // Nor completed if it was emptied meanwhile.
    let checkout = shop.ready().await;
    let cart = shop.read_cart(&checkout.cart_id).await;
    for line in cart.lines {
        let request = UpdateLineRequest {
            cart_id: cart.cart_id.clone(),
            line_id: line.line_id,
            ..UpdateLineRequest::default()
        };
        shop.carts().update_line(request).await.unwrap();
    }
    refused(shop.complete(&checkout).await, ErrorReason::CartEmpty);
}

#[tokio::test]
async fn a_cart_that_was_sold_cannot_be_checked_out() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    shop.complete(&checkout).await.unwrap();
    let cart = shop.read_cart(&checkout.cart_id).await;
    refused(shop.start(&cart).await, ErrorReason::CartNotActive);
}

#[tokio::test]
async fn what_the_shopper_fills_in_is_kept() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    let mut wanted = addresses(&checkout);
    wanted.billing_address = wanted.shipping_address.clone();
    wanted.billing_address.as_mut().unwrap().recipient = "The Company".to_owned();
    shop.checkouts().set_addresses(wanted.clone()).await.unwrap();
    shop.checkouts().set_contact(contact(&checkout)).await.unwrap();
    let found = shop.read(&checkout).await;
    assert_eq!(found.missing, ["shipping_option", "payment_method"]);
    assert_eq!(found.email, "alice@example.com");
    assert_eq!(found.shipping_address, wanted.shipping_address);
    assert_eq!(found.billing_address, wanted.billing_address);

    let found = shop.fill_in(&checkout).await;
    assert!(found.missing.is_empty() && found.has_payment_method);
    assert_eq!(found.billing_address, None, "addresses are set together");
    let option = found.shipping_option.clone().unwrap();
    assert_eq!((option.code.as_str(), cents(&option.amount)), ("standard", 499));
    assert_eq!(shop.read(&checkout).await, found);
    let mut nonsense = contact(&checkout);
    nonsense.email = "nobody".to_owned();
    let status = shop.checkouts().set_contact(nonsense).await.unwrap_err();
    assert_eq!(testkit::fields(&status), ["email"]);
}

#[tokio::test]
async fn what_is_filled_in_twice_with_one_request_id_is_answered_again() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    macro_rules! twice {
        ($method:ident, $request:expr) => {{
            let request = $request;
            let first = shop.checkouts().$method(request.clone()).await.unwrap();
            let second = shop.checkouts().$method(request).await.unwrap();
            assert!(!is_replay(&first) && is_replay(&second), stringify!($method));
            assert_eq!(first.get_ref().encode_to_vec(), second.get_ref().encode_to_vec());
        }};
    }
    twice!(set_contact, contact(&checkout));
    twice!(set_addresses, addresses(&checkout));
    twice!(set_shipping_option, shipping(&checkout, "standard"));
    twice!(set_payment_method, payment(&checkout, "pm_ok"));
    twice!(cancel_checkout, cancellation(&checkout));
}

#[tokio::test]
async fn a_request_id_is_not_good_for_another_answer() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    let mut request = shipping(&checkout, "standard");
    shop.checkouts().set_shipping_option(request.clone()).await.unwrap();
    request.code = "express".to_owned();
    let status = shop.checkouts().set_shipping_option(request).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn totals_and_quote_change_with_prices_and_shipping() {
    let shop = Shop::open().await;
    let bare = shop.started().await;
    let standard = shop.checkouts().set_shipping_option(shipping(&bare, "standard")).await;
    let standard = standard.unwrap().into_inner();
    assert_eq!(amounts(&standard.totals), [2_833, 595 + 105, 499, 4_032]);
    let express = shop.checkouts().set_shipping_option(shipping(&bare, "express")).await;
    let express = express.unwrap().into_inner();
    assert_eq!(amounts(&express.totals), [2_833, 595 + 273, 1_299, 5_000]);
    shop.world.shelf.price("tea", 334);
    let dearer = shop.read(&bare).await;
    assert_eq!(amounts(&dearer.totals)[0], 2_834);
    let cart = shop.read_cart(&bare.cart_id).await;
    shop.add(&cart, "tea", 1).await.unwrap();
    let more = shop.read(&bare).await;

    let mut hashes =
        [&bare, &standard, &express, &dearer, &more].map(|checkout| checkout.quote_hash.clone());
    hashes.sort();
    assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]), "{hashes:?}");
    assert_eq!(shop.read(&bare).await.quote_hash, more.quote_hash, "and with nothing else");
}

#[tokio::test]
async fn ways_to_ship_are_listed_the_cheapest_first() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    let found = options(&shop, &checkout).await;
    let found: Vec<_> =
        found.iter().map(|option| (option.code.as_str(), cents(&option.amount))).collect();
    assert_eq!(found, [("standard", 499), ("express", 1_299)]);

    let sofa = shop.cart(&[("sofa", 1)]).await;
    let checkout = shop.start(&sofa).await.unwrap();
    assert_eq!(cents(&options(&shop, &checkout).await[0].amount), 0, "free from 75 euros on");
}

#[tokio::test]
async fn an_unknown_way_to_ship_is_refused() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    let answer = shop.checkouts().set_shipping_option(shipping(&checkout, "drone")).await;
    let status = refused(answer, ErrorReason::ShippingOptionUnknown);
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(shop.read(&checkout).await.shipping_option, None);
}

#[tokio::test]
async fn a_card_number_is_no_payment_method() {
    let shop = Shop::open().await;
    let checkout = shop.started().await;
    for number in ["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005"] {
        let answer = shop.checkouts().set_payment_method(payment(&checkout, number)).await;
        let status = refused(answer, ErrorReason::PaymentMethodInvalid);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(!format!("{status:?}").contains(number), "it is not said again");
    }
    assert!(!shop.read(&checkout).await.has_payment_method);
}

#[tokio::test]
async fn a_checkout_that_was_given_up_leaves_the_cart_as_it_is() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let cart = shop.read_cart(&checkout.cart_id).await;
    let given_up = shop.checkouts().cancel_checkout(cancellation(&checkout)).await.unwrap();
    assert_eq!(given_up.get_ref().status(), CheckoutStatus::Cancelled);
    assert_eq!(shop.read_cart(&checkout.cart_id).await, cart);
    let anew = shop.start(&cart).await.unwrap();
    assert_ne!(anew.checkout_id, checkout.checkout_id);
    assert_eq!(anew.missing.len(), 4);
}

#[tokio::test]
async fn a_checkout_that_is_not_open_cannot_be_changed() {
    let shop = Shop::open().await;
    let sold = shop.ready().await;
    shop.complete(&sold).await.unwrap();
    shop.world.orders.will(crate::fakes::Ends::Pending);
    let under_way = shop.ready().await;
    shop.complete(&under_way).await.unwrap();
    let given_up = shop.ready().await;
    shop.checkouts().cancel_checkout(cancellation(&given_up)).await.unwrap();

    for checkout in [&sold, &under_way, &given_up] {
        let mut checkouts = shop.checkouts();
        let status =
            refused(checkouts.set_contact(contact(checkout)).await, ErrorReason::CheckoutNotOpen);
        assert_eq!(status.code(), Code::FailedPrecondition);
        let answer = checkouts.set_addresses(addresses(checkout)).await;
        refused(answer, ErrorReason::CheckoutNotOpen);
        let answer = checkouts.set_shipping_option(shipping(checkout, "express")).await;
        refused(answer, ErrorReason::CheckoutNotOpen);
        let answer = checkouts.set_payment_method(payment(checkout, "pm_ok")).await;
        refused(answer, ErrorReason::CheckoutNotOpen);
        let answer = checkouts.cancel_checkout(cancellation(checkout)).await;
        refused(answer, ErrorReason::CheckoutNotOpen);
    }
    let answer = shop.complete_with(completion_of(&given_up)).await;
    refused(answer, ErrorReason::CheckoutNotOpen);
    shop.stands(&under_way, CheckoutStatus::Completing, CartStatus::CheckingOut).await;
}
