//! What lies where, and what of it is promised.

use std::collections::BTreeMap;

use chassis::{
    Time, args,
    store::{Database, Error as StoreError, FromRow, Row, Tx, json_texts},
};

use super::FIRST;
use crate::{
    domain::{Candidate, Delta, Level, LevelKey, Line, source},
    error::Error,
};

macro_rules! columns {
    () => {
        "sku, location_id, on_hand, reserved, committed, safety, backorder_limit, reorder_point, available, version,
         update_time"
    };
}

macro_rules! candidates {
    ($lock:literal) => {
        concat!(
            "select level.sku, level.location_id, level.available
               from (
                   select sku, location_id, available
                     from stock_level
                    where sku in (select value from {{JSON_TEXTS:$1}})
                    order by sku, location_id ",
            $lock,
            ") as level
               join location on location.location_id = level.location_id
              where location.active
              order by level.sku, location.priority, location.location_id"
        )
    };
}

chassis::statements! {
    /// Takes units of one SKU from the first location that has enough: all of a
    /// reservation of one line in one statement. The condition is asked of the
    /// row itself, so that whoever is second finds it false.
    TAKE_FROM_FIRST = concat!(
        "update stock_level
            set reserved = reserved + $2,
                version = version + 1,
                update_time = $3
          where sku = $1
            and available >= $2
            and location_id = (
                select candidate.location_id
                  from stock_level as candidate
                  join location on location.location_id = candidate.location_id
                 where candidate.sku = $1
                   and candidate.available >= $2
                   and location.active
                 order by location.priority, location.location_id
                 limit 1
            )
      returning ", columns!()
    );

    /// Takes units from one level if it has them.
    TAKE = concat!(
        "update stock_level
            set reserved = reserved + $3,
                version = version + 1,
                update_time = $4
          where sku = $1
            and location_id = $2
            and available >= $3
      returning ", columns!()
    );

    /// The levels that could be asked, in the order in which they are.
    CANDIDATES = candidates!("");

    /// The same, locked in the order of their keys: whoever takes from several
    /// waits here, and then for nobody.
    CANDIDATES_LOCKED = candidates!("{{FOR_UPDATE}}");

    /// Adds a difference, if the level is still of this version.
    APPLY = concat!(
        "update stock_level
            set on_hand = on_hand + $3,
                reserved = reserved + $4,
                committed = committed + $5,
                version = version + 1,
                update_time = $6
          where sku = $1
            and location_id = $2
            and (cast($7 as bigint) is null or version = $7)
      returning ", columns!()
    );

    /// An empty level, where there is none.
    ENSURE = "
        insert into stock_level (sku, location_id, update_time)
        select cast($1 as text), location_id, cast($3 as bigint)
          from location
         where location_id = $2
            on conflict (sku, location_id) do nothing";

    /// The same for many.
    ENSURE_ALL = "
        insert into stock_level (sku, location_id, update_time)
        select item.value ->> 'sku', location.location_id, cast($2 as bigint)
          from {{JSON_ROWS:$1}} as item
          join location on location.location_id = item.value ->> 'location_id'
         where true
         order by item.value ->> 'sku', location.location_id
            on conflict (sku, location_id) do nothing";

    /// One level that is about to change.
    LOCK = concat!("select ", columns!(), " from stock_level where sku = $1 and location_id = $2 {{FOR_UPDATE}}");

    /// Many, locked in the order of their keys.
    LOCK_ALL = concat!(
        "select ", columns!(), "
           from stock_level
          where (sku, location_id) in (
              select item.value ->> 'sku', item.value ->> 'location_id' from {{JSON_ROWS:$1}} as item
          )
          order by sku, location_id {{FOR_UPDATE}}"
    );

    /// What was counted, for many.
    SET_ALL = concat!(
        "update stock_level
            set on_hand = cast(item.value ->> 'on_hand' as bigint),
                version = version + 1,
                update_time = $2
           from {{JSON_ROWS:$1}} as item
          where stock_level.sku = item.value ->> 'sku'
            and stock_level.location_id = item.value ->> 'location_id'
      returning ", columns!()
    );

    /// How a level is sold, if it is still of this version.
    SET_POLICY = concat!(
        "update stock_level
            set safety = $3,
                backorder_limit = $4,
                reorder_point = $5,
                version = version + 1,
                update_time = $6
          where sku = $1
            and location_id = $2
            and (cast($7 as bigint) is null or version = $7)
      returning ", columns!()
    );

    /// What may be promised of each SKU.
    AVAILABILITY = "
        select level.sku, cast(sum(level.available) as bigint) as available
          from stock_level as level
          join location on location.location_id = level.location_id
         where level.sku in (select value from {{JSON_TEXTS:$1}})
           and level.available > 0
           and location.active
         group by level.sku";

    /// All levels of one SKU, and whether their locations are asked for it.
    OF_SKU = concat!(
        "select ", columns!(), ", (
                   select location.active from location where location.location_id = stock_level.location_id
               ) as active
           from stock_level
          where sku = $1
          order by location_id"
    );

    /// All levels.
    LIST = concat!(
        "select ", columns!(), "
           from stock_level
          where (sku, location_id) > ($1, $2)
          order by sku, location_id
          limit $3"
    );

    /// The levels of one SKU, a page of them.
    LIST_OF_SKU = concat!(
        "select ", columns!(), "
           from stock_level
          where sku = $3
            and (cast($4 as text) is null or location_id = $4)
            and (sku, location_id) > ($1, $2)
          order by sku, location_id
          limit $5"
    );

    /// The levels at one location.
    LIST_AT_LOCATION = concat!(
        "select ", columns!(), "
           from stock_level
          where location_id = $2
            and sku > $1
          order by sku
          limit $3"
    );

    /// Levels that are low.
    LIST_LOW = concat!(
        "select ", columns!(), "
           from stock_level
          where reorder_point > 0
            and on_hand - reserved - committed <= reorder_point
            and (cast($3 as text) is null or location_id = $3)
            and (sku, location_id) > ($1, $2)
          order by sku, location_id
          limit $4"
    );
}

impl FromRow for Level {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            key: LevelKey::from_row(row)?,
            on_hand: row.get("on_hand")?,
            reserved: row.get("reserved")?,
            committed: row.get("committed")?,
            safety: row.get("safety")?,
            backorder_limit: row.get("backorder_limit")?,
            reorder_point: row.get("reorder_point")?,
            available: row.get("available")?,
            version: row.get("version")?,
            update_time: row.get("update_time")?,
        })
    }
}

impl FromRow for LevelKey {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { sku: row.get("sku")?, location_id: row.get("location_id")? })
    }
}

impl FromRow for Candidate {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { key: LevelKey::from_row(row)?, available: row.get("available")? })
    }
}

/// Units that were taken, and the levels as they are after it.
pub(crate) type Taken = (Vec<Line>, Vec<Level>);

/// How [`take`] goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// Without looking first, where one statement may do. Gives up as
    /// [`Error::Contended`] if it does not.
    Quickly,
    /// With every level locked that could be asked.
    Carefully,
}

/// Takes all that is wanted, or says what is short.
pub(crate) async fn take(
    tx: &mut Tx,
    wanted: &BTreeMap<String, i64>,
    now: Time,
    taking: Taking,
) -> Result<Taken, Error> {
    let skus = json_texts(&wanted.keys().collect::<Vec<_>>());
    if let (Taking::Quickly, 1, Some((sku, &quantity))) =
        (taking, wanted.len(), wanted.first_key_value())
    {
        if let Some(level) =
            tx.fetch_optional::<Level>(TAKE_FROM_FIRST, args![sku, quantity, now]).await?
        {
            let LevelKey { sku, location_id } = level.key.clone();
            return Ok((vec![Line { sku, location_id, quantity, fulfilled: 0 }], vec![level]));
        }
        let candidates: Vec<Candidate> = tx.fetch_all(CANDIDATES, args![skus]).await?;
        return Err(match source(wanted, &candidates) {
            Err(short) => Error::OutOfStock { short },
            Ok(_) => Error::Contended,
        });
    }
    let candidates: Vec<Candidate> = tx.fetch_all(CANDIDATES_LOCKED, args![skus]).await?;
    let lines = source(wanted, &candidates).map_err(|short| Error::OutOfStock { short })?;
    let mut levels = Vec::with_capacity(lines.len());
    for line in &lines {
        let row = args![&line.sku, &line.location_id, line.quantity, now];
        levels.push(tx.fetch_optional(TAKE, row).await?.ok_or(Error::Contended)?);
    }
    Ok((lines, levels))
}

/// Adds a difference to a level of this version, or of any.
pub(super) async fn apply(
    tx: &mut Tx,
    key: &LevelKey,
    delta: Delta,
    version: Option<i64>,
    now: Time,
) -> Result<Level, Error> {
    let row = args![
        &key.sku,
        &key.location_id,
        delta.on_hand,
        delta.reserved,
        delta.committed,
        now,
        version
    ];
    match tx.fetch_optional(APPLY, row).await {
        Ok(Some(level)) => Ok(level),
        Ok(None) => Err(missing(tx, key).await?),
        Err(error) => Err(Error::of_level(error, key)),
    }
}

/// Why a level of some version was not found.
async fn missing(tx: &mut Tx, key: &LevelKey) -> Result<Error, StoreError> {
    let found: Option<Level> = tx.fetch_optional(LOCK, args![&key.sku, &key.location_id]).await?;
    Ok(match found {
        Some(_) => Error::EtagMismatch {
            subject: format!("the level of {} at {}", key.sku, key.location_id),
        },
        None => Error::LevelNotFound {
            sku: key.sku.clone(),
            location_id: Some(key.location_id.clone()),
        },
    })
}

/// Makes an empty level where there is none.
pub(crate) async fn ensure(tx: &mut Tx, key: &LevelKey, now: Time) -> Result<(), StoreError> {
    tx.execute(ENSURE, args![&key.sku, &key.location_id, now]).await.map(drop)
}

/// A level that is about to change, made if there is none.
pub(crate) async fn lock(tx: &mut Tx, key: &LevelKey, now: Time) -> Result<Level, Error> {
    ensure(tx, key, now).await?;
    let found = tx.fetch_optional(LOCK, args![&key.sku, &key.location_id]).await?;
    found.ok_or_else(|| Error::LocationNotFound { location_id: key.location_id.clone() })
}

/// Levels that are about to change, made where there are none; those whose
/// location does not exist are missing. `keys` is a JSON array of objects.
pub(super) async fn lock_all(tx: &mut Tx, keys: &str, now: Time) -> Result<Vec<Level>, StoreError> {
    tx.execute(ENSURE_ALL, args![keys, now]).await?;
    tx.fetch_all(LOCK_ALL, args![keys]).await
}

/// Sets what was counted at locked levels. `counts` is a JSON array of objects.
pub(super) async fn set_all(
    tx: &mut Tx,
    counts: &str,
    now: Time,
) -> Result<Vec<Level>, StoreError> {
    tx.fetch_all(SET_ALL, args![counts, now]).await
}

/// How a level is sold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) safety: i64,
    pub(crate) backorder_limit: i64,
    pub(crate) reorder_point: i64,
}

/// Says how a level is sold. Returns the level before and after.
pub(crate) async fn set_policy(
    tx: &mut Tx,
    key: &LevelKey,
    policy: Policy,
    version: Option<i64>,
    now: Time,
) -> Result<(Level, Level), Error> {
    let before = lock(tx, key, now).await?;
    let Policy { safety, backorder_limit, reorder_point } = policy;
    let row =
        args![&key.sku, &key.location_id, safety, backorder_limit, reorder_point, now, version];
    match tx.fetch_optional(SET_POLICY, row).await {
        Ok(Some(after)) => Ok((before, after)),
        Ok(None) => Err(missing(tx, key).await?),
        Err(error) => Err(Error::of_level(error, key)),
    }
}

/// What may be promised of each of these SKUs, of which any may.
pub(crate) async fn availability(
    database: &Database,
    skus: &[String],
) -> Result<BTreeMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> =
        database.fetch_all(AVAILABILITY, args![json_texts(skus)]).await?;
    Ok(rows.into_iter().collect())
}

/// What each active location may promise of these SKUs, inside a write.
pub(crate) async fn candidates(tx: &mut Tx, skus: &[&str]) -> Result<Vec<Candidate>, StoreError> {
    tx.fetch_all(CANDIDATES, args![json_texts(skus)]).await
}

/// A level, and whether its location is asked for reservations.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) level: Level,
    pub(crate) active: bool,
}

impl FromRow for Placed {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { level: Level::from_row(row)?, active: row.get("active")? })
    }
}

/// All levels of one SKU.
pub(crate) async fn of_sku(database: &Database, sku: &str) -> Result<Vec<Placed>, StoreError> {
    database.fetch_all(OF_SKU, args![sku]).await
}

/// Levels after this one, by SKU and location.
pub(crate) async fn list(
    database: &Database,
    sku: Option<&str>,
    location_id: Option<&str>,
    after: Option<(String, String)>,
    limit: i64,
) -> Result<Vec<Level>, StoreError> {
    let (after_sku, after_location) = after.unwrap_or_default();
    match (sku, location_id) {
        (Some(sku), location_id) => {
            database
                .fetch_all(LIST_OF_SKU, args![after_sku, after_location, sku, location_id, limit])
                .await
        }
        (None, Some(location_id)) => {
            database.fetch_all(LIST_AT_LOCATION, args![after_sku, location_id, limit]).await
        }
        (None, None) => database.fetch_all(LIST, args![after_sku, after_location, limit]).await,
    }
}

/// Low levels after this one, by SKU and location.
pub(crate) async fn list_low(
    database: &Database,
    location_id: Option<&str>,
    after: Option<(String, String)>,
    limit: i64,
) -> Result<Vec<Level>, StoreError> {
    let (after_sku, after_location) = after.unwrap_or((FIRST.to_owned(), FIRST.to_owned()));
    database.fetch_all(LIST_LOW, args![after_sku, after_location, location_id, limit]).await
}
