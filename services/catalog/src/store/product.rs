//! Products, their slugs, and where they are found.

use chassis::{
    Database, Time, args,
    store::{Error, FromRow, Row, Tx, json_texts},
};
use serde::Serialize;

use super::{Source, list, read_list, rows};
use crate::domain::{Product, State};

/// What a product is read from. `$1` says whether with its description.
macro_rules! columns {
    () => {
        "select p.product_id, p.state, p.title, p.slug, case when $1 then p.description else '' end as description,
            p.tax_category,
            (select t.rate_micros from tax_category t where t.tax_category = p.tax_category) as tax_rate_micros,
            p.options, p.media, p.category_ids, p.revision, p.version, p.create_time, p.update_time, p.publish_time"
    };
}

macro_rules! newest {
    ($from:literal, $alias:literal, $filter:literal) => {
        concat!(
            columns!(),
            $from,
            " where (",
            $alias,
            ".create_time, ",
            $alias,
            ".product_id) < ($2, $3)",
            $filter,
            " order by ",
            $alias,
            ".create_time desc, ",
            $alias,
            ".product_id desc limit $4"
        )
    };
}

macro_rules! by_title {
    ($from:literal, $alias:literal, $filter:literal) => {
        concat!(
            columns!(),
            $from,
            " where (",
            $alias,
            ".title_key, ",
            $alias,
            ".product_id) > ($2, $3)",
            $filter,
            " order by ",
            $alias,
            ".title_key, ",
            $alias,
            ".product_id limit $4"
        )
    };
}

macro_rules! newest_published {
    () => {
        newest!(" from product p", "p", " and p.state = $5")
    };
}

// `cross join` keeps SQLite from starting at the product: the listing has the order.
macro_rules! newest_published_in {
    () => {
        newest!(
            " from product_listing l cross join product p",
            "l",
            " and p.product_id = l.product_id and l.category_id = $5 and l.state = $6"
        )
    };
}

chassis::statements! {
    /// Products by id; only published ones unless `$3`.
    FIND_PRODUCTS = concat!(
        columns!(),
        " from product p where p.product_id in (select value from {{JSON_TEXTS:$2}}) and ($3 or p.state = 'PUBLISHED')"
    );
    /// The product that has or had a slug.
    FIND_BY_SLUG = concat!(
        columns!(),
        " from product_slug s cross join product p
        where s.slug = $2 and p.product_id = s.product_id and ($3 or p.state = 'PUBLISHED')"
    );
    /// Products to be changed, always in one order, so that two writers never wait for each other.
    LOCK_PRODUCTS = concat!(
        columns!(),
        " from product p where p.product_id in (select value from {{JSON_TEXTS:$2}}) order by p.product_id {{FOR_UPDATE}}"
    );
    /// All, newest first.
    LIST_NEWEST = newest!(" from product p", "p", "");
    /// Those in a state, newest first.
    LIST_NEWEST_STATE = newest_published!();
    /// Those in a category, newest first.
    LIST_NEWEST_CATEGORY = newest!(
        " from product_listing l cross join product p",
        "l",
        " and p.product_id = l.product_id and l.category_id = $5"
    );
    /// Those in a category and a state, newest first.
    LIST_NEWEST_CATEGORY_STATE = newest_published_in!();
    /// All, by title.
    LIST_TITLE = by_title!(" from product p", "p", "");
    /// Those in a state, by title.
    LIST_TITLE_STATE = by_title!(" from product p", "p", " and p.state = $5");
    /// Those in a category, by title.
    LIST_TITLE_CATEGORY = by_title!(
        " from product_listing l cross join product p",
        "l",
        " and p.product_id = l.product_id and l.category_id = $5"
    );
    /// Those in a category and a state, by title.
    LIST_TITLE_CATEGORY_STATE = by_title!(
        " from product_listing l cross join product p",
        "l",
        " and p.product_id = l.product_id and l.category_id = $5 and l.state = $6"
    );
    /// New products.
    INSERT_PRODUCTS = "insert into product
            (product_id, state, title, title_key, slug, description, tax_category, options, media, category_ids,
             revision, version, create_time, update_time, publish_time)
        select value ->> 'product_id', value ->> 'state', value ->> 'title', value ->> 'title_key', value ->> 'slug',
            value ->> 'description', value ->> 'tax_category', value ->> 'options', value ->> 'media',
            value ->> 'category_ids', cast(value ->> 'revision' as bigint), cast(value ->> 'version' as bigint),
            cast(value ->> 'create_time' as bigint), cast(value ->> 'update_time' as bigint),
            cast(value ->> 'publish_time' as bigint)
        from {{JSON_ROWS:$1}}";
    /// What was locked, with its changes.
    UPDATE_PRODUCTS = "update product set
            state = value ->> 'state', title = value ->> 'title', title_key = value ->> 'title_key',
            slug = value ->> 'slug', description = value ->> 'description', tax_category = value ->> 'tax_category',
            options = value ->> 'options', media = value ->> 'media', category_ids = value ->> 'category_ids',
            revision = cast(value ->> 'revision' as bigint), version = cast(value ->> 'version' as bigint),
            update_time = cast(value ->> 'update_time' as bigint),
            publish_time = cast(value ->> 'publish_time' as bigint)
        from {{JSON_ROWS:$1}} where product_id = value ->> 'product_id'";
    /// Only that something belonging to them changed.
    TOUCH_PRODUCTS = "update product set
            version = cast(value ->> 'version' as bigint), update_time = cast(value ->> 'update_time' as bigint)
        from {{JSON_ROWS:$1}} where product_id = value ->> 'product_id'";
    /// A draft that nobody saw.
    DELETE_PRODUCT = "delete from product where product_id = $1";
    /// Who has or had these slugs.
    FIND_SLUGS = "select slug, product_id from product_slug where slug in (select value from {{JSON_TEXTS:$1}})";
    /// Slugs that are taken from now on.
    INSERT_SLUGS = "insert into product_slug (slug, product_id, create_time)
        select value ->> 'slug', value ->> 'product_id', cast(value ->> 'update_time' as bigint)
        from {{JSON_ROWS:$1}}";
    /// Takes products out of all categories.
    DELETE_CATEGORIES = "delete from product_category where product_id in (select value from {{JSON_TEXTS:$1}})";
    /// Puts products into categories.
    INSERT_CATEGORIES = "insert into product_category (product_id, category_id)
        select value ->> 'product_id', value ->> 'category_id' from {{JSON_ROWS:$1}}";
    /// Forgets where products are found.
    DELETE_LISTING = "delete from product_listing where product_id in (select value from {{JSON_TEXTS:$1}})";
    /// Finds out where products are found.
    INSERT_LISTING = "insert into product_listing (category_id, product_id, state, create_time, title_key)
        select distinct c.ancestor_id, p.product_id, p.state, p.create_time, p.title_key
        from product p
        join product_category m on m.product_id = p.product_id
        join category_closure c on c.descendant_id = m.category_id
        where p.product_id in (select value from {{JSON_TEXTS:$1}})";
    /// Which of these tax categories there are.
    FIND_TAX_CATEGORIES = "select tax_category from tax_category
        where tax_category in (select value from {{JSON_TEXTS:$1}})";
}

/// In what order products are listed, and after which.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Newest first, after the one of this time and id.
    Newest(Option<(Time, String)>),
    /// By title, after the one of this title and id.
    Title(Option<(String, String)>),
}

/// Which products are listed.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// In this category or beneath it.
    pub(crate) category_id: Option<String>,
    /// In this state.
    pub(crate) state: Option<State>,
}

#[derive(Serialize)]
struct Record<'p> {
    product_id: &'p str,
    state: &'static str,
    title: &'p str,
    title_key: String,
    slug: &'p str,
    description: &'p str,
    tax_category: &'p str,
    options: String,
    media: String,
    category_ids: String,
    revision: i64,
    version: i64,
    create_time: i64,
    update_time: i64,
    publish_time: Option<i64>,
}

#[derive(Serialize)]
struct Membership<'p> {
    product_id: &'p str,
    category_id: &'p str,
}

impl FromRow for Product {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        let state: String = row.get("state")?;
        Ok(Self {
            product_id: row.get("product_id")?,
            state: State::of_name(&state).ok_or_else(|| Error::Column {
                column: "state".into(),
                problem: format!("{state:?} is no state").into(),
            })?,
            title: row.get("title")?,
            slug: row.get("slug")?,
            description: row.get("description")?,
            tax_category: row.get("tax_category")?,
            tax_rate_micros: row.get("tax_rate_micros")?,
            options: read_list(row, "options")?,
            media: read_list(row, "media")?,
            category_ids: read_list(row, "category_ids")?,
            revision: row.get("revision")?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
            publish_time: row.get("publish_time")?,
        })
    }
}

// === impl Record ===

impl<'p> From<&'p Product> for Record<'p> {
    fn from(product: &'p Product) -> Self {
        Self {
            product_id: &product.product_id,
            state: product.state.name(),
            title: &product.title,
            title_key: product.title_key(),
            slug: &product.slug,
            description: &product.description,
            tax_category: &product.tax_category,
            options: list(&product.options),
            media: list(&product.media),
            category_ids: list(&product.category_ids),
            revision: product.revision,
            version: product.version,
            create_time: product.create_time.micros(),
            update_time: product.update_time.micros(),
            publish_time: product.publish_time.map(Time::micros),
        }
    }
}

/// Products by id, in no order; with `all`, also those that the public must not see.
pub(crate) async fn find(
    source: &mut Source<'_>,
    product_ids: &[impl AsRef<str>],
    all: bool,
    full: bool,
) -> Result<Vec<Product>, Error> {
    source.fetch_all(FIND_PRODUCTS, args![full, json_texts(product_ids), all]).await
}

/// The product that has or had a slug.
pub(crate) async fn find_by_slug(
    database: &Database,
    slug: &str,
    all: bool,
) -> Result<Option<Product>, Error> {
    database.fetch_optional(FIND_BY_SLUG, args![true, slug, all]).await
}

/// One page of products.
pub(crate) async fn page(
    database: &Database,
    filter: &Filter,
    order: &Order,
    limit: i64,
    full: bool,
) -> Result<Vec<Product>, Error> {
    let mut values = match order {
        Order::Newest(after) => {
            let (time, id) = after.clone().unwrap_or((Time::from_micros(i64::MAX), String::new()));
            args![full, time, id, limit]
        }
        Order::Title(after) => {
            let (title, id) = after.clone().unwrap_or_default();
            args![full, title, id, limit]
        }
    };
    values.extend(filter.category_id.iter().map(Into::into));
    values.extend(filter.state.map(|state| state.name().into()));
    let statement = match (order, filter.category_id.is_some(), filter.state.is_some()) {
        (Order::Newest(_), false, false) => LIST_NEWEST,
        (Order::Newest(_), false, true) => LIST_NEWEST_STATE,
        (Order::Newest(_), true, false) => LIST_NEWEST_CATEGORY,
        (Order::Newest(_), true, true) => LIST_NEWEST_CATEGORY_STATE,
        (Order::Title(_), false, false) => LIST_TITLE,
        (Order::Title(_), false, true) => LIST_TITLE_STATE,
        (Order::Title(_), true, false) => LIST_TITLE_CATEGORY,
        (Order::Title(_), true, true) => LIST_TITLE_CATEGORY_STATE,
    };
    database.fetch_all(statement, values).await
}

/// Products that are to be changed, whole and in any state.
pub(crate) async fn lock(
    tx: &mut Tx,
    product_ids: &[impl AsRef<str>],
) -> Result<Vec<Product>, Error> {
    tx.fetch_all(LOCK_PRODUCTS, args![true, json_texts(product_ids)]).await
}

/// Stores new products with their slugs, categories and places in lists.
pub(crate) async fn insert(tx: &mut Tx, products: &[Product]) -> Result<(), Error> {
    if products.is_empty() {
        return Ok(());
    }
    let records: Vec<Record<'_>> = products.iter().map(Record::from).collect();
    tx.execute(INSERT_PRODUCTS, args![rows(&records)]).await?;
    tx.execute(INSERT_SLUGS, args![rows(&records)]).await?;
    put_into_categories(tx, products).await
}

/// Stores changed products. Their slugs, categories and places in lists are
/// stored apart, where they changed.
pub(crate) async fn update(tx: &mut Tx, products: &[Product]) -> Result<(), Error> {
    if products.is_empty() {
        return Ok(());
    }
    let records: Vec<Record<'_>> = products.iter().map(Record::from).collect();
    tx.execute(UPDATE_PRODUCTS, args![rows(&records)]).await?;
    Ok(())
}

/// Stores that something belonging to these products changed.
pub(crate) async fn touch(tx: &mut Tx, products: &[Product]) -> Result<(), Error> {
    if products.is_empty() {
        return Ok(());
    }
    let records: Vec<Record<'_>> = products.iter().map(Record::from).collect();
    tx.execute(TOUCH_PRODUCTS, args![rows(&records)]).await?;
    Ok(())
}

/// Deletes a product with all that belongs to it.
pub(crate) async fn delete(tx: &mut Tx, product_id: &str) -> Result<(), Error> {
    tx.execute(DELETE_PRODUCT, args![product_id]).await?;
    Ok(())
}

/// Which of these slugs are taken, and by which product.
pub(crate) async fn slug_owners(
    tx: &mut Tx,
    slugs: &[impl AsRef<str>],
) -> Result<Vec<(String, String)>, Error> {
    tx.fetch_all(FIND_SLUGS, args![json_texts(slugs)]).await
}

/// Notes that these products have new slugs.
pub(crate) async fn insert_slugs(tx: &mut Tx, products: &[Product]) -> Result<(), Error> {
    if products.is_empty() {
        return Ok(());
    }
    let records: Vec<Record<'_>> = products.iter().map(Record::from).collect();
    tx.execute(INSERT_SLUGS, args![rows(&records)]).await?;
    Ok(())
}

/// Puts products into exactly the categories they name.
pub(crate) async fn set_categories(tx: &mut Tx, products: &[Product]) -> Result<(), Error> {
    if products.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = products.iter().map(|product| product.product_id.as_str()).collect();
    tx.execute(DELETE_CATEGORIES, args![json_texts(&ids)]).await?;
    tx.execute(DELETE_LISTING, args![json_texts(&ids)]).await?;
    put_into_categories(tx, products).await
}

/// Makes the lists show products as they are now.
pub(crate) async fn relist(tx: &mut Tx, product_ids: &[impl AsRef<str>]) -> Result<(), Error> {
    if product_ids.is_empty() {
        return Ok(());
    }
    tx.execute(DELETE_LISTING, args![json_texts(product_ids)]).await?;
    tx.execute(INSERT_LISTING, args![json_texts(product_ids)]).await?;
    Ok(())
}

/// Which of these tax categories there are.
pub(crate) async fn known_tax_categories(
    tx: &mut Tx,
    names: &[impl AsRef<str>],
) -> Result<Vec<String>, Error> {
    tx.fetch_all(FIND_TAX_CATEGORIES, args![json_texts(names)]).await
}

async fn put_into_categories(tx: &mut Tx, products: &[Product]) -> Result<(), Error> {
    let memberships: Vec<Membership<'_>> = products
        .iter()
        .flat_map(|product| {
            product
                .category_ids
                .iter()
                .map(|category_id| Membership { product_id: &product.product_id, category_id })
        })
        .collect();
    if memberships.is_empty() {
        return Ok(());
    }
    tx.execute(INSERT_CATEGORIES, args![rows(&memberships)]).await?;
    let ids: Vec<&str> = products.iter().map(|product| product.product_id.as_str()).collect();
    tx.execute(INSERT_LISTING, args![json_texts(&ids)]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chassis::store::Engine;

    use super::*;

    chassis::statements! {
        /// How SQLite finds a page of what is published.
        EXPLAIN_NEWEST = concat!("explain query plan ", newest_published!());
        /// How SQLite finds a page of what is published in a category.
        EXPLAIN_NEWEST_IN = concat!("explain query plan ", newest_published_in!());
    }

    struct Step(String);

    impl FromRow for Step {
        fn from_row(row: &Row<'_>) -> Result<Self, Error> {
            Ok(Self(row.get("detail")?))
        }
    }

    /// A late page is found by an index that starts where the page does, as the
    /// first one is; nothing is sorted.
    #[tokio::test]
    async fn a_late_page_is_found_like_the_first_one() {
        let fixture = testkit::service::<crate::Catalog>().start().await;
        let database = fixture.running().database();
        if database.engine() != Engine::Sqlite {
            return;
        }
        for time in [i64::MAX, 1] {
            let all = args![false, time, "", 51_i64, "PUBLISHED"];
            let within = args![false, time, "", 51_i64, "a", "PUBLISHED"];
            for (statement, values, index) in [
                (EXPLAIN_NEWEST, all, "product_state_create_time_idx"),
                (EXPLAIN_NEWEST_IN, within, "product_listing_state_create_time_idx"),
            ] {
                let plan: Vec<Step> = database.fetch_all(statement, values).await.unwrap();
                let plan: Vec<String> = plan.into_iter().map(|step| step.0).collect();
                assert!(
                    plan.iter().any(|step| step.contains("SEARCH")
                        && step.contains(index)
                        && step.contains("(create_time,product_id)<(?,?)")),
                    "{plan:?}"
                );
                assert!(
                    !plan
                        .iter()
                        .any(|step| step.contains("SCAN") || step.contains("B-TREE FOR ORDER")),
                    "{plan:?}"
                );
            }
        }
    }
}
