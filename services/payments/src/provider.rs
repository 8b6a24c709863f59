//! Whoever moves the money.
//!
//! Every call carries a key that the service made and wrote down before. A
//! provider that hears a key twice does once what it was told and answers twice.

pub mod sandbox;

use std::{fmt, future::Future, pin::Pin};

use crate::domain::{CaptureMethod, Charge, Failure, RefundReport};

/// What a provider answers, some time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// A payment provider.
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// What it is called in contracts, rows and settings: "sandbox".
    fn name(&self) -> &'static str;

    /// Authorizes an amount, or takes it at once with automatic capture. A
    /// decline is a charge.
    fn authorize<'a>(&'a self, order: &'a Authorization) -> Answer<'a, Charge>;

    /// Takes the customer's answer to its challenge, where the challenge is
    /// shown by the shop. A charge that has none is answered as it is.
    fn answer<'a>(&'a self, key: &'a str, success: bool) -> Answer<'a, Charge>;

    /// Takes the amount, or less of it, once, and releases the rest.
    fn capture<'a>(&'a self, key: &'a str, amount: i64) -> Answer<'a, Charge>;

    /// Releases whatever is held under a key and makes sure that nothing ever
    /// will be, also if the authorization is still on its way. A charge that was
    /// captured or declined is answered as it is.
    fn void<'a>(&'a self, key: &'a str) -> Answer<'a, Charge>;

    /// Gives back what was captured, or some of it, under a key of its own.
    fn refund<'a>(
        &'a self,
        key: &'a str,
        charge_key: &'a str,
        amount: i64,
    ) -> Answer<'a, RefundReport>;

    /// What it knows of a key.
    fn find<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Charge>>;

    /// Reads the body of a webhook whose signature was verified.
    fn read(&self, payload: &[u8]) -> Result<Notice, String>;
}

/// What is to be authorized.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The attempt's id.
    pub key: String,
    /// What the provider prints on its report: the order.
    pub merchant_reference: String,
    /// The intent, for the address of the challenge.
    pub intent_id: String,
    /// The token.
    pub payment_method: String,
    /// How much.
    pub amount: i64,
    /// In which currency.
    pub currency: String,
    /// Whether to take it at once.
    pub capture_method: CaptureMethod,
    /// Where the customer comes back to.
    pub return_uri: Option<String>,
}

/// An event that a provider tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id, unique for the provider.
    pub event_id: String,
    /// What the provider says happened.
    pub kind: String,
    /// The key of the charge it is about.
    pub key: String,
    /// The charge as it was then.
    pub charge: Charge,
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The request or the answer was lost: it may have happened or not.
    #[error("the provider's answer was lost")]
    Lost,
    /// It refused, and did nothing.
    #[error("the provider refused ({})", .0.provider_code)]
    Refused(Failure),
}
