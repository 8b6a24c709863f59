//! The only file with SQL, and [`rows`], which reads what comes back.

mod rows;

use std::collections::HashMap;

use chassis::{
    Database, Time, args,
    store::{self, Tx, Value, json_texts},
};
use contracts::orders::v1::{FulfillmentState, FulfillmentStatus, OrderStatus, PaymentStatus};
use prost::Message as _;

use crate::{
    Error,
    domain::{Happening, Line, Named as _, Order, Parcel},
};

pub(crate) use rows::{EventRow, FulfillmentRow, LineRow, PlacementRow};

/// The most rows of one order that are read at once: lines and placements have
/// their bounds in the contract.
const ROWS_MAX: i64 = 1_000;

chassis::statements! {
    /// Takes a block of order numbers.
    TAKE_NUMBERS = "update order_counter set value = value + $1 where name = 'order' returning value";
    /// A new order, unless its checkout has a live one.
    INSERT_ORDER = "insert into sales_order
        (order_id, number, checkout_id, placement_id, owner_id, owner_kind, email, status, payment_status,
         fulfillment_status, currency_code, subtotal, shipping, tax, total, refunded, shipping_address,
         billing_address, shipping_selection, quote_hash, payment_intent_id, reservation_id, create_time,
         update_time, version)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, $16, $17, $18, $19, '', '',
         $20, $20, 1)
        on conflict (checkout_id) where status <> 'CANCELLED' do nothing";
    /// Its lines, as a JSON array of objects.
    INSERT_LINES = "insert into order_line
        (order_id, position, sku, product_id, variant_id, title, quantity, unit_price, subtotal, tax_rate_micros,
         tax, total, price_version, shipping, shipped)
        select $1, cast(value ->> 'position' as bigint), value ->> 'sku', value ->> 'product_id',
            value ->> 'variant_id', value ->> 'title', cast(value ->> 'quantity' as bigint),
            cast(value ->> 'unit_price' as bigint), cast(value ->> 'subtotal' as bigint),
            cast(value ->> 'tax_rate_micros' as bigint), cast(value ->> 'tax' as bigint),
            cast(value ->> 'total' as bigint), value ->> 'price_version', 0, 0
        from {{JSON_ROWS:$2}}";
    /// The live order of a checkout, locked.
    LIVE_ORDER = "select order_id from sales_order where checkout_id = $1 and status <> 'CANCELLED' {{FOR_UPDATE}}";
    /// One order, locked.
    LOCK_ORDER = "select * from sales_order
        where order_id = $1 and (cast($2 as text) is null or owner_id = $2) {{FOR_UPDATE}}";
    /// One order of one owner.
    FIND_ORDER = "select * from sales_order
        where order_id = $1 and (cast($2 as text) is null or owner_id = $2)";
    /// Which version an order has: the part of its etag that changes.
    ORDER_VERSION = "select version from sales_order where order_id = $1";
    /// Many orders.
    FIND_ORDERS = "select * from sales_order where order_id in (select value from {{JSON_TEXTS:$1}})";
    /// Orders of one owner, newest first.
    LIST_OWN_ORDERS = "select * from sales_order
        where owner_id = $1
            and (cast($2 as text) is null or status = $2)
            and (cast($3 as bigint) is null or create_time >= $3)
            and (cast($4 as bigint) is null or create_time < $4)
            and (cast($5 as text) is null or number = $5)
            and (cast($6 as bigint) is null or (create_time, order_id) < ($6, $7))
        order by create_time desc, order_id desc limit $8";
    /// Anybody's orders, newest first.
    LIST_ORDERS = "select * from sales_order
        where (cast($1 as text) is null or owner_id = $1)
            and (cast($2 as text) is null or status = $2)
            and (cast($3 as bigint) is null or create_time >= $3)
            and (cast($4 as bigint) is null or create_time < $4)
            and (cast($5 as text) is null or number = $5)
            and (cast($6 as bigint) is null or (create_time, order_id) < ($6, $7))
        order by create_time desc, order_id desc limit $8";
    /// The lines of orders.
    LINES = "select * from order_line where order_id in (select value from {{JSON_TEXTS:$1}})
        order by order_id, position";
    /// The lines of one order.
    LINES_OF_ONE = "select * from order_line where order_id = $1 order by position limit $2";
    /// Saves an order that nobody changed meanwhile.
    SAVE_ORDER = "update sales_order set status = $3, payment_status = $4, fulfillment_status = $5, refunded = $6,
            payment_intent_id = $7, reservation_id = $8, cancel_reason = $9, cancel_request_time = $10,
            update_time = $11, confirm_time = $12, cancel_time = $13, complete_time = $14, version = version + 1
        where order_id = $1 and version = $2";
    /// Saves how far the parcels of a line have come.
    SAVE_LINE = "update order_line set shipping = $3, shipped = $4 where order_id = $1 and sku = $2";
    /// A row of the timeline.
    INSERT_EVENT = "insert into order_event
        (order_event_id, order_id, kind, message, actor, internal, status, payment_status, fulfillment_status,
         create_time)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    /// The timeline, oldest first.
    LIST_EVENTS = "select * from order_event
        where order_id = $1 and order_event_id > $2 and (cast($3 as bigint) = 1 or not internal)
        order by order_event_id limit $4";
    /// A placement, unless there is one.
    INSERT_PLACEMENT = "insert into placement
        (placement_id, checkout_id, order_id, request_hash, create_time, expire_time)
        values ($1, $2, $3, $4, $5, $6) on conflict (placement_id) do nothing";
    /// A placement joins another's order.
    JOIN_PLACEMENT = "update placement set order_id = $2 where placement_id = $1";
    /// One placement.
    FIND_PLACEMENT = "select * from placement where placement_id = $1";
    /// The placements of an order that have not ended.
    OPEN_PLACEMENTS = "select * from placement where order_id = $1 and outcome is null
        order by placement_id limit $2";
    /// How the first placement of an order ended.
    ENDED_PLACEMENT = "select * from placement where order_id = $1 and outcome is not null
        order by create_time limit 1";
    /// Ends a placement.
    END_PLACEMENT = "update placement set outcome = $2 where placement_id = $1 and outcome is null";
    /// A parcel, unless there is one.
    INSERT_FULFILLMENT = "insert into fulfillment
        (fulfillment_id, order_id, state, lines, carrier, tracking_number, message, create_time)
        values ($1, $2, 'PENDING', $3, $4, $5, '', $6) on conflict (fulfillment_id) do nothing";
    /// What became of a parcel.
    SETTLE_FULFILLMENT = "update fulfillment set state = $2, message = $3
        where fulfillment_id = $1 and state = 'PENDING'";
    /// One parcel.
    FIND_FULFILLMENT = "select * from fulfillment where fulfillment_id = $1";
    /// The parcels of an order, oldest first.
    LIST_FULFILLMENTS = "select * from fulfillment
        where order_id = $1 and (cast($2 as bigint) is null or (create_time, fulfillment_id) > ($2, $3))
        order by create_time, fulfillment_id limit $4";
}

/// What a list of orders is filtered by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) owner_id: Option<String>,
    pub(crate) status: Option<OrderStatus>,
    pub(crate) from: Option<Time>,
    pub(crate) until: Option<Time>,
    pub(crate) number: Option<String>,
}

/// Takes so many numbers; the last of them.
pub(crate) async fn take_numbers(tx: &mut Tx, count: i64) -> Result<i64, store::Error> {
    tx.fetch_one(TAKE_NUMBERS, args![count]).await
}

// === orders ===

/// Writes a new order with its lines. `false` if its checkout has a live one.
pub(crate) async fn insert_order(tx: &mut Tx, order: &Order) -> Result<bool, Error> {
    let totals = &order.totals;
    let inserted = tx
        .execute(
            INSERT_ORDER,
            args![
                &order.order_id,
                &order.number,
                &order.checkout_id,
                &order.placement_id,
                &order.owner_id,
                order.owner_kind.name(),
                &order.email,
                order.status.name(),
                order.payment_status.name(),
                order.fulfillment_status.name(),
                totals.currency.code(),
                totals.subtotal,
                totals.shipping,
                totals.tax,
                totals.total,
                order.shipping_address.encode_to_vec(),
                order.billing_address.as_ref().map(prost::Message::encode_to_vec),
                order.shipping.as_ref().map(prost::Message::encode_to_vec),
                &order.quote_hash,
                order.create_time,
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    let lines = rows::lines_json(&order.lines)?;
    tx.execute(INSERT_LINES, args![&order.order_id, lines]).await?;
    Ok(true)
}

/// The live order of a checkout, locked.
pub(crate) async fn live_order(
    tx: &mut Tx,
    checkout_id: &str,
) -> Result<Option<String>, store::Error> {
    tx.fetch_optional(LIVE_ORDER, args![checkout_id]).await
}

/// One order, locked, with its lines.
pub(crate) async fn lock_order(
    tx: &mut Tx,
    order_id: &str,
    owner: Option<&str>,
) -> Result<Option<Order>, Error> {
    let Some(mut order) = tx.fetch_optional::<Order>(LOCK_ORDER, args![order_id, owner]).await?
    else {
        return Ok(None);
    };
    let lines: Vec<LineRow> = tx.fetch_all(LINES_OF_ONE, args![order_id, ROWS_MAX]).await?;
    order.lines = lines.into_iter().map(|row| row.line).collect();
    Ok(Some(order))
}

/// One order, locked, without its lines; an error if there is none. For what
/// concerns the order as a whole.
pub(crate) async fn demand_header(tx: &mut Tx, order_id: &str) -> Result<Order, Error> {
    let none: Option<&str> = None;
    tx.fetch_optional(LOCK_ORDER, args![order_id, none])
        .await?
        .ok_or_else(|| Error::OrderNotFound(order_id.to_owned()))
}

/// One order, locked; an error if there is none.
pub(crate) async fn demand_order(
    tx: &mut Tx,
    order_id: &str,
    owner: Option<&str>,
) -> Result<Order, Error> {
    lock_order(tx, order_id, owner).await?.ok_or_else(|| Error::OrderNotFound(order_id.to_owned()))
}

/// One order of one owner.
pub(crate) async fn find_order(
    database: &Database,
    order_id: &str,
    owner: Option<&str>,
) -> Result<Option<Order>, Error> {
    let Some(mut order) =
        database.fetch_optional::<Order>(FIND_ORDER, args![order_id, owner]).await?
    else {
        return Ok(None);
    };
    let lines: Vec<LineRow> = database.fetch_all(LINES_OF_ONE, args![order_id, ROWS_MAX]).await?;
    order.lines = lines.into_iter().map(|row| row.line).collect();
    Ok(Some(order))
}

/// The version of an order, if there is one.
pub(crate) async fn order_version(
    database: &Database,
    order_id: &str,
) -> Result<Option<i64>, Error> {
    Ok(database.fetch_optional(ORDER_VERSION, args![order_id]).await?)
}

/// Many orders, in the order asked for; those that do not exist left out.
pub(crate) async fn find_orders(database: &Database, ids: &[String]) -> Result<Vec<Order>, Error> {
    let found: Vec<Order> = database.fetch_all(FIND_ORDERS, args![json_texts(ids)]).await?;
    let mut by_id: HashMap<String, Order> = with_lines(database, found)
        .await?
        .into_iter()
        .map(|order| (order.order_id.clone(), order))
        .collect();
    Ok(ids.iter().filter_map(|id| by_id.remove(id)).collect())
}

/// Orders, newest first.
pub(crate) async fn list_orders(
    database: &Database,
    filter: &Filter,
    after: Option<(i64, String)>,
    limit: i64,
) -> Result<Vec<Order>, Error> {
    let (time, id) = after.unzip();
    let arguments: Vec<Value> = args![
        &filter.owner_id,
        filter.status.map(|status| status.name()),
        filter.from,
        filter.until,
        &filter.number,
        time,
        id,
        limit,
    ];
    // With an owner its index is used on both engines.
    let statement = if filter.owner_id.is_some() { LIST_OWN_ORDERS } else { LIST_ORDERS };
    let found = database.fetch_all(statement, arguments).await?;
    with_lines(database, found).await
}

async fn with_lines(database: &Database, mut orders: Vec<Order>) -> Result<Vec<Order>, Error> {
    let ids: Vec<&str> = orders.iter().map(|order| order.order_id.as_str()).collect();
    let rows: Vec<LineRow> = database.fetch_all(LINES, args![json_texts(&ids)]).await?;
    let mut lines: HashMap<String, Vec<Line>> = HashMap::new();
    for row in rows {
        lines.entry(row.order_id).or_default().push(row.line);
    }
    for order in &mut orders {
        order.lines = lines.remove(&order.order_id).unwrap_or_default();
    }
    Ok(orders)
}

/// Saves a changed order and what happened to it. It must be locked.
pub(crate) async fn save_order(
    tx: &mut Tx,
    order: &mut Order,
    happenings: &[Happening],
    actor: &str,
) -> Result<(), Error> {
    order.update_time = tx.clock().now();
    let saved = tx
        .execute(
            SAVE_ORDER,
            args![
                &order.order_id,
                order.version,
                order.status.name(),
                order.payment_status.name(),
                order.fulfillment_status.name(),
                order.refunded,
                &order.payment_intent_id,
                &order.reservation_id,
                order.cancel_reason.map(|reason| reason.name()),
                order.cancel_request_time,
                order.update_time,
                order.confirm_time,
                order.cancel_time,
                order.complete_time,
            ],
        )
        .await?;
    if saved == 0 {
        return Err(Error::EtagMismatch(order.etag()));
    }
    order.version += 1;
    for happening in happenings {
        insert_event(tx, order, happening, actor).await?;
    }
    Ok(())
}

/// Saves how far the parcels of these lines have come.
pub(crate) async fn save_lines(tx: &mut Tx, order: &Order, parcel: &[Parcel]) -> Result<(), Error> {
    for line in order.lines.iter().filter(|line| parcel.iter().any(|part| part.sku == line.sku)) {
        tx.execute(SAVE_LINE, args![&order.order_id, &line.sku, line.shipping, line.shipped])
            .await?;
    }
    Ok(())
}

// === the timeline ===

/// Writes a row of the timeline; its id.
pub(crate) async fn insert_event(
    tx: &mut Tx,
    order: &Order,
    happening: &Happening,
    actor: &str,
) -> Result<EventRow, Error> {
    let row = EventRow {
        order_event_id: tx.clock().id(),
        order_id: order.order_id.clone(),
        kind: happening.kind,
        message: happening.message.clone(),
        actor: actor.to_owned(),
        internal: happening.internal,
        status: order.status,
        payment_status: order.payment_status,
        fulfillment_status: order.fulfillment_status,
        create_time: tx.clock().now(),
    };
    tx.execute(
        INSERT_EVENT,
        args![
            &row.order_event_id,
            &row.order_id,
            row.kind.name(),
            &row.message,
            &row.actor,
            row.internal,
            row.status.name(),
            row.payment_status.name(),
            row.fulfillment_status.name(),
            row.create_time,
        ],
    )
    .await?;
    Ok(row)
}

/// The first row of a new order's timeline.
pub(crate) async fn insert_first_event(
    tx: &mut Tx,
    order: &Order,
    happening: &Happening,
) -> Result<(), Error> {
    insert_event(tx, order, happening, &format!("user/{}", order.owner_id)).await.map(drop)
}

/// The timeline after a row, oldest first.
pub(crate) async fn list_events(
    database: &Database,
    order_id: &str,
    after: Option<String>,
    internal: bool,
    limit: i64,
) -> Result<Vec<EventRow>, Error> {
    let arguments = args![order_id, after.unwrap_or_default(), i64::from(internal), limit];
    Ok(database.fetch_all(LIST_EVENTS, arguments).await?)
}

// === placements ===

/// Writes a placement. `false` if there is one of this id.
pub(crate) async fn insert_placement(tx: &mut Tx, row: &PlacementRow) -> Result<bool, Error> {
    let inserted = tx
        .execute(
            INSERT_PLACEMENT,
            args![
                &row.placement_id,
                &row.checkout_id,
                &row.order_id,
                &row.request_hash,
                row.create_time,
                row.expire_time,
            ],
        )
        .await?;
    Ok(inserted > 0)
}

/// Lets a placement join another's order.
pub(crate) async fn join_placement(
    tx: &mut Tx,
    placement_id: &str,
    order_id: &str,
) -> Result<(), Error> {
    tx.execute(JOIN_PLACEMENT, args![placement_id, order_id]).await?;
    Ok(())
}

/// One placement, inside a transaction.
pub(crate) async fn get_placement(
    tx: &mut Tx,
    placement_id: &str,
) -> Result<Option<PlacementRow>, Error> {
    Ok(tx.fetch_optional(FIND_PLACEMENT, args![placement_id]).await?)
}

/// One placement.
pub(crate) async fn find_placement(
    database: &Database,
    placement_id: &str,
) -> Result<Option<PlacementRow>, Error> {
    Ok(database.fetch_optional(FIND_PLACEMENT, args![placement_id]).await?)
}

/// The placements of an order that have not ended.
pub(crate) async fn open_placements(
    tx: &mut Tx,
    order_id: &str,
) -> Result<Vec<PlacementRow>, Error> {
    Ok(tx.fetch_all(OPEN_PLACEMENTS, args![order_id, ROWS_MAX]).await?)
}

/// How the placement that made an order ended, if it has.
pub(crate) async fn ended_placement(
    tx: &mut Tx,
    order_id: &str,
) -> Result<Option<PlacementRow>, Error> {
    Ok(tx.fetch_optional(ENDED_PLACEMENT, args![order_id]).await?)
}

/// Ends a placement.
pub(crate) async fn end_placement(
    tx: &mut Tx,
    placement_id: &str,
    outcome: Vec<u8>,
) -> Result<(), Error> {
    tx.execute(END_PLACEMENT, args![placement_id, outcome]).await?;
    Ok(())
}

// === parcels ===

/// Writes a parcel. `false` if there is one of this id.
pub(crate) async fn insert_fulfillment(tx: &mut Tx, row: &FulfillmentRow) -> Result<bool, Error> {
    let lines = serde_json::to_string(&row.lines).map_err(|error| Error::Row(error.to_string()))?;
    let arguments = args![
        &row.fulfillment_id,
        &row.order_id,
        lines,
        &row.carrier,
        &row.tracking_number,
        row.create_time
    ];
    Ok(tx.execute(INSERT_FULFILLMENT, arguments).await? > 0)
}

/// Says what became of a parcel. `false` if that was said before.
pub(crate) async fn settle_fulfillment(
    tx: &mut Tx,
    fulfillment_id: &str,
    state: FulfillmentState,
    message: &str,
) -> Result<bool, Error> {
    Ok(tx.execute(SETTLE_FULFILLMENT, args![fulfillment_id, state.name(), message]).await? > 0)
}

/// One parcel.
pub(crate) async fn find_fulfillment(
    database: &Database,
    fulfillment_id: &str,
) -> Result<Option<FulfillmentRow>, Error> {
    Ok(database.fetch_optional(FIND_FULFILLMENT, args![fulfillment_id]).await?)
}

/// One parcel, inside a transaction.
pub(crate) async fn get_fulfillment(
    tx: &mut Tx,
    fulfillment_id: &str,
) -> Result<Option<FulfillmentRow>, Error> {
    Ok(tx.fetch_optional(FIND_FULFILLMENT, args![fulfillment_id]).await?)
}

/// The parcels of an order, oldest first.
pub(crate) async fn list_fulfillments(
    database: &Database,
    order_id: &str,
    after: Option<(i64, String)>,
    limit: i64,
) -> Result<Vec<FulfillmentRow>, Error> {
    let (time, id) = after.unzip();
    Ok(database.fetch_all(LIST_FULFILLMENTS, args![order_id, time, id, limit]).await?)
}

/// The states that a filter or a row names.
pub(crate) type States = (OrderStatus, PaymentStatus, FulfillmentStatus);
