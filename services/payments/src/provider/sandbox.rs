//! The built-in provider: it behaves as the token says, keeps its own books and
//! sends its own webhooks. For development and tests; no money moves.
//!
//! Its books (`book.rs`) are in the service's database but in tables of their own,
//! which nothing of the service reads, so that a checker can compare the two. Its
//! webhooks go in by the service's own front door, with a signature.

mod book;
mod mail;
mod script;

use chassis::{Clock, Database, Time, store::Statement};
use serde::{Deserialize, Serialize};

use super::{Answer, Authorization, Notice, Provider, ProviderError};
use crate::domain::{
    Action, CaptureMethod, Charge, ChargeState, DeclineCode, Failure, RefundReport,
};

use book::{Entry, Reply};
use script::Script;

pub use mail::{MAIL_BATCH, Mail};

/// The provider's name.
pub const NAME: &str = "sandbox";

/// Every statement of its books.
pub(crate) const STATEMENTS: &[Statement] = book::STATEMENTS;

/// The built-in provider.
#[derive(Debug, Clone)]
pub struct Sandbox {
    database: Database,
    clock: Clock,
    /// Where the gateway is, for the address of a challenge.
    gateway_uri: String,
}

/// A webhook's body.
#[derive(Debug, Serialize, Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: Data,
}

/// A charge in a webhook's body.
#[derive(Debug, Serialize, Deserialize)]
struct Data {
    key: String,
    reference: String,
    state: String,
    amount: i64,
    currency: String,
    captured: i64,
    #[serde(default)]
    failure: Option<String>,
    #[serde(default)]
    action_uri: Option<String>,
    #[serde(default)]
    action_expire_time: Option<i64>,
    #[serde(default)]
    expire_time: Option<i64>,
}

// === impl Sandbox ===

impl Sandbox {
    /// Books in this database.
    pub fn new(database: Database, clock: Clock, gateway_uri: &str) -> Self {
        Self { database, clock, gateway_uri: gateway_uri.trim_end_matches('/').to_owned() }
    }

    async fn book<F>(&self, work: F) -> Result<Charge, ProviderError>
    where
        F: for<'t> FnOnce(
                &'t mut chassis::Tx,
            )
                -> futures_util::future::BoxFuture<'t, Result<Reply, book::Broken>>
            + Send
            + 'static,
    {
        match self.database.write(work).await {
            Ok(Reply::Charge(entry)) => Ok(entry.charge()),
            Ok(Reply::Lost) => Err(ProviderError::Lost),
            Ok(Reply::Refused(code)) => Err(ProviderError::Refused(failure(&code))),
            Err(broken) => Err(broken.lost()),
        }
    }
}

impl Provider for Sandbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn authorize<'a>(&'a self, order: &'a Authorization) -> Answer<'a, Charge> {
        Box::pin(async move {
            let Some(script) = Script::of(&order.payment_method) else {
                return Err(ProviderError::Refused(failure("no_such_payment_method")));
            };
            if script.lost_before {
                return Err(ProviderError::Lost);
            }
            let now = self.clock.now();
            let entry = Entry::opened(order, &script, &self.gateway_uri, now);
            self.book(move |tx| Box::pin(book::open(tx, entry, script, now))).await
        })
    }

    fn answer<'a>(&'a self, key: &'a str, success: bool) -> Answer<'a, Charge> {
        let (key, now) = (key.to_owned(), self.clock.now());
        Box::pin(
            self.book(move |tx| {
                Box::pin(async move { book::answer(tx, &key, success, now).await })
            }),
        )
    }

    fn capture<'a>(&'a self, key: &'a str, amount: i64) -> Answer<'a, Charge> {
        let (key, now) = (key.to_owned(), self.clock.now());
        Box::pin(
            self.book(move |tx| {
                Box::pin(async move { book::capture(tx, &key, amount, now).await })
            }),
        )
    }

    fn void<'a>(&'a self, key: &'a str) -> Answer<'a, Charge> {
        let (key, now) = (key.to_owned(), self.clock.now());
        Box::pin(self.book(move |tx| Box::pin(async move { book::void(tx, &key, now).await })))
    }

    fn refund<'a>(
        &'a self,
        key: &'a str,
        charge_key: &'a str,
        amount: i64,
    ) -> Answer<'a, RefundReport> {
        let (key, charge_key, now) = (key.to_owned(), charge_key.to_owned(), self.clock.now());
        Box::pin(async move {
            let reply = self
                .database
                .write(move |tx| {
                    Box::pin(async move { book::refund(tx, &key, &charge_key, amount, now).await })
                })
                .await
                .map_err(book::Broken::lost)?;
            reply.ok_or(ProviderError::Lost)
        })
    }

    fn find<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Charge>> {
        let (key, now) = (key.to_owned(), self.clock.now());
        Box::pin(async move {
            let found = self
                .database
                .write(move |tx| Box::pin(async move { book::find(tx, &key, now).await }))
                .await
                .map_err(book::Broken::lost)?;
            Ok(found.map(|entry| entry.charge()))
        })
    }

    fn read(&self, payload: &[u8]) -> Result<Notice, String> {
        let event: Event = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        let data = event.data;
        let state = parse(&data.state).ok_or_else(|| format!("data.state is {:?}", data.state))?;
        let action = data
            .action_uri
            .zip(data.action_expire_time)
            .map(|(uri, micros)| Action { uri, expire_time: Time::from_micros(micros) });
        Ok(Notice {
            event_id: event.id,
            kind: event.kind,
            key: data.key,
            charge: Charge {
                reference: data.reference,
                state,
                amount: data.amount,
                currency: data.currency,
                captured: data.captured,
                action,
                expire_time: data.expire_time.map(Time::from_micros),
                failure: data.failure.as_deref().map(failure),
            },
        })
    }
}

/// The provider's word for a state.
fn word(state: ChargeState) -> &'static str {
    match state {
        ChargeState::ActionRequired => "ACTION_REQUIRED",
        ChargeState::Processing => "PROCESSING",
        ChargeState::Authorized => "AUTHORIZED",
        ChargeState::Captured => "CAPTURED",
        ChargeState::Declined => "DECLINED",
        ChargeState::Voided => "VOIDED",
    }
}

fn parse(word: &str) -> Option<ChargeState> {
    Some(match word {
        "ACTION_REQUIRED" => ChargeState::ActionRequired,
        "PROCESSING" => ChargeState::Processing,
        "AUTHORIZED" => ChargeState::Authorized,
        "CAPTURED" => ChargeState::Captured,
        "DECLINED" => ChargeState::Declined,
        "VOIDED" => ChargeState::Voided,
        _ => return None,
    })
}

/// The provider's word for a failure, in words that hold for every provider.
fn failure(word: &str) -> Failure {
    let code = match word {
        "insufficient_funds" => DeclineCode::InsufficientFunds,
        "expired_card" => DeclineCode::CardExpired,
        "authentication_failed" => DeclineCode::AuthenticationFailed,
        "authentication_expired" => DeclineCode::AuthenticationExpired,
        "capture_refused" => DeclineCode::CaptureRefused,
        "void_refused" => DeclineCode::VoidRefused,
        "refund_refused" => DeclineCode::RefundRefused,
        "no_such_payment_method" => DeclineCode::PaymentMethodUnknown,
        // An issuer that says no more, and every word that is new to us.
        _ => DeclineCode::CardDeclined,
    };
    Failure { code, provider_code: word.to_owned() }
}

/// The name by which an event says what happened.
fn kind(state: ChargeState) -> &'static str {
    match state {
        ChargeState::ActionRequired => "charge.action_required",
        ChargeState::Processing => "charge.processing",
        ChargeState::Authorized => "charge.authorized",
        ChargeState::Captured => "charge.captured",
        ChargeState::Declined => "charge.declined",
        ChargeState::Voided => "charge.voided",
    }
}

/// Whether the provider takes the money as soon as it may.
fn is_automatic(method: CaptureMethod) -> bool {
    match method {
        CaptureMethod::Automatic => true,
        CaptureMethod::Manual => false,
    }
}
