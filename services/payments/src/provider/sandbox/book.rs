//! The built-in provider's books.

use chassis::{
    Time, Tx, args,
    store::{Error as StoreError, FromRow, Row},
};

use super::{
    Data, Event, failure, is_automatic, kind, parse,
    script::{CHALLENGE_TTL, First, HOLD_TTL, LATE, NEWS_DELAY, PROCESSING_TIME, Script},
    word,
};
use crate::{
    domain::{Action, Charge, ChargeState, RefundReport},
    provider::{Authorization, ProviderError},
    store::unreadable,
};

macro_rules! columns {
    () => {
        "charge_key, reference, merchant_reference, payment_method, state, amount, currency, captured, refunded,
            automatic_capture, failure, action_uri, due_state, due_failure, due_time, refusals, create_time,
            update_time"
    };
}

chassis::statements! {
    /// A new charge, unless the key is known.
    OPEN_CHARGE = concat!("insert into sandbox_charge (", columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12, $13, $14, 0, $15, $15)
        on conflict (charge_key) do nothing");
    /// A charge.
    FIND_CHARGE = concat!("select ", columns!(), " from sandbox_charge where charge_key = $1 {{FOR_UPDATE}}");
    /// What a charge has become by itself.
    LAPSE_CHARGE = "update sandbox_charge set
            state = due_state,
            failure = due_failure,
            captured = case when due_state = 'CAPTURED' then amount else captured end,
            due_time = case when due_state = 'AUTHORIZED' then due_time + $3 else null end,
            due_state = case when due_state = 'AUTHORIZED' then 'VOIDED' else null end,
            due_failure = null,
            update_time = $2
        where charge_key = $1 and due_time <= $2";
    /// The customer's answer to the challenge.
    ANSWER_CHARGE = concat!("update sandbox_charge set state = $3, captured = $4, failure = $5, due_state = $6,
            due_time = $7, due_failure = null, action_uri = null, update_time = $2
        where charge_key = $1 and state = 'ACTION_REQUIRED' and due_time > $2
        returning ", columns!());
    /// The money is taken, once.
    CAPTURE_CHARGE = concat!("update sandbox_charge set state = 'CAPTURED', captured = $3, due_state = null,
            due_time = null, update_time = $2
        where charge_key = $1 and state = 'AUTHORIZED' and due_time > $2 and $3 between 1 and amount
            and (payment_method <> 'pm_capture_fails_once' or refusals > 0)
        returning ", columns!());
    /// Whatever is held is released.
    VOID_CHARGE = concat!("update sandbox_charge set state = 'VOIDED', due_state = null, due_time = null,
            update_time = $2
        where charge_key = $1 and state in ('ACTION_REQUIRED', 'PROCESSING', 'AUTHORIZED')
            and (payment_method <> 'pm_void_fails_once' or refusals > 0)
        returning ", columns!());
    /// One more refusal.
    COUNT_REFUSAL = "update sandbox_charge set refusals = refusals + 1 where charge_key = $1";
    /// Money goes back, as long as there is any.
    REFUND_CHARGE = "update sandbox_charge set refunded = refunded + $2, update_time = $3
        where charge_key = $1 and state = 'CAPTURED' and refunded + $2 <= captured";
    /// A refund, unless the key is known.
    OPEN_REFUND = "insert into sandbox_refund (refund_key, charge_key, reference, amount, currency, state, create_time)
        values ($1, $2, $3, $4, $5, $6, $7) on conflict (refund_key) do nothing";
    /// A refund.
    FIND_REFUND = "select reference, amount, currency, state from sandbox_refund where refund_key = $1";
    /// A webhook to be sent.
    ADD_MAIL = "insert into sandbox_webhook (event_id, charge_key, payload, send_time) values ($1, $2, $3, $4)";
    /// Webhooks whose time has come.
    LIST_MAIL = "select seq, event_id, charge_key, payload from sandbox_webhook
        where send_time <= $1 order by send_time, seq limit $2";
    /// A webhook that was taken in, or never will be.
    DROP_MAIL = "delete from sandbox_webhook where seq = $1";
}

/// A charge as it is written down.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    key: String,
    reference: String,
    merchant_reference: String,
    payment_method: String,
    state: ChargeState,
    amount: i64,
    currency: String,
    captured: i64,
    automatic_capture: bool,
    failure: Option<String>,
    action_uri: Option<String>,
    due: Option<Due>,
}

/// What a charge becomes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    state: ChargeState,
    failure: Option<String>,
    time: Time,
}

/// What the provider says to a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// The charge.
    Charge(Box<Entry>),
    /// Nothing: it was done, but the answer is lost.
    Lost,
    /// No, and why.
    Refused(String),
}

/// The books cannot be opened, which from outside is an answer that never came.
#[derive(Debug, thiserror::Error)]
#[error("the built-in provider's books cannot be used")]
pub(super) struct Broken(#[from] StoreError);

// === impl Broken ===

impl Broken {
    /// What the caller notices.
    pub(super) fn lost(self) -> ProviderError {
        tracing::warn!(error = %self.0, "the built-in provider's books could not be used");
        ProviderError::Lost
    }

    /// What the database said.
    pub(super) fn into_store(self) -> StoreError {
        self.0
    }
}

// === impl Entry ===

impl Entry {
    /// A charge as the script begins it.
    pub(super) fn opened(
        order: &Authorization,
        script: &Script,
        gateway_uri: &str,
        now: Time,
    ) -> Self {
        let automatic_capture = is_automatic(order.capture_method);
        let mut entry = Self {
            key: order.key.clone(),
            reference: format!("sb_ch_{}", order.key),
            merchant_reference: order.merchant_reference.clone(),
            payment_method: order.payment_method.clone(),
            state: ChargeState::Processing,
            amount: order.amount.saturating_add(script.surplus),
            currency: order.currency.clone(),
            captured: 0,
            automatic_capture,
            failure: None,
            action_uri: None,
            due: None,
        };
        match script.first {
            First::Approve => entry.approve(now),
            First::Decline(why) => entry.decline(why),
            First::Challenge => {
                entry.state = ChargeState::ActionRequired;
                entry.action_uri = Some(format!(
                    "{gateway_uri}/v1/paymentIntents/{}:completeAction",
                    order.intent_id
                ));
                entry.due = Some(Due {
                    state: ChargeState::Declined,
                    failure: Some("authentication_expired".to_owned()),
                    time: now + CHALLENGE_TTL,
                });
            }
            First::Later(failure) => {
                let state = match (failure, automatic_capture) {
                    (Some(_), _) => ChargeState::Declined,
                    (None, true) => ChargeState::Captured,
                    (None, false) => ChargeState::Authorized,
                };
                entry.due = Some(Due {
                    state,
                    failure: failure.map(str::to_owned),
                    time: now + PROCESSING_TIME,
                });
            }
        }
        entry
    }

    fn approve(&mut self, now: Time) {
        self.action_uri = None;
        if self.automatic_capture {
            self.state = ChargeState::Captured;
            self.captured = self.amount;
            self.due = None;
        } else {
            self.state = ChargeState::Authorized;
            self.due =
                Some(Due { state: ChargeState::Voided, failure: None, time: now + HOLD_TTL });
        }
    }

    fn decline(&mut self, why: &str) {
        self.state = ChargeState::Declined;
        self.action_uri = None;
        self.failure = Some(why.to_owned());
        self.due = None;
    }

    /// What the provider says of it.
    pub(super) fn charge(&self) -> Charge {
        let until = |state| self.due.as_ref().filter(|_| self.state == state).map(|due| due.time);
        Charge {
            reference: self.reference.clone(),
            state: self.state,
            amount: self.amount,
            currency: self.currency.clone(),
            captured: self.captured,
            action: self
                .action_uri
                .clone()
                .zip(until(ChargeState::ActionRequired))
                .map(|(uri, expire_time)| Action { uri, expire_time }),
            expire_time: until(ChargeState::Authorized),
            failure: self.failure.as_deref().map(failure),
        }
    }

    /// The body of a webhook about it.
    pub(super) fn payload(&self, event_id: &str, now: Time) -> String {
        let charge = self.charge();
        let event = Event {
            id: event_id.to_owned(),
            kind: kind(self.state).to_owned(),
            created: now.micros(),
            data: Data {
                key: self.key.clone(),
                reference: charge.reference,
                state: word(charge.state).to_owned(),
                amount: charge.amount,
                currency: charge.currency,
                captured: charge.captured,
                failure: self.failure.clone(),
                action_expire_time: charge
                    .action
                    .as_ref()
                    .map(|action| action.expire_time.micros()),
                action_uri: charge.action.map(|action| action.uri),
                expire_time: charge.expire_time.map(Time::micros),
            },
        };
        // A struct of texts and numbers always has a JSON form.
        serde_json::to_string(&event).unwrap_or_default()
    }

    fn script(&self) -> Option<Script> {
        Script::of(&self.payment_method)
    }
}

impl FromRow for Entry {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        let due_state: Option<String> = row.get("due_state")?;
        let due_time: Option<Time> = row.get("due_time")?;
        let due = match due_state.zip(due_time) {
            Some((text, time)) => Some(Due {
                state: parse(&text).ok_or_else(|| unreadable("due_state", &text))?,
                failure: row.get("due_failure")?,
                time,
            }),
            None => None,
        };
        Ok(Self {
            key: row.get("charge_key")?,
            reference: row.get("reference")?,
            merchant_reference: row.get("merchant_reference")?,
            payment_method: row.get("payment_method")?,
            state: parse(&state).ok_or_else(|| unreadable("state", &state))?,
            amount: row.get("amount")?,
            currency: row.get("currency")?,
            captured: row.get("captured")?,
            automatic_capture: row.get("automatic_capture")?,
            failure: row.get("failure")?,
            action_uri: row.get("action_uri")?,
            due,
        })
    }
}

impl From<Entry> for Reply {
    fn from(entry: Entry) -> Self {
        Self::Charge(Box::new(entry))
    }
}

/// Opens a charge; one whose key is known is answered as it is.
pub(super) async fn open(
    tx: &mut Tx,
    entry: Entry,
    script: Script,
    now: Time,
) -> Result<Reply, Broken> {
    if !insert(tx, &entry, now).await? {
        return Ok(match find(tx, &entry.key, now).await? {
            Some(known) => known.into(),
            None => Reply::Lost,
        });
    }
    if matches!(script.first, First::Later(_)) {
        post(tx, &entry.key, None, now + PROCESSING_TIME).await?;
    }
    if script.lost_after {
        post(tx, &entry.key, None, now + NEWS_DELAY).await?;
    }
    if script.late {
        let past = Entry { state: ChargeState::Processing, ..entry.clone() };
        post(tx, &entry.key, Some(&past), now + LATE).await?;
    }
    announce(tx, &entry, now).await?;
    Ok(if script.lost_after { Reply::Lost } else { entry.into() })
}

/// Takes the customer's answer.
pub(super) async fn answer(
    tx: &mut Tx,
    key: &str,
    success: bool,
    now: Time,
) -> Result<Reply, Broken> {
    let Some(mut entry) = find(tx, key, now).await? else { return Ok(Reply::Lost) };
    if success && entry.payment_method != "pm_card_3ds_fail" {
        entry.approve(now);
    } else {
        entry.decline("authentication_failed");
    }
    let arguments = args![
        key,
        now,
        word(entry.state),
        entry.captured,
        entry.failure.as_deref(),
        entry.due.as_ref().map(|due| word(due.state)),
        entry.due.as_ref().map(|due| due.time),
    ];
    if let Some(answered) = tx.fetch_optional::<Entry>(ANSWER_CHARGE, arguments).await? {
        return Ok(answered.into());
    }
    known(tx, key, now).await
}

/// Takes the money.
pub(super) async fn capture(
    tx: &mut Tx,
    key: &str,
    amount: i64,
    now: Time,
) -> Result<Reply, Broken> {
    if let Some(captured) =
        tx.fetch_optional::<Entry>(CAPTURE_CHARGE, args![key, now, amount]).await?
    {
        announce(tx, &captured, now).await?;
        return Ok(if captured.payment_method == "pm_capture_timeout" {
            Reply::Lost
        } else {
            captured.into()
        });
    }
    match find(tx, key, now).await? {
        Some(entry) if matches!(entry.state, ChargeState::Captured | ChargeState::Voided) => {
            Ok(entry.into())
        }
        _ => refused(tx, key, "capture_refused").await,
    }
}

/// Releases whatever is held, or shuts the door before it can be.
pub(super) async fn void(tx: &mut Tx, key: &str, now: Time) -> Result<Reply, Broken> {
    let shut = Entry {
        key: key.to_owned(),
        reference: format!("sb_ch_{key}"),
        merchant_reference: String::new(),
        payment_method: String::new(),
        state: ChargeState::Voided,
        amount: 0,
        currency: String::new(),
        captured: 0,
        automatic_capture: false,
        failure: None,
        action_uri: None,
        due: None,
    };
    if let Some(voided) = tx.fetch_optional::<Entry>(VOID_CHARGE, args![key, now]).await? {
        announce(tx, &voided, now).await?;
        return Ok(voided.into());
    }
    if insert(tx, &shut, now).await? {
        return Ok(shut.into());
    }
    match find(tx, key, now).await? {
        Some(entry)
            if matches!(
                entry.state,
                ChargeState::Captured | ChargeState::Declined | ChargeState::Voided
            ) =>
        {
            Ok(entry.into())
        }
        _ => refused(tx, key, "void_refused").await,
    }
}

/// Gives money back. `None` if the answer is lost.
pub(super) async fn refund(
    tx: &mut Tx,
    key: &str,
    charge_key: &str,
    amount: i64,
    now: Time,
) -> Result<Option<RefundReport>, Broken> {
    let charge = find(tx, charge_key, now).await?;
    let (method, currency) =
        charge.map(|entry| (entry.payment_method, entry.currency)).unwrap_or_default();
    let known: Option<(String, i64, String, String)> =
        tx.fetch_optional(FIND_REFUND, args![key]).await?;
    let (reference, amount, currency, state) = match known {
        Some(known) => known,
        None => {
            let paid = method != "pm_refund_fails"
                && tx.execute(REFUND_CHARGE, args![charge_key, amount, now]).await? == 1;
            let (reference, state) =
                (format!("sb_re_{key}"), if paid { "SUCCEEDED" } else { "FAILED" });
            tx.execute(
                OPEN_REFUND,
                args![key, charge_key, &reference, amount, &currency, state, now],
            )
            .await?;
            if method == "pm_refund_timeout" {
                return Ok(None);
            }
            (reference, amount, currency, state.to_owned())
        }
    };
    let outcome = if state == "SUCCEEDED" { Ok(()) } else { Err(failure("refund_refused")) };
    Ok(Some(RefundReport { reference, outcome, amount, currency }))
}

/// A charge as it is by now.
pub(super) async fn find(tx: &mut Tx, key: &str, now: Time) -> Result<Option<Entry>, Broken> {
    let Some(entry) = tx.fetch_optional::<Entry>(FIND_CHARGE, args![key]).await? else {
        return Ok(None);
    };
    if entry.due.as_ref().is_none_or(|due| due.time > now) {
        return Ok(Some(entry));
    }
    let hold = i64::try_from(HOLD_TTL.as_micros()).unwrap_or(i64::MAX);
    tx.execute(LAPSE_CHARGE, args![key, now, hold]).await?;
    Ok(tx.fetch_optional(FIND_CHARGE, args![key]).await?)
}

async fn known(tx: &mut Tx, key: &str, now: Time) -> Result<Reply, Broken> {
    Ok(find(tx, key, now).await?.map_or(Reply::Lost, Reply::from))
}

async fn refused(tx: &mut Tx, key: &str, why: &str) -> Result<Reply, Broken> {
    tx.execute(COUNT_REFUSAL, args![key]).await?;
    Ok(Reply::Refused(why.to_owned()))
}

async fn insert(tx: &mut Tx, entry: &Entry, now: Time) -> Result<bool, Broken> {
    let arguments = args![
        &entry.key,
        &entry.reference,
        &entry.merchant_reference,
        &entry.payment_method,
        word(entry.state),
        entry.amount,
        &entry.currency,
        entry.captured,
        entry.automatic_capture,
        entry.failure.as_deref(),
        &entry.action_uri,
        entry.due.as_ref().map(|due| word(due.state)),
        entry.due.as_ref().and_then(|due| due.failure.as_deref()),
        entry.due.as_ref().map(|due| due.time),
        now,
    ];
    Ok(tx.execute(OPEN_CHARGE, arguments).await? == 1)
}

/// Sends what the answer says by webhook too, for tokens that want it.
async fn announce(tx: &mut Tx, entry: &Entry, now: Time) -> Result<(), Broken> {
    let copies = entry.script().map_or(0, |script| script.copies);
    let event_id = format!("evt_{}", tx.clock().id());
    for _ in 0..copies {
        tx.execute(ADD_MAIL, args![&event_id, &entry.key, entry.payload(&event_id, now), now])
            .await?;
    }
    Ok(())
}

/// A webhook for later: what is true now, or what will be true then.
async fn post(
    tx: &mut Tx,
    key: &str,
    snapshot: Option<&Entry>,
    send_time: Time,
) -> Result<(), Broken> {
    let now = tx.clock().now();
    let event_id = format!("evt_{}", tx.clock().id());
    let payload = snapshot.map(|entry| entry.payload(&event_id, now));
    tx.execute(ADD_MAIL, args![event_id, key, payload, send_time]).await?;
    Ok(())
}
