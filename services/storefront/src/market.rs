//! What the catalogue and the stock say of a cart today.

use std::collections::{BTreeSet, HashMap};

use chassis::{Channel, Currency, Money};
use contracts::{
    catalog::v1::{PriceQuery, ResolvePricesRequest, pricing_service_client::PricingServiceClient},
    inventory::v1::{
        BatchGetAvailabilityRequest, inventory_service_client::InventoryServiceClient,
    },
};
use futures_util::future::try_join;

use crate::{
    domain::{Line, Market, Offer},
    error::Error,
};

/// Asks catalogue and inventory, both at once and once for a whole cart.
#[derive(Debug, Clone)]
pub(crate) struct Markets {
    prices: PricingServiceClient<Channel>,
    stock: InventoryServiceClient<Channel>,
}

// === impl Markets ===

impl Markets {
    pub(crate) fn new(
        prices: PricingServiceClient<Channel>,
        stock: InventoryServiceClient<Channel>,
    ) -> Self {
        Self { prices, stock }
    }

    /// Prices and availability of every line.
    pub(crate) async fn of(&self, lines: &[Line], currency: Currency) -> Result<Market, Error> {
        if lines.is_empty() {
            return Ok(Market::default());
        }
        let (offers, available) =
            try_join(self.offers(lines, currency), self.available(lines)).await?;
        Ok(Market { offers, available })
    }

    /// What the catalogue says of every line.
    pub(crate) async fn offers(
        &self,
        lines: &[Line],
        currency: Currency,
    ) -> Result<HashMap<String, Offer>, Error> {
        let queries = lines
            .iter()
            .map(|line| PriceQuery { sku: line.sku.clone(), quantity: i64::from(line.quantity) })
            .collect();
        let request = ResolvePricesRequest { currency_code: currency.code().to_owned(), queries };
        let response = self.prices.clone().resolve_prices(request).await?.into_inner();
        response
            .prices
            .into_iter()
            .filter(|price| !price.product_id.is_empty())
            .map(|price| {
                let unit_price = price
                    .unit_price
                    .filter(|_| price.purchasable)
                    .map(Money::try_from)
                    .transpose()?;
                let offer = Offer {
                    product_id: price.product_id,
                    variant_id: price.variant_id,
                    title: price.title,
                    unit_price,
                    tax_rate_micros: price.tax_rate_micros,
                    price_version: price.price_version,
                };
                Ok((price.sku, offer))
            })
            .collect()
    }

    async fn available(&self, lines: &[Line]) -> Result<HashMap<String, i64>, Error> {
        let skus: BTreeSet<String> = lines.iter().map(|line| line.sku.clone()).collect();
        let request = BatchGetAvailabilityRequest { skus: skus.into_iter().collect() };
        let response = self.stock.clone().batch_get_availability(request).await?.into_inner();
        Ok(response.availabilities.into_iter().map(|found| (found.sku, found.available)).collect())
    }
}
