//! The ledger agrees with the provider's books, whatever happens.

use chassis::args;
use contracts::payments::v1::{
    GetBalancesRequest, LedgerAccount, LedgerEntryKind as Kind, ListLedgerEntriesRequest,
    PaymentActionOutcome, PaymentIntent,
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use testkit::request_id;

use crate::shop::{CAPTURE_TOO_MUCH, PRICE, Shop, eur, minor};

#[tokio::test]
async fn every_movement_is_an_entry_with_both_its_sides() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_ok").await;
    assert_eq!(shop.balance(LedgerAccount::AuthorizationHold).await, PRICE);
    shop.capture(&intent, eur(6_000)).await.unwrap();
    shop.advance(1);
    let refund = shop.refund(&intent, eur(1_000)).await.unwrap();

    let payment_intent_id = intent.payment_intent_id.clone();
    let request =
        ListLedgerEntriesRequest { payment_intent_id, page_size: 2, ..Default::default() };
    let page = shop.ledger().list_ledger_entries(request.clone()).await.unwrap().into_inner();
    let rest = ListLedgerEntriesRequest { page_token: page.next_page_token.clone(), ..request };
    let rest = shop.ledger().list_ledger_entries(rest).await.unwrap().into_inner();
    let entries: Vec<_> = page.ledger_entries.into_iter().chain(rest.ledger_entries).collect();

    let kinds: Vec<_> = entries.iter().map(|entry| (entry.kind(), minor(&entry.amount))).collect();
    let expected = [
        (Kind::Refund, 1_000),
        (Kind::Capture, 6_000),
        (Kind::Release, PRICE),
        (Kind::Authorization, PRICE),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(entries[0].source_id, refund.refund_id);
    assert!(entries.iter().all(|entry| entry.order_id == intent.order_id));
    assert_eq!(shop.balance(LedgerAccount::AuthorizationHold).await, 0);
    assert_eq!(shop.balance(LedgerAccount::ProviderClearing).await, 5_000);
    assert_eq!(shop.balance(LedgerAccount::OrderFunds).await, -5_000);

    let account = LedgerAccount::ProviderClearing.into();
    let request = ListLedgerEntriesRequest {
        account,
        order_id: intent.order_id.clone(),
        ..Default::default()
    };
    let entries =
        shop.ledger().list_ledger_entries(request).await.unwrap().into_inner().ledger_entries;
    assert_eq!(entries.len(), 2);
    let request = GetBalancesRequest { order_id: request_id(), ..Default::default() };
    assert!(shop.ledger().get_balances(request).await.unwrap().into_inner().balances.is_empty());
}

#[tokio::test]
async fn the_database_itself_refuses_to_capture_too_much() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_ok").await;
    let refused =
        shop.tamper(CAPTURE_TOO_MUCH, args![&intent.payment_intent_id]).await.unwrap_err();
    assert_eq!(refused.constraint(), Some("payment_intent_captured_check"));
}

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Act {
    Create,
    Confirm(usize, &'static str),
    Capture(usize, Option<i64>),
    Cancel(usize),
    Answer(usize, bool),
    Refund(usize, Option<i64>),
    Sync(usize),
    Wait(u64),
}

const METHODS: [&str; 14] = [
    "pm_card_ok",
    "pm_card_declined",
    "pm_card_3ds",
    "pm_timeout_after_effect",
    "pm_timeout_before_effect",
    "pm_processing",
    "pm_duplicate_webhooks",
    "pm_late_webhook",
    "pm_wrong_amount",
    "pm_capture_fails_once",
    "pm_capture_timeout",
    "pm_void_fails_once",
    "pm_refund_fails",
    "pm_refund_timeout",
];

fn acts() -> impl Strategy<Value = Act> {
    let which = 0_usize..8;
    let part = prop_oneof![Just(None), (1..PRICE + 10).prop_map(Some)];
    prop_oneof![
        2 => Just(Act::Create),
        6 => (which.clone(), prop::sample::select(&METHODS[..])).prop_map(|(at, method)| Act::Confirm(at, method)),
        5 => (which.clone(), part.clone()).prop_map(|(at, amount)| Act::Capture(at, amount)),
        2 => which.clone().prop_map(Act::Cancel),
        2 => (which.clone(), any::<bool>()).prop_map(|(at, success)| Act::Answer(at, success)),
        4 => (which.clone(), part).prop_map(|(at, amount)| Act::Refund(at, amount)),
        2 => which.prop_map(Act::Sync),
        1 => (1_u64..90).prop_map(Act::Wait),
    ]
}

#[tokio::test]
async fn after_any_story_the_ledger_equals_the_providers_books() {
    let mut runner = TestRunner::default();
    for _ in 0..6 {
        let story = prop::collection::vec(acts(), 40..70).new_tree(&mut runner).unwrap().current();
        let shop = Shop::open().await;
        let mut intents = Vec::new();
        for act in &story {
            play(&shop, &mut intents, act).await;
            // Debits equal credits at every moment, not only in the end.
            shop.balance(LedgerAccount::ProviderClearing).await;
        }
        settle(&shop, &intents).await;

        let books = shop.all_books().await;
        let clearing = shop.balance(LedgerAccount::ProviderClearing).await;
        let held = shop.balance(LedgerAccount::AuthorizationHold).await;
        assert_eq!(clearing, books.captured - books.refunded, "{story:?}");
        assert_eq!(held, books.held, "{story:?}");
    }
}

async fn play(shop: &Shop, intents: &mut Vec<PaymentIntent>, act: &Act) {
    let pick = |at: &usize| intents.get(at % intents.len().max(1)).cloned();
    match act {
        Act::Create => intents.push(shop.intent().await),
        Act::Confirm(at, method) => {
            if let Some(intent) = pick(at) {
                drop(shop.confirm(&intent, method).await);
            }
        }
        Act::Capture(at, amount) => {
            if let Some(intent) = pick(at) {
                drop(shop.capture(&intent, amount.and_then(eur)).await);
            }
        }
        Act::Cancel(at) => {
            if let Some(intent) = pick(at) {
                drop(shop.cancel(&intent).await);
            }
        }
        Act::Answer(at, success) => {
            let outcome = if *success {
                PaymentActionOutcome::Success
            } else {
                PaymentActionOutcome::Failure
            };
            if let Some(intent) = pick(at) {
                drop(shop.answer(&intent, outcome).await);
            }
        }
        Act::Refund(at, amount) => {
            if let Some(intent) = pick(at) {
                drop(shop.refund(&intent, amount.and_then(eur)).await);
            }
        }
        Act::Sync(at) => {
            if let Some(intent) = pick(at) {
                shop.sync(&intent).await;
            }
        }
        Act::Wait(seconds) => shop.advance(*seconds),
    }
}

/// Lets everything that is under way come to rest, and gives up what is in
/// conflict.
async fn settle(shop: &Shop, intents: &[PaymentIntent]) {
    use contracts::payments::v1::PaymentIntentStatus as Status;

    shop.advance(10 * 60);
    for intent in intents {
        testkit::eventually(|| async {
            let found = shop.sync(intent).await;
            let pending = minor(&found.amount_refund_pending) > 0;
            match found.status() {
                Status::Conflicted => {
                    drop(shop.cancel(intent).await);
                    None
                }
                Status::Unknown | Status::Processing => None,
                _ => (!pending).then_some(()),
            }
        })
        .await;
    }
}
