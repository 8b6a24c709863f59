//! One turn of an instance: run an attempt of its step, save how it ended.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    At, Interrupt, Outcome, Undone,
    definition::{Definition, StepInfo},
    engine::{Inner, Watch, index},
    judge::{Save, line},
    store::{self, Instance, Saved, Status},
};
use crate::{
    Fault, args,
    call::{self, Call},
    clock::Time,
    failpoint::{self, Action},
};

/// What comes after a turn.
enum Next {
    /// Another turn.
    Turn,
    /// Another turn, after a pause or a nudge.
    Pause(Duration),
    /// Nothing here: it has ended, it waits, or another works on it.
    Leave,
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
