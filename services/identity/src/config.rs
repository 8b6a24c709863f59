//! Settings of the `[identity]` table.

use std::time::Duration;

use chassis::settings::Secret;
use serde::{Deserialize, Serialize};

use crate::domain::{Lifetimes, Limit};

/// How identity checks passwords and how long what it gives out is good for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// E-mail address of the first administrator, made at the start if there is
    /// none. Empty: none is made.
    pub admin_email: String,
    /// Password of the first administrator. It counts only when the account is made.
    pub admin_password: Secret,
    /// How long an access token is good for; at most 15 minutes.
    #[serde(with = "chassis::duration")]
    pub access_token_lifetime: Duration,
    /// How long a session of a user lives without a refresh.
    #[serde(with = "chassis::duration")]
    pub refresh_token_lifetime: Duration,
    /// How long a session of a guest lives without a refresh.
    #[serde(with = "chassis::duration")]
    pub guest_lifetime: Duration,
    /// How long a session lives, however often it is refreshed.
    #[serde(with = "chassis::duration")]
    pub session_lifetime: Duration,
    /// Argon2id: memory for one password, in KiB.
    pub argon2_memory_kib: u32,
    /// Argon2id: passes over the memory.
    pub argon2_passes: u32,
    /// Argon2id: lanes.
    pub argon2_lanes: u32,
    /// Passwords that are worked on at one time.
    pub concurrent_hashes_max: u32,
    /// Calls that wait for their password's turn; further ones are refused.
    pub waiting_hashes_max: u32,
    /// Failed logins of one account within `login_failures_window`; they wear off evenly.
    pub account_failures_max: u32,
    /// Failed logins from one network address, where the service sees it.
    pub address_failures_max: u32,
    /// The window of the two limits above.
    #[serde(with = "chassis::duration")]
    pub login_failures_window: Duration,
}

/// The longest an access token may live: nobody can take one back.
pub(crate) const ACCESS_TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(15 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            admin_email: String::new(),
            admin_password: Secret::default(),
            access_token_lifetime: ACCESS_TOKEN_LIFETIME_MAX,
            refresh_token_lifetime: DAY * 30,
            guest_lifetime: DAY * 30,
            session_lifetime: DAY * 180,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            argon2_lanes: 1,
            concurrent_hashes_max: 4,
            waiting_hashes_max: 64,
            account_failures_max: 10,
            address_failures_max: 100,
            login_failures_window: Duration::from_secs(15 * 60),
        }
    }
}

impl Config {
    pub(crate) fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            refresh: self.refresh_token_lifetime,
            guest: self.guest_lifetime,
            session: self.session_lifetime,
        }
    }

    pub(crate) fn account_limit(&self) -> Limit {
        Limit::new(self.account_failures_max, self.login_failures_window)
    }

    pub(crate) fn address_limit(&self) -> Limit {
        Limit::new(self.address_failures_max, self.login_failures_window)
    }
}
