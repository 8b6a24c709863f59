//! What the storefront hears from others.

use chassis::{
    Fault,
    event::{Consumer, Delivery, Effect},
};
use contracts::orders::v1::{PlacementEnded, placement_ended::Outcome};

use crate::purchase::Purchases;

/// Follows the orders service: how placements ended.
#[derive(Debug)]
pub(crate) struct Orders {
    purchases: Purchases,
}

// === impl Orders ===

impl Orders {
    pub(crate) fn new(purchases: Purchases) -> Self {
        Self { purchases }
    }

    /// Reads how the placement stands and writes it down. The event is a
    /// doorbell: the orders service's own word is what counts, and writing it
    /// twice changes nothing.
    async fn ended(&self, ended: PlacementEnded) -> Result<(), Fault> {
        let Some(checkout) =
            self.purchases.store().find_checkout_of_placement(&ended.placement_id).await?
        else {
            return Ok(());
        };
        if !checkout.status.is_under_way() {
            return Ok(());
        }
        let progress = self.purchases.look(&checkout).await?;
        self.purchases.write_down(&checkout, progress).await?;
        Ok(())
    }
}

impl Consumer for Orders {
    const NAME: &'static str = "orders";

    async fn on(&self, delivery: &Delivery) -> Result<Effect, Fault> {
        if let Some(ended) = delivery.decode::<PlacementEnded>() {
            match ended.outcome {
                Some(Outcome::Number(_) | Outcome::Refusal(_)) => self.ended(ended).await?,
                None => {}
            }
        }
        Ok(Effect::none())
    }
}
