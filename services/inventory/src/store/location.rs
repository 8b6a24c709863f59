//! Where stock lies.

use chassis::{
    Time, args,
    store::{Database, Error as StoreError, FromRow, Row, Tx},
};

use super::FIRST;
use crate::error::Error;

macro_rules! columns {
    () => {
        "location_id, code, display_name, priority, active, version, create_time, update_time"
    };
}

chassis::statements! {
    /// A new one.
    INSERT = concat!(
        "insert into location (", columns!(), ") values ($1, $2, $3, $4, $5, 1, $6, $6) returning ", columns!()
    );

    /// One.
    FIND = concat!("select ", columns!(), " from location where location_id = $1");

    /// One that is about to change.
    LOCK = concat!("select ", columns!(), " from location where location_id = $1 {{FOR_UPDATE}}");

    /// All, in the order in which they are asked for stock.
    LIST = concat!(
        "select ", columns!(), "
           from location
          where (priority, location_id) > ($1, $2)
          order by priority, location_id
          limit $3"
    );

    /// New values.
    UPDATE = concat!(
        "update location
            set code = $2,
                display_name = $3,
                priority = $4,
                active = $5,
                version = version + 1,
                update_time = $6
          where location_id = $1
      returning ", columns!()
    );

    /// A level with something in it.
    FIND_STOCKED = "
        select sku
          from stock_level
         where location_id = $1
           and (on_hand <> 0 or reserved <> 0 or committed <> 0)
         limit 1";

    /// Its empty levels.
    DELETE_LEVELS = "
        delete from stock_level
         where location_id = $1
           and on_hand = 0
           and reserved = 0
           and committed = 0";

    /// Itself. A level that is left refuses it.
    DELETE = "delete from location where location_id = $1";
}

/// A place that holds stock.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) location_id: String,
    pub(crate) code: String,
    pub(crate) display_name: String,
    pub(crate) priority: i64,
    pub(crate) active: bool,
    pub(crate) version: i64,
    pub(crate) create_time: Time,
    pub(crate) update_time: Time,
}

impl FromRow for Location {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            location_id: row.get("location_id")?,
            code: row.get("code")?,
            display_name: row.get("display_name")?,
            priority: row.get("priority")?,
            active: row.get("active")?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// Keeps a new location.
pub(crate) async fn insert(tx: &mut Tx, location: Location) -> Result<Location, Error> {
    let Location { location_id, code, display_name, priority, active, create_time, .. } = location;
    let row = args![location_id, &code, display_name, priority, active, create_time];
    tx.fetch_one(INSERT, row).await.map_err(|error| taken(error, code))
}

/// One location.
pub(crate) async fn get(database: &Database, location_id: String) -> Result<Location, Error> {
    let found = database.fetch_optional(FIND, args![&location_id]).await?;
    found.ok_or(Error::LocationNotFound { location_id })
}

/// One location that is about to change, still of this version if one is given.
pub(crate) async fn lock(
    tx: &mut Tx,
    location_id: &str,
    version: Option<i64>,
) -> Result<Location, Error> {
    let found: Option<Location> = tx.fetch_optional(LOCK, args![location_id]).await?;
    let location =
        found.ok_or_else(|| Error::LocationNotFound { location_id: location_id.to_owned() })?;
    if version.is_some_and(|version| version != location.version) {
        return Err(Error::EtagMismatch { subject: format!("location {location_id}") });
    }
    Ok(location)
}

/// Locations after this one, by priority.
pub(crate) async fn list(
    database: &Database,
    after: Option<(i64, String)>,
    limit: i64,
) -> Result<Vec<Location>, StoreError> {
    let (priority, location_id) = after.unwrap_or((-1, FIRST.to_owned()));
    database.fetch_all(LIST, args![priority, location_id, limit]).await
}

/// Keeps new values of a location.
pub(crate) async fn update(tx: &mut Tx, location: Location, now: Time) -> Result<Location, Error> {
    let Location { location_id, code, display_name, priority, active, .. } = location;
    let row = args![location_id, &code, display_name, priority, active, now];
    tx.fetch_one(UPDATE, row).await.map_err(|error| taken(error, code))
}

/// Removes a location that holds nothing.
pub(crate) async fn delete(tx: &mut Tx, location_id: &str) -> Result<(), Error> {
    let in_use = || Error::LocationInUse { location_id: location_id.to_owned() };
    if tx.fetch_optional::<String>(FIND_STOCKED, args![location_id]).await?.is_some() {
        return Err(in_use());
    }
    tx.execute(DELETE_LEVELS, args![location_id]).await?;
    // Something that came in between is held back by the foreign key.
    match tx.execute(DELETE, args![location_id]).await {
        Ok(_) => Ok(()),
        Err(error) if error.constraint().is_some() => Err(in_use()),
        Err(error) => Err(error.into()),
    }
}

fn taken(error: StoreError, code: String) -> Error {
    match error.constraint() {
        Some("location_code_key") => Error::LocationCodeTaken { code },
        _ => error.into(),
    }
}
