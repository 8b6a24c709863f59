//! Places where a test may make the process die, a step fail or a service stop.
//!
//! A point costs one load of an atomic while none is armed, which is always the
//! case unless a test armed one: by a setting of the service, or for a whole
//! process by the environment variable `MERCAT_FAILPOINTS`.
//!
//! A specification is a list `name=action[:hit]`, separated by `;`. The action is
//! `exit` (the process ends at once, as by `kill -9`), `error` (what was about to
//! happen fails and may be tried again), `refuse` (it fails for good), `stop` (the
//! engine that met the point does nothing any more, as if its process were gone)
//! or `twice` (it happens two times). Without a hit number it applies every time;
//! with one, only that time.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process ends at once, with the code of a killed one.
    Exit,
    /// What was about to happen fails and may be tried again.
    Error,
    /// What was about to happen fails for good.
    Refuse,
    /// Whoever met the point does nothing any more.
    Stop,
    /// What was about to happen happens twice.
    Twice,
}

/// The points that are armed.
#[derive(Clone, Default)]
pub struct Failpoints {
    points: Arc<BTreeMap<String, Point>>,
}

struct Point {
    action: Action,
    /// The hit it applies to, from 1; 0 for every one.
    only: u64,
    hits: AtomicU64,
}

/// A specification that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failpoint `{0}` is not of the form name=exit|error|refuse|stop|twice[:hit]")]
pub struct Malformed(String);

// === impl Failpoints ===

impl Failpoints {
    /// Counts a hit and says what is to happen. [`Action::Exit`] does not return.
    pub fn hit(&self, name: &str) -> Option<Action> {
        if self.points.is_empty() {
            return None;
        }
        let point = self.points.get(name)?;
        let hit = point.hits.fetch_add(1, Ordering::Relaxed) + 1;
        if point.only != 0 && point.only != hit {
            return None;
        }
        tracing::warn!(failpoint = name, action = ?point.action, "an armed failpoint was hit");
        if point.action == Action::Exit {
            std::process::exit(137);
        }
        Some(point.action)
    }

    /// As [`Failpoints::hit`], for a name that is not worth making while nothing is armed.
    pub fn hit_with(&self, name: impl FnOnce() -> String) -> Option<Action> {
        if self.points.is_empty() { None } else { self.hit(&name()) }
    }

    /// How often each point was met.
    pub fn hits(&self) -> BTreeMap<String, u64> {
        self.points
            .iter()
            .map(|(name, point)| (name.clone(), point.hits.load(Ordering::Relaxed)))
            .collect()
    }
}

impl FromStr for Failpoints {
    type Err = Malformed;

    fn from_str(specification: &str) -> Result<Self, Malformed> {
        let mut points = BTreeMap::new();
        for part in specification.split([';', ',']).map(str::trim).filter(|part| !part.is_empty()) {
            let malformed = || Malformed(part.to_owned());
            let (name, rest) = part.split_once('=').ok_or_else(malformed)?;
            let (action, only) = match rest.split_once(':') {
                Some((action, hit)) => (action, hit.parse().map_err(|_| malformed())?),
                None => (rest, 0),
            };
            let action = match action.trim() {
                "exit" => Action::Exit,
                "error" => Action::Error,
                "refuse" => Action::Refuse,
                "stop" => Action::Stop,
                "twice" => Action::Twice,
                _ => return Err(malformed()),
            };
            points.insert(name.trim().to_owned(), Point { action, only, hits: AtomicU64::new(0) });
        }
        Ok(Self { points: Arc::new(points) })
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.points.keys()).finish()
    }
}

/// The points that the environment arms for the whole process.
pub fn process() -> &'static Failpoints {
    static PROCESS: LazyLock<Failpoints> = LazyLock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test harness arms a whole process, whatever its configuration"
        )]
        let armed = std::env::var("MERCAT_FAILPOINTS").unwrap_or_default();
        armed.parse().unwrap_or_else(|error| {
            tracing::error!(%error, "no failpoint is armed");
            Failpoints::default()
        })
    });
    &PROCESS
}

/// Meets the point of this name: ends the process there if it is armed so.
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        $crate::failpoint::process().hit($name)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_acts_on_the_hit_it_names() {
        let points: Failpoints = "a.b=error:2; c=stop".parse().unwrap();
        assert_eq!(points.hit("a.b"), None);
        assert_eq!(points.hit("a.b"), Some(Action::Error));
        assert_eq!(points.hit("a.b"), None);
        assert_eq!(points.hit("c"), Some(Action::Stop));
        assert_eq!(points.hit("c"), Some(Action::Stop));
        assert_eq!(points.hit("d"), None);
        assert_eq!(points.hits()["a.b"], 3);
    }

    #[test]
    fn a_malformed_specification_is_refused() {
        assert!("a".parse::<Failpoints>().is_err());
        assert!("a=explode".parse::<Failpoints>().is_err());
        assert!("a=exit:x".parse::<Failpoints>().is_err());
    }
}
