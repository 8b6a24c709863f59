-- Where stock lies. Reservations ask the active ones by priority.
create table location (
    location_id text not null,
    code text not null,
    display_name text not null,
    priority bigint not null,
    active boolean not null,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    constraint location_pkey primary key (location_id),
    constraint location_code_key unique (code)
);

create index location_priority_idx on location (priority, location_id);

-- One SKU at one location. The checks, not a query before the write, are why
-- nothing is sold twice: whatever a statement thinks it knows, a row that
-- promises more than it has cannot be written.
create table stock_level (
    sku text not null,
    location_id text not null,
    on_hand bigint not null default 0,
    reserved bigint not null default 0,
    committed bigint not null default 0,
    safety bigint not null default 0,
    backorder_limit bigint not null default 0,
    reorder_point bigint not null default 0,
    version bigint not null default 1,
    update_time bigint not null,
    -- What may still be promised; negative when the safety stock is promised.
    available bigint generated always as (on_hand + backorder_limit - safety - reserved - committed) stored,
    constraint stock_level_pkey primary key (sku, location_id),
    constraint stock_level_location_id_fkey foreign key (location_id) references location (location_id),
    constraint stock_level_on_hand_check check (on_hand >= 0),
    constraint stock_level_reserved_check check (reserved >= 0),
    constraint stock_level_committed_check check (committed >= 0),
    constraint stock_level_promised_check check (reserved + committed <= on_hand + backorder_limit),
    constraint stock_level_ceiling_check check (on_hand <= 1000000000000),
    constraint stock_level_policy_check check (safety >= 0 and backorder_limit >= 0 and reorder_point >= 0)
);

-- Levels are locked in the order of their keys, by statements here and by the
-- service there: both must mean the order of bytes.
-- pg: alter table stock_level
-- pg: alter column sku type text collate "C",
-- pg: alter column location_id type text collate "C";

create index stock_level_location_idx on stock_level (location_id, sku);
create index stock_level_reorder_idx on stock_level (sku, location_id) where reorder_point > 0;

-- The ledger: appended to in the transaction that changes a level, never changed
-- itself. A level is the sum of its movements. It names locations without
-- referring to them, because it outlives them.
create table movement (
    sequence {{SEQ_PK}},
    sku text not null,
    location_id text not null,
    kind text not null,
    on_hand_delta bigint not null,
    reserved_delta bigint not null,
    committed_delta bigint not null,
    reservation_id text,
    reason text not null,
    actor text not null,
    create_time bigint not null,
    constraint movement_kind_check check (kind in (
        'RECEIVE', 'ADJUST', 'RESERVE', 'RELEASE', 'EXPIRE', 'COMMIT', 'CANCEL', 'SALE', 'RETURN',
        'TRANSFER_IN', 'TRANSFER_OUT', 'WRITE_OFF'
    ))
);

create index movement_sku_idx on movement (sku, sequence);
create index movement_location_idx on movement (location_id, sequence);
create index movement_reservation_idx on movement (reservation_id, sequence) where reservation_id is not null;

-- sqlite: create trigger movement_update before update on movement begin select raise(abort, 'the ledger is append-only'); end;
-- sqlite: create trigger movement_delete before delete on movement begin select raise(abort, 'the ledger is append-only'); end;
-- pg: create function refuse_movement_change() returns trigger language plpgsql as
-- pg: $$ begin raise exception 'the ledger is append-only'; end $$;
-- pg: create trigger movement_append_only before update or delete on movement
-- pg: for each row execute function refuse_movement_change();

-- Stock taken for one buyer. The lines are one JSON text, because they are read
-- and written only together with their reservation.
create table reservation (
    reservation_id text not null,
    owner text not null,
    state text not null,
    lines text not null,
    version bigint not null,
    create_time bigint not null,
    expire_time bigint not null,
    update_time bigint not null,
    constraint reservation_pkey primary key (reservation_id),
    constraint reservation_state_check check (state in (
        'HELD', 'COMMITTED', 'RELEASED', 'EXPIRED', 'FULFILLED', 'RETURNED_TO_STOCK'
    ))
);

create index reservation_owner_idx on reservation (owner, reservation_id);
create index reservation_state_idx on reservation (state, reservation_id);
create index reservation_expiry_idx on reservation (expire_time) where state = 'HELD';
