-- Where order numbers come from. Taken in blocks: gaps are fine, doubles are not.
create table order_counter (
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    constraint order_counter_pkey primary key (name)
);

insert into order_counter (name, value) values ('order', 100000);

-- `order` is a word of SQL.
create table sales_order (
    order_id TEXT NOT NULL,
    number TEXT NOT NULL,
    checkout_id TEXT NOT NULL,
    placement_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    owner_kind TEXT NOT NULL,
    email TEXT NOT NULL,
    status TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    fulfillment_status TEXT NOT NULL,
    currency_code TEXT NOT NULL,
    subtotal BIGINT NOT NULL,
    shipping BIGINT NOT NULL,
    tax BIGINT NOT NULL,
    total BIGINT NOT NULL,
    refunded BIGINT NOT NULL,
    -- Encoded messages of the contract: they are shown, never searched.
    shipping_address BYTEA NOT NULL,
    billing_address BYTEA,
    shipping_selection BYTEA,
    quote_hash TEXT NOT NULL,
    payment_intent_id TEXT NOT NULL,
    reservation_id TEXT NOT NULL,
    cancel_reason TEXT,
    cancel_request_time BIGINT,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    confirm_time BIGINT,
    cancel_time BIGINT,
    complete_time BIGINT,
    version BIGINT NOT NULL,
    constraint sales_order_pkey primary key (order_id),
    constraint sales_order_number_key unique (number),
    constraint sales_order_owner_kind_check check (owner_kind in ('GUEST', 'CUSTOMER')),
    constraint sales_order_status_check check (
        status in ('PENDING', 'CONFIRMED', 'ON_HOLD', 'COMPLETED', 'CANCELLED')
    ),
    constraint sales_order_payment_status_check check (
        payment_status in ('NONE', 'AUTHORIZED', 'CAPTURED', 'VOIDED', 'PARTIALLY_REFUNDED', 'REFUNDED')
    ),
    constraint sales_order_fulfillment_status_check check (
        fulfillment_status in ('UNFULFILLED', 'PARTIALLY_SHIPPED', 'SHIPPED')
    ),
    -- The total is the sum of its parts, whoever writes it.
    constraint sales_order_total_check check (
        subtotal >= 0 and shipping >= 0 and tax >= 0 and subtotal + shipping + tax = total
    ),
    constraint sales_order_refunded_check check (refunded >= 0 and refunded <= total),
    -- A cancelled order has shipped nothing.
    constraint sales_order_cancelled_check check (status <> 'CANCELLED' or fulfillment_status = 'UNFULFILLED')
);

-- One checkout, one live order: the constraint, not a query, is the guarantee.
create unique index sales_order_checkout_id_key on sales_order (checkout_id) where status <> 'CANCELLED';
create index sales_order_owner_id_create_time_idx on sales_order (owner_id, create_time, order_id);
create index sales_order_create_time_idx on sales_order (create_time, order_id);

create table order_line (
    order_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    sku TEXT NOT NULL,
    product_id TEXT NOT NULL,
    variant_id TEXT NOT NULL,
    title TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    unit_price BIGINT NOT NULL,
    subtotal BIGINT NOT NULL,
    tax_rate_micros BIGINT NOT NULL,
    tax BIGINT NOT NULL,
    total BIGINT NOT NULL,
    price_version TEXT NOT NULL,
    -- In parcels that inventory has not let go yet.
    shipping BIGINT NOT NULL,
    shipped BIGINT NOT NULL,
    constraint order_line_pkey primary key (order_id, position),
    constraint order_line_order_id_sku_key unique (order_id, sku),
    constraint order_line_order_id_fkey foreign key (order_id) references sales_order (order_id),
    constraint order_line_total_check check (
        quantity > 0 and unit_price >= 0 and unit_price * quantity = subtotal and subtotal + tax = total
    ),
    -- Nothing is shipped that was not bought.
    constraint order_line_shipped_check check (shipping >= 0 and shipped >= 0 and shipping + shipped <= quantity)
);

-- The timeline. Ids are UUIDv7: in the order of their making.
create table order_event (
    order_event_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    actor TEXT NOT NULL,
    internal BOOLEAN NOT NULL,
    status TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    fulfillment_status TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    constraint order_event_pkey primary key (order_event_id)
);

create index order_event_order_id_idx on order_event (order_id, order_event_id);

-- Attempts to turn a checkout into an order. Several may belong to one order.
create table placement (
    placement_id TEXT NOT NULL,
    checkout_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    -- SHA-256 of what was to be placed: another purchase under the same id is refused.
    request_hash TEXT NOT NULL,
    -- The encoded Placement, once it has ended: the same bytes for ever.
    outcome BYTEA,
    create_time BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    constraint placement_pkey primary key (placement_id)
);

create index placement_order_id_idx on placement (order_id);

create table fulfillment (
    fulfillment_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    -- JSON: [{"sku": .., "quantity": ..}].
    lines TEXT NOT NULL,
    carrier TEXT NOT NULL,
    tracking_number TEXT NOT NULL,
    message TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    constraint fulfillment_pkey primary key (fulfillment_id),
    constraint fulfillment_order_id_fkey foreign key (order_id) references sales_order (order_id),
    constraint fulfillment_state_check check (state in ('PENDING', 'SHIPPED', 'REFUSED'))
);

create index fulfillment_order_id_idx on fulfillment (order_id, create_time, fulfillment_id);
