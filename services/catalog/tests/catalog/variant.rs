//! Variants of a product.

use contracts::catalog::v1::{
    BatchGetVariantsRequest, CreateProductRequest, CreateVariantRequest, DeleteVariantRequest,
    ErrorReason, GetVariantRequest, ListVariantsRequest, LookupVariantsRequest, NewVariant,
    Product, UpdateProductRequest, UpdateVariantRequest, Variant,
};
use prost_types::FieldMask;

use crate::{Shop, chosen, new_price, new_variant, option, refused};

fn add(product: &Product, variant: NewVariant) -> CreateVariantRequest {
    CreateVariantRequest {
        product_id: product.product_id.clone(),
        variant: Some(variant),
        ..Default::default()
    }
}

/// A shirt in two sizes, of which S is there.
async fn shirt(shop: &Shop) -> Product {
    shop.create(CreateProductRequest {
        title: "Shirt".to_owned(),
        options: vec![option("size", &["S", "M"]), option("colour", &["red", "blue"])],
        variants: vec![new_variant("S-RED", &[("size", "S"), ("colour", "red")])],
        ..Default::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_variant_is_added_changed_and_deleted() {
    let shop = Shop::open().await;
    let shirt = shirt(&shop).await;
    let mut client = shop.products();
    let new = NewVariant {
        barcode: "4006381333931".to_owned(),
        weight_grams: 150,
        ..new_variant("M-RED", &[("colour", "red"), ("size", "M")])
    };
    let made = client.create_variant(add(&shirt, new)).await.unwrap().into_inner();
    assert_eq!(made.option_values, chosen(&[("size", "M"), ("colour", "red")]));
    assert_eq!((made.tax_rate_micros, made.weight_grams), (210_000, 150));

    let update = UpdateVariantRequest {
        variant: Some(Variant {
            variant_id: made.variant_id.clone(),
            option_values: chosen(&[("size", "M"), ("colour", "blue")]),
            etag: made.etag.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let changed = client.update_variant(update.clone()).await.unwrap().into_inner();
    assert_eq!(changed.option_values[1].value, "blue");
    assert_eq!(changed.weight_grams, 150);
    refused(client.update_variant(update).await, ErrorReason::EtagMismatch);
    let cleared = UpdateVariantRequest {
        variant: Some(Variant { variant_id: made.variant_id.clone(), ..Default::default() }),
        update_mask: Some(FieldMask {
            paths: vec!["weight_grams".to_owned(), "barcode".to_owned()],
        }),
        ..Default::default()
    };
    let cleared = client.update_variant(cleared).await.unwrap().into_inner();
    assert_eq!((cleared.weight_grams, cleared.barcode.as_str()), (0, ""));

    let delete = DeleteVariantRequest { variant_id: made.variant_id.clone(), ..Default::default() };
    client.delete_variant(delete.clone()).await.unwrap();
    refused(client.delete_variant(delete).await, ErrorReason::VariantNotFound);
    let gone = GetVariantRequest { variant_id: made.variant_id, ..Default::default() };
    refused(client.get_variant(gone).await, ErrorReason::VariantNotFound);
    assert_eq!(
        shop.events().await,
        ["ProductCreated", "VariantUpdated", "VariantUpdated", "VariantUpdated", "VariantUpdated"]
    );
}

#[tokio::test]
async fn a_variant_chooses_one_value_of_each_option_as_no_other_does() {
    let shop = Shop::open().await;
    let shirt = shirt(&shop).await;
    let mut client = shop.products();
    for choices in [
        &[("size", "M")][..],
        &[("size", "XL"), ("colour", "red")],
        &[("size", "M"), ("fit", "slim")],
    ] {
        let answer = client.create_variant(add(&shirt, new_variant("NEW", choices))).await;
        let status = refused(answer, ErrorReason::OptionsInvalid);
        assert_eq!(testkit::fields(&status), ["variant.option_values"]);
    }
    let same = new_variant("OTHER", &[("size", "S"), ("colour", "red")]);
    refused(client.create_variant(add(&shirt, same)).await, ErrorReason::VariantExists);
    let taken = new_variant("S-RED", &[("size", "M"), ("colour", "red")]);
    refused(client.create_variant(add(&shirt, taken)).await, ErrorReason::SkuTaken);
    let twice = CreateProductRequest {
        title: "Odd".to_owned(),
        options: vec![option("size", &["S"]), option("size", &["M"])],
        ..Default::default()
    };
    refused(shop.create(twice).await, ErrorReason::OptionsInvalid);
    let gone = Product { product_id: testkit::request_id(), ..Default::default() };
    refused(
        client.create_variant(add(&gone, new_variant("NEW", &[]))).await,
        ErrorReason::ProductNotFound,
    );
}

#[tokio::test]
async fn options_that_a_variant_uses_are_kept() {
    let shop = Shop::open().await;
    let shirt = shirt(&shop).await;
    let with = |options| UpdateProductRequest {
        product: Some(Product {
            product_id: shirt.product_id.clone(),
            options,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut client = shop.products();
    let without_red = vec![option("size", &["S"]), option("colour", &["blue"])];
    refused(client.update_product(with(without_red)).await, ErrorReason::OptionsInUse);
    let turned = vec![option("colour", &["red"]), option("size", &["S", "L"])];
    let turned = client.update_product(with(turned)).await.unwrap().into_inner();
    assert_eq!(turned.variants[0].option_values, chosen(&[("colour", "red"), ("size", "S")]));
    assert_ne!(turned.variants[0].etag, shirt.variants[0].etag);
}

#[tokio::test]
async fn a_published_product_keeps_its_last_variant() {
    let shop = Shop::open().await;
    let mug = shop.for_sale("Mug", 500).await;
    let delete = DeleteVariantRequest {
        variant_id: mug.variants[0].variant_id.clone(),
        ..Default::default()
    };
    refused(shop.products().delete_variant(delete).await, ErrorReason::VariantRequired);
}

#[tokio::test]
async fn a_product_has_a_hundred_variants_at_most() {
    let shop = Shop::open().await;
    let values: Vec<String> = (0..34).map(|number| number.to_string()).collect();
    let options = ["a", "b", "c"].map(|value| value.to_owned());
    let pair = |a: usize| (values[a / 3].clone(), options[a % 3].clone());
    let variant = |at: usize| {
        let (number, letter) = pair(at);
        new_variant(&format!("V-{at}"), &[("number", &number), ("letter", &letter)])
    };
    let product = shop
        .create(CreateProductRequest {
            title: "Many".to_owned(),
            options: vec![
                option("number", &values.iter().map(String::as_str).collect::<Vec<_>>()),
                option("letter", &["a", "b", "c"]),
            ],
            variants: (0..100).map(variant).collect(),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(product.variants.len(), 100);
    refused(
        shop.products().create_variant(add(&product, variant(100))).await,
        ErrorReason::TooManyVariants,
    );
}

#[tokio::test]
async fn variants_are_paged_by_sku_apart_from_the_product() {
    let shop = Shop::open().await;
    let shirt = shirt(&shop).await;
    for (sku, size, colour) in
        [("M-BLUE", "M", "blue"), ("M-RED", "M", "red"), ("S-BLUE", "S", "blue")]
    {
        let new = new_variant(sku, &[("size", size), ("colour", colour)]);
        shop.products().create_variant(add(&shirt, new)).await.unwrap();
    }
    shop.price("M-RED", &[new_price(900, 1)]).await;
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListVariantsRequest {
            product_id: shirt.product_id.clone(),
            page_size: 3,
            page_token: token,
            currency_code: "EUR".to_owned(),
        };
        let page = shop.products().list_variants(request).await.unwrap().into_inner();
        seen.extend(page.variants);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let skus: Vec<&str> = seen.iter().map(|variant| variant.sku.as_str()).collect();
    assert_eq!(skus, ["M-BLUE", "M-RED", "S-BLUE", "S-RED"]);
    assert_eq!(seen[1].unit_price.as_ref().unwrap().minor_units, 900);
    assert_eq!(seen[0].unit_price, None);
    let hidden = ListVariantsRequest { product_id: shirt.product_id, ..Default::default() };
    refused(shop.public().list_variants(hidden).await, ErrorReason::ProductNotFound);
}

#[tokio::test]
async fn variants_are_found_by_id_sku_and_barcode() {
    let shop = Shop::open().await;
    let mug = shop.for_sale("Mug", 500).await;
    shop.draft("Secret").await;
    let boxed = UpdateVariantRequest {
        variant: Some(Variant {
            variant_id: mug.variants[0].variant_id.clone(),
            barcode: "4006381333931".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    shop.products().update_variant(boxed).await.unwrap();
    let lookup = |skus: &[&str], barcodes: &[&str]| LookupVariantsRequest {
        skus: skus.iter().map(|&sku| sku.to_owned()).collect(),
        barcodes: barcodes.iter().map(|&code| code.to_owned()).collect(),
        currency_code: "EUR".to_owned(),
    };
    let both = lookup(&["MUG", "SECRET", "NONE"], &["4006381333931"]);
    let public = shop.public().lookup_variants(both.clone()).await.unwrap().into_inner().variants;
    assert_eq!(public.len(), 1);
    assert_eq!(public[0].unit_price.as_ref().unwrap().minor_units, 500);
    assert_eq!(shop.products().lookup_variants(both).await.unwrap().into_inner().variants.len(), 2);
    let by_code =
        shop.public().lookup_variants(lookup(&[], &["4006381333931"])).await.unwrap().into_inner();
    assert_eq!(by_code.variants[0].sku, "MUG");

    let stranger = testkit::request_id();
    let batch = BatchGetVariantsRequest {
        variant_ids: vec![stranger.clone(), mug.variants[0].variant_id.clone()],
        ..Default::default()
    };
    let batch = shop.public().batch_get_variants(batch).await.unwrap().into_inner();
    assert_eq!((batch.variants.len(), batch.missing_variant_ids), (1, vec![stranger]));
    let one =
        GetVariantRequest { variant_id: mug.variants[0].variant_id.clone(), ..Default::default() };
    assert_eq!(shop.public().get_variant(one).await.unwrap().into_inner().barcode, "4006381333931");
}
