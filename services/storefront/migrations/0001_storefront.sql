-- A cart is one document: it is always read and changed as a whole, and a guard
-- on `version` makes each change all or nothing. `lines` is a JSON array of
-- {line_id, sku, quantity}.
create table cart (
    cart_id TEXT not null,
    owner_id TEXT not null,
    currency_code TEXT not null,
    status TEXT not null,
    lines TEXT not null,
    version BIGINT not null,
    create_time BIGINT not null,
    update_time BIGINT not null,
    constraint cart_pkey primary key (cart_id),
    constraint cart_status_check check (status in ('ACTIVE', 'CHECKING_OUT', 'CONVERTED'))
);

-- Lists of one owner's carts and of everybody's, the newest first.
create index cart_owner_id_create_time_idx on cart (owner_id, create_time, cart_id);
create index cart_create_time_idx on cart (create_time, cart_id);

create table checkout (
    checkout_id TEXT not null,
    cart_id TEXT not null,
    owner_id TEXT not null,
    owner_kind TEXT not null,
    currency_code TEXT not null,
    status TEXT not null,
    email TEXT not null,
    shipping_address BYTEA,
    billing_address BYTEA,
    shipping_code TEXT not null,
    payment_method TEXT not null,
    -- The purchase that is under way or was made, exactly as it was agreed to:
    -- an encoded mercat.orders.v1.PlaceOrderRequest. It can be sent again.
    purchase BYTEA,
    placement_id TEXT,
    -- How the last attempt to buy it failed: an encoded mercat.orders.v1.Refusal.
    refusal BYTEA,
    order_id TEXT,
    order_number TEXT,
    version BIGINT not null,
    create_time BIGINT not null,
    update_time BIGINT not null,
    constraint checkout_pkey primary key (checkout_id),
    constraint checkout_cart_id_fkey foreign key (cart_id) references cart (cart_id),
    constraint checkout_owner_kind_check check (owner_kind in ('GUEST', 'CUSTOMER')),
    constraint checkout_status_check
        check (status in ('OPEN', 'COMPLETING', 'AWAITING_ACTION', 'COMPLETED', 'CANCELLED')),
    -- What is under way can be found and carried on; what was sold has its order.
    constraint checkout_purchase_check check (
        status in ('OPEN', 'CANCELLED') or (purchase is not null and placement_id is not null)
    ),
    constraint checkout_order_check check (status <> 'COMPLETED' or order_id is not null)
);

-- At most one live checkout for a cart.
create unique index checkout_cart_id_key on checkout (cart_id)
    where status in ('OPEN', 'COMPLETING', 'AWAITING_ACTION');

-- A placement belongs to one checkout; events find it by this.
create unique index checkout_placement_id_key on checkout (placement_id) where placement_id is not null;

-- What the resumer looks for: purchases under way that nobody drives.
create index checkout_status_update_time_idx on checkout (status, update_time);
