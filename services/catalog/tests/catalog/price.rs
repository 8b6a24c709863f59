//! Prices: what applies, what is kept, what is told.

use std::time::Duration;

use contracts::catalog::v1::{
    BatchSetPricesRequest, ErrorReason, ListPricesRequest, ListTaxCategoriesRequest, NewPrice,
    PriceQuery, ResolvePricesRequest, SetTaxCategoryRequest, UnpublishProductRequest,
    pricing_service_client::PricingServiceClient,
};

use crate::{Shop, eur, new_price, price_list, refused, set_prices};

async fn history(shop: &Shop, variant_id: &str) -> Vec<(i64, bool)> {
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListPricesRequest {
            variant_id: variant_id.to_owned(),
            page_size: 2,
            page_token: token,
            include_history: true,
            ..Default::default()
        };
        let page = shop.prices().list_prices(request).await.unwrap().into_inner();
        found.extend(
            page.prices.into_iter().map(|price| {
                (price.unit_price.unwrap().minor_units, price.supersede_time.is_none())
            }),
        );
        token = page.next_page_token;
        if token.is_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn the_highest_tier_within_the_quantity_is_the_price() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    shop.price("MUG", &[new_price(500, 0), new_price(450, 10), new_price(400, 100)]).await;
    for (quantity, cents) in [(1, 500), (9, 500), (10, 450), (99, 450), (100, 400), (5_000, 400)] {
        let resolved = shop.resolve("MUG", quantity).await;
        assert!(resolved.purchasable);
        assert_eq!(resolved.unit_price, Some(eur(cents)), "for {quantity}");
        assert_eq!((resolved.title.as_str(), resolved.tax_rate_micros), ("Mug", 210_000));
    }
}

#[tokio::test]
async fn a_sale_holds_for_its_window_and_changes_the_price_version() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    let now = shop.fixture.clock.now();
    let sale = NewPrice {
        start_time: Some((now + Duration::from_secs(60)).into()),
        end_time: Some((now + Duration::from_secs(120)).into()),
        ..new_price(300, 1)
    };
    let before = shop.resolve("MUG", 1).await;
    shop.price("MUG", &[new_price(500, 1), sale]).await;
    assert_eq!(shop.resolve("MUG", 1).await, before, "a sale to come changes nothing yet");
    shop.fixture.clock.advance(Duration::from_secs(60));
    let during = shop.resolve("MUG", 1).await;
    assert_eq!(during.unit_price, Some(eur(300)));
    assert_ne!(during.price_version, before.price_version);
    shop.fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(shop.resolve("MUG", 1).await, before);
}

#[tokio::test]
async fn the_price_version_changes_whenever_price_or_tax_does_and_only_then() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    let first = shop.resolve("MUG", 1).await.price_version;
    shop.price("MUG", &[new_price(500, 1)]).await;
    assert_eq!(shop.resolve("MUG", 1).await.price_version, first);
    shop.price("MUG", &[new_price(510, 1)]).await;
    let second = shop.resolve("MUG", 1).await.price_version;
    assert_ne!(second, first);
    shop.price("MUG", &[new_price(500, 1)]).await;
    let third = shop.resolve("MUG", 1).await.price_version;
    assert!(third != first && third != second);

    let tax = SetTaxCategoryRequest {
        request_id: testkit::request_id(),
        tax_category: "standard".to_owned(),
        title: "Standard rate".to_owned(),
        rate_micros: 190_000,
    };
    shop.prices().set_tax_category(tax).await.unwrap();
    let taxed = shop.resolve("MUG", 1).await;
    assert_eq!(taxed.tax_rate_micros, 190_000);
    assert_ne!(taxed.price_version, third);
}

#[tokio::test]
async fn many_lines_are_priced_at_once_in_their_order() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    let cup = shop.for_sale("Cup", 700).await;
    shop.draft("Secret").await;
    let plate = shop.draft("Plate").await;
    shop.publish(&plate).await;
    let unpublish =
        UnpublishProductRequest { product_id: cup.product_id.clone(), ..Default::default() };
    shop.products().unpublish_product(unpublish).await.unwrap();

    let lines = [("CUP", 1), ("NONE", 1), ("MUG", 2), ("PLATE", 1), ("SECRET", 1), ("MUG", 1)];
    let request = ResolvePricesRequest {
        currency_code: "EUR".to_owned(),
        queries: lines.map(|(sku, quantity)| PriceQuery { sku: sku.to_owned(), quantity }).to_vec(),
    };
    let mut public = PricingServiceClient::new(shop.fixture.anonymous());
    let prices = public.resolve_prices(request.clone()).await.unwrap().into_inner().prices;
    let seen: Vec<(&str, &str, bool)> = prices
        .iter()
        .map(|price| (price.sku.as_str(), price.title.as_str(), price.purchasable))
        .collect();
    assert_eq!(
        seen,
        [
            ("CUP", "Cup", false),
            ("NONE", "", false),
            ("MUG", "Mug", true),
            ("PLATE", "Plate", false),
            ("SECRET", "", false),
            ("MUG", "Mug", true)
        ]
    );
    assert!(prices.iter().all(|price| price.purchasable == price.unit_price.is_some()));
    let dollars = ResolvePricesRequest { currency_code: "USD".to_owned(), ..request.clone() };
    let prices = public.resolve_prices(dollars).await.unwrap().into_inner().prices;
    assert!(prices.iter().all(|price| !price.purchasable));
    let nowhere = ResolvePricesRequest { currency_code: "QQQ".to_owned(), ..request };
    let status = public.resolve_prices(nowhere).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "MONEY_INVALID");
}

#[tokio::test]
async fn replaced_prices_stay_in_the_history() {
    let shop = Shop::open().await;
    let mug = shop.for_sale("Mug", 500).await;
    let variant_id = mug.variants[0].variant_id.clone();
    shop.price("MUG", &[new_price(510, 1), new_price(400, 10)]).await;
    shop.price("MUG", &[new_price(510, 1)]).await;
    assert_eq!(history(&shop, &variant_id).await, [(400, false), (510, true), (500, false)]);
    let standing = ListPricesRequest { variant_id: variant_id.clone(), ..Default::default() };
    let standing = shop.prices().list_prices(standing).await.unwrap().into_inner().prices;
    assert_eq!(standing.len(), 1);
    assert_eq!((standing[0].start_time, standing[0].end_time), (None, None));

    shop.price("MUG", &[]).await;
    assert!(!shop.resolve("MUG", 1).await.purchasable);
    assert!(history(&shop, &variant_id).await.iter().all(|(_, stands)| !stands));
    let nobody = ListPricesRequest { variant_id: testkit::request_id(), ..Default::default() };
    refused(shop.prices().list_prices(nobody).await, ErrorReason::VariantNotFound);
    assert_eq!(shop.events().await.iter().filter(|kind| *kind == "PriceChanged").count(), 4);
}

#[tokio::test]
async fn setting_twice_with_one_request_id_sets_once() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    let request = set_prices("MUG", &[new_price(600, 1)]);
    let first = shop.prices().set_prices(request.clone()).await.unwrap().into_inner();
    shop.price("MUG", &[new_price(700, 1)]).await;
    let second = shop.prices().set_prices(request).await.unwrap();
    assert_eq!(second.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(second.into_inner(), first);
    assert_eq!(shop.resolve("MUG", 1).await.unit_price, Some(eur(700)));
}

#[tokio::test]
async fn a_batch_sets_all_prices_or_none() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    shop.for_sale("Cup", 700).await;
    let batch =
        |price_lists| BatchSetPricesRequest { request_id: testkit::request_id(), price_lists };
    let good = batch(vec![
        price_list("CUP", &[new_price(710, 1)]),
        price_list("MUG", &[new_price(510, 1)]),
    ]);
    let set = shop.prices().batch_set_prices(good).await.unwrap().into_inner().prices;
    let cents: Vec<i64> =
        set.iter().map(|price| price.unit_price.as_ref().unwrap().minor_units).collect();
    assert_eq!(cents, [710, 510]);

    let bad =
        batch(vec![price_list("CUP", &[new_price(1, 1)]), price_list("NONE", &[new_price(1, 1)])]);
    let status = refused(shop.prices().batch_set_prices(bad).await, ErrorReason::VariantNotFound);
    assert_eq!(testkit::fields(&status), ["price_lists[1].sku"]);
    let twice =
        batch(vec![price_list("CUP", &[new_price(1, 1)]), price_list("CUP", &[new_price(2, 1)])]);
    refused(shop.prices().batch_set_prices(twice).await, ErrorReason::PriceInvalid);
    assert_eq!(shop.resolve("CUP", 1).await.unit_price, Some(eur(710)));
}

#[tokio::test]
async fn a_list_that_contradicts_itself_is_refused_by_field() {
    let shop = Shop::open().await;
    shop.for_sale("Mug", 500).await;
    let now = shop.fixture.clock.now();
    let backwards = NewPrice {
        start_time: Some(now.into()),
        end_time: Some((now - Duration::from_secs(1)).into()),
        ..new_price(1, 1)
    };
    let mut dollars = new_price(1, 1);
    dollars.unit_price.as_mut().unwrap().currency_code = "USD".to_owned();
    for (prices, field) in [
        (vec![new_price(1, 1), new_price(2, 1)], "price_list.prices[1]"),
        (vec![new_price(-1, 1)], "price_list.prices[0]"),
        (vec![backwards], "price_list.prices[0]"),
        (vec![dollars], "price_list.prices[0].unit_price.currency_code"),
    ] {
        let status = refused(
            shop.prices().set_prices(set_prices("MUG", &prices)).await,
            ErrorReason::PriceInvalid,
        );
        assert_eq!(testkit::fields(&status), [field]);
    }
    let status = refused(
        shop.prices().set_prices(set_prices("NONE", &[new_price(1, 1)])).await,
        ErrorReason::VariantNotFound,
    );
    assert_eq!(testkit::fields(&status), ["price_list.sku"]);
}

#[tokio::test]
async fn tax_categories_are_listed_and_set() {
    let shop = Shop::open().await;
    let tax = SetTaxCategoryRequest {
        request_id: testkit::request_id(),
        tax_category: "books".to_owned(),
        title: "Books".to_owned(),
        rate_micros: 70_000,
    };
    let set = shop.prices().set_tax_category(tax.clone()).await.unwrap().into_inner();
    assert_eq!(set.tax_category.unwrap().rate_micros, 70_000);
    let mut public = PricingServiceClient::new(shop.fixture.anonymous());
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListTaxCategoriesRequest { page_size: 3, page_token: token };
        let page = public.list_tax_categories(request).await.unwrap().into_inner();
        names.extend(page.tax_categories.into_iter().map(|tax| tax.tax_category));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["books", "reduced", "standard", "zero"]);
    let mut anyone = PricingServiceClient::new(shop.fixture.as_staff(&["catalog.products.write"]));
    let status = anyone.set_tax_category(tax).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "ACCESS_DENIED");
}
