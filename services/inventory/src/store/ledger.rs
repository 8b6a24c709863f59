//! What changed every level, and the one way to change one.

use std::collections::{BTreeMap, HashMap, HashSet};

use chassis::{
    Time, args,
    store::{Database, Error as StoreError, FromRow, Row, Tx},
};
use serde::Serialize;

use super::{FIRST, Note, level};
use crate::{
    domain::{Delta, Kind, Level, LevelKey, Movement},
    error::Error,
};

macro_rules! columns {
    () => {
        "sequence, sku, location_id, kind, on_hand_delta, reserved_delta, committed_delta, reservation_id, reason,
         actor, create_time"
    };
}

chassis::statements! {
    /// Any number of movements that one call made.
    APPEND = "
        insert into movement (
            sku, location_id, kind, on_hand_delta, reserved_delta, committed_delta, reservation_id, reason, actor,
            create_time
        )
        select item.value ->> 'sku',
               item.value ->> 'location_id',
               item.value ->> 'kind',
               cast(item.value ->> 'on_hand' as bigint),
               cast(item.value ->> 'reserved' as bigint),
               cast(item.value ->> 'committed' as bigint),
               item.value ->> 'reservation_id',
               cast($2 as text),
               cast($3 as text),
               cast($4 as bigint)
          from {{JSON_ROWS:$1}} as item";

    /// The ledger.
    LIST = concat!(
        "select ", columns!(), " from movement where sequence < $1 order by sequence desc limit $2"
    );

    /// Of one SKU.
    LIST_OF_SKU = concat!(
        "select ", columns!(), "
           from movement
          where sku = $3
            and (cast($4 as text) is null or location_id = $4)
            and (cast($5 as text) is null or reservation_id = $5)
            and sequence < $1
          order by sequence desc
          limit $2"
    );

    /// Of one reservation.
    LIST_OF_RESERVATION = concat!(
        "select ", columns!(), "
           from movement
          where reservation_id = $3
            and (cast($4 as text) is null or location_id = $4)
            and sequence < $1
          order by sequence desc
          limit $2"
    );

    /// At one location.
    LIST_AT_LOCATION = concat!(
        "select ", columns!(), "
           from movement
          where location_id = $3
            and sequence < $1
          order by sequence desc
          limit $2"
    );

    /// Levels beside the sums of their movements.
    FOLD = "
        select level.sku,
               level.location_id,
               level.on_hand,
               level.reserved,
               level.committed,
               cast(coalesce(sum(movement.on_hand_delta), 0) as bigint) as ledger_on_hand,
               cast(coalesce(sum(movement.reserved_delta), 0) as bigint) as ledger_reserved,
               cast(coalesce(sum(movement.committed_delta), 0) as bigint) as ledger_committed
          from (
              select sku, location_id, on_hand, reserved, committed
                from stock_level
               where (sku, location_id) > ($1, $2)
               order by sku, location_id
               limit $3
          ) as level
          left join movement on movement.sku = level.sku and movement.location_id = level.location_id
         group by level.sku, level.location_id, level.on_hand, level.reserved, level.committed
         order by level.sku, level.location_id";
}

/// A level before and after it was changed, and by what: a policy changes what
/// may be promised without a movement.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) before: Level,
    pub(crate) after: Level,
    pub(crate) kind: Option<Kind>,
}

/// One entry of the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) sequence: i64,
    pub(crate) movement: Movement,
    pub(crate) reason: String,
    pub(crate) actor: String,
    pub(crate) create_time: Time,
}

/// A level and the sum of its movements.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) key: LevelKey,
    pub(crate) level: Delta,
    pub(crate) ledger: Delta,
}

/// What was counted at one level.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Count {
    pub(crate) sku: String,
    pub(crate) location_id: String,
    pub(crate) on_hand: i64,
}

/// What became of many counts.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) changes: Vec<Change>,
    pub(crate) unchanged: usize,
    /// Place of the row, and why it was refused.
    pub(crate) refused: Vec<(usize, Refusal)>,
}

/// Why a count was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The row is wrong in the world as it is.
    Error(Error),
    /// An earlier row is for the same level.
    Duplicate,
}

/// A movement, as [`APPEND`] reads it.
#[derive(Serialize)]
struct Item<'a> {
    sku: &'a str,
    location_id: &'a str,
    kind: &'static str,
    on_hand: i64,
    reserved: i64,
    committed: i64,
    reservation_id: Option<&'a str>,
}

impl FromRow for Entry {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let kind: String = row.get("kind")?;
        Ok(Self {
            sequence: row.get("sequence")?,
            movement: Movement {
                key: LevelKey::from_row(row)?,
                kind: Kind::find(&kind).ok_or_else(|| StoreError::Column {
                    column: "kind".into(),
                    problem: kind.into(),
                })?,
                delta: Delta {
                    on_hand: row.get("on_hand_delta")?,
                    reserved: row.get("reserved_delta")?,
                    committed: row.get("committed_delta")?,
                },
                reservation_id: row.get("reservation_id")?,
            },
            reason: row.get("reason")?,
            actor: row.get("actor")?,
            create_time: row.get("create_time")?,
        })
    }
}

impl FromRow for Fold {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            key: LevelKey::from_row(row)?,
            level: Delta {
                on_hand: row.get("on_hand")?,
                reserved: row.get("reserved")?,
                committed: row.get("committed")?,
            },
            ledger: Delta {
                on_hand: row.get("ledger_on_hand")?,
                reserved: row.get("ledger_reserved")?,
                committed: row.get("ledger_committed")?,
            },
        })
    }
}

/// Makes movements and changes their levels, each level once and in the order of
/// the keys, which is the order in which everybody locks them.
pub(crate) async fn book(
    tx: &mut Tx,
    movements: &[Movement],
    version: Option<i64>,
    note: &Note,
) -> Result<Vec<Change>, Error> {
    let mut deltas: BTreeMap<&LevelKey, (Delta, Kind)> = BTreeMap::new();
    for movement in movements {
        let (delta, _) = deltas.entry(&movement.key).or_insert((Delta::default(), movement.kind));
        *delta = delta.and(movement.delta);
    }
    let mut changes = Vec::with_capacity(deltas.len());
    for (key, (delta, kind)) in deltas {
        let after = level::apply(tx, key, delta, version, note.now).await?;
        changes.push(Change { before: after.before(delta), after, kind: Some(kind) });
    }
    append(tx, movements, note).await?;
    Ok(changes)
}

/// Writes down movements whose levels were changed already.
pub(crate) async fn append(
    tx: &mut Tx,
    movements: &[Movement],
    note: &Note,
) -> Result<(), StoreError> {
    let items: Vec<Item<'_>> = movements
        .iter()
        .map(|movement| Item {
            sku: &movement.key.sku,
            location_id: &movement.key.location_id,
            kind: movement.kind.as_str(),
            on_hand: movement.delta.on_hand,
            reserved: movement.delta.reserved,
            committed: movement.delta.committed,
            reservation_id: movement.reservation_id.as_deref(),
        })
        .collect();
    if !items.is_empty() {
        tx.execute(APPEND, args![json(&items), &note.reason, &note.actor, note.now]).await?;
    }
    Ok(())
}

/// Sets many levels to what was counted, each row on its own.
pub(crate) async fn count(tx: &mut Tx, counts: &[Count], note: &Note) -> Result<Counted, Error> {
    let levels = level::lock_all(tx, &json(counts), note.now).await?;
    let levels: HashMap<LevelKey, Level> =
        levels.into_iter().map(|level| (level.key.clone(), level)).collect();
    let mut counted = Counted { changes: Vec::new(), unchanged: 0, refused: Vec::new() };
    let mut seen = HashSet::new();
    let mut accepted = Vec::new();
    let mut movements = Vec::new();
    for (place, count) in counts.iter().enumerate() {
        let key = LevelKey::new(&count.sku, &count.location_id);
        let refusal = match levels.get(&key) {
            _ if !seen.insert(key.clone()) => Refusal::Duplicate,
            None => Refusal::Error(Error::LocationNotFound { location_id: key.location_id }),
            Some(level)
                if level.reserved + level.committed > count.on_hand + level.backorder_limit =>
            {
                Refusal::Error(Error::Promised { key })
            }
            Some(level) if level.on_hand == count.on_hand => {
                counted.unchanged += 1;
                continue;
            }
            Some(level) => {
                movements.push(Movement::new(key, Kind::Adjust, count.on_hand - level.on_hand));
                accepted.push(count);
                continue;
            }
        };
        counted.refused.push((place, refusal));
    }
    if accepted.is_empty() {
        return Ok(counted);
    }
    let changed = level::set_all(tx, &json(&accepted), note.now).await?;
    append(tx, &movements, note).await?;
    counted.changes = changed
        .into_iter()
        .filter_map(|after| {
            let before = levels.get(&after.key)?.clone();
            Some(Change { before, after, kind: Some(Kind::Adjust) })
        })
        .collect();
    counted.changes.sort_by(|a, b| a.after.key.cmp(&b.after.key));
    Ok(counted)
}

/// Which movements to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) sku: Option<String>,
    pub(crate) location_id: Option<String>,
    pub(crate) reservation_id: Option<String>,
}

/// Movements before this one, newest first.
pub(crate) async fn list(
    database: &Database,
    filter: Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let before = before.unwrap_or(i64::MAX);
    let Filter { sku, location_id, reservation_id } = filter;
    match (sku, reservation_id, location_id) {
        (Some(sku), reservation_id, location_id) => {
            database
                .fetch_all(LIST_OF_SKU, args![before, limit, sku, location_id, reservation_id])
                .await
        }
        (None, Some(reservation_id), location_id) => {
            database
                .fetch_all(LIST_OF_RESERVATION, args![before, limit, reservation_id, location_id])
                .await
        }
        (None, None, Some(location_id)) => {
            database.fetch_all(LIST_AT_LOCATION, args![before, limit, location_id]).await
        }
        (None, None, None) => database.fetch_all(LIST, args![before, limit]).await,
    }
}

/// Levels after this one, each beside the sum of its movements.
pub(crate) async fn fold(
    database: &Database,
    after: Option<(String, String)>,
    limit: i64,
) -> Result<Vec<Fold>, StoreError> {
    let (sku, location_id) = after.unwrap_or((FIRST.to_owned(), FIRST.to_owned()));
    database.fetch_all(FOLD, args![sku, location_id, limit]).await
}

/// Rows for a statement that reads them with `{{JSON_ROWS}}`.
fn json<T: Serialize>(rows: &[T]) -> String {
    // Texts and numbers always have a JSON form.
    serde_json::to_string(rows).unwrap_or_default()
}
