//! Imports.

use contracts::catalog::v1::{
    ArchiveProductRequest, ErrorReason, ImportOutcome, ImportProduct, ImportProductsRequest,
    ImportProductsResponse, ImportVariant, ListProductsRequest, LookupCategoryRequest,
    ProductState, UnpublishProductRequest,
};

use crate::{Shop, chosen, eur, new_price, option};

fn row(number: usize) -> ImportProduct {
    ImportProduct {
        slug: format!("mug-{number:03}"),
        title: format!("Mug {number:03}"),
        category_paths: vec!["home/kitchen".to_owned(), format!("sets/{}", number % 3)],
        publish: true,
        variants: vec![ImportVariant {
            sku: format!("MUG-{number:03}"),
            prices: vec![new_price(500, 1), new_price(450, 10)],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn rows(products: Vec<ImportProduct>) -> ImportProductsRequest {
    ImportProductsRequest { request_id: testkit::request_id(), products, ..Default::default() }
}

async fn import(shop: &Shop, request: ImportProductsRequest) -> ImportProductsResponse {
    shop.imports().import_products(request).await.unwrap().into_inner()
}

fn name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

/// What is wrong with the only row of an import.
async fn flaw(shop: &Shop, row: ImportProduct) -> (String, String) {
    let answer = import(shop, rows(vec![row])).await;
    assert!(answer.results.is_empty(), "{answer:?}");
    let error = answer.errors.into_iter().next().unwrap();
    (error.field, error.reason)
}

#[tokio::test]
async fn three_hundred_products_come_in_but_for_three_bad_rows() {
    let shop = Shop::open().await;
    let mut products: Vec<ImportProduct> = (0..300).map(row).collect();
    products[7].title = String::new();
    products[150].variants[0].sku = "MUG-000".to_owned();
    products[299].variants[0].prices[0].unit_price =
        Some(contracts::values::v1::Money { currency_code: "eur".to_owned(), minor_units: 1 });
    let answer = import(&shop, rows(products)).await;

    assert!(answer.applied);
    assert_eq!(answer.results.len(), 297);
    assert!(answer.results.iter().all(|result| result.outcome() == ImportOutcome::Created));
    let errors: Vec<(i32, &str, &str)> = answer
        .errors
        .iter()
        .map(|error| (error.index, error.field.as_str(), error.reason.as_str()))
        .collect();
    assert_eq!(
        errors,
        [
            (7, "title", "INVALID_FIELD"),
            (150, "variants[0].sku", name(ErrorReason::SkuTaken)),
            (299, "variants[0].prices[0].unit_price.currency_code", "INVALID_FIELD"),
        ]
    );
    let kitchen = LookupCategoryRequest { path: "home/kitchen".to_owned() };
    let kitchen =
        shop.categories().lookup_category(kitchen).await.unwrap().into_inner().category.unwrap();
    assert_eq!(kitchen.title, "Kitchen");
    let mut listed = 0;
    let mut request = ListProductsRequest {
        category_id: kitchen.parent_id,
        page_size: 200,
        currency_code: "EUR".to_owned(),
        ..Default::default()
    };
    loop {
        let page = shop.public().list_products(request.clone()).await.unwrap().into_inner();
        assert!(page.products.iter().all(|product| product.lowest_price == Some(eur(500))));
        listed += page.products.len();
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, 297);
    assert_eq!(shop.resolve("MUG-042", 10).await.unit_price, Some(eur(450)));
}

#[tokio::test]
async fn the_same_import_again_changes_and_tells_nothing() {
    let shop = Shop::open().await;
    let products: Vec<ImportProduct> = (0..20).map(row).collect();
    let request = rows(products.clone());
    let first = shop.imports().import_products(request.clone()).await.unwrap().into_inner();
    let replayed = shop.imports().import_products(request).await.unwrap();
    assert_eq!(replayed.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(replayed.into_inner(), first);
    let version = shop.resolve("MUG-003", 1).await.price_version;
    let told = shop.events().await.len();
    assert_eq!(told, 40);

    let again = import(&shop, rows(products)).await;
    assert!(again.results.iter().all(|result| result.outcome() == ImportOutcome::Updated));
    assert_eq!(again.results[3].product_id, first.results[3].product_id);
    assert_eq!(shop.resolve("MUG-003", 1).await.price_version, version);
    assert_eq!(shop.events().await.len(), told);
}

#[tokio::test]
async fn a_row_changes_the_product_of_its_slug_or_sku() {
    let shop = Shop::open().await;
    import(&shop, rows(vec![row(1)])).await;
    let changed = ImportProduct {
        slug: String::new(),
        title: "Cup".to_owned(),
        options: vec![option("size", &["S", "L"])],
        category_paths: vec!["bar".to_owned()],
        variants: vec![
            ImportVariant {
                sku: "MUG-001".to_owned(),
                option_values: chosen(&[("size", "L")]),
                weight_grams: 300,
                prices: vec![new_price(900, 1)],
                ..Default::default()
            },
            ImportVariant {
                sku: "CUP-S".to_owned(),
                option_values: chosen(&[("size", "S")]),
                prices: vec![new_price(700, 1)],
                ..Default::default()
            },
        ],
        ..row(1)
    };
    let answer = import(&shop, rows(vec![changed.clone()])).await;
    assert_eq!(answer.results[0].outcome(), ImportOutcome::Updated);
    assert_eq!(answer.results[0].slug, "mug-001");
    assert_eq!(shop.resolve("MUG-001", 10).await.unit_price, Some(eur(900)));
    assert_eq!(shop.resolve("CUP-S", 1).await.title, "Cup (S)");
    let kinds = shop.events().await;
    assert_eq!(
        kinds[2..],
        ["VariantUpdated", "PriceChanged", "VariantUpdated", "PriceChanged", "ProductUpdated"]
            .map(str::to_owned)
    );

    // Two variants may swap what they chose.
    let mut swapped = changed;
    swapped.variants[0].option_values = chosen(&[("size", "S")]);
    swapped.variants[1].option_values = chosen(&[("size", "L")]);
    let answer = import(&shop, rows(vec![swapped])).await;
    assert!(answer.errors.is_empty(), "{answer:?}");
    assert_eq!(shop.resolve("CUP-S", 1).await.title, "Cup (L)");
}

#[tokio::test]
async fn a_dry_run_and_an_atomic_import_with_errors_change_nothing() {
    let shop = Shop::open().await;
    let dry = ImportProductsRequest { dry_run: true, ..rows((0..5).map(row).collect()) };
    let answer = import(&shop, dry).await;
    assert_eq!((answer.applied, answer.results.len()), (false, 5));
    let mut products: Vec<ImportProduct> = (0..5).map(row).collect();
    products[2].variants.clear();
    let atomic = ImportProductsRequest { atomic: true, ..rows(products) };
    let answer = import(&shop, atomic).await;
    assert_eq!((answer.applied, answer.results.len(), answer.errors.len()), (false, 4, 1));
    let all =
        shop.products().list_products(ListProductsRequest::default()).await.unwrap().into_inner();
    assert!(all.products.is_empty());
    assert!(shop.events().await.is_empty());
    let good = ImportProductsRequest { atomic: true, ..rows((0..5).map(row).collect()) };
    assert!(import(&shop, good).await.applied);
}

#[tokio::test]
async fn each_row_is_refused_for_its_own_reason() {
    let shop = Shop::open().await;
    import(&shop, rows(vec![row(1), row(2)])).await;
    let with = |change: &dyn Fn(&mut ImportProduct)| {
        let mut row = row(9);
        change(&mut row);
        row
    };
    let taxed = with(&|row| row.tax_category = "luxury".to_owned());
    assert_eq!(flaw(&shop, taxed).await.1, name(ErrorReason::TaxCategoryUnknown));
    let stolen = with(&|row| row.variants[0].sku = "MUG-001".to_owned());
    assert_eq!(
        flaw(&shop, stolen).await,
        ("variants[0].sku".to_owned(), name(ErrorReason::SkuTaken).to_owned())
    );
    let odd = with(&|row| row.variants[0].option_values = chosen(&[("size", "S")]));
    assert_eq!(flaw(&shop, odd).await.1, name(ErrorReason::OptionsInvalid));
    let unnamed = ImportProduct {
        options: vec![option("size", &["S"])],
        variants: vec![ImportVariant {
            sku: "NEW".to_owned(),
            option_values: chosen(&[("size", "S")]),
            ..Default::default()
        }],
        ..row(1)
    };
    assert_eq!(flaw(&shop, unnamed).await.1, name(ErrorReason::OptionsInUse));
    let twins = with(&|row| {
        row.variants.push(ImportVariant { sku: "TWIN".to_owned(), ..Default::default() })
    });
    assert_eq!(flaw(&shop, twins).await.1, name(ErrorReason::VariantExists));
    let priced = with(&|row| row.variants[0].prices.push(new_price(1, 10)));
    assert_eq!(
        flaw(&shop, priced).await,
        ("variants[0].prices[2]".to_owned(), name(ErrorReason::PriceInvalid).to_owned())
    );
    let both = with(&|row| {
        row.slug.clear();
        row.variants = ["MUG-001", "MUG-002"]
            .map(|sku| ImportVariant { sku: sku.to_owned(), ..Default::default() })
            .into();
    });
    assert_eq!(flaw(&shop, both).await.1, name(ErrorReason::SkuTaken));
    let deep = with(&|row| row.category_paths = vec!["a/b/c/d/e/f/g".to_owned()]);
    assert_eq!(
        flaw(&shop, deep).await,
        ("category_paths[0]".to_owned(), "INVALID_FIELD".to_owned())
    );

    let twice =
        import(&shop, rows(vec![row(5), ImportProduct { variants: row(6).variants, ..row(5) }]))
            .await;
    assert_eq!(
        (twice.results.len(), twice.errors[0].reason.as_str()),
        (1, name(ErrorReason::SlugTaken))
    );
    let id = twice.results[0].product_id.clone();
    let unpublish = UnpublishProductRequest { product_id: id.clone(), ..Default::default() };
    shop.products().unpublish_product(unpublish).await.unwrap();
    let archive = ArchiveProductRequest { product_id: id, ..Default::default() };
    let archived =
        shop.products().archive_product(archive).await.unwrap().into_inner().product.unwrap();
    assert_eq!(archived.state(), ProductState::Archived);
    assert_eq!(flaw(&shop, row(5)).await.1, name(ErrorReason::ProductStateInvalid));
}

#[tokio::test]
async fn an_import_has_one_to_five_hundred_rows() {
    let shop = Shop::open().await;
    for count in [0, 501] {
        let products = vec![ImportProduct::default(); count];
        let status = shop.imports().import_products(rows(products)).await.unwrap_err();
        assert_eq!(testkit::fields(&status), ["products"]);
    }
}
