//! Carts and checkouts, as they are kept.

use chassis::{
    Currency, Database, Time, Tx, args,
    event::Event,
    store::{Error as StoreError, FromRow, Row},
};
use contracts::storefront::v1::{
    CartConverted, CheckoutCompleted, CheckoutFailed, CheckoutStarted,
};

use crate::{
    domain::{Cart, CartStatus, Checkout, CheckoutStatus, OrderRef, OwnerKind},
    error::Error,
};

chassis::statements! {
    /// A new cart.
    INSERT_CART = "insert into cart
            (cart_id, owner_id, currency_code, status, lines, version, create_time, update_time)
        values ($1, $2, $3, 'ACTIVE', $4, 1, $5, $5)";
    /// One cart, if the owner is right or any will do.
    FIND_CART = "select cart_id, owner_id, currency_code, status, lines, version, create_time, update_time
        from cart where cart_id = $1 and (cast($2 as text) is null or owner_id = $2)";
    /// The same, to change it.
    LOCK_CART = "select cart_id, owner_id, currency_code, status, lines, version, create_time, update_time
        from cart where cart_id = $1 and (cast($2 as text) is null or owner_id = $2) {{FOR_UPDATE}}";
    /// One owner's carts, the newest first.
    LIST_CARTS_OF = "select cart_id, owner_id, currency_code, status, lines, version, create_time, update_time
        from cart where owner_id = $1 and ($2 = '' or status = $2)
            and (cast($3 as bigint) is null or (create_time, cart_id) < ($3, $4))
        order by create_time desc, cart_id desc limit $5";
    /// Everybody's carts, the newest first.
    LIST_CARTS = "select cart_id, owner_id, currency_code, status, lines, version, create_time, update_time
        from cart where ($1 = '' or status = $1)
            and (cast($2 as bigint) is null or (create_time, cart_id) < ($2, $3))
        order by create_time desc, cart_id desc limit $4";
    /// New lines for a cart that nobody else has changed meanwhile.
    UPDATE_CART_LINES = "update cart set lines = $3, version = version + 1, update_time = $4
        where cart_id = $1 and version = $2 and status = 'ACTIVE'";
    /// The cart is being sold, if it is still the one that was agreed to.
    LOCK_CART_FOR_SALE = "update cart set status = 'CHECKING_OUT', version = version + 1, update_time = $3
        where cart_id = $1 and version = $2 and status = 'ACTIVE'";
    /// How the sale of a cart ended.
    END_CART_SALE = "update cart set status = $2, version = version + 1, update_time = $3
        where cart_id = $1 and status = 'CHECKING_OUT'";

    /// A new checkout; none if the cart has a live one.
    INSERT_CHECKOUT = "insert into checkout
            (checkout_id, cart_id, owner_id, owner_kind, currency_code, status, email, shipping_code,
             payment_method, version, create_time, update_time)
        values ($1, $2, $3, $4, $5, 'OPEN', '', '', '', 1, $6, $6)
        on conflict do nothing";
    /// The live checkout of a cart.
    FIND_LIVE_CHECKOUT = "select checkout_id, cart_id, owner_id, owner_kind, status, email, shipping_address,
            billing_address, shipping_code, payment_method, purchase, placement_id, refusal, order_id,
            order_number, version, create_time, update_time
        from checkout where cart_id = $1 and status in ('OPEN', 'COMPLETING', 'AWAITING_ACTION')";
    /// One checkout, if the owner is right or any will do.
    FIND_CHECKOUT = "select checkout_id, cart_id, owner_id, owner_kind, status, email, shipping_address,
            billing_address, shipping_code, payment_method, purchase, placement_id, refusal, order_id,
            order_number, version, create_time, update_time
        from checkout where checkout_id = $1 and (cast($2 as text) is null or owner_id = $2)";
    /// The same, to change it.
    LOCK_CHECKOUT = "select checkout_id, cart_id, owner_id, owner_kind, status, email, shipping_address,
            billing_address, shipping_code, payment_method, purchase, placement_id, refusal, order_id,
            order_number, version, create_time, update_time
        from checkout where checkout_id = $1 and (cast($2 as text) is null or owner_id = $2) {{FOR_UPDATE}}";
    /// The checkout of a placement.
    FIND_CHECKOUT_OF_PLACEMENT = "select checkout_id, cart_id, owner_id, owner_kind, status, email,
            shipping_address, billing_address, shipping_code, payment_method, purchase, placement_id, refusal,
            order_id, order_number, version, create_time, update_time
        from checkout where placement_id = $1";
    /// What the shopper filled in.
    UPDATE_CHECKOUT = "update checkout set email = $3, shipping_address = $4, billing_address = $5,
            shipping_code = $6, payment_method = $7, version = version + 1, update_time = $8
        where checkout_id = $1 and version = $2 and status = 'OPEN'";
    /// The shopper gave it up.
    CANCEL_CHECKOUT = "update checkout set status = 'CANCELLED', version = version + 1, update_time = $2
        where checkout_id = $1 and status = 'OPEN'";
    /// The purchase begins, if the checkout is still the one that was agreed to.
    BEGIN_PURCHASE = "update checkout set status = 'COMPLETING', purchase = $3, placement_id = $4, refusal = null,
            version = version + 1, update_time = $5
        where checkout_id = $1 and version = $2 and status = 'OPEN'";
    /// It is sold.
    END_PURCHASE = "update checkout set status = 'COMPLETED', order_id = $3, order_number = $4, payment_method = '',
            version = version + 1, update_time = $5
        where checkout_id = $1 and placement_id = $2 and status in ('COMPLETING', 'AWAITING_ACTION')";
    /// It was refused: the shopper may try again.
    REFUSE_PURCHASE = "update checkout set status = 'OPEN', purchase = null, placement_id = null, refusal = $3,
            version = version + 1, update_time = $4
        where checkout_id = $1 and placement_id = $2 and status in ('COMPLETING', 'AWAITING_ACTION')";
    /// It is still under way: nobody need look after it for a while.
    TOUCH_PURCHASE = "update checkout set status = $3, update_time = $4
        where checkout_id = $1 and placement_id = $2 and status in ('COMPLETING', 'AWAITING_ACTION')";
    /// Purchases under way that nobody has looked after since.
    LIST_STALE_PURCHASES = "select checkout_id, cart_id, owner_id, owner_kind, status, email, shipping_address,
            billing_address, shipping_code, payment_method, purchase, placement_id, refusal, order_id,
            order_number, version, create_time, update_time
        from checkout where status = $1 and update_time < $2 order by update_time limit $3";
}

/// How a purchase stands, as it is written down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Settlement {
    /// It is sold.
    Sold { order: OrderRef, total: contracts::values::v1::Money },
    /// It was refused: the encoded refusal and its reason.
    Refused { refusal: Vec<u8>, reason: &'static str },
    /// It is still under way.
    UnderWay { status: CheckoutStatus },
}

/// The database of the storefront.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    database: Database,
}

// === impl Store ===

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) async fn find_cart(
        &self,
        cart_id: &str,
        owner: Option<&str>,
    ) -> Result<Cart, Error> {
        self.database
            .fetch_optional(FIND_CART, args![cart_id, owner])
            .await?
            .ok_or(Error::CartNotFound)
    }

    pub(crate) async fn list_carts(
        &self,
        owner: Option<&str>,
        status: &str,
        after: Option<(i64, String)>,
        limit: i64,
    ) -> Result<Vec<Cart>, StoreError> {
        let (time, id) = after.unzip();
        match owner {
            Some(owner) => {
                self.database
                    .fetch_all(
                        LIST_CARTS_OF,
                        args![owner, status, time, id.unwrap_or_default(), limit],
                    )
                    .await
            }
            None => {
                self.database
                    .fetch_all(LIST_CARTS, args![status, time, id.unwrap_or_default(), limit])
                    .await
            }
        }
    }

    pub(crate) async fn find_checkout(
        &self,
        checkout_id: &str,
        owner: Option<&str>,
    ) -> Result<Checkout, Error> {
        self.database
            .fetch_optional(FIND_CHECKOUT, args![checkout_id, owner])
            .await?
            .ok_or(Error::CheckoutNotFound)
    }

    pub(crate) async fn find_checkout_of_placement(
        &self,
        placement_id: &str,
    ) -> Result<Option<Checkout>, StoreError> {
        self.database.fetch_optional(FIND_CHECKOUT_OF_PLACEMENT, args![placement_id]).await
    }

    pub(crate) async fn list_stale_purchases(
        &self,
        status: CheckoutStatus,
        before: Time,
        limit: i64,
    ) -> Result<Vec<Checkout>, StoreError> {
        self.database.fetch_all(LIST_STALE_PURCHASES, args![status.name(), before, limit]).await
    }
}

// === within a transaction ===

pub(crate) async fn insert_cart(tx: &mut Tx, cart: &Cart) -> Result<(), Error> {
    let lines = write_lines(cart)?;
    tx.execute(
        INSERT_CART,
        args![&cart.id, &cart.owner_id, cart.currency.code(), lines, cart.create_time],
    )
    .await?;
    Ok(())
}

pub(crate) async fn lock_cart(
    tx: &mut Tx,
    cart_id: &str,
    owner: Option<&str>,
) -> Result<Cart, Error> {
    tx.fetch_optional(LOCK_CART, args![cart_id, owner]).await?.ok_or(Error::CartNotFound)
}

/// Keeps the new lines of a cart that was locked before.
pub(crate) async fn update_cart_lines(tx: &mut Tx, cart: &mut Cart) -> Result<(), Error> {
    let now = tx.clock().now();
    let lines = write_lines(cart)?;
    if tx.execute(UPDATE_CART_LINES, args![&cart.id, cart.version, lines, now]).await? == 0 {
        return Err(Error::CartNotActive);
    }
    cart.version += 1;
    cart.update_time = now;
    Ok(())
}

/// Makes a checkout of a cart, or finds the live one that it has.
pub(crate) async fn start_checkout(
    tx: &mut Tx,
    cart: &Cart,
    kind: OwnerKind,
) -> Result<Checkout, Error> {
    // Looked for first: an insert would wait for whoever settles a purchase, and
    // they for the cart, which is ours.
    if let Some(live) = tx.fetch_optional(FIND_LIVE_CHECKOUT, args![&cart.id]).await? {
        return Ok(live);
    }
    let (id, now) = (tx.clock().id(), tx.clock().now());
    let made = tx
        .execute(
            INSERT_CHECKOUT,
            args![&id, &cart.id, &cart.owner_id, kind.name(), cart.currency.code(), now],
        )
        .await?;
    if made == 1 {
        let event = CheckoutStarted {
            checkout_id: id.clone(),
            cart_id: cart.id.clone(),
            owner_id: cart.owner_id.clone(),
        };
        tx.publish(Event::new(&event).subject(&id).version(1)).await?;
    }
    tx.fetch_optional(FIND_LIVE_CHECKOUT, args![&cart.id]).await?.ok_or(Error::CheckoutNotFound)
}

pub(crate) async fn lock_checkout(
    tx: &mut Tx,
    checkout_id: &str,
    owner: Option<&str>,
) -> Result<Checkout, Error> {
    tx.fetch_optional(LOCK_CHECKOUT, args![checkout_id, owner])
        .await?
        .ok_or(Error::CheckoutNotFound)
}

/// Keeps what the shopper filled in on a checkout that was locked before.
pub(crate) async fn update_checkout(tx: &mut Tx, checkout: &mut Checkout) -> Result<(), Error> {
    let now = tx.clock().now();
    let changed = tx
        .execute(
            UPDATE_CHECKOUT,
            args![
                &checkout.id,
                checkout.version,
                &checkout.email,
                checkout.shipping_address.clone(),
                checkout.billing_address.clone(),
                &checkout.shipping_code,
                &checkout.payment_method,
                now
            ],
        )
        .await?;
    if changed == 0 {
        return Err(Error::CheckoutNotOpen);
    }
    checkout.version += 1;
    checkout.update_time = now;
    Ok(())
}

pub(crate) async fn cancel_checkout(tx: &mut Tx, checkout: &mut Checkout) -> Result<(), Error> {
    let now = tx.clock().now();
    if tx.execute(CANCEL_CHECKOUT, args![&checkout.id, now]).await? == 0 {
        return Err(Error::CheckoutNotOpen);
    }
    checkout.status = CheckoutStatus::Cancelled;
    checkout.update_time = now;
    Ok(())
}

/// Begins a purchase: both the checkout and its cart must be exactly what the
/// quote was made of. The checkout was locked before.
pub(crate) async fn begin_purchase(
    tx: &mut Tx,
    checkout: &Checkout,
    cart: &Cart,
    placement_id: &str,
    purchase: Vec<u8>,
) -> Result<(), Error> {
    let now = tx.clock().now();
    let locked = tx.execute(LOCK_CART_FOR_SALE, args![&cart.id, cart.version, now]).await?;
    let begun = tx
        .execute(BEGIN_PURCHASE, args![&checkout.id, checkout.version, purchase, placement_id, now])
        .await?;
    if locked == 1 && begun == 1 { Ok(()) } else { Err(Error::EtagMismatch) }
}

/// Writes down how a purchase stands, whoever learns it first: the customer's
/// call, an event or the resumer. Learning it again changes nothing.
pub(crate) async fn settle(
    tx: &mut Tx,
    checkout: &Checkout,
    placement_id: &str,
    settlement: &Settlement,
) -> Result<(), Error> {
    let now = tx.clock().now();
    match settlement {
        Settlement::Sold { order, total } => {
            let ended = tx
                .execute(
                    END_PURCHASE,
                    args![&checkout.id, placement_id, &order.id, &order.number, now],
                )
                .await?;
            if ended == 1 {
                tx.execute(
                    END_CART_SALE,
                    args![&checkout.cart_id, CartStatus::Converted.name(), now],
                )
                .await?;
                let completed = CheckoutCompleted {
                    checkout_id: checkout.id.clone(),
                    order_id: order.id.clone(),
                    total: Some(total.clone()),
                };
                tx.publish(
                    Event::new(&completed).subject(&checkout.id).version(checkout.version + 1),
                )
                .await?;
                let converted = CartConverted {
                    cart_id: checkout.cart_id.clone(),
                    owner_id: checkout.owner_id.clone(),
                    order_id: order.id.clone(),
                };
                tx.publish(Event::new(&converted).subject(&checkout.cart_id).version(1)).await?;
            }
        }
        Settlement::Refused { refusal, reason } => {
            let refused = tx
                .execute(REFUSE_PURCHASE, args![&checkout.id, placement_id, refusal.clone(), now])
                .await?;
            if refused == 1 {
                tx.execute(END_CART_SALE, args![&checkout.cart_id, CartStatus::Active.name(), now])
                    .await?;
                let failed = CheckoutFailed {
                    checkout_id: checkout.id.clone(),
                    reason: (*reason).to_owned(),
                };
                tx.publish(Event::new(&failed).subject(&checkout.id).version(checkout.version + 1))
                    .await?;
            }
        }
        Settlement::UnderWay { status } => {
            tx.execute(TOUCH_PURCHASE, args![&checkout.id, placement_id, status.name(), now])
                .await?;
        }
    }
    Ok(())
}

fn write_lines(cart: &Cart) -> Result<String, StoreError> {
    serde_json::to_string(&cart.lines)
        .map_err(|error| inconsistent("cart", "lines", &error.to_string()))
}

fn inconsistent(table: &'static str, column: &'static str, problem: &str) -> StoreError {
    StoreError::Column { column: format!("{table}.{column}").into(), problem: problem.into() }
}

// === reading rows ===

impl FromRow for Cart {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let currency: String = row.get("currency_code")?;
        let status: String = row.get("status")?;
        let lines: String = row.get("lines")?;
        Ok(Self {
            id: row.get("cart_id")?,
            owner_id: row.get("owner_id")?,
            currency: Currency::new(&currency)
                .map_err(|error| inconsistent("cart", "currency_code", &error.to_string()))?,
            status: CartStatus::from_name(&status)
                .ok_or_else(|| inconsistent("cart", "status", &status))?,
            lines: serde_json::from_str(&lines)
                .map_err(|error| inconsistent("cart", "lines", &error.to_string()))?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

impl FromRow for Checkout {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let status: String = row.get("status")?;
        let kind: String = row.get("owner_kind")?;
        let order: (Option<String>, Option<String>) =
            (row.get("order_id")?, row.get("order_number")?);
        Ok(Self {
            id: row.get("checkout_id")?,
            cart_id: row.get("cart_id")?,
            owner_id: row.get("owner_id")?,
            owner_kind: OwnerKind::from_name(&kind)
                .ok_or_else(|| inconsistent("checkout", "owner_kind", &kind))?,
            status: CheckoutStatus::from_name(&status)
                .ok_or_else(|| inconsistent("checkout", "status", &status))?,
            email: row.get("email")?,
            shipping_address: row.get("shipping_address")?,
            billing_address: row.get("billing_address")?,
            shipping_code: row.get("shipping_code")?,
            payment_method: row.get("payment_method")?,
            purchase: row.get("purchase")?,
            placement_id: row.get("placement_id")?,
            refusal: row.get("refusal")?,
            order: order.0.map(|id| OrderRef { id, number: order.1.unwrap_or_default() }),
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}
