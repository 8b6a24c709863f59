//! A catalogue with stock, made up by rules, so that a new mesh has something to
//! sell and a benchmark has as much as it wants.

use chassis::{Clock, Fault};
use contracts::{
    catalog::v1::{
        ImportProduct, ImportProductsRequest, ImportVariant, ListProductsRequest, NewPrice,
        OptionValue, ProductOption, import_service_client::ImportServiceClient,
        product_service_client::ProductServiceClient,
    },
    inventory::v1::{
        BulkSetStockRequest, CreateLocationRequest, ListLocationsRequest, StockCount,
        location_service_client::LocationServiceClient, stock_service_client::StockServiceClient,
    },
    values::v1::Money,
};

use crate::client::Client;

/// How many products a new mesh gets.
pub const PRODUCTS: u32 = 120;
/// How many products one call brings in.
const CHUNK: u32 = 200;
/// How many levels one call counts.
const COUNTS_MAX: usize = 1_000;
/// The code of the warehouse.
const LOCATION: &str = "main";

const MATERIALS: [(&str, &str); 10] = [
    ("Enamel", "fired twice, so that it forgives a fall"),
    ("Oak", "from one forest, oiled by hand"),
    ("Linen", "woven loose, washed once before it leaves us"),
    ("Stoneware", "thrown on the wheel, no two alike"),
    ("Copper", "hammered, tinned inside"),
    ("Wool", "undyed, from mountain sheep"),
    ("Cork", "light, warm and impossible to drown"),
    ("Steel", "brushed, riveted, meant to be inherited"),
    ("Glass", "blown from what others threw away"),
    ("Ash", "bent over steam, never glued"),
];
const THINGS: [(&str, &str, i64, i64); 12] = [
    ("mug", "kitchen", 1_250, 320),
    ("bowl", "kitchen", 1_890, 540),
    ("pan", "kitchen", 5_400, 1_800),
    ("carafe", "kitchen", 3_200, 900),
    ("lamp", "living", 8_900, 2_100),
    ("blanket", "living", 6_750, 1_200),
    ("stool", "living", 11_900, 4_300),
    ("vase", "living", 2_950, 800),
    ("tray", "office", 2_400, 700),
    ("pen pot", "office", 990, 250),
    ("desk mat", "office", 3_600, 600),
    ("clock", "office", 4_800, 850),
];
const SIZES: [(&str, i64); 2] = [("small", 100), ("large", 135)];

/// Whether the catalogue has nothing for sale yet.
pub async fn is_empty(client: &Client) -> Result<bool, Fault> {
    let request = ListProductsRequest { page_size: 1, ..ListProductsRequest::default() };
    let response =
        client.client(ProductServiceClient::new).list_products(request).await?.into_inner();
    Ok(response.products.is_empty())
}

/// Brings in so many products with prices and stock, and says after each chunk
/// how many there are. Done again it changes nothing but the stock.
pub async fn seed(
    client: &Client,
    products: u32,
    stock: i64,
    mut done: impl FnMut(u32),
) -> Result<(), Fault> {
    let clock = Clock::system();
    let location_id = location(client, &clock).await?;
    let mut first = 0;
    while first < products {
        let last = products.min(first + CHUNK);
        let rows: Vec<ImportProduct> = (first..last).map(product).collect();
        let skus: Vec<String> = rows
            .iter()
            .flat_map(|row| row.variants.iter().map(|variant| variant.sku.clone()))
            .collect();
        let request = ImportProductsRequest {
            request_id: clock.id(),
            products: rows,
            dry_run: false,
            atomic: true,
        };
        let response =
            client.client(ImportServiceClient::new).import_products(request).await?.into_inner();
        if let Some(error) = response.errors.first() {
            return Err(Fault::internal().message(format!(
                "product {}: {} {}",
                error.index, error.field, error.description
            )));
        }
        for chunk in skus.chunks(COUNTS_MAX) {
            let rows = chunk
                .iter()
                .map(|sku| StockCount {
                    sku: sku.clone(),
                    location_id: location_id.clone(),
                    on_hand: stock,
                })
                .collect();
            let request =
                BulkSetStockRequest { request_id: clock.id(), rows, reason: "seeded".to_owned() };
            client.client(StockServiceClient::new).bulk_set_stock(request).await?;
        }
        first = last;
        done(first);
    }
    Ok(())
}

/// The warehouse, made the first time.
async fn location(client: &Client, clock: &Clock) -> Result<String, Fault> {
    let mut locations = client.client(LocationServiceClient::new);
    let found = locations.list_locations(ListLocationsRequest::default()).await?.into_inner();
    if let Some(location) = found.locations.into_iter().find(|location| location.code == LOCATION) {
        return Ok(location.location_id);
    }
    let request = CreateLocationRequest {
        request_id: clock.id(),
        code: LOCATION.to_owned(),
        display_name: "Main warehouse".to_owned(),
        ..CreateLocationRequest::default()
    };
    Ok(locations.create_location(request).await?.into_inner().location_id)
}

/// The product with this number: always the same.
fn product(number: u32) -> ImportProduct {
    let at = |length: usize, step: u32| usize::try_from(step).unwrap_or_default() % length;
    let (material, story) = MATERIALS[at(MATERIALS.len(), number / 12)];
    let (thing, category, price, weight) = THINGS[at(THINGS.len(), number)];
    let series = number / 120;
    let title = match series {
        0 => format!("{material} {thing}"),
        _ => format!("{material} {thing} No. {}", series + 1),
    };
    let slug = title.to_lowercase().replace([' ', '.'], "-").replace("--", "-");
    let sku = format!("{}-{number:05}", thing.replace(' ', "").to_uppercase());
    let step = i64::from(number % 7) * 50;
    let variants = SIZES
        .iter()
        .map(|(size, percent)| {
            let minor = (price + step) * percent / 100;
            ImportVariant {
                sku: format!("{sku}-{}", size[..1].to_uppercase()),
                option_values: vec![OptionValue {
                    name: "size".to_owned(),
                    value: (*size).to_owned(),
                }],
                weight_grams: weight * percent / 100,
                prices: vec![in_currency("EUR", minor), in_currency("USD", minor * 108 / 100)],
                ..ImportVariant::default()
            }
        })
        .collect();
    ImportProduct {
        slug,
        title,
        description: format!("A {thing} of {}: {story}.", material.to_lowercase()),
        tax_category: "standard".to_owned(),
        options: vec![ProductOption {
            name: "size".to_owned(),
            values: SIZES.iter().map(|(size, _)| (*size).to_owned()).collect(),
        }],
        category_paths: vec![format!("home/{category}")],
        publish: true,
        variants,
        ..ImportProduct::default()
    }
}

fn in_currency(code: &str, minor_units: i64) -> NewPrice {
    NewPrice {
        unit_price: Some(Money { currency_code: code.to_owned(), minor_units }),
        ..NewPrice::default()
    }
}
