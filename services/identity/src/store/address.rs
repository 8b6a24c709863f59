//! Address books.

use bytes::Bytes;
use chassis::{
    Database, Time, args,
    store::{self, FromRow, Row, Tx},
};
use contracts::{identity::v1 as api, values::v1::PostalAddress};
use prost::Message as _;

use crate::{domain, error::Error};

chassis::statements! {
    /// One address, if the caller may see it.
    FIND = "
        select address.address_id, address.user_id, address.label, address.postal, address.version,
            address.create_time, address.update_time, account.default_shipping_id, account.default_billing_id
        from address
        join account on account.user_id = address.user_id
        where address.address_id = $1 and (cast($2 as text) is null or address.user_id = $2)";
    /// A page of one user's addresses, oldest first.
    LIST = "
        select address.address_id, address.user_id, address.label, address.postal, address.version,
            address.create_time, address.update_time, account.default_shipping_id, account.default_billing_id
        from address
        join account on account.user_id = address.user_id
        where address.user_id = $1 and (cast($2 as text) is null or address.address_id > $2)
        order by address.address_id
        limit $3";
    /// How many addresses a user has.
    COUNT = "
        select cast(count(*) as bigint) from address where user_id = $1";
    /// A new address.
    INSERT = "
        insert into address (address_id, user_id, label, postal, version, create_time, update_time)
        values ($1, $2, $3, $4, 1, $5, $5)";
    /// A change of an address that is still the one that was read.
    UPDATE = "
        update address set label = $3, postal = $4, version = version + 1, update_time = $5
        where address_id = $1 and version = $2";
    /// One address less.
    DELETE = "
        delete from address where address_id = $1";
}

/// An entry of an address book.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub address_id: String,
    pub user_id: String,
    pub label: String,
    pub postal: PostalAddress,
    pub version: i64,
    pub create_time: Time,
    pub update_time: Time,
    pub default_shipping: bool,
    pub default_billing: bool,
}

// === impl Address ===

impl FromRow for Address {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        let address_id: String = row.get("address_id")?;
        let is = |default: Option<String>| default.as_deref() == Some(address_id.as_str());
        Ok(Self {
            default_shipping: is(row.get("default_shipping_id")?),
            default_billing: is(row.get("default_billing_id")?),
            user_id: row.get("user_id")?,
            label: row.get("label")?,
            // Only this module writes the column, so that it always decodes.
            postal: PostalAddress::decode(row.get::<Bytes>("postal")?).unwrap_or_default(),
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
            address_id,
        })
    }
}

impl From<Address> for api::Address {
    fn from(address: Address) -> Self {
        Self {
            address_id: address.address_id,
            user_id: address.user_id,
            label: address.label,
            postal_address: Some(address.postal),
            default_shipping: address.default_shipping,
            default_billing: address.default_billing,
            etag: domain::etag(address.version),
            create_time: Some(address.create_time.timestamp()),
            update_time: Some(address.update_time.timestamp()),
        }
    }
}

/// One address, if the caller may see it.
pub(crate) async fn find(
    database: &Database,
    address_id: &str,
    owner: Option<&str>,
) -> Result<Option<Address>, store::Error> {
    database.fetch_optional(FIND, args![address_id, owner]).await
}

/// One address, if the caller may see it, within a transaction.
pub(crate) async fn get(
    tx: &mut Tx,
    address_id: &str,
    owner: Option<&str>,
) -> Result<Address, Error> {
    tx.fetch_optional(FIND, args![address_id, owner]).await?.ok_or(Error::AddressNotFound)
}

/// A page of one user's addresses.
pub(crate) async fn list(
    database: &Database,
    user_id: &str,
    after: Option<String>,
    limit: i64,
) -> Result<Vec<Address>, store::Error> {
    database.fetch_all(LIST, args![user_id, after, limit]).await
}

/// How many addresses a user has.
pub(crate) async fn count(tx: &mut Tx, user_id: &str) -> Result<i64, store::Error> {
    tx.fetch_one(COUNT, args![user_id]).await
}

/// Adds an address.
pub(crate) async fn insert(
    tx: &mut Tx,
    address_id: &str,
    user_id: &str,
    label: &str,
    postal: &PostalAddress,
    now: Time,
) -> Result<(), store::Error> {
    tx.execute(INSERT, args![address_id, user_id, label, postal.encode_to_vec(), now]).await?;
    Ok(())
}

/// Keeps a changed address, unless another change was faster.
pub(crate) async fn update(tx: &mut Tx, address: &Address, now: Time) -> Result<Address, Error> {
    let Address { address_id, version, label, postal, .. } = address;
    if tx.execute(UPDATE, args![address_id, *version, label, postal.encode_to_vec(), now]).await?
        == 0
    {
        return Err(Error::EtagMismatch { field: "address.etag" });
    }
    get(tx, address_id, None).await
}

/// Removes an address.
pub(crate) async fn delete(tx: &mut Tx, address_id: &str) -> Result<(), store::Error> {
    tx.execute(DELETE, args![address_id]).await?;
    Ok(())
}
