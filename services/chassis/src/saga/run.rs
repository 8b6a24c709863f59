//! One turn of an instance: run an attempt of its step, save how it ended.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    At, Effect, Interrupt, Outcome, Undone,
    engine::{Definition, Inner, StepInfo, Watch, index},
    store::{self, Attempt, Instance, Saved, Status},
};
use crate::{
    Fault, args,
    call::{self, Call},
    clock::Time,
    failpoint::{self, Action},
    random,
};

/// A pause up to this long is spent with the lease in hand; for a longer one the
/// instance is let go.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// When an instance that parks without a time is looked at anyway.
const PARK_MAX: Duration = Duration::from_secs(3_600);
/// The random part of a back-off, in percent either way.
const JITTER_PERCENT: u32 = 20;

/// What comes after a turn.
enum Next {
    /// Another turn.
    Turn,
    /// Another turn, after a pause or a nudge.
    Pause(Duration),
    /// Nothing here: it has ended, it waits, or another works on it.
    Leave,
}

/// What is to be saved.
struct Save {
    status: Status,
    undoing: bool,
    step: i64,
    state: String,
    attempts: i64,
    message: String,
    next_time: Time,
    /// Whether this process goes on working on it.
    hold: bool,
    /// Whether somebody's wish to go back forbids it.
    guarded: bool,
    /// Whether what a person said about the step is used up.
    consumed: bool,
    log: Vec<Attempt>,
    effects: Vec<Effect>,
}

/// Why nothing was saved.
enum Missed {
    /// Another process has taken the instance up, or a person has changed it.
    Fenced,
    /// Somebody wants it to go back.
    Interrupted(String),
}

/// One attempt, as it went.
enum Attempted {
    Act(Outcome),
    Undo(Undone),
    /// A failpoint ended the process, as far as anybody can see.
    Vanished,
}

/// The steps around an attempt, for failpoints.
struct Point<'a> {
    inner: &'a Inner,
    saga: &'static str,
    step: &'static str,
    undo: bool,
}

// === impl Inner ===

impl Inner {
    /// Works on an instance until it ends, waits or belongs to another.
    pub(super) async fn drive(self: Arc<Self>, mut instance: Instance, call: Option<Call>) {
        let saga_id = instance.saga_id.clone();
        let Some(definition) = self.definition(&instance) else {
            tracing::error!(
                saga.id = saga_id,
                saga.name = instance.name,
                saga.version = instance.version,
                "no definition of this saga is registered; it waits"
            );
            return;
        };
        let watch = self.drive_watch(&saga_id);
        let mut merge = true;
        loop {
            if self.stopped.load(Ordering::Acquire) {
                break;
            }
            if self.tasks.is_draining() {
                self.let_go(&instance).await;
                break;
            }
            let next = self.turn(&*definition, &mut instance, call.as_ref(), &watch, merge).await;
            match next {
                Ok(Next::Turn) => merge = true,
                Ok(Next::Leave) => break,
                Ok(Next::Pause(pause)) => self.pause(&watch, pause).await,
                Err(error) => {
                    tracing::warn!(saga.id = saga_id, %error, "an outcome could not be saved; the step is run again");
                    merge = false;
                    instance.attempts += 1;
                    self.pause(&watch, self.backoff(instance.attempts)).await;
                    if instance.lease_expire_time.is_some_and(|end| end <= self.clock.now()) {
                        break;
                    }
                }
            }
        }
        self.release(&saga_id, watch, true);
    }

    async fn pause(&self, watch: &Watch, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = watch.nudged.notified() => {}
            () = self.tasks.cancelled() => {}
        }
    }

    async fn let_go(&self, instance: &Instance) {
        let arguments = args![&instance.saga_id, instance.lease_epoch];
        let written = self
            .database
            .write(move |tx| Box::pin(async move { tx.execute(store::LET_GO, arguments).await }))
            .await;
        if let Err(error) = written {
            tracing::debug!(saga.id = instance.saga_id, %error, "a lease was not given back; it ends by itself");
        }
    }

    /// Runs one attempt and saves how it ended.
    async fn turn(
        &self,
        definition: &dyn Definition,
        instance: &mut Instance,
        call: Option<&Call>,
        watch: &Watch,
        merge: bool,
    ) -> Result<Next, Fault> {
        let now = self.clock.now();
        let position = usize::try_from(instance.step).unwrap_or(usize::MAX);
        let Some(step) = definition.step(position) else {
            tracing::error!(
                saga.id = instance.saga_id,
                step = instance.step,
                "a saga is at a step it does not have"
            );
            return Ok(Next::Leave);
        };
        if !instance.undoing
            && instance.is_before_pivot()
            && let Some(reason) = instance.interrupt.clone()
        {
            let save = self.turn_back(
                definition,
                instance,
                step,
                now,
                Vec::new(),
                &Interrupt::Asked(reason),
            );
            return self.settle(instance, save, watch, &[]).await;
        }

        let at = At {
            saga_id: instance.saga_id.clone(),
            attempt: instance.attempts + 1,
            now,
            deadline: instance.deadline,
            step: step.name,
            undo: instance.undoing,
        };
        let mut state = instance.state.clone();
        let point =
            Point { inner: self, saga: definition.name(), step: step.name, undo: instance.undoing };
        let skipped = instance.directive.is_some();
        let attempted = if skipped {
            let effect = definition.skipped(position, instance.undoing, &at, &mut state);
            if instance.undoing {
                Attempted::Undo(Undone::Done(effect))
            } else {
                Attempted::Act(Outcome::Done(effect))
            }
        } else {
            self.attempt(definition, position, step, &at, &mut state, call, &point).await
        };

        let mut points = vec![point];
        let save = match attempted {
            Attempted::Vanished => {
                self.stopped.store(true, Ordering::Release);
                return Ok(Next::Leave);
            }
            Attempted::Undo(undone) => self.backward(instance, &at, state, undone, skipped),
            Attempted::Act(outcome) => {
                let mut save =
                    self.forward(definition, instance, step, &at, state, outcome, skipped);
                if merge && save.status == Status::Running && save.step > instance.step {
                    self.merge_local(definition, &mut save, &at, call, &mut points).await;
                }
                save
            }
        };
        if self.stopped.load(Ordering::Acquire) {
            return Ok(Next::Leave);
        }
        self.settle(instance, save, watch, &points).await
    }

    /// Runs one attempt, within its time.
    #[expect(clippy::too_many_arguments, reason = "an attempt is just these things")]
    async fn attempt(
        &self,
        definition: &dyn Definition,
        position: usize,
        step: StepInfo,
        at: &At,
        state: &mut String,
        call: Option<&Call>,
        point: &Point<'_>,
    ) -> Attempted {
        let mut times = 1;
        match point.meet("before") {
            None => {}
            Some(Action::Twice) => times = 2,
            Some(action) => return point.failed(action),
        }
        let mut attempted = Attempted::Vanished;
        for _ in 0..times {
            // Made for this step alone: nobody's token, and only the trace of whoever
            // set the instance going.
            let mut own = Call::begin(step.timeout);
            if let Some(call) = call {
                own.trace = call.trace.clone();
            }
            let limit = step.timeout;
            attempted = if at.undo {
                let running = call::scope(own, definition.undo(position, at, state));
                Attempted::Undo(match tokio::time::timeout(limit, running).await {
                    Ok(undone) => undone,
                    Err(_) => Undone::retry("no answer in time"),
                })
            } else {
                let running = call::scope(own, definition.act(position, at, state));
                Attempted::Act(match tokio::time::timeout(limit, running).await {
                    Ok(outcome) => outcome,
                    Err(_) => Outcome::retry("no answer in time"),
                })
            };
        }
        match point.meet("after") {
            None | Some(Action::Twice) => attempted,
            Some(action) => point.failed(action),
        }
    }

    /// What follows from an attempt to do a step.
    #[expect(clippy::too_many_arguments, reason = "an outcome is judged by all of these")]
    fn forward(
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
    fn backward(
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
    fn turn_back(
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

    /// A local step needs no turn of its own: it is saved with the one before it.
    async fn merge_local<'a>(
        &'a self,
        definition: &dyn Definition,
        save: &mut Save,
        before: &At,
        call: Option<&Call>,
        points: &mut Vec<Point<'a>>,
    ) {
        let position = usize::try_from(save.step).unwrap_or(usize::MAX);
        let Some(step) = definition.step(position).filter(|step| step.is_local) else { return };
        let at = At { attempt: 1, step: step.name, undo: false, ..before.clone() };
        let mut state = save.state.clone();
        let point = Point { inner: self, saga: definition.name(), step: step.name, undo: false };
        match self.attempt(definition, position, step, &at, &mut state, call, &point).await {
            Attempted::Act(Outcome::Done(effect)) => {
                save.effects.extend(effect);
                save.log.push(line(&at, "DONE", ""));
                save.state = state;
                save.step += 1;
                if save.step >= index(definition.len()) {
                    save.status = Status::Done;
                    save.hold = false;
                }
                points.push(point);
            }
            Attempted::Vanished => self.stopped.store(true, Ordering::Release),
            // Whatever else it said it says again in a turn of its own.
            Attempted::Act(_) | Attempted::Undo(_) => {}
        }
    }

    /// Saves, and says what comes next.
    async fn settle(
        &self,
        instance: &mut Instance,
        save: Save,
        watch: &Watch,
        points: &[Point<'_>],
    ) -> Result<Next, Fault> {
        let (status, undoing, step, attempts) =
            (save.status, save.undoing, save.step, save.attempts);
        let (state, message, next_time, hold) =
            (save.state.clone(), save.message.clone(), save.next_time, save.hold);
        let now = self.clock.now();
        let lease = hold.then(|| now + self.settings.lease);
        let saved = match self.write(instance, save, lease, now).await? {
            Ok(saved) => saved,
            Err(Missed::Fenced) => {
                tracing::warn!(
                    saga.id = instance.saga_id,
                    "another took the saga over; this one lets go"
                );
                return Ok(Next::Leave);
            }
            Err(Missed::Interrupted(reason)) => {
                // What the step learned is needed to take it back.
                instance.state = state;
                instance.interrupt = Some(reason);
                return Ok(Next::Turn);
            }
        };
        let woken = saved.wakes != instance.wakes;
        instance.status = status;
        instance.undoing = undoing;
        instance.step = step;
        instance.attempts = attempts;
        instance.state = state;
        instance.message = message;
        instance.next_time = next_time;
        instance.lease_expire_time = lease;
        instance.update_time = now;
        instance.wakes = saved.wakes;
        instance.interrupt = saved.interrupt;
        instance.directive = saved.directive;
        for point in points {
            if let Some(Action::Stop) = point.meet("saved") {
                self.stopped.store(true, Ordering::Release);
                return Ok(Next::Leave);
            }
        }
        watch.publish(instance);
        if status.is_over() {
            tracing::debug!(
                saga.id = instance.saga_id,
                saga.name = instance.name,
                status = status.as_str(),
                "a saga ended"
            );
            return Ok(Next::Leave);
        }
        if hold {
            let pause = next_time.since(now);
            return Ok(if pause.is_zero() || woken { Next::Turn } else { Next::Pause(pause) });
        }
        // What it parked for came while it parked.
        if woken && let Some(taken) = self.claim(&instance.saga_id).await? {
            *instance = taken;
            return Ok(Next::Turn);
        }
        Ok(Next::Leave)
    }

    async fn write(
        &self,
        instance: &Instance,
        save: Save,
        lease: Option<Time>,
        now: Time,
    ) -> Result<Result<Saved, Missed>, Fault> {
        let saga_id = instance.saga_id.clone();
        let epoch = instance.lease_epoch;
        let arguments = args![
            &saga_id,
            epoch,
            save.status.as_str(),
            save.undoing,
            save.step,
            save.state,
            save.attempts,
            save.message,
            instance.wakes,
            save.next_time,
            now,
            i64::from(save.guarded),
            lease,
            i64::from(save.consumed),
        ];
        let (log, effects) = (save.log, save.effects);
        self.database
            .write(move |tx| {
                Box::pin(async move {
                    let Some(saved) = tx.fetch_optional::<Saved>(store::SAVE, arguments).await?
                    else {
                        let fence: Option<Option<String>> =
                            tx.fetch_optional(store::FENCE, args![&saga_id, epoch]).await?;
                        return Ok(Err(match fence.flatten() {
                            Some(reason) => Missed::Interrupted(reason),
                            None => Missed::Fenced,
                        }));
                    };
                    for attempt in &log {
                        store::log(tx, &saga_id, attempt).await?;
                    }
                    for effect in effects {
                        effect(tx).await?;
                    }
                    Ok(Ok(saved))
                })
            })
            .await
    }

    /// Doubles with every attempt, up to the longest, give or take some.
    fn backoff(&self, attempt: i64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or_default().min(20);
        let grown = self.settings.backoff.saturating_mul(1_u32 << doublings);
        random::jitter(grown.min(self.settings.backoff_max), JITTER_PERCENT)
    }
}

// === impl Save ===

impl Save {
    /// As the instance is, held, due at once.
    fn of(instance: &Instance, state: String, now: Time) -> Self {
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

// === impl Point ===

impl Point<'_> {
    /// Meets `<saga>.<step>.<act|undo>.<phase>`.
    fn meet(&self, phase: &str) -> Option<Action> {
        let name = || {
            let direction = if self.undo { "undo" } else { "act" };
            format!("{}.{}.{direction}.{phase}", self.saga, self.step)
        };
        self.inner.failpoints.hit_with(name).or_else(|| failpoint::process().hit_with(name))
    }

    fn failed(&self, action: Action) -> Attempted {
        match (action, self.undo) {
            (Action::Error | Action::Twice, false) => Attempted::Act(Outcome::retry("a failpoint")),
            (Action::Error | Action::Twice, true) => Attempted::Undo(Undone::retry("a failpoint")),
            (Action::Refuse, false) => Attempted::Act(Outcome::Refuse(
                Fault::internal().message("a failpoint refused the step"),
            )),
            (Action::Refuse, true) => Attempted::Undo(Undone::Stuck("a failpoint".to_owned())),
            (Action::Exit | Action::Stop, _) => Attempted::Vanished,
        }
    }
}

fn line(at: &At, outcome: &str, message: &str) -> Attempt {
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
