//! The catalog over a real socket and a real database.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test cannot do without, it fails without"
)]

#[path = "catalog/category.rs"]
mod category;
#[path = "catalog/import.rs"]
mod import;
#[path = "catalog/list.rs"]
mod list;
#[path = "catalog/price.rs"]
mod price;
#[path = "catalog/product.rs"]
mod product;
#[path = "catalog/variant.rs"]
mod variant;

use catalog::Catalog;
use chassis::Service as _;
use contracts::{
    catalog::v1::{
        Category, CreateCategoryRequest, CreateProductRequest, ErrorReason, NewPrice, NewVariant,
        OptionValue, PriceList, PriceQuery, Product, ProductOption, PublishProductRequest,
        ResolvePricesRequest, ResolvedPrice, SetPricesRequest,
        category_service_client::CategoryServiceClient, import_service_client::ImportServiceClient,
        pricing_service_client::PricingServiceClient, product_service_client::ProductServiceClient,
    },
    mesh::v1::{PullEventsRequest, feed_service_client::FeedServiceClient},
    values::v1::Money,
};
use testkit::{As, Fixture};
use tonic::Status;

const EVERYTHING: &[&str] = &[
    "catalog.products.read",
    "catalog.products.write",
    "catalog.products.import",
    "catalog.categories.write",
    "catalog.prices.read",
    "catalog.prices.write",
];

/// The service, and what the tests do with it again and again.
struct Shop {
    fixture: Fixture<Catalog>,
}

impl Shop {
    async fn open() -> Self {
        Self { fixture: testkit::service::<Catalog>().start().await }
    }

    fn staff(&self) -> As {
        self.fixture.as_staff(EVERYTHING)
    }

    fn products(&self) -> ProductServiceClient<As> {
        ProductServiceClient::new(self.staff())
    }

    fn public(&self) -> ProductServiceClient<As> {
        ProductServiceClient::new(self.fixture.anonymous())
    }

    fn categories(&self) -> CategoryServiceClient<As> {
        CategoryServiceClient::new(self.staff())
    }

    fn prices(&self) -> PricingServiceClient<As> {
        PricingServiceClient::new(self.staff())
    }

    fn imports(&self) -> ImportServiceClient<As> {
        ImportServiceClient::new(self.staff())
    }

    async fn create(&self, request: CreateProductRequest) -> Result<Product, Status> {
        self.products().create_product(request).await.map(tonic::Response::into_inner)
    }

    /// A draft with one variant, whose SKU is its slug in capitals.
    async fn draft(&self, title: &str) -> Product {
        let sku = title.to_uppercase().replace(' ', "-");
        self.create(CreateProductRequest {
            title: title.to_owned(),
            variants: vec![new_variant(&sku, &[])],
            ..Default::default()
        })
        .await
        .unwrap()
    }

    async fn publish(&self, product: &Product) -> Product {
        let request =
            PublishProductRequest { product_id: product.product_id.clone(), ..Default::default() };
        self.products().publish_product(request).await.unwrap().into_inner().product.unwrap()
    }

    /// A product for sale at this many cents.
    async fn for_sale(&self, title: &str, cents: i64) -> Product {
        let product = self.draft(title).await;
        self.price(&product.variants[0].sku, &[new_price(cents, 1)]).await;
        self.publish(&product).await
    }

    /// Makes these the prices of a SKU in euros.
    async fn price(&self, sku: &str, prices: &[NewPrice]) {
        self.prices().set_prices(set_prices(sku, prices)).await.unwrap();
    }

    async fn resolve(&self, sku: &str, quantity: i64) -> ResolvedPrice {
        let request = ResolvePricesRequest {
            currency_code: "EUR".to_owned(),
            queries: vec![PriceQuery { sku: sku.to_owned(), quantity }],
        };
        let mut client = PricingServiceClient::new(self.fixture.anonymous());
        client.resolve_prices(request).await.unwrap().into_inner().prices.remove(0)
    }

    async fn category(&self, title: &str, parent: Option<&Category>) -> Category {
        let request = CreateCategoryRequest {
            title: title.to_owned(),
            parent_id: parent.map(|parent| parent.category_id.clone()).unwrap_or_default(),
            ..Default::default()
        };
        self.categories().create_category(request).await.unwrap().into_inner()
    }

    /// The types of the events that were told, without their package, in order.
    async fn events(&self) -> Vec<String> {
        let mut feed = FeedServiceClient::new(self.fixture.as_service("orders"));
        let request = PullEventsRequest { limit: 1_000, ..PullEventsRequest::default() };
        let events = feed.pull_events(request).await.unwrap().into_inner().events;
        let kinds = events.into_iter().filter_map(|event| event.event).map(|event| event.r#type);
        kinds.map(|kind| kind.rsplit('.').next().unwrap_or_default().to_owned()).collect()
    }
}

fn new_variant(sku: &str, choices: &[(&str, &str)]) -> NewVariant {
    NewVariant { sku: sku.to_owned(), option_values: chosen(choices), ..Default::default() }
}

fn chosen(choices: &[(&str, &str)]) -> Vec<OptionValue> {
    choices
        .iter()
        .map(|&(name, value)| OptionValue { name: name.to_owned(), value: value.to_owned() })
        .collect()
}

fn option(name: &str, values: &[&str]) -> ProductOption {
    ProductOption {
        name: name.to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    }
}

fn eur(cents: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units: cents }
}

fn new_price(cents: i64, min_quantity: i64) -> NewPrice {
    NewPrice { unit_price: Some(eur(cents)), min_quantity, ..Default::default() }
}

fn price_list(sku: &str, prices: &[NewPrice]) -> PriceList {
    PriceList { sku: sku.to_owned(), currency_code: "EUR".to_owned(), prices: prices.to_vec() }
}

fn set_prices(sku: &str, prices: &[NewPrice]) -> SetPricesRequest {
    SetPricesRequest {
        request_id: testkit::request_id(),
        price_list: Some(price_list(sku, prices)),
    }
}

/// Asserts why somebody was refused.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: ErrorReason) -> Status {
    let status = answer.expect_err("this should have been refused");
    let expected = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    assert_eq!(testkit::reason(&status), expected, "{status:?}");
    status
}

#[tokio::test]
async fn every_statement_is_understood_by_the_engine() {
    let shop = Shop::open().await;
    let refused = shop.fixture.running().database().prepare_all(Catalog::STATEMENTS).await;
    assert!(refused.is_ok(), "{refused:?}");
}

#[test]
fn every_reason_is_provoked_by_a_test() {
    let tests = [
        include_str!("catalog/category.rs"),
        include_str!("catalog/import.rs"),
        include_str!("catalog/list.rs"),
        include_str!("catalog/price.rs"),
        include_str!("catalog/product.rs"),
        include_str!("catalog/variant.rs"),
    ]
    .concat();
    for reason in (1..).map_while(|number| ErrorReason::try_from(number).ok()) {
        assert!(
            tests.contains(&format!("ErrorReason::{reason:?}")),
            "{reason:?} is provoked by no test"
        );
    }
}
