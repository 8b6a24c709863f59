//! The tree of categories.

use chassis::{
    Database, Time, args,
    store::{Error, FromRow, Row, Tx, json_texts},
};
use serde::Serialize;

use super::rows;
use crate::domain::Category;

macro_rules! columns {
    () => {
        "select k.category_id, k.parent_id, k.slug, k.path, k.title, k.description, k.position, k.depth, k.version,
            k.create_time, k.update_time
        from category k"
    };
}

chassis::statements! {
    /// One category.
    FIND_CATEGORY = concat!(columns!(), " where k.category_id = $1");
    /// The category at a path.
    FIND_BY_PATH = concat!(columns!(), " where k.path = $1");
    /// The categories at paths.
    FIND_BY_PATHS = concat!(columns!(), " where k.path in (select value from {{JSON_TEXTS:$1}})");
    /// A category that is to be changed.
    LOCK_CATEGORY = concat!(columns!(), " where k.category_id = $1 {{FOR_UPDATE}}");
    /// Which of these categories there are.
    FIND_IDS = "select category_id from category where category_id in (select value from {{JSON_TEXTS:$1}})";
    /// A page of the categories right beneath another.
    LIST_CATEGORIES = concat!(
        columns!(),
        " where k.parent_id = $1 and (k.position, k.category_id) > ($2, $3)
        order by k.position, k.category_id limit $4"
    );
    /// The whole tree, from the top down.
    FIND_TREE = concat!(columns!(), " order by k.depth, k.position, k.category_id limit $1");
    /// The tree beneath a category, from it down.
    FIND_SUBTREE = concat!(
        columns!(),
        " join category_closure c on c.descendant_id = k.category_id
        where c.ancestor_id = $1 order by k.depth, k.position, k.category_id limit $2"
    );
    /// One change of the tree's shape at a time.
    LOCK_TREE = "update category_tree set version = version + 1 where category_tree = 'tree'";
    /// New categories.
    INSERT_CATEGORIES = "insert into category
            (category_id, parent_id, slug, path, title, description, position, depth, version, create_time, update_time)
        select value ->> 'category_id', value ->> 'parent_id', value ->> 'slug', value ->> 'path', value ->> 'title',
            value ->> 'description', cast(value ->> 'position' as bigint), cast(value ->> 'depth' as bigint),
            cast(value ->> 'version' as bigint), cast(value ->> 'create_time' as bigint),
            cast(value ->> 'update_time' as bigint)
        from {{JSON_ROWS:$1}}";
    /// Who stands above the new categories.
    INSERT_LINKS = "insert into category_closure (ancestor_id, descendant_id, distance)
        select value ->> 'ancestor_id', value ->> 'descendant_id', cast(value ->> 'distance' as bigint)
        from {{JSON_ROWS:$1}}";
    /// A category's own fields.
    UPDATE_CATEGORY = "update category set
            parent_id = $2, slug = $3, title = $4, description = $5, position = $6, version = $7, update_time = $8
        where category_id = $1";
    /// Paths and depths of a category and all beneath it, after it moved.
    MOVE_PATHS = "update category set
            path = $2 || substr(path, cast($3 as integer)), depth = depth + $4, version = version + 1, update_time = $5
        where category_id in (select c.descendant_id from category_closure c where c.ancestor_id = $1)";
    /// Cuts a category and all beneath it off from what is above.
    CUT_LINKS = "delete from category_closure
        where descendant_id in (select c.descendant_id from category_closure c where c.ancestor_id = $1)
            and ancestor_id in (
                select c.ancestor_id from category_closure c where c.descendant_id = $1 and c.distance > 0)";
    /// Joins a category and all beneath it to what is above its new parent.
    JOIN_LINKS = "insert into category_closure (ancestor_id, descendant_id, distance)
        select a.ancestor_id, d.descendant_id, a.distance + d.distance + 1
        from category_closure a cross join category_closure d
        where a.descendant_id = $2 and d.ancestor_id = $1";
    /// Whether one category stands beneath another or is it.
    IS_BENEATH = "select count(*) from category_closure where ancestor_id = $1 and descendant_id = $2";
    /// How many levels there are beneath a category.
    HEIGHT = "select cast(max(distance) as bigint) from category_closure where ancestor_id = $1";
    /// How many products and categories are in a category.
    COUNT_CONTENTS = "select (select count(*) from product_category m where m.category_id = $1)
        + (select count(*) from category k where k.parent_id = $1)";
    /// An empty category.
    DELETE_CATEGORY = "delete from category where category_id = $1";
    /// Forgets where the products in a category and beneath it are found.
    DELETE_LISTING = "delete from product_listing where product_id in (
        select m.product_id from product_category m
        join category_closure c on c.descendant_id = m.category_id
        where c.ancestor_id = $1)";
    /// Finds out where the products in a category and beneath it are found.
    INSERT_LISTING = "insert into product_listing (category_id, product_id, state, create_time, title_key)
        select distinct a.ancestor_id, p.product_id, p.state, p.create_time, p.title_key
        from product p
        join product_category n on n.product_id = p.product_id
        join category_closure a on a.descendant_id = n.category_id
        where p.product_id in (
            select m.product_id from product_category m
            join category_closure c on c.descendant_id = m.category_id
            where c.ancestor_id = $1)";
}

/// That one category stands above another.
#[derive(Debug, Serialize)]
pub(crate) struct Link {
    pub(crate) ancestor_id: String,
    pub(crate) descendant_id: String,
    pub(crate) distance: i64,
}

#[derive(Serialize)]
struct Record<'c> {
    category_id: &'c str,
    parent_id: &'c str,
    slug: &'c str,
    path: &'c str,
    title: &'c str,
    description: &'c str,
    position: i64,
    depth: i64,
    version: i64,
    create_time: i64,
    update_time: i64,
}

impl FromRow for Category {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            category_id: row.get("category_id")?,
            parent_id: row.get("parent_id")?,
            slug: row.get("slug")?,
            path: row.get("path")?,
            title: row.get("title")?,
            description: row.get("description")?,
            position: row.get("position")?,
            depth: row.get("depth")?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// One category.
pub(crate) async fn find(
    database: &Database,
    category_id: &str,
) -> Result<Option<Category>, Error> {
    database.fetch_optional(FIND_CATEGORY, args![category_id]).await
}

/// The category at a path.
pub(crate) async fn find_by_path(
    database: &Database,
    path: &str,
) -> Result<Option<Category>, Error> {
    database.fetch_optional(FIND_BY_PATH, args![path]).await
}

/// The categories at paths, in no order.
pub(crate) async fn by_paths(
    tx: &mut Tx,
    paths: &[impl AsRef<str>],
) -> Result<Vec<Category>, Error> {
    tx.fetch_all(FIND_BY_PATHS, args![json_texts(paths)]).await
}

/// A category that is to be changed.
pub(crate) async fn lock(tx: &mut Tx, category_id: &str) -> Result<Option<Category>, Error> {
    tx.fetch_optional(LOCK_CATEGORY, args![category_id]).await
}

/// Which of these categories there are.
pub(crate) async fn known(
    tx: &mut Tx,
    category_ids: &[impl AsRef<str>],
) -> Result<Vec<String>, Error> {
    tx.fetch_all(FIND_IDS, args![json_texts(category_ids)]).await
}

/// A page of the categories right beneath another.
pub(crate) async fn page(
    database: &Database,
    parent_id: &str,
    after: Option<(i64, String)>,
    limit: i64,
) -> Result<Vec<Category>, Error> {
    let (position, category_id) = after.unwrap_or((-1, String::new()));
    database.fetch_all(LIST_CATEGORIES, args![parent_id, position, category_id, limit]).await
}

/// The tree, or the part beneath a root, from the top down.
pub(crate) async fn tree(
    database: &Database,
    root_id: &str,
    limit: i64,
) -> Result<Vec<Category>, Error> {
    if root_id.is_empty() {
        database.fetch_all(FIND_TREE, args![limit]).await
    } else {
        database.fetch_all(FIND_SUBTREE, args![root_id, limit]).await
    }
}

/// Keeps everyone else from changing the tree's shape until this write ends.
pub(crate) async fn lock_tree(tx: &mut Tx) -> Result<(), Error> {
    tx.execute(LOCK_TREE, args![]).await?;
    Ok(())
}

/// Stores new categories and who stands above them.
pub(crate) async fn insert(
    tx: &mut Tx,
    categories: &[Category],
    links: &[Link],
) -> Result<(), Error> {
    if categories.is_empty() {
        return Ok(());
    }
    let records: Vec<Record<'_>> = categories
        .iter()
        .map(|category| Record {
            category_id: &category.category_id,
            parent_id: &category.parent_id,
            slug: &category.slug,
            path: &category.path,
            title: &category.title,
            description: &category.description,
            position: category.position,
            depth: category.depth,
            version: category.version,
            create_time: category.create_time.micros(),
            update_time: category.update_time.micros(),
        })
        .collect();
    tx.execute(INSERT_CATEGORIES, args![rows(&records)]).await?;
    tx.execute(INSERT_LINKS, args![rows(links)]).await?;
    Ok(())
}

/// Stores a category's own fields; not its path and depth.
pub(crate) async fn update(tx: &mut Tx, category: &Category) -> Result<(), Error> {
    tx.execute(
        UPDATE_CATEGORY,
        args![
            &category.category_id,
            &category.parent_id,
            &category.slug,
            &category.title,
            &category.description,
            category.position,
            category.version,
            category.update_time
        ],
    )
    .await?;
    Ok(())
}

/// Gives a category and all beneath it the paths of its new place.
pub(crate) async fn move_paths(
    tx: &mut Tx,
    category: &Category,
    path: &str,
    depth: i64,
    now: Time,
) -> Result<(), Error> {
    let rest = i64::try_from(category.path.len()).unwrap_or(i64::MAX).saturating_add(1);
    tx.execute(MOVE_PATHS, args![&category.category_id, path, rest, depth - category.depth, now])
        .await?;
    Ok(())
}

/// Takes a category and all beneath it from where it stands to beneath another,
/// or to the top.
pub(crate) async fn relink(tx: &mut Tx, category_id: &str, parent_id: &str) -> Result<(), Error> {
    tx.execute(CUT_LINKS, args![category_id]).await?;
    if !parent_id.is_empty() {
        tx.execute(JOIN_LINKS, args![category_id, parent_id]).await?;
    }
    Ok(())
}

/// Makes the lists show the products in a category and beneath it where they are now.
pub(crate) async fn relist(tx: &mut Tx, category_id: &str) -> Result<(), Error> {
    tx.execute(DELETE_LISTING, args![category_id]).await?;
    tx.execute(INSERT_LISTING, args![category_id]).await?;
    Ok(())
}

/// Whether one category stands beneath another or is it.
pub(crate) async fn is_beneath(tx: &mut Tx, category_id: &str, above: &str) -> Result<bool, Error> {
    Ok(tx.fetch_one::<i64>(IS_BENEATH, args![above, category_id]).await? > 0)
}

/// How many levels there are beneath a category.
pub(crate) async fn height(tx: &mut Tx, category_id: &str) -> Result<i64, Error> {
    tx.fetch_one(HEIGHT, args![category_id]).await
}

/// Whether there are products or categories in a category.
pub(crate) async fn is_empty(tx: &mut Tx, category_id: &str) -> Result<bool, Error> {
    Ok(tx.fetch_one::<i64>(COUNT_CONTENTS, args![category_id]).await? == 0)
}

/// Deletes an empty category.
pub(crate) async fn delete(tx: &mut Tx, category_id: &str) -> Result<(), Error> {
    tx.execute(DELETE_CATEGORY, args![category_id]).await?;
    Ok(())
}
