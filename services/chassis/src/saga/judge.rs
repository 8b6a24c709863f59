//! What follows from an attempt: what is saved, and in which direction it goes on.

use std::time::Duration;

use super::{
    At, Effect, Interrupt, Outcome, Undone,
    definition::{Definition, StepInfo},
    engine::{Inner, index},
    store::{Attempt, Instance, Status},
};
use crate::{Fault, clock::Time, random};

/// A pause up to this long is spent with the lease in hand; for a longer one the
/// instance is let go.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// When an instance that parks without a time is looked at anyway.
const PARK_MAX: Duration = Duration::from_secs(3_600);
/// The random part of a back-off, in percent either way.
const JITTER_PERCENT: u32 = 20;

/// What is to be saved.
pub(super) struct Save {
    pub(super) status: Status,
    pub(super) undoing: bool,
    pub(super) step: i64,
    pub(super) state: String,
    pub(super) attempts: i64,
    pub(super) message: String,
    pub(super) next_time: Time,
    /// Whether this process goes on working on it.
    pub(super) hold: bool,
    /// Whether somebody's wish to go back forbids it.
    pub(super) guarded: bool,
    /// Whether what a person said about the step is used up.
    pub(super) consumed: bool,
    pub(super) log: Vec<Attempt>,
    pub(super) effects: Vec<Effect>,
}

// === impl Inner ===

impl Inner {
    /// What follows from an attempt to do a step.
    #[expect(clippy::too_many_arguments, reason = "an outcome is judged by all of these")]
    pub(super) fn forward(
        &self,
        definition: &dyn Definition,
        instance: &Instance,
        step: StepInfo,
        at: &At,
        state: String,
        outcome: Outcome,
        skipped: bool,
    ) -> Save {
        let now = self.clock.now();
        let expired =
            instance.deadline.is_some_and(|deadline| deadline <= now) && instance.is_before_pivot();
        let mut save = Save::of(instance, state, now);
        match outcome {
            Outcome::Done(effect) => {
                save.log.push(line(at, if skipped { "SKIPPED" } else { "DONE" }, ""));
                save.effects.extend(effect);
                save.step = instance.step + 1;
                save.attempts = 0;
                save.message = String::new();
                save.guarded = instance.is_before_pivot();
                save.consumed = true;
                save.status = Status::Running;
                if save.step >= index(definition.len()) {
                    save.status = Status::Done;
                    save.hold = false;
                }
                save
            }
            Outcome::Refuse(fault) if instance.is_before_pivot() => {
                let message = said(&fault);
                save.log.push(line(at, "REFUSED", &message));
                save.back(message)
            }
            Outcome::Refuse(fault) => {
                let message = said(&fault);
                tracing::error!(
                    saga.id = instance.saga_id,
                    step = step.name,
                    message,
                    "a saga cannot go forward; a person must decide"
                );
                save.log.push(line(at, "REFUSED", &message));
                save.stop(message)
            }
            Outcome::Retry { because, .. } if expired => {
                let log = vec![line(at, "RETRY", &because)];
                self.turn_back(
                    definition,
                    &Instance { state: save.state, ..instance.clone() },
                    step,
                    now,
                    log,
                    &Interrupt::Deadline,
                )
            }
            Outcome::Park { reason, .. } if expired => {
                let log = vec![line(at, "PARKED", &reason)];
                self.turn_back(
                    definition,
                    &Instance { state: save.state, ..instance.clone() },
                    step,
                    now,
                    log,
                    &Interrupt::Deadline,
                )
            }
            Outcome::Retry { after, because } => {
                save.log.push(line(at, "RETRY", &because));
                save.status = Status::Running;
                save.again(after.unwrap_or_else(|| self.backoff(at.attempt)), because)
            }
            Outcome::Park { reason, until, effect } => {
                save.log.push(line(at, "PARKED", &reason));
                save.effects.extend(effect);
                save.status = Status::Parked;
                save.attempts = 0;
                save.hold = false;
                save.message = reason;
                save.next_time = until.unwrap_or(now + PARK_MAX);
                if let Some(deadline) = instance.deadline
                    && instance.is_before_pivot()
                {
                    save.next_time = save.next_time.min(deadline);
                }
                save
            }
        }
    }

    /// What follows from an attempt to take a step back.
    pub(super) fn backward(
        &self,
        instance: &Instance,
        at: &At,
        state: String,
        undone: Undone,
        skipped: bool,
    ) -> Save {
        let now = self.clock.now();
        let mut save = Save::of(instance, state, now);
        match undone {
            Undone::Done(effect) => {
                save.log.push(line(at, if skipped { "SKIPPED" } else { "DONE" }, ""));
                save.effects.extend(effect);
                save.step = instance.step - 1;
                save.attempts = 0;
                save.consumed = true;
                save.status = Status::Compensating;
                if save.step < 0 {
                    save.status = Status::Compensated;
                    save.hold = false;
                }
                save
            }
            Undone::Retry { after, because } => {
                save.log.push(line(at, "RETRY", &because));
                save.again(after.unwrap_or_else(|| self.backoff(at.attempt)), because)
            }
            Undone::Stuck(reason) => {
                tracing::error!(
                    saga.id = instance.saga_id,
                    step = at.step,
                    reason,
                    "a step cannot be taken back; a person must decide"
                );
                save.log.push(line(at, "STUCK", &reason));
                save.stop(reason)
            }
        }
    }

    /// Turns an instance back for a reason that no step gave.
    pub(super) fn turn_back(
        &self,
        definition: &dyn Definition,
        instance: &Instance,
        step: StepInfo,
        now: Time,
        log: Vec<Attempt>,
        why: &Interrupt,
    ) -> Save {
        let mut state = instance.state.clone();
        definition.interrupted(why, &mut state);
        let message = match why {
            Interrupt::Deadline => "the deadline passed".to_owned(),
            Interrupt::Asked(reason) => reason.clone(),
        };
        let mut save = Save::of(instance, state, now);
        save.log = log;
        save.log.push(Attempt {
            step: step.name.to_owned(),
            undo: false,
            attempt: instance.attempts,
            outcome: "INTERRUPTED".to_owned(),
            message: message.clone(),
            create_time: now,
        });
        save.back(message)
    }

    /// Doubles with every attempt, up to the longest, give or take some.
    pub(super) fn backoff(&self, attempt: i64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or_default().min(20);
        let grown = self.settings.backoff.saturating_mul(1_u32 << doublings);
        random::jitter(grown.min(self.settings.backoff_max), JITTER_PERCENT)
    }
}

// === impl Save ===

impl Save {
    /// As the instance is, held, due at once.
    pub(super) fn of(instance: &Instance, state: String, now: Time) -> Self {
        Self {
            status: instance.status,
            undoing: instance.undoing,
            step: instance.step,
            state,
            attempts: instance.attempts + 1,
            message: instance.message.clone(),
            next_time: now,
            hold: true,
            guarded: false,
            consumed: false,
            log: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Takes the steps back, from this one on: it may have been half done.
    fn back(mut self, message: String) -> Self {
        self.status = Status::Compensating;
        self.undoing = true;
        self.attempts = 0;
        self.message = message;
        self.consumed = true;
        self
    }

    /// Leaves it to a person.
    fn stop(mut self, message: String) -> Self {
        self.status = Status::Failed;
        self.message = message;
        self.hold = false;
        self
    }

    /// Tries again later.
    fn again(mut self, pause: Duration, message: String) -> Self {
        self.next_time = self.next_time + pause;
        self.hold = pause <= PAUSE_MAX;
        self.message = message;
        self
    }
}

pub(super) fn line(at: &At, outcome: &str, message: &str) -> Attempt {
    Attempt {
        step: at.step.to_owned(),
        undo: at.undo,
        attempt: at.attempt,
        outcome: outcome.to_owned(),
        message: message.to_owned(),
        create_time: at.now,
    }
}

fn said(fault: &Fault) -> String {
    if fault.message_text().is_empty() {
        fault.reason().to_owned()
    } else {
        fault.message_text().to_owned()
    }
}
