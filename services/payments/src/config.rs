//! Settings of the `[payments]` table.

use std::time::Duration;

use chassis::{Error, settings::Secret};
use serde::{Deserialize, Serialize};

use crate::provider::sandbox;

/// How many webhook secrets may be live: one, and one that is being rotated out.
const SECRETS_MAX: usize = 2;
/// The shortest secret that is one.
const SECRET_BYTES_MIN: usize = 16;

/// Settings of the `[payments]` table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who moves the money. There is the built-in provider: "sandbox".
    pub provider: String,
    /// Secrets by which webhooks are signed, at most two while one is being
    /// replaced. None: a new one at every start, which only the built-in provider
    /// can know.
    pub webhook_secrets: Vec<Secret>,
    /// Where customers find the gateway, for the address of a challenge.
    pub gateway_uri: String,
    /// How often the service looks whether a provider is to be asked about
    /// something, and whether a webhook was left over.
    #[serde(with = "chassis::duration")]
    pub sync_period: Duration,
    /// How often the built-in provider looks whether a webhook is to be sent.
    #[serde(with = "chassis::duration")]
    pub sandbox_period: Duration,
    /// Where a test makes a call die: see [`mod@chassis::failpoint`]. The points are
    /// `<what>.written` and `<what>.answered`, where what is `collect`, `confirm`,
    /// `capture`, `cancel`, `answer` or `refund`.
    pub failpoints: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            provider: sandbox::NAME.to_owned(),
            webhook_secrets: Vec::new(),
            gateway_uri: "http://127.0.0.1:8080".to_owned(),
            sync_period: Duration::from_secs(1),
            sandbox_period: Duration::from_secs(1),
            failpoints: String::new(),
        }
    }
}

impl Config {
    /// Refuses settings that cannot be meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.provider != sandbox::NAME {
            return Err(Error::build(format!(
                "`payments.provider` is {:?}: the only one there is today is {:?}",
                self.provider,
                sandbox::NAME
            )));
        }
        if self.webhook_secrets.len() > SECRETS_MAX {
            return Err(Error::build(format!(
                "`payments.webhook_secrets` holds more than {SECRETS_MAX}"
            )));
        }
        if self.webhook_secrets.iter().any(|secret| secret.expose().len() < SECRET_BYTES_MIN) {
            return Err(Error::build(format!(
                "`payments.webhook_secrets` holds one of fewer than {SECRET_BYTES_MIN} bytes: it could be guessed"
            )));
        }
        if self.sync_period.is_zero() || self.sandbox_period.is_zero() {
            return Err(Error::build(
                "`payments.sync_period` and `payments.sandbox_period` must be more than 0, such as 1s",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        let refused = [
            Config { provider: "stripe".to_owned(), ..Config::default() },
            Config { webhook_secrets: vec![Secret::new("short")], ..Config::default() },
            Config {
                webhook_secrets: vec![Secret::new("0123456789abcdef"); 3],
                ..Config::default()
            },
            Config { sync_period: Duration::ZERO, ..Config::default() },
        ];
        assert!(Config::default().check().is_ok());
        for config in refused {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
