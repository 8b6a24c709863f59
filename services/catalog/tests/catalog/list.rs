//! Lists of products, page by page.

use std::collections::HashSet;

use contracts::catalog::v1::{
    CreateProductRequest, ListProductsRequest, ListProductsResponse, Product, ProductState,
    ProductView, SetProductCategoriesRequest, UpdateProductRequest,
};

use crate::{Shop, new_price, new_variant};

fn page(size: i32, token: &str) -> ListProductsRequest {
    ListProductsRequest { page_size: size, page_token: token.to_owned(), ..Default::default() }
}

async fn list(shop: &Shop, request: ListProductsRequest) -> ListProductsResponse {
    shop.products().list_products(request).await.unwrap().into_inner()
}

fn titles(products: &[Product]) -> Vec<&str> {
    products.iter().map(|product| product.title.as_str()).collect()
}

#[tokio::test]
async fn paging_skips_and_repeats_nothing_while_products_are_added() {
    let shop = Shop::open().await;
    let mut expected = Vec::new();
    for number in 0..25 {
        let product = shop.draft(&format!("Mug {number:02}")).await;
        expected.push(product.product_id);
        if number % 3 == 0 {
            shop.fixture.clock.advance(std::time::Duration::from_millis(1));
        }
    }
    for order_by in ["", "title"] {
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let request = ListProductsRequest { order_by: order_by.to_owned(), ..page(4, &token) };
            let answer = list(&shop, request).await;
            assert!(answer.products.len() <= 4);
            seen.extend(answer.products.into_iter().map(|product| product.product_id));
            shop.draft(&format!("Mug 10 {}", testkit::request_id())).await;
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        let distinct: HashSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "repeated, ordered by {order_by:?}");
        let missing: Vec<&String> = expected.iter().filter(|id| !distinct.contains(id)).collect();
        assert!(missing.is_empty(), "skipped {missing:?}, ordered by {order_by:?}");
    }
}

#[tokio::test]
async fn products_are_listed_newest_first_or_by_title() {
    let shop = Shop::open().await;
    for title in ["banana", "Apple", "cherry"] {
        shop.draft(title).await;
        shop.fixture.clock.advance(std::time::Duration::from_secs(1));
    }
    let newest = list(&shop, page(0, "")).await;
    assert_eq!(titles(&newest.products), ["cherry", "Apple", "banana"]);
    let by_title = ListProductsRequest { order_by: "title".to_owned(), ..page(2, "") };
    let first = list(&shop, by_title.clone()).await;
    assert_eq!(titles(&first.products), ["Apple", "banana"]);
    let second = ListProductsRequest { page_token: first.next_page_token, ..by_title };
    assert_eq!(titles(&list(&shop, second).await.products), ["cherry"]);
}

#[tokio::test]
async fn the_public_lists_published_products_alone() {
    let shop = Shop::open().await;
    shop.draft("Secret").await;
    shop.for_sale("Mug", 500).await;
    let asked =
        |state: ProductState| ListProductsRequest { state: state.into(), ..Default::default() };
    let public =
        shop.public().list_products(asked(ProductState::Unspecified)).await.unwrap().into_inner();
    assert_eq!(titles(&public.products), ["Mug"]);
    let drafts =
        shop.public().list_products(asked(ProductState::Draft)).await.unwrap().into_inner();
    assert!(drafts.products.is_empty());

    assert_eq!(titles(&list(&shop, asked(ProductState::Draft)).await.products), ["Secret"]);
    assert_eq!(list(&shop, asked(ProductState::Unspecified)).await.products.len(), 2);
}

#[tokio::test]
async fn a_category_lists_what_is_in_it_and_beneath_it_as_things_move() {
    let shop = Shop::open().await;
    let home = shop.category("Home", None).await;
    let kitchen = shop.category("Kitchen", Some(&home)).await;
    let garden = shop.category("Garden", None).await;
    let mug = shop
        .create(CreateProductRequest {
            title: "Mug".to_owned(),
            category_ids: vec![kitchen.category_id.clone(), home.category_id.clone()],
            variants: vec![new_variant("MUG", &[])],
            ..Default::default()
        })
        .await
        .unwrap();
    let within = |category_id: &str| ListProductsRequest {
        category_id: category_id.to_owned(),
        ..page(0, "")
    };
    let found = async |category_id: &str| {
        let mut both = [Vec::new(), Vec::new()];
        for (found, order_by) in both.iter_mut().zip(["", "title"]) {
            let request =
                ListProductsRequest { order_by: order_by.to_owned(), ..within(category_id) };
            *found = list(&shop, request)
                .await
                .products
                .into_iter()
                .map(|product| product.title)
                .collect();
        }
        assert_eq!(both[0], both[1]);
        both[0].clone()
    };
    assert_eq!(found(&home.category_id).await, ["Mug"]);
    assert_eq!(found(&kitchen.category_id).await, ["Mug"]);
    let public = shop.public().list_products(within(&home.category_id)).await.unwrap().into_inner();
    assert!(public.products.is_empty());
    shop.publish(&mug).await;
    let public = shop.public().list_products(within(&home.category_id)).await.unwrap().into_inner();
    assert_eq!(titles(&public.products), ["Mug"]);

    // Renamed, moved with its category, and taken out.
    let product = Product {
        product_id: mug.product_id.clone(),
        title: "Cup".to_owned(),
        ..Default::default()
    };
    let rename = UpdateProductRequest { product: Some(product), ..Default::default() };
    shop.products().update_product(rename).await.unwrap();
    let only_kitchen = SetProductCategoriesRequest {
        product_id: mug.product_id.clone(),
        category_ids: vec![kitchen.category_id.clone()],
        ..Default::default()
    };
    shop.products().set_product_categories(only_kitchen).await.unwrap();
    assert_eq!(found(&home.category_id).await, ["Cup"]);
    let request = contracts::catalog::v1::MoveCategoryRequest {
        category_id: kitchen.category_id.clone(),
        parent_id: garden.category_id.clone(),
        ..Default::default()
    };
    shop.categories().move_category(request).await.unwrap();
    assert!(found(&home.category_id).await.is_empty());
    assert_eq!(found(&garden.category_id).await, ["Cup"]);
    let none = SetProductCategoriesRequest { product_id: mug.product_id, ..Default::default() };
    shop.products().set_product_categories(none).await.unwrap();
    assert!(found(&garden.category_id).await.is_empty());
}

#[tokio::test]
async fn a_full_list_has_variants_and_prices_and_a_basic_one_the_range() {
    let shop = Shop::open().await;
    let mug = shop
        .create(CreateProductRequest {
            title: "Mug".to_owned(),
            description: "Holds coffee.".to_owned(),
            options: vec![crate::option("size", &["S", "L"])],
            variants: vec![
                new_variant("MUG-S", &[("size", "S")]),
                new_variant("MUG-L", &[("size", "L")]),
            ],
            ..Default::default()
        })
        .await
        .unwrap();
    shop.price("MUG-S", &[new_price(500, 1), new_price(450, 10)]).await;
    shop.price("MUG-L", &[new_price(900, 1)]).await;
    shop.publish(&mug).await;
    let request = |view: ProductView| ListProductsRequest {
        view: view.into(),
        currency_code: "EUR".to_owned(),
        ..Default::default()
    };
    let basic = list(&shop, request(ProductView::Unspecified)).await.products.remove(0);
    assert!(basic.variants.is_empty() && basic.description.is_empty());
    let range = (basic.lowest_price.unwrap().minor_units, basic.highest_price.unwrap().minor_units);
    assert_eq!(range, (500, 900));
    let full = list(&shop, request(ProductView::Full)).await.products.remove(0);
    assert_eq!(full.description, "Holds coffee.");
    let prices: Vec<i64> = full
        .variants
        .iter()
        .map(|variant| variant.unit_price.as_ref().unwrap().minor_units)
        .collect();
    assert_eq!(prices, [900, 500]);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_filter_alone() {
    let shop = Shop::open().await;
    for title in ["A", "B"] {
        shop.draft(title).await;
    }
    let token = list(&shop, page(1, "")).await.next_page_token;
    let other = ListProductsRequest { order_by: "title".to_owned(), ..page(1, &token) };
    let status = shop.products().list_products(other).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "PAGE_TOKEN_INVALID");
    let status = shop.products().list_products(page(-1, "")).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "PAGE_SIZE_INVALID");
    // The public's list is another than staff's.
    let status = shop.public().list_products(page(1, &token)).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "PAGE_TOKEN_INVALID");
}
