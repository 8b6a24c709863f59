//! Who may, and whose.

use contracts::payments::v1::{
    GetBalancesRequest, GetPaymentIntentRequest, ListPaymentIntentsRequest, PaymentActionOutcome,
    ledger_service_client::LedgerServiceClient, payment_service_client::PaymentServiceClient,
    refund_service_client::RefundServiceClient,
};
use testkit::reason;
use tonic::Code;

use crate::shop::{CUSTOMER, Shop};

#[tokio::test]
async fn anothers_intent_does_not_exist() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_3ds").await;
    let request = GetPaymentIntentRequest { payment_intent_id: intent.payment_intent_id.clone() };

    for stranger in [shop.fixture.as_customer("customer-2"), shop.fixture.as_guest("guest-2")] {
        let mut stranger = PaymentServiceClient::new(stranger);
        let refused = stranger.get_payment_intent(request.clone()).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::NotFound, "INTENT_NOT_FOUND")
        );
        let answer = shop.answering(&intent, PaymentActionOutcome::Success);
        let refused = stranger.complete_payment_action(answer).await.unwrap_err();
        assert_eq!(reason(&refused), "INTENT_NOT_FOUND");
    }

    assert_eq!(shop.get(&intent).await, intent);
    assert_eq!(
        shop.customer().get_payment_intent(request.clone()).await.unwrap().into_inner(),
        intent
    );
    let on_behalf = shop.fixture.as_service_for("orders", CUSTOMER);
    assert!(PaymentServiceClient::new(on_behalf).get_payment_intent(request).await.is_ok());
}

#[tokio::test]
async fn money_is_moved_by_orders_and_by_staff_alone() {
    let shop = Shop::open().await;
    let callers = [
        shop.fixture.anonymous(),
        shop.fixture.as_customer(CUSTOMER),
        shop.fixture.as_service("storefront"),
        shop.fixture.as_staff(&["payments.intents.read"]),
    ];
    let intent = shop.confirmed("pm_card_ok").await;
    for caller in callers {
        let mut client = PaymentServiceClient::new(caller.clone());
        let refusals = [
            client.create_payment_intent(shop.wanted()).await.unwrap_err(),
            client
                .confirm_payment_intent(shop.confirmation(&intent, "pm_card_ok"))
                .await
                .unwrap_err(),
            client.capture_payment_intent(shop.capturing(&intent, None)).await.unwrap_err(),
            client.cancel_payment_intent(shop.canceling(&intent)).await.unwrap_err(),
            RefundServiceClient::new(caller.clone())
                .create_refund(shop.refunding(&intent, None))
                .await
                .unwrap_err(),
            LedgerServiceClient::new(caller)
                .get_balances(GetBalancesRequest::default())
                .await
                .unwrap_err(),
        ];
        for refused in refusals {
            assert!(
                matches!(refused.code(), Code::PermissionDenied | Code::Unauthenticated),
                "{refused}"
            );
        }
    }
    let mut staff = PaymentServiceClient::new(shop.fixture.as_staff(&["payments.intents.write"]));
    assert!(staff.capture_payment_intent(shop.capturing(&intent, None)).await.is_ok());
    let mut reader = PaymentServiceClient::new(shop.fixture.as_staff(&["payments.intents.read"]));
    let listed = reader
        .list_payment_intents(ListPaymentIntentsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.payment_intents.len(), 1);
}
