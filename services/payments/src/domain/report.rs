//! What becomes of a payment when the provider has spoken, or has not.

use chassis::clock::Time;

use super::{
    Attempt, AttemptState, CancellationReason, CaptureMethod, Change, Charge, ChargeState,
    DeclineCode, EntryKind, Failure, Intent, IntentStatus, News, Question, SYNC_SCHEDULE,
};
use crate::error::Error;

/// Applies the provider's word on a charge, whichever way it came. What says
/// nothing new changes nothing.
pub fn learn(
    intent: &mut Intent,
    attempt: &mut Attempt,
    charge: &Charge,
    now: Time,
) -> Result<Change, Error> {
    if intent.attempt_id.as_deref() != Some(&attempt.id) {
        return Ok(Change::default());
    }
    let Some(next) = attempt.state.told(charge.state) else { return Ok(Change::default()) };
    // Once it was held, "processing" is an old tale, even if an answer was lost since.
    if intent.authorized > 0
        && matches!(charge.state, ChargeState::ActionRequired | ChargeState::Processing)
    {
        return Ok(Change::default());
    }
    attempt.reference = Some(charge.reference.clone());
    if !matches!(charge.state, ChargeState::Declined | ChargeState::Voided) {
        attempt.provider_amount = Some(charge.amount);
        attempt.provider_currency = Some(charge.currency.clone());
        if !is_as_asked(intent, attempt, charge) {
            return conflict(intent, attempt);
        }
    }
    let from = attempt.state;
    attempt.go(next)?;
    attempt.error = None;
    match charge.state {
        ChargeState::ActionRequired => {
            intent.go(IntentStatus::RequiresAction)?;
            intent.action.clone_from(&charge.action);
            attempt.next_sync_time = charge.action.as_ref().map(|action| action.expire_time);
            Ok(Change::of(News::ActionRequired))
        }
        ChargeState::Processing => {
            intent.go(IntentStatus::Processing)?;
            attempt.next_sync_time = attempt.next_sync_time.or(Some(now + SYNC_SCHEDULE[0]));
            Ok(Change::quiet())
        }
        ChargeState::Authorized => {
            intent.go(IntentStatus::RequiresCapture)?;
            let held = std::mem::replace(&mut intent.authorized, charge.amount);
            intent.authorization_expire_time = charge.expire_time;
            intent.error = None;
            attempt.next_sync_time = charge.expire_time;
            Ok(Change::of(News::Authorized).with(EntryKind::Authorization, charge.amount - held))
        }
        ChargeState::Captured => {
            intent.go(IntentStatus::Succeeded)?;
            let held = std::mem::replace(&mut intent.authorized, charge.amount);
            intent.captured = charge.captured;
            intent.error = None;
            attempt.capture_amount = Some(charge.captured);
            attempt.next_sync_time = None;
            Ok(Change::of(News::Captured)
                .with(EntryKind::Release, held)
                .with(EntryKind::Capture, charge.captured))
        }
        // A decline of what was being voided, or was held, reads as a void.
        ChargeState::Declined | ChargeState::Voided
            if next == AttemptState::Voided || intent.authorized > 0 =>
        {
            voided(intent, attempt, from)
        }
        ChargeState::Declined | ChargeState::Voided => {
            let failure =
                charge.failure.clone().unwrap_or_else(|| Failure::own(DeclineCode::CardDeclined));
            failed(intent, attempt, failure)
        }
    }
}

/// What was asked was not answered: nobody knows.
pub fn lose(intent: &mut Intent, attempt: &mut Attempt, now: Time) -> Result<Change, Error> {
    let Some(question) = attempt.state.in_flight() else { return Ok(Change::default()) };
    if intent.status == IntentStatus::Unknown {
        return Ok(Change::default());
    }
    if question == Question::Charge {
        attempt.go(AttemptState::Unknown)?;
    }
    intent.go(IntentStatus::Unknown)?;
    attempt.next_sync_time = attempt.next_sync_time.or(Some(now + SYNC_SCHEDULE[0]));
    Ok(Change::of(News::Unknown))
}

/// The provider refused to do what it was asked; it did nothing.
pub fn refuse(
    intent: &mut Intent,
    attempt: &mut Attempt,
    failure: Failure,
    now: Time,
) -> Result<Change, Error> {
    match attempt.state.in_flight() {
        None => Ok(Change::default()),
        Some(Question::Charge) => {
            attempt.go(AttemptState::Error)?;
            attempt.error = Some(failure.clone());
            attempt.next_sync_time = None;
            intent.go(IntentStatus::RequiresPaymentMethod)?;
            intent.error = Some(failure);
            Ok(Change::of(News::Declined))
        }
        Some(Question::Capture) => {
            attempt.go(AttemptState::CaptureFailed)?;
            attempt.error = Some(failure.clone());
            attempt.next_sync_time = intent.authorization_expire_time;
            // Who was told that nobody knows is told that the money is still held.
            let change = match intent.status {
                IntentStatus::Unknown => Change::of(News::Authorized),
                _ => Change::quiet(),
            };
            intent.go(IntentStatus::RequiresCapture)?;
            intent.error = Some(failure);
            Ok(change)
        }
        Some(Question::Void) => {
            attempt.error = Some(failure.clone());
            attempt.next_sync_time = Some(now + SYNC_SCHEDULE[0]);
            intent.error = Some(failure);
            // What it still holds is known, unless the answer to this void, or to
            // what came before it, was lost.
            attempt.go(match intent.status {
                IntentStatus::Unknown => AttemptState::Unknown,
                _ => AttemptState::VoidFailed,
            })?;
            Ok(Change::quiet())
        }
    }
}

/// Whether the provider speaks of the amount it was asked for.
fn is_as_asked(intent: &Intent, attempt: &Attempt, charge: &Charge) -> bool {
    let captured_as_asked = match (charge.state, attempt.capture_amount, intent.capture_method) {
        (ChargeState::Captured, Some(asked), _) => charge.captured == asked,
        (ChargeState::Captured, None, CaptureMethod::Automatic) => {
            charge.captured == attempt.amount
        }
        // Nobody asked for it.
        (ChargeState::Captured, None, CaptureMethod::Manual) => false,
        (
            ChargeState::ActionRequired
            | ChargeState::Processing
            | ChargeState::Authorized
            | ChargeState::Declined
            | ChargeState::Voided,
            _,
            _,
        ) => true,
    };
    charge.amount == attempt.amount
        && charge.currency == attempt.currency.code()
        && captured_as_asked
}

fn conflict(intent: &mut Intent, attempt: &mut Attempt) -> Result<Change, Error> {
    if attempt.state == AttemptState::Conflicted {
        return Ok(Change::default());
    }
    let failure = Failure::own(DeclineCode::AmountMismatch);
    attempt.go(AttemptState::Conflicted)?;
    attempt.error = Some(failure.clone());
    attempt.next_sync_time = None;
    intent.go(IntentStatus::Conflicted)?;
    intent.error = Some(failure);
    Ok(Change::of(News::Conflicted))
}

fn failed(intent: &mut Intent, attempt: &mut Attempt, failure: Failure) -> Result<Change, Error> {
    attempt.error = Some(failure.clone());
    attempt.next_sync_time = None;
    intent.go(IntentStatus::RequiresPaymentMethod)?;
    intent.error = Some(failure);
    Ok(Change::of(News::Declined))
}

/// Nothing is held any more: because we asked for it, because the provider let
/// go of it, or because it never was.
fn voided(intent: &mut Intent, attempt: &mut Attempt, from: AttemptState) -> Result<Change, Error> {
    attempt.next_sync_time = None;
    let held = intent.authorized;
    if from == AttemptState::VoidInitiated {
        intent.go(IntentStatus::Canceled)?;
        intent.cancellation_reason =
            attempt.cancellation_reason.or(Some(CancellationReason::Requested));
    } else if held > 0 || from == AttemptState::Conflicted {
        intent.go(IntentStatus::Expired)?;
        intent.cancellation_reason = Some(CancellationReason::Expired);
    } else {
        return failed(intent, attempt, Failure::own(DeclineCode::NotProcessed));
    }
    intent.error = None;
    Ok(Change::of(News::Canceled).with(EntryKind::Release, held))
}
