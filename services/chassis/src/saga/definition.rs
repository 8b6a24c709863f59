//! A saga without its types: what the engine works with.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{At, Effect, Interrupt, Outcome, Saga, Step, Undone};

/// A [`Saga`], its types forgotten.
pub(super) trait Definition: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> i64;
    fn len(&self) -> usize;
    fn step(&self, index: usize) -> Option<StepInfo>;
    fn act<'a>(&'a self, step: usize, at: &'a At, state: &'a mut String) -> BoxFuture<'a, Outcome>;
    fn undo<'a>(&'a self, step: usize, at: &'a At, state: &'a mut String) -> BoxFuture<'a, Undone>;
    fn interrupted(&self, why: &Interrupt, state: &mut String);
    fn skipped(&self, step: usize, undo: bool, at: &At, state: &mut String) -> Option<Effect>;
}

#[derive(Debug, Clone, Copy)]
pub(super) struct StepInfo {
    pub(super) name: &'static str,
    pub(super) timeout: Duration,
    pub(super) is_local: bool,
}

pub(super) struct Of<S>(pub(super) S);

// === impl Of ===

impl<S: Saga> Of<S> {
    fn at(step: usize) -> Option<S::Step> {
        S::Step::ALL.get(step).copied()
    }

    fn read(state: &str) -> Result<S::State, String> {
        serde_json::from_str(state).map_err(|error| format!("the state cannot be read: {error}"))
    }

    fn write(state: &mut String, new: &S::State) {
        match serde_json::to_string(new) {
            Ok(json) => *state = json,
            Err(error) => {
                tracing::error!(saga = S::NAME, %error, "a saga's state cannot be written")
            }
        }
    }
}

impl<S: Saga> Definition for Of<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn version(&self) -> i64 {
        S::VERSION
    }

    fn len(&self) -> usize {
        S::Step::ALL.len()
    }

    fn step(&self, index: usize) -> Option<StepInfo> {
        Self::at(index).map(|step| StepInfo {
            name: step.name(),
            timeout: step.timeout(),
            is_local: step.is_local(),
        })
    }

    fn act<'a>(&'a self, step: usize, at: &'a At, state: &'a mut String) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Some(step) = Self::at(step) else { return Outcome::retry("there is no such step") };
            let mut typed = match Self::read(state) {
                Ok(typed) => typed,
                Err(problem) => return Outcome::retry(problem),
            };
            let outcome = self.0.act(step, at, &mut typed).await;
            Self::write(state, &typed);
            outcome
        })
    }

    fn undo<'a>(&'a self, step: usize, at: &'a At, state: &'a mut String) -> BoxFuture<'a, Undone> {
        Box::pin(async move {
            let Some(step) = Self::at(step) else { return Undone::retry("there is no such step") };
            let mut typed = match Self::read(state) {
                Ok(typed) => typed,
                Err(problem) => return Undone::retry(problem),
            };
            let undone = self.0.undo(step, at, &mut typed).await;
            Self::write(state, &typed);
            undone
        })
    }

    fn interrupted(&self, why: &Interrupt, state: &mut String) {
        if let Ok(mut typed) = Self::read(state) {
            self.0.interrupted(why, &mut typed);
            Self::write(state, &typed);
        }
    }

    fn skipped(&self, step: usize, undo: bool, at: &At, state: &mut String) -> Option<Effect> {
        let step = Self::at(step)?;
        let mut typed = Self::read(state).ok()?;
        let effect = self.0.skipped(step, undo, at, &mut typed);
        Self::write(state, &typed);
        effect
    }
}
