//! The life of a product.

use contracts::catalog::v1::{
    ArchiveProductRequest, BatchGetProductsRequest, CreateProductRequest, DeleteProductRequest,
    ErrorReason, GetProductBySlugRequest, GetProductRequest, Media, Product, ProductState,
    ProductView, PublishProductRequest, SetProductCategoriesRequest, UnpublishProductRequest,
    UpdateProductRequest,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{Shop, new_variant, option, refused};

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() })
}

fn get(product: &Product) -> GetProductRequest {
    GetProductRequest { product_id: product.product_id.clone(), ..Default::default() }
}

fn retitled(product: &Product, title: &str) -> UpdateProductRequest {
    UpdateProductRequest {
        product: Some(Product {
            product_id: product.product_id.clone(),
            title: title.to_owned(),
            etag: product.etag.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_product_is_made_as_a_draft_with_its_variants() {
    let shop = Shop::open().await;
    let tools = shop.category("Tools", None).await;
    let made = shop
        .create(CreateProductRequest {
            title: "Café Mug".to_owned(),
            description: "Holds coffee.".to_owned(),
            tax_category: "reduced".to_owned(),
            options: vec![option("colour", &["blue", "red"])],
            media: vec![Media { uri: "/mug.jpg".to_owned(), alt_text: "A mug".to_owned() }],
            category_ids: vec![tools.category_id.clone()],
            variants: vec![
                new_variant("MUG-R", &[("colour", "red")]),
                new_variant("MUG-B", &[("colour", "blue")]),
            ],
            ..Default::default()
        })
        .await
        .unwrap();

    assert_eq!(made.slug, "cafe-mug");
    assert_eq!(made.state(), ProductState::Draft);
    assert_eq!(made.tax_rate_micros, 100_000);
    assert_eq!(made.publish_time, None);
    assert_eq!(made.category_ids, [tools.category_id]);
    let skus: Vec<&str> = made.variants.iter().map(|variant| variant.sku.as_str()).collect();
    assert_eq!(skus, ["MUG-B", "MUG-R"]);
    assert!(made.variants.iter().all(|variant| variant.tax_rate_micros == 100_000));
    let read = shop.products().get_product(get(&made)).await.unwrap().into_inner();
    assert_eq!(read, made);
    assert_eq!(shop.events().await, ["ProductCreated"]);
}

#[tokio::test]
async fn creating_twice_with_one_request_id_makes_one_product() {
    let shop = Shop::open().await;
    let request = CreateProductRequest {
        request_id: testkit::request_id(),
        title: "Mug".to_owned(),
        variants: vec![new_variant("MUG", &[])],
        ..Default::default()
    };
    let first = shop.products().create_product(request.clone()).await.unwrap();
    let second = shop.products().create_product(request.clone()).await.unwrap();
    assert_eq!(second.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(first.into_inner(), second.into_inner());

    let other = CreateProductRequest { title: "Cup".to_owned(), ..request };
    let status = shop.create(other).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(shop.events().await.len(), 1);
}

#[tokio::test]
async fn a_draft_is_invisible_to_the_public() {
    let shop = Shop::open().await;
    let draft = shop.draft("Secret mug").await;
    let id = draft.product_id.clone();

    refused(shop.public().get_product(get(&draft)).await, ErrorReason::ProductNotFound);
    let by_slug = GetProductBySlugRequest { slug: draft.slug.clone(), ..Default::default() };
    refused(shop.public().get_product_by_slug(by_slug.clone()).await, ErrorReason::ProductNotFound);
    let batch = BatchGetProductsRequest { product_ids: vec![id.clone()], ..Default::default() };
    let batch = shop.public().batch_get_products(batch).await.unwrap().into_inner();
    assert_eq!((batch.products.len(), batch.missing_product_ids), (0, vec![id]));
    let resolved = shop.resolve("SECRET-MUG", 1).await;
    assert_eq!((resolved.purchasable, resolved.title.as_str()), (false, ""));

    shop.publish(&draft).await;
    assert!(shop.public().get_product(get(&draft)).await.is_ok());
    assert!(shop.public().get_product_by_slug(by_slug).await.is_ok());
}

#[tokio::test]
async fn only_staff_with_the_permission_writes() {
    let shop = Shop::open().await;
    let request = || CreateProductRequest { title: "Mug".to_owned(), ..Default::default() };
    for caller in [
        shop.fixture.anonymous(),
        shop.fixture.as_customer("ada"),
        shop.fixture.as_staff(&["catalog.prices.write"]),
        shop.fixture.as_service("storefront"),
    ] {
        let mut client =
            contracts::catalog::v1::product_service_client::ProductServiceClient::new(caller);
        let status = client.create_product(request()).await.unwrap_err();
        assert!(
            matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated),
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn a_product_walks_through_its_states_and_tells_each() {
    let shop = Shop::open().await;
    let draft = shop.draft("Mug").await;
    let product_id = draft.product_id.clone();
    let unpublish =
        || UnpublishProductRequest { product_id: product_id.clone(), ..Default::default() };
    let archive = || ArchiveProductRequest { product_id: product_id.clone(), ..Default::default() };
    let publish = || PublishProductRequest { product_id: product_id.clone(), ..Default::default() };
    let mut client = shop.products();

    refused(client.unpublish_product(unpublish()).await, ErrorReason::ProductStateInvalid);
    refused(client.archive_product(archive()).await, ErrorReason::ProductStateInvalid);
    let published = shop.publish(&draft).await;
    assert_eq!(published.state(), ProductState::Published);
    let first_shown = published.publish_time;
    assert!(first_shown.is_some());
    let status = refused(client.publish_product(publish()).await, ErrorReason::ProductStateInvalid);
    assert_eq!(chassis::Fault::from_status(&status).preconditions()[0].description, "PUBLISHED");
    refused(client.archive_product(archive()).await, ErrorReason::ProductStateInvalid);

    shop.fixture.clock.advance(std::time::Duration::from_secs(60));
    client.unpublish_product(unpublish()).await.unwrap();
    refused(shop.public().get_product(get(&draft)).await, ErrorReason::ProductNotFound);
    assert_eq!(shop.publish(&draft).await.publish_time, first_shown);
    client.unpublish_product(unpublish()).await.unwrap();
    let archived = client.archive_product(archive()).await.unwrap().into_inner().product.unwrap();
    assert_eq!(archived.state(), ProductState::Archived);

    refused(client.publish_product(publish()).await, ErrorReason::ProductStateInvalid);
    refused(
        client.update_product(retitled(&archived, "Cup")).await,
        ErrorReason::ProductStateInvalid,
    );
    let none = SetProductCategoriesRequest { product_id: product_id.clone(), ..Default::default() };
    refused(client.set_product_categories(none).await, ErrorReason::ProductStateInvalid);
    assert_eq!(
        shop.events().await,
        [
            "ProductCreated",
            "ProductPublished",
            "ProductUnpublished",
            "ProductPublished",
            "ProductUnpublished",
            "ProductArchived"
        ]
    );
}

#[tokio::test]
async fn a_product_without_a_variant_is_not_published() {
    let shop = Shop::open().await;
    let draft = shop
        .create(CreateProductRequest { title: "Idea".to_owned(), ..Default::default() })
        .await
        .unwrap();
    let request = PublishProductRequest { product_id: draft.product_id, ..Default::default() };
    refused(shop.products().publish_product(request).await, ErrorReason::ProductIncomplete);
}

#[tokio::test]
async fn slugs_and_skus_are_unique() {
    let shop = Shop::open().await;
    let mug = shop.draft("Mug").await;
    let same_slug = CreateProductRequest {
        title: "X".to_owned(),
        slug: "mug".to_owned(),
        ..Default::default()
    };
    let status = refused(shop.create(same_slug).await, ErrorReason::SlugTaken);
    assert_eq!(testkit::fields(&status), ["slug"]);
    let same_sku = CreateProductRequest {
        title: "X".to_owned(),
        variants: vec![new_variant("MUG", &[])],
        ..Default::default()
    };
    refused(shop.create(same_sku).await, ErrorReason::SkuTaken);

    // A title may be had twice: the slug that is made of it is another.
    let twin = shop
        .create(CreateProductRequest { title: "Mug".to_owned(), ..Default::default() })
        .await
        .unwrap();
    assert!(twin.slug.starts_with("mug-"), "{}", twin.slug);
    let mut renamed = retitled(&twin, "");
    renamed.product.as_mut().unwrap().slug = mug.slug;
    refused(shop.products().update_product(renamed).await, ErrorReason::SlugTaken);
}

#[tokio::test]
async fn an_old_slug_leads_to_the_product_and_to_no_other() {
    let shop = Shop::open().await;
    let mug = shop.for_sale("Mug", 500).await;
    let mut renamed = retitled(&mug, "");
    renamed.product.as_mut().unwrap().slug = "cup".to_owned();
    let cup = shop.products().update_product(renamed).await.unwrap().into_inner();
    assert_eq!(cup.slug, "cup");

    let by_slug =
        |slug: &str| GetProductBySlugRequest { slug: slug.to_owned(), ..Default::default() };
    let old = shop.public().get_product_by_slug(by_slug("mug")).await.unwrap().into_inner();
    assert!(old.redirected);
    assert_eq!(old.product.unwrap().slug, "cup");
    let new = shop.public().get_product_by_slug(by_slug("cup")).await.unwrap().into_inner();
    assert!(!new.redirected);
    let thief = CreateProductRequest {
        title: "X".to_owned(),
        slug: "mug".to_owned(),
        ..Default::default()
    };
    refused(shop.create(thief).await, ErrorReason::SlugTaken);

    // It may have it back.
    let mut back = retitled(&cup, "");
    back.product.as_mut().unwrap().slug = "mug".to_owned();
    assert_eq!(shop.products().update_product(back).await.unwrap().into_inner().slug, "mug");
}

#[tokio::test]
async fn an_update_changes_what_the_mask_names() {
    let shop = Shop::open().await;
    let mug = shop.draft("Mug").await;
    let wanted = Product {
        product_id: mug.product_id.clone(),
        title: "Cup".to_owned(),
        description: "For tea.".to_owned(),
        ..Default::default()
    };
    let update = |paths: Option<FieldMask>| UpdateProductRequest {
        product: Some(wanted.clone()),
        update_mask: paths,
        ..Default::default()
    };
    let mut client = shop.products();
    let one = client.update_product(update(mask(&["description"]))).await.unwrap().into_inner();
    assert_eq!((one.title.as_str(), one.description.as_str()), ("Mug", "For tea."));
    assert_ne!(one.etag, mug.etag);
    let populated = client.update_product(update(None)).await.unwrap().into_inner();
    assert_eq!((populated.title.as_str(), populated.slug.as_str()), ("Cup", "mug"));
    let again = client.update_product(update(None)).await.unwrap().into_inner();
    assert_eq!(again.etag, populated.etag, "what changes nothing makes no new version");

    let status = client.update_product(update(mask(&["state"]))).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "UPDATE_MASK_INVALID");
    let status = client.update_product(update(mask(&["*"]))).await.unwrap_err();
    assert_eq!(
        (testkit::reason(&status).as_str(), status.code()),
        ("INVALID_FIELD", Code::InvalidArgument)
    );
    assert_eq!(shop.events().await, ["ProductCreated", "ProductUpdated", "ProductUpdated"]);
}

#[tokio::test]
async fn of_racing_updates_with_one_etag_exactly_one_wins() {
    let shop = Shop::open().await;
    let mug = shop.draft("Mug").await;
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (mut client, request) = (shop.products(), retitled(&mug, &format!("Mug {number}")));
        racers.spawn(async move {
            client.update_product(request).await.map(tonic::Response::into_inner)
        });
    }
    let results = racers.join_all().await;
    let (winner, losers) = testkit::exactly_one_ok(results);
    for loser in losers {
        assert_eq!(loser.code(), Code::Aborted);
        refused(Err::<(), _>(loser), ErrorReason::EtagMismatch);
    }
    assert_eq!(shop.products().get_product(get(&mug)).await.unwrap().into_inner(), winner);
}

#[tokio::test]
async fn what_a_product_refers_to_must_exist() {
    let shop = Shop::open().await;
    let request = |tax: &str, categories: Vec<String>| CreateProductRequest {
        title: "Mug".to_owned(),
        tax_category: tax.to_owned(),
        category_ids: categories,
        ..Default::default()
    };
    refused(shop.create(request("luxury", vec![])).await, ErrorReason::TaxCategoryUnknown);
    refused(
        shop.create(request("", vec![testkit::request_id()])).await,
        ErrorReason::CategoryNotFound,
    );
    let gone = Product { product_id: testkit::request_id(), ..Default::default() };
    refused(shop.products().get_product(get(&gone)).await, ErrorReason::ProductNotFound);
    refused(
        shop.products().update_product(retitled(&gone, "X")).await,
        ErrorReason::ProductNotFound,
    );
    let mug = shop.draft("Mug").await;
    let mut taxed = retitled(&mug, "");
    taxed.product.as_mut().unwrap().tax_category = "luxury".to_owned();
    refused(shop.products().update_product(taxed).await, ErrorReason::TaxCategoryUnknown);
    assert_eq!(shop.events().await, ["ProductCreated"], "what was refused left nothing");
}

#[tokio::test]
async fn only_what_the_public_never_saw_is_deleted() {
    let shop = Shop::open().await;
    let draft = shop.draft("Mug").await;
    let delete = |product: &Product, etag: &str| DeleteProductRequest {
        product_id: product.product_id.clone(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    let mut client = shop.products();
    refused(client.delete_product(delete(&draft, "7")).await, ErrorReason::EtagMismatch);
    client.delete_product(delete(&draft, &draft.etag)).await.unwrap();
    refused(client.get_product(get(&draft)).await, ErrorReason::ProductNotFound);

    // Slug and SKU are free again.
    let again = shop.draft("Mug").await;
    assert_eq!(again.slug, "mug");
    shop.publish(&again).await;
    let request =
        UnpublishProductRequest { product_id: again.product_id.clone(), ..Default::default() };
    client.unpublish_product(request).await.unwrap();
    refused(client.delete_product(delete(&again, "")).await, ErrorReason::ProductNotDeletable);
}

#[tokio::test]
async fn many_products_are_read_at_once_in_the_order_asked() {
    let shop = Shop::open().await;
    let (mug, cup) = (shop.for_sale("Mug", 500).await, shop.for_sale("Cup", 700).await);
    let stranger = testkit::request_id();
    let request = BatchGetProductsRequest {
        product_ids: vec![
            cup.product_id.clone(),
            stranger.clone(),
            mug.product_id.clone(),
            cup.product_id.clone(),
        ],
        view: ProductView::Basic.into(),
        currency_code: "EUR".to_owned(),
    };
    let batch = shop.public().batch_get_products(request).await.unwrap().into_inner();
    let ids: Vec<&str> = batch.products.iter().map(|product| product.product_id.as_str()).collect();
    assert_eq!(ids, [&cup.product_id, &mug.product_id]);
    assert_eq!(batch.missing_product_ids, [stranger]);
    assert!(
        batch
            .products
            .iter()
            .all(|product| product.variants.is_empty() && product.description.is_empty())
    );
    assert_eq!(batch.products[0].lowest_price.as_ref().unwrap().minor_units, 700);
}

#[tokio::test]
async fn bad_input_is_refused_by_field() {
    let shop = Shop::open().await;
    let request = CreateProductRequest {
        title: String::new(),
        slug: "No Slug".to_owned(),
        variants: vec![new_variant("HAS SPACE", &[])],
        ..Default::default()
    };
    let status = shop.create(request).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "INVALID_FIELD");
    assert_eq!(testkit::fields(&status), ["slug", "variants[0].sku", "title"]);
}
