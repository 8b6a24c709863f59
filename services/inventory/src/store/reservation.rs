//! Promises. Every way that one ends is a compare-and-set on its state: whoever
//! changes the row first has decided, and the others find out what it was.

use chassis::{
    Time, args,
    store::{Database, Error as StoreError, FromRow, Row, Tx},
};

use super::LAST;
use crate::{
    domain::{Line, Reservation, State},
    error::Error,
};

macro_rules! columns {
    () => {
        "reservation_id, owner, state, lines, version, create_time, expire_time, update_time"
    };
}

chassis::statements! {
    /// A new one.
    INSERT = concat!(
        "insert into reservation (", columns!(), ") values ($1, $2, 'HELD', $3, 1, $4, $5, $4)"
    );

    /// One.
    FIND = concat!("select ", columns!(), " from reservation where reservation_id = $1");

    /// One that is about to change.
    LOCK = concat!("select ", columns!(), " from reservation where reservation_id = $1 {{FOR_UPDATE}}");

    /// Held and in time: committed.
    COMMIT = concat!(
        "update reservation
            set state = 'COMMITTED',
                version = version + 1,
                update_time = $2
          where reservation_id = $1
            and state = 'HELD'
            and expire_time > $2
      returning ", columns!()
    );

    /// Held: released. Committed: returned to stock. The new state tells the old.
    RELEASE = concat!(
        "update reservation
            set state = case state when 'HELD' then 'RELEASED' else 'RETURNED_TO_STOCK' end,
                version = version + 1,
                update_time = $2
          where reservation_id = $1
            and state in ('HELD', 'COMMITTED')
      returning ", columns!()
    );

    /// Held and in time: held for longer, never for less.
    EXTEND = concat!(
        "update reservation
            set expire_time = case when expire_time > $3 then expire_time else $3 end,
                version = version + 1,
                update_time = $2
          where reservation_id = $1
            and state = 'HELD'
            and expire_time > $2
      returning ", columns!()
    );

    /// Held and out of time: expired, so many at once.
    EXPIRE = concat!(
        "update reservation
            set state = 'EXPIRED',
                version = version + 1,
                update_time = $1
          where state = 'HELD'
            and expire_time <= $1
            and reservation_id in (
                select reservation_id
                  from reservation
                 where state = 'HELD'
                   and expire_time <= $1
                 order by expire_time
                 limit $2 {{SKIP_LOCKED}}
            )
      returning ", columns!()
    );

    /// Committed and unchanged since it was read: so much of it is shipped.
    FULFILL = concat!(
        "update reservation
            set state = $2,
                lines = $3,
                version = version + 1,
                update_time = $4
          where reservation_id = $1
            and state = 'COMMITTED'
            and version = $5
      returning ", columns!()
    );

    /// All, newest first: ids are made in order of time.
    LIST = concat!(
        "select ", columns!(), "
           from reservation
          where reservation_id < $1
          order by reservation_id desc
          limit $2"
    );

    /// One owner's.
    LIST_OF_OWNER = concat!(
        "select ", columns!(), "
           from reservation
          where owner = $3
            and (cast($4 as text) is null or state = $4)
            and reservation_id < $1
          order by reservation_id desc
          limit $2"
    );

    /// Those in one state.
    LIST_IN_STATE = concat!(
        "select ", columns!(), "
           from reservation
          where state = $3
            and reservation_id < $1
          order by reservation_id desc
          limit $2"
    );
}

impl FromRow for Reservation {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        let lines: String = row.get("lines")?;
        Ok(Self {
            reservation_id: row.get("reservation_id")?,
            owner: row.get("owner")?,
            state: State::find(&state).ok_or_else(|| StoreError::Column {
                column: "state".into(),
                problem: state.into(),
            })?,
            lines: serde_json::from_str(&lines).map_err(|error| StoreError::Column {
                column: "lines".into(),
                problem: error.to_string().into(),
            })?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            expire_time: row.get("expire_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// Keeps a new one.
pub(crate) async fn insert(tx: &mut Tx, reservation: &Reservation) -> Result<(), StoreError> {
    let Reservation { reservation_id, owner, lines, create_time, expire_time, .. } = reservation;
    tx.execute(INSERT, args![reservation_id, owner, json(lines), *create_time, *expire_time])
        .await
        .map(drop)
}

/// One reservation.
pub(crate) async fn get(database: &Database, reservation_id: String) -> Result<Reservation, Error> {
    let found = database.fetch_optional(FIND, args![&reservation_id]).await?;
    found.ok_or(Error::ReservationNotFound { reservation_id })
}

/// One reservation that is about to change.
pub(crate) async fn lock(tx: &mut Tx, reservation_id: &str) -> Result<Reservation, Error> {
    let found = tx.fetch_optional(LOCK, args![reservation_id]).await?;
    found.ok_or_else(|| Error::ReservationNotFound { reservation_id: reservation_id.to_owned() })
}

/// Commits it if it is held and in time.
pub(crate) async fn commit(
    tx: &mut Tx,
    reservation_id: &str,
    now: Time,
) -> Result<Reservation, Error> {
    match tx.fetch_optional(COMMIT, args![reservation_id, now]).await? {
        Some(reservation) => Ok(reservation),
        None => Err(resolved(lock(tx, reservation_id).await?)),
    }
}

/// Gives it back if it is held or committed.
pub(crate) async fn release(
    tx: &mut Tx,
    reservation_id: &str,
    now: Time,
) -> Result<Reservation, Error> {
    match tx.fetch_optional(RELEASE, args![reservation_id, now]).await? {
        Some(reservation) => Ok(reservation),
        None => Err(resolved(lock(tx, reservation_id).await?)),
    }
}

/// Holds it until then if it is held and in time.
pub(crate) async fn extend(
    tx: &mut Tx,
    reservation_id: &str,
    now: Time,
    expire_time: Time,
) -> Result<Reservation, Error> {
    match tx.fetch_optional(EXTEND, args![reservation_id, now, expire_time]).await? {
        Some(reservation) => Ok(reservation),
        None => Err(resolved(lock(tx, reservation_id).await?)),
    }
}

/// Expires up to this many whose time is up.
pub(crate) async fn expire(
    tx: &mut Tx,
    now: Time,
    limit: i64,
) -> Result<Vec<Reservation>, StoreError> {
    tx.fetch_all(EXPIRE, args![now, limit]).await
}

/// Keeps what was shipped of a locked one.
pub(crate) async fn fulfill(
    tx: &mut Tx,
    shipped: &Reservation,
    now: Time,
) -> Result<Reservation, Error> {
    let Reservation { reservation_id, state, lines, version, .. } = shipped;
    let row = args![reservation_id, state.as_str(), json(lines), now, *version];
    tx.fetch_optional(FULFILL, row).await?.ok_or(Error::Contended)
}

/// Reservations before this one, newest first.
pub(crate) async fn list(
    database: &Database,
    owner: Option<&str>,
    state: Option<State>,
    before: Option<String>,
    limit: i64,
) -> Result<Vec<Reservation>, StoreError> {
    let before = before.unwrap_or_else(|| LAST.to_owned());
    let state = state.map(State::as_str);
    match (owner, state) {
        (Some(owner), state) => {
            database.fetch_all(LIST_OF_OWNER, args![before, limit, owner, state]).await
        }
        (None, Some(state)) => database.fetch_all(LIST_IN_STATE, args![before, limit, state]).await,
        (None, None) => database.fetch_all(LIST, args![before, limit]).await,
    }
}

/// Why a compare-and-set missed: the state says it, except that one which is
/// still held can only have been out of time.
fn resolved(found: Reservation) -> Error {
    let state = match found.state {
        State::Held => State::Expired,
        state => state,
    };
    Error::Resolved { reservation_id: found.reservation_id, state }
}

fn json(lines: &[Line]) -> String {
    // Texts and numbers always have a JSON form.
    serde_json::to_string(lines).unwrap_or_default()
}
