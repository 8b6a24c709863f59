//! Settings of the `[inventory]` table.

use std::time::Duration;

use chassis::Error;
use serde::{Deserialize, Serialize};

/// How many expired reservations one transaction of the sweeper may give back.
const SWEEP_BATCH_MAX: u32 = 1_000;

/// Settings of the `[inventory]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often the sweeper looks for reservations whose time is up.
    #[serde(with = "chassis::duration")]
    pub sweep_period: Duration,
    /// How many of them it gives back in one transaction, 1 to 1000.
    pub sweep_batch: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { sweep_period: Duration::from_secs(1), sweep_batch: 100 }
    }
}

impl Config {
    /// Refuses settings that cannot be meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.sweep_period.is_zero() {
            return Err(Error::build(
                "`inventory.sweep_period` is 0: give it a duration such as 1s",
            ));
        }
        if self.sweep_batch == 0 || self.sweep_batch > SWEEP_BATCH_MAX {
            return Err(Error::build(format!(
                "`inventory.sweep_batch` is {}: give it a number from 1 to {SWEEP_BATCH_MAX}",
                self.sweep_batch
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_meant_are_refused() {
        assert!(Config::default().check().is_ok());
        assert!(Config { sweep_period: Duration::ZERO, ..Config::default() }.check().is_err());
        assert!(Config { sweep_batch: 0, ..Config::default() }.check().is_err());
        assert!(Config { sweep_batch: 1_001, ..Config::default() }.check().is_err());
    }
}
