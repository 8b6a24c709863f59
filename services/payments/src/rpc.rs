//! The service as it is called: each method parses its request, has the till do
//! it or reads it, and answers.

mod ledger;
mod payment;
mod refund;
mod webhook;

use chassis::{
    Caller, Money, Pages,
    idempotency::{self, KEEP_MONEY, Key},
    store::Origin,
};
use contracts::values::v1;
use prost::{Message, Name};
use tonic::{Request, Response};

use crate::{
    domain::looks_like_card_number,
    error::Error,
    till::{Answer, Call, Till},
};

/// Answers every method of the four services.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) till: Till,
    pub(crate) pages: Pages,
}

impl Call {
    /// The call that a request is.
    fn of<M: Message + Name>(request: &Request<M>) -> Result<Self, Error> {
        let caller = Caller::of(request).key();
        // The contract requires a request_id, so that there always is one.
        let key = Key::of(request).ok_or(Error::Stale)?.keep(KEEP_MONEY);
        let operation = format!("{}/{caller}/{}", M::NAME, key.request_id());
        Ok(Self { key, operation, origin: Origin::current().actor(caller) })
    }
}

impl<T> Answer<T> {
    /// As the response: the message made of it, or the bytes given before.
    fn respond<M: Message + Default>(
        self,
        message: impl FnOnce(&T) -> M,
    ) -> Result<Response<M>, Error> {
        match self {
            Self::Fresh(value) => Ok(Response::new(message(&value))),
            Self::Replayed(stored) => Ok(idempotency::replay(stored)?),
        }
    }
}

/// A text that narrows a list, if it is given.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// An amount that is more than nothing.
fn amount(message: Option<v1::Money>) -> Result<Option<Money>, Error> {
    let Some(message) = message else { return Ok(None) };
    let amount = Money::try_from(&message).map_err(|_| Error::AmountInvalid)?;
    if amount.minor <= 0 {
        return Err(Error::AmountInvalid);
    }
    Ok(Some(amount))
}

/// A text that a customer may have had a hand in, if it is given; refused if it
/// looks like a card number.
fn harmless(field: &'static str, text: String) -> Result<Option<String>, Error> {
    if looks_like_card_number(&text) {
        return Err(Error::CardNumber { field });
    }
    Ok(given(text))
}
