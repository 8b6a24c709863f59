//! A shop that takes payments, for one test.

use std::time::Duration;

use chassis::{args, store::Error as StoreError};
use contracts::{
    payments::v1::{
        CancelPaymentIntentRequest, CapturePaymentIntentRequest, CompletePaymentActionRequest,
        ConfirmPaymentIntentRequest, CreatePaymentIntentRequest, CreateRefundRequest,
        GetBalancesRequest, GetPaymentIntentRequest, IngestWebhookRequest, IngestWebhookResponse,
        LedgerAccount, ListAttemptsRequest, PaymentActionOutcome, PaymentIntent,
        PaymentIntentStatus, Refund, SyncPaymentRequest, WebhookEvent,
        ledger_service_client::LedgerServiceClient, payment_service_client::PaymentServiceClient,
        payment_webhook_service_client::PaymentWebhookServiceClient,
        refund_service_client::RefundServiceClient,
    },
    values::v1::Money,
};
use payments::{Payments, signature};
use serde_json::json;
use testkit::{As, Fixture, request_id};
use tonic::Status;

/// The secret by which the built-in provider signs.
pub(crate) const SECRET: &str = "whsec_of_the_test_1";
/// The one that is being rotated out.
pub(crate) const OLD_SECRET: &str = "whsec_of_the_test_0";
/// Who pays.
pub(crate) const CUSTOMER: &str = "customer-1";
/// What everything costs.
pub(crate) const PRICE: i64 = 10_000;

chassis::statements! {
    /// What the provider has in its books about an order: charges, money held, taken and given back.
    AUDIT_ORDER = "select
            cast(count(*) as bigint),
            cast(coalesce(sum(case when state = 'AUTHORIZED' then amount else 0 end), 0) as bigint),
            cast(coalesce(sum(captured), 0) as bigint),
            cast(coalesce(sum(refunded), 0) as bigint)
        from sandbox_charge where merchant_reference = $1";
    /// What the provider has in its books in all.
    AUDIT_ALL = "select
            cast(count(*) as bigint),
            cast(coalesce(sum(case when state = 'AUTHORIZED' then amount else 0 end), 0) as bigint),
            cast(coalesce(sum(captured), 0) as bigint),
            cast(coalesce(sum(refunded), 0) as bigint)
        from sandbox_charge";
    /// Breaks the first constraint of an intent.
    CAPTURE_TOO_MUCH = "update payment_intent set amount_captured = amount_authorized + 1 where payment_intent_id = $1";
    /// Breaks the last constraint of an intent.
    REFUND_TOO_MUCH = "update payment_intent set amount_refunded = amount_captured + 1 where payment_intent_id = $1";
}

/// A shop that takes payments.
pub(crate) struct Shop {
    pub(crate) fixture: Fixture<Payments>,
}

/// What the provider has in its books.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) charges: i64,
    pub(crate) held: i64,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
}

pub(crate) fn eur(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), minor_units })
}

pub(crate) fn minor(money: &Option<Money>) -> i64 {
    money.as_ref().unwrap().minor_units
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let config = json!({
            "webhook_secrets": [SECRET, OLD_SECRET],
            "sync_period": "20ms",
            "sandbox_period": "20ms",
        });
        Self { fixture: testkit::service::<Payments>().config(config).start().await }
    }

    /// A shop whose background work never has its turn.
    pub(crate) async fn asleep() -> Self {
        Self::doomed("").await
    }

    /// The same, whose calls die where a specification says.
    pub(crate) async fn doomed(failpoints: &str) -> Self {
        let config = json!({
            "webhook_secrets": [SECRET, OLD_SECRET],
            "sync_period": "1h",
            "sandbox_period": "1h",
            "failpoints": failpoints,
        });
        Self { fixture: testkit::service::<Payments>().config(config).start().await }
    }

    pub(crate) fn orders(&self) -> PaymentServiceClient<As> {
        PaymentServiceClient::new(self.fixture.as_service("orders"))
    }

    pub(crate) fn refunds(&self) -> RefundServiceClient<As> {
        RefundServiceClient::new(self.fixture.as_service("orders"))
    }

    pub(crate) fn ledger(&self) -> LedgerServiceClient<As> {
        LedgerServiceClient::new(self.fixture.as_staff(&["payments.ledger.read"]))
    }

    pub(crate) fn customer(&self) -> PaymentServiceClient<As> {
        PaymentServiceClient::new(self.fixture.as_customer(CUSTOMER))
    }

    pub(crate) fn webhooks(&self) -> PaymentWebhookServiceClient<As> {
        let permissions = ["payments.webhooks.read", "payments.webhooks.write"];
        PaymentWebhookServiceClient::new(self.fixture.as_staff(&permissions))
    }

    /// A request for an intent over the price.
    pub(crate) fn wanted(&self) -> CreatePaymentIntentRequest {
        CreatePaymentIntentRequest {
            request_id: request_id(),
            order_id: request_id(),
            customer_id: CUSTOMER.to_owned(),
            amount: eur(PRICE),
            return_uri: "https://shop.example/done".to_owned(),
            ..Default::default()
        }
    }

    /// An intent over the price.
    pub(crate) async fn intent(&self) -> PaymentIntent {
        self.orders().create_payment_intent(self.wanted()).await.unwrap().into_inner()
    }

    pub(crate) fn confirmation(
        &self,
        intent: &PaymentIntent,
        method: &str,
    ) -> ConfirmPaymentIntentRequest {
        ConfirmPaymentIntentRequest {
            request_id: request_id(),
            payment_intent_id: intent.payment_intent_id.clone(),
            payment_method: method.to_owned(),
            return_uri: String::new(),
        }
    }

    pub(crate) async fn confirm(
        &self,
        intent: &PaymentIntent,
        method: &str,
    ) -> Result<PaymentIntent, Status> {
        let request = self.confirmation(intent, method);
        self.orders().confirm_payment_intent(request).await.map(tonic::Response::into_inner)
    }

    /// An intent over the price that was confirmed with a method.
    pub(crate) async fn confirmed(&self, method: &str) -> PaymentIntent {
        let intent = self.intent().await;
        self.confirm(&intent, method).await.unwrap()
    }

    /// An intent over the price whose money was taken.
    pub(crate) async fn captured(&self, method: &str) -> PaymentIntent {
        let intent = self.confirmed(method).await;
        self.capture(&intent, None).await.unwrap()
    }

    pub(crate) fn capturing(
        &self,
        intent: &PaymentIntent,
        amount: Option<Money>,
    ) -> CapturePaymentIntentRequest {
        CapturePaymentIntentRequest {
            request_id: request_id(),
            payment_intent_id: intent.payment_intent_id.clone(),
            amount,
        }
    }

    pub(crate) async fn capture(
        &self,
        intent: &PaymentIntent,
        amount: Option<Money>,
    ) -> Result<PaymentIntent, Status> {
        let request = self.capturing(intent, amount);
        self.orders().capture_payment_intent(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) fn canceling(&self, intent: &PaymentIntent) -> CancelPaymentIntentRequest {
        CancelPaymentIntentRequest {
            request_id: request_id(),
            payment_intent_id: intent.payment_intent_id.clone(),
            reason: 0,
        }
    }

    pub(crate) async fn cancel(&self, intent: &PaymentIntent) -> Result<PaymentIntent, Status> {
        let request = self.canceling(intent);
        self.orders().cancel_payment_intent(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) fn answering(
        &self,
        intent: &PaymentIntent,
        outcome: PaymentActionOutcome,
    ) -> CompletePaymentActionRequest {
        CompletePaymentActionRequest {
            request_id: request_id(),
            payment_intent_id: intent.payment_intent_id.clone(),
            outcome: outcome.into(),
        }
    }

    /// The customer answers the challenge.
    pub(crate) async fn answer(
        &self,
        intent: &PaymentIntent,
        outcome: PaymentActionOutcome,
    ) -> Result<PaymentIntent, Status> {
        let request = self.answering(intent, outcome);
        self.customer().complete_payment_action(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn sync(&self, intent: &PaymentIntent) -> PaymentIntent {
        let payment_intent_id = intent.payment_intent_id.clone();
        let request = SyncPaymentRequest { payment_intent_id, request_id: String::new() };
        self.orders().sync_payment(request).await.unwrap().into_inner()
    }

    pub(crate) async fn get(&self, intent: &PaymentIntent) -> PaymentIntent {
        let request =
            GetPaymentIntentRequest { payment_intent_id: intent.payment_intent_id.clone() };
        self.orders().get_payment_intent(request).await.unwrap().into_inner()
    }

    pub(crate) async fn attempts(
        &self,
        intent: &PaymentIntent,
    ) -> Vec<contracts::payments::v1::Attempt> {
        let payment_intent_id = intent.payment_intent_id.clone();
        let request = ListAttemptsRequest { payment_intent_id, ..Default::default() };
        self.orders().list_attempts(request).await.unwrap().into_inner().attempts
    }

    /// Waits until the intent is in a status.
    pub(crate) async fn becomes(
        &self,
        intent: &PaymentIntent,
        status: PaymentIntentStatus,
    ) -> PaymentIntent {
        testkit::eventually(|| async {
            Some(self.get(intent).await).filter(|found| found.status() == status)
        })
        .await
    }

    pub(crate) fn refunding(
        &self,
        intent: &PaymentIntent,
        amount: Option<Money>,
    ) -> CreateRefundRequest {
        CreateRefundRequest {
            request_id: request_id(),
            payment_intent_id: intent.payment_intent_id.clone(),
            amount,
            reason: 0,
        }
    }

    pub(crate) async fn refund(
        &self,
        intent: &PaymentIntent,
        amount: Option<Money>,
    ) -> Result<Refund, Status> {
        let request = self.refunding(intent, amount);
        self.refunds().create_refund(request).await.map(tonic::Response::into_inner)
    }

    /// What the provider has in its books about an intent's order.
    pub(crate) async fn books(&self, intent: &PaymentIntent) -> Books {
        self.audit(AUDIT_ORDER, args![&intent.order_id]).await
    }

    /// What the provider has in its books in all.
    pub(crate) async fn all_books(&self) -> Books {
        self.audit(AUDIT_ALL, Vec::new()).await
    }

    async fn audit(
        &self,
        statement: chassis::Statement,
        arguments: Vec<chassis::store::Value>,
    ) -> Books {
        let database = self.fixture.running().database();
        let (charges, held, captured, refunded) =
            database.fetch_one(statement, arguments).await.unwrap();
        Books { charges, held, captured, refunded }
    }

    /// Writes past the service, as nobody should.
    pub(crate) async fn tamper(
        &self,
        statement: chassis::Statement,
        arguments: Vec<chassis::store::Value>,
    ) -> Result<u64, StoreError> {
        let database = self.fixture.running().database();
        database
            .write(move |tx| Box::pin(async move { tx.execute(statement, arguments).await }))
            .await
    }

    /// What an account holds in all, after looking that debits equal credits.
    pub(crate) async fn balance(&self, account: LedgerAccount) -> i64 {
        let balances = self
            .ledger()
            .get_balances(GetBalancesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .balances;
        let debits: i64 = balances.iter().map(|balance| minor(&balance.debits)).sum();
        let credits: i64 = balances.iter().map(|balance| minor(&balance.credits)).sum();
        assert_eq!(debits, credits);
        balances
            .iter()
            .filter(|balance| balance.account() == account)
            .map(|balance| minor(&balance.balance))
            .sum()
    }

    /// What the built-in provider would say of an intent's attempt.
    pub(crate) fn told(
        &self,
        intent: &PaymentIntent,
        event_id: &str,
        state: &str,
        captured: i64,
    ) -> Vec<u8> {
        serde_json::to_vec(&json!({
            "id": event_id,
            "type": format!("charge.{}", state.to_lowercase()),
            "created": self.fixture.clock.now().micros(),
            "data": {
                "key": intent.attempt_id,
                "reference": format!("sb_ch_{}", intent.attempt_id),
                "state": state,
                "amount": PRICE,
                "currency": "EUR",
                "captured": captured,
            },
        }))
        .unwrap()
    }

    /// Sends a body with its signature.
    pub(crate) async fn ingest(&self, payload: Vec<u8>) -> Result<IngestWebhookResponse, Status> {
        let signature = signature::sign(SECRET.as_bytes(), &payload, self.fixture.clock.now());
        self.ingest_signed(payload, signature).await
    }

    /// Sends a body with any signature, as anybody can.
    pub(crate) async fn ingest_signed(
        &self,
        payload: Vec<u8>,
        signature: String,
    ) -> Result<IngestWebhookResponse, Status> {
        let request = IngestWebhookRequest {
            provider: "sandbox".to_owned(),
            payload: payload.into(),
            signature,
            request_id: String::new(),
        };
        PaymentWebhookServiceClient::new(self.fixture.anonymous())
            .ingest_webhook(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// The events that were taken in, the newest first.
    pub(crate) async fn received(&self) -> Vec<WebhookEvent> {
        self.webhooks()
            .list_webhook_events(contracts::payments::v1::ListWebhookEventsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .webhook_events
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.fixture.clock.advance(Duration::from_secs(seconds));
    }
}
