//! The tree of categories.

use contracts::catalog::v1::{
    Category, CategoryNode, CreateCategoryRequest, DeleteCategoryRequest, ErrorReason,
    GetCategoryRequest, GetCategoryTreeRequest, ListCategoriesRequest, LookupCategoryRequest,
    MoveCategoryRequest, SetProductCategoriesRequest, UpdateCategoryRequest,
};

use crate::{Shop, refused};

async fn read(shop: &Shop, category: &Category) -> Category {
    let request = GetCategoryRequest { category_id: category.category_id.clone() };
    shop.categories().get_category(request).await.unwrap().into_inner()
}

fn to(category: &Category, parent: Option<&Category>) -> MoveCategoryRequest {
    MoveCategoryRequest {
        category_id: category.category_id.clone(),
        parent_id: parent.map(|parent| parent.category_id.clone()).unwrap_or_default(),
        ..Default::default()
    }
}

/// The tree as text: "home(kitchen(mugs) bath)".
fn text(nodes: &[CategoryNode]) -> String {
    let nodes: Vec<String> = nodes
        .iter()
        .map(|node| {
            let slug = &node.category.as_ref().unwrap().slug;
            if node.children.is_empty() {
                slug.clone()
            } else {
                format!("{slug}({})", text(&node.children))
            }
        })
        .collect();
    nodes.join(" ")
}

async fn tree(shop: &Shop, root: Option<&Category>) -> String {
    let root_id = root.map(|root| root.category_id.clone()).unwrap_or_default();
    let answer = shop
        .categories()
        .get_category_tree(GetCategoryTreeRequest { root_id })
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.truncated);
    text(&answer.nodes)
}

#[tokio::test]
async fn categories_make_a_tree_that_everyone_can_read() {
    let shop = Shop::open().await;
    let home = shop.category("Home & Living", None).await;
    let kitchen = shop.category("Kitchen", Some(&home)).await;
    shop.category("Bath", Some(&home)).await;
    let mugs = shop.category("Mugs", Some(&kitchen)).await;
    shop.category("Garden", None).await;
    assert_eq!(mugs.path, "home-living/kitchen/mugs");
    assert_eq!(mugs.depth, 2);
    assert_eq!(tree(&shop, None).await, "home-living(kitchen(mugs) bath) garden");
    assert_eq!(tree(&shop, Some(&kitchen)).await, "kitchen(mugs)");

    let mut public = contracts::catalog::v1::category_service_client::CategoryServiceClient::new(
        shop.fixture.anonymous(),
    );
    let lookup = LookupCategoryRequest { path: mugs.path.clone() };
    assert_eq!(public.lookup_category(lookup).await.unwrap().into_inner().category, Some(mugs));
    let mut slugs = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListCategoriesRequest {
            parent_id: home.category_id.clone(),
            page_size: 1,
            page_token: token,
        };
        let page = public.list_categories(request).await.unwrap().into_inner();
        slugs.extend(page.categories.into_iter().map(|category| category.slug));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(slugs, ["kitchen", "bath"]);
    let status = public.create_category(CreateCategoryRequest::default()).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "TOKEN_MISSING");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let shop = Shop::open().await;
    let id = testkit::request_id();
    let mut client = shop.categories();
    let get = GetCategoryRequest { category_id: id.clone() };
    refused(client.get_category(get).await, ErrorReason::CategoryNotFound);
    let lookup = LookupCategoryRequest { path: "no/where".to_owned() };
    refused(client.lookup_category(lookup).await, ErrorReason::CategoryNotFound);
    let root = GetCategoryTreeRequest { root_id: id.clone() };
    refused(client.get_category_tree(root).await, ErrorReason::CategoryNotFound);
    let orphan =
        CreateCategoryRequest { title: "X".to_owned(), parent_id: id, ..Default::default() };
    refused(client.create_category(orphan).await, ErrorReason::CategoryNotFound);
}

#[tokio::test]
async fn siblings_have_different_slugs() {
    let shop = Shop::open().await;
    let home = shop.category("Home", None).await;
    shop.category("Garden", None).await;
    shop.category("Home", Some(&home)).await;
    let mut client = shop.categories();
    let same = CreateCategoryRequest { title: "Home".to_owned(), ..Default::default() };
    refused(client.create_category(same).await, ErrorReason::CategoryExists);
    let rename = UpdateCategoryRequest {
        category: Some(Category {
            category_id: home.category_id.clone(),
            slug: "garden".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    refused(client.update_category(rename).await, ErrorReason::CategoryExists);
}

#[tokio::test]
async fn a_new_slug_changes_every_path_beneath() {
    let shop = Shop::open().await;
    let home = shop.category("Home", None).await;
    let kitchen = shop.category("Kitchen", Some(&home)).await;
    let mugs = shop.category("Mugs", Some(&kitchen)).await;
    let rename = |etag: &str| UpdateCategoryRequest {
        category: Some(Category {
            category_id: home.category_id.clone(),
            slug: "house".to_owned(),
            title: "House".to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        request_id: testkit::request_id(),
        ..Default::default()
    };
    let renamed = shop.categories().update_category(rename(&home.etag)).await.unwrap().into_inner();
    assert_eq!((renamed.path.as_str(), renamed.title.as_str()), ("house", "House"));
    assert_eq!(read(&shop, &home).await, renamed);
    assert_eq!(read(&shop, &mugs).await.path, "house/kitchen/mugs");
    refused(shop.categories().update_category(rename(&home.etag)).await, ErrorReason::EtagMismatch);
}

#[tokio::test]
async fn a_category_moves_with_all_beneath_it_but_never_beneath_itself() {
    let shop = Shop::open().await;
    let home = shop.category("Home", None).await;
    let kitchen = shop.category("Kitchen", Some(&home)).await;
    let mugs = shop.category("Mugs", Some(&kitchen)).await;
    let garden = shop.category("Garden", None).await;
    let mut client = shop.categories();

    refused(client.move_category(to(&home, Some(&mugs))).await, ErrorReason::CategoryCycle);
    refused(client.move_category(to(&home, Some(&home))).await, ErrorReason::CategoryCycle);
    let moved = client
        .move_category(to(&kitchen, Some(&garden)))
        .await
        .unwrap()
        .into_inner()
        .category
        .unwrap();
    assert_eq!(moved.path, "garden/kitchen");
    assert_eq!(read(&shop, &kitchen).await, moved);
    assert_eq!(read(&shop, &mugs).await.path, "garden/kitchen/mugs");
    assert_eq!(tree(&shop, None).await, "home garden(kitchen(mugs))");
    assert_eq!(tree(&shop, Some(&garden)).await, "garden(kitchen(mugs))");
    // Home is free to go where it could not go before.
    client.move_category(to(&home, Some(&mugs))).await.unwrap();
    client.move_category(to(&kitchen, None)).await.unwrap();
    assert_eq!(tree(&shop, None).await, "kitchen(mugs(home)) garden");
    assert_eq!(read(&shop, &home).await.depth, 2);
    refused(client.move_category(to(&garden, Some(&garden))).await, ErrorReason::CategoryCycle);
}

#[tokio::test]
async fn two_moves_at_once_never_make_a_ring() {
    let shop = Shop::open().await;
    let (a, b) = (shop.category("A", None).await, shop.category("B", None).await);
    let mut one = shop.categories();
    let mut other = shop.categories();
    let (first, second) =
        tokio::join!(one.move_category(to(&a, Some(&b))), other.move_category(to(&b, Some(&a))));
    let (_, refusals) = testkit::exactly_one_ok([first, second]);
    refused(Err::<(), _>(refusals.into_iter().next().unwrap()), ErrorReason::CategoryCycle);
}

#[tokio::test]
async fn the_tree_is_six_levels_deep_at_most() {
    let shop = Shop::open().await;
    let mut deepest = shop.category("Level 1", None).await;
    let top = deepest.clone();
    for level in 2..=6 {
        deepest = shop.category(&format!("Level {level}"), Some(&deepest)).await;
    }
    let seventh = CreateCategoryRequest {
        title: "Level 7".to_owned(),
        parent_id: deepest.category_id.clone(),
        ..Default::default()
    };
    refused(shop.categories().create_category(seventh).await, ErrorReason::CategoryTooDeep);
    let roof = shop.category("Roof", None).await;
    refused(
        shop.categories().move_category(to(&top, Some(&roof))).await,
        ErrorReason::CategoryTooDeep,
    );
}

#[tokio::test]
async fn only_an_empty_category_is_deleted() {
    let shop = Shop::open().await;
    let home = shop.category("Home", None).await;
    let kitchen = shop.category("Kitchen", Some(&home)).await;
    let mug = shop.draft("Mug").await;
    let put = |category_ids: Vec<String>| SetProductCategoriesRequest {
        product_id: mug.product_id.clone(),
        category_ids,
        ..Default::default()
    };
    shop.products().set_product_categories(put(vec![kitchen.category_id.clone()])).await.unwrap();
    let delete = |category: &Category| DeleteCategoryRequest {
        category_id: category.category_id.clone(),
        ..Default::default()
    };
    let mut client = shop.categories();
    refused(client.delete_category(delete(&home)).await, ErrorReason::CategoryNotEmpty);
    refused(client.delete_category(delete(&kitchen)).await, ErrorReason::CategoryNotEmpty);
    shop.products().set_product_categories(put(vec![])).await.unwrap();
    let stale = DeleteCategoryRequest { etag: "9".to_owned(), ..delete(&kitchen) };
    refused(client.delete_category(stale).await, ErrorReason::EtagMismatch);
    client.delete_category(delete(&kitchen)).await.unwrap();
    client.delete_category(delete(&home)).await.unwrap();
    assert_eq!(tree(&shop, None).await, "");
}
