//! Where a service's database is.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::duration;

/// What stands for the service's name in [`Config::url`].
pub(super) const SERVICE: &str = "{service}";

/// Settings of the `[database]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `sqlite:<file>` or `postgres://user:password@host/database`, in which
    /// `{service}` stands for the service's name: every service has its own.
    pub url: Url,
    /// SQLite: how many reads run beside each other.
    pub readers: usize,
    /// SQLite: whether a commit waits for the disk.
    pub synchronous: Synchronous,
    /// SQLite: how long to wait for another process that holds the file.
    #[serde(with = "duration")]
    pub busy_timeout: Duration,
    /// SQLite: page cache of each connection, in KiB.
    pub cache_kib: u32,
    /// SQLite: how much of the file is read through the page cache of the system, in MiB.
    pub mmap_mib: u32,
    /// PostgreSQL: the most connections held.
    pub connections: u32,
    /// PostgreSQL: the connections kept when idle.
    pub connections_idle: u32,
    /// PostgreSQL: how long to wait for a connection before the call is UNAVAILABLE.
    #[serde(with = "duration")]
    pub acquire_timeout: Duration,
    /// Prepared statements kept per connection; 0 behind a pooler that cannot keep them.
    pub statement_cache: usize,
    /// PostgreSQL: whether a database that does not exist is made.
    pub create: bool,
}

/// Whether a commit waits until the disk has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// It does: what was acknowledged survives a power cut.
    Full,
    /// It does not: a power cut may take the last commits. Never corrupts.
    Normal,
}

/// The address of a database. It may hold a password, which is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Url(String);

impl Default for Config {
    fn default() -> Self {
        Self {
            url: Url::new("sqlite:./data/{service}.db"),
            readers: 4,
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(5),
            cache_kib: 65_536,
            mmap_mib: 256,
            connections: 16,
            connections_idle: 2,
            acquire_timeout: Duration::from_secs(5),
            statement_cache: 512,
            create: true,
        }
    }
}

// === impl Url ===

impl Url {
    /// An address.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address with its password, for connecting.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The address with its password, with the service's name filled in.
    pub(super) fn of_service(&self, service: &str) -> String {
        self.0.replace(SERVICE, service)
    }
}

impl From<&str> for Url {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for Url {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.0.split_once("://").and_then(|(scheme, rest)| {
            let (login, place) = rest.rsplit_once('@')?;
            let (user, _password) = login.split_once(':')?;
            Some(format!("{scheme}://{user}:***@{place}"))
        });
        f.write_str(hidden.as_deref().unwrap_or(&self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for Url {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let url = Url::new("postgres://mercat:hunt@er2@db:5432/mercat_{service}");
        assert_eq!(url.to_string(), "postgres://mercat:***@db:5432/mercat_{service}");
        assert!(!format!("{url:?}").contains("hunt"));
        assert!(!serde_json::to_string(&url).unwrap().contains("hunt"));
        assert_eq!(url.of_service("orders"), "postgres://mercat:hunt@er2@db:5432/mercat_orders");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"readrs": 2}"#).is_err());
        let config: Config =
            serde_json::from_str(r#"{"synchronous": "normal", "busy_timeout": "2s"}"#).unwrap();
        assert_eq!(config.synchronous, Synchronous::Normal);
        assert_eq!(config.busy_timeout, Duration::from_secs(2));
    }
}
