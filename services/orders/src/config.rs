//! Settings of the `[orders]` table.

use std::time::Duration;

use chassis::saga;
use serde::{Deserialize, Serialize};

/// How patient the checkout is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a placement may take, the customer's own time counted. Then
    /// everything is taken back.
    #[serde(with = "chassis::duration")]
    pub placement_expiry: Duration,
    /// How long `PlaceOrder` waits for the outcome before it answers "pending".
    #[serde(with = "chassis::duration")]
    pub placement_wait: Duration,
    /// For how long stock is reserved at first; prolonged while a payment is open.
    #[serde(with = "chassis::duration")]
    pub reservation_ttl: Duration,
    /// How long `RecordFulfillment` waits for inventory.
    #[serde(with = "chassis::duration")]
    pub fulfillment_wait: Duration,
    /// How often a watched order is looked at.
    #[serde(with = "chassis::duration")]
    pub watch_period: Duration,
    /// Orders watched at once.
    pub watches_max: usize,
    /// The saga engine's.
    pub sagas: saga::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            placement_expiry: Duration::from_secs(15 * 60),
            placement_wait: Duration::from_secs(8),
            reservation_ttl: Duration::from_secs(15 * 60),
            fulfillment_wait: Duration::from_secs(4),
            watch_period: Duration::from_millis(500),
            watches_max: 1_024,
            sagas: saga::Settings::default(),
        }
    }
}
