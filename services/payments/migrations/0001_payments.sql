-- What is to be collected for an order. The amounts only ever grow in this
-- order, whatever the code believes: refunded <= captured <= authorized <= amount.
create table payment_intent (
    payment_intent_id TEXT NOT NULL,
    -- caller and request_id of the call that made it: a call that died half way finds its own intent
    operation TEXT NOT NULL,
    order_id TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    amount BIGINT NOT NULL,
    capture_method TEXT NOT NULL,
    status TEXT NOT NULL,
    payment_method TEXT,
    return_uri TEXT,
    amount_authorized BIGINT NOT NULL,
    amount_captured BIGINT NOT NULL,
    amount_refunded BIGINT NOT NULL,
    amount_refund_pending BIGINT NOT NULL,
    -- the last attempt: there is never more than one that is alive
    attempt_id TEXT,
    attempt_count BIGINT NOT NULL,
    action_uri TEXT,
    action_expire_time BIGINT,
    authorization_expire_time BIGINT,
    error_code TEXT,
    error_provider_code TEXT,
    cancellation_reason TEXT,
    version BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint payment_intent_pkey primary key (payment_intent_id),
    constraint payment_intent_operation_key unique (operation),
    constraint payment_intent_status_check check (status in (
        'REQUIRES_PAYMENT_METHOD', 'REQUIRES_CONFIRMATION', 'REQUIRES_ACTION', 'PROCESSING', 'REQUIRES_CAPTURE',
        'SUCCEEDED', 'CANCELED', 'EXPIRED', 'UNKNOWN', 'CONFLICTED')),
    constraint payment_intent_amount_check check (amount > 0),
    constraint payment_intent_authorized_check check (amount_authorized between 0 and amount),
    constraint payment_intent_captured_check check (amount_captured between 0 and amount_authorized),
    constraint payment_intent_refunded_check check (
        amount_refunded >= 0 and amount_refund_pending >= 0
        and amount_refunded + amount_refund_pending <= amount_captured)
);

-- One open intent per order, so that two calls can never lead to two charges.
create unique index payment_intent_order_id_key on payment_intent (order_id)
    where status not in ('SUCCEEDED', 'CANCELED', 'EXPIRED');
create index payment_intent_list on payment_intent (create_time, payment_intent_id);
create index payment_intent_order on payment_intent (order_id, create_time, payment_intent_id);
create index payment_intent_customer on payment_intent (customer_id, create_time, payment_intent_id);
create index payment_intent_status on payment_intent (status, create_time, payment_intent_id);

-- One try at an intent. The row is there before the provider hears of it; its id
-- is the provider's idempotency key.
create table attempt (
    attempt_id TEXT NOT NULL,
    payment_intent_id TEXT NOT NULL,
    state TEXT NOT NULL,
    -- caller and request_id of the call that is, or was last, at work on it
    operation TEXT NOT NULL,
    provider TEXT NOT NULL,
    provider_reference TEXT,
    payment_method TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    provider_amount BIGINT,
    provider_currency TEXT,
    capture_amount BIGINT,
    cancellation_reason TEXT,
    error_code TEXT,
    error_provider_code TEXT,
    sync_count BIGINT NOT NULL,
    next_sync_time BIGINT,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint attempt_pkey primary key (attempt_id),
    constraint attempt_intent_fkey foreign key (payment_intent_id) references payment_intent (payment_intent_id),
    constraint attempt_state_check check (state in (
        'SENT', 'AUTHENTICATION_PENDING', 'PROCESSING', 'UNKNOWN', 'AUTHORIZED', 'CAPTURE_INITIATED', 'CAPTURE_FAILED',
        'CAPTURED', 'VOID_INITIATED', 'VOID_FAILED', 'VOIDED', 'DECLINED', 'ERROR', 'CONFLICTED')),
    constraint attempt_capture_check check (capture_amount is null or capture_amount between 1 and amount)
);

create index attempt_intent on attempt (payment_intent_id, create_time, attempt_id);
create index attempt_due on attempt (next_sync_time) where next_sync_time is not null;

-- Money that goes back. Its id is the provider's idempotency key.
create table refund (
    refund_id TEXT NOT NULL,
    payment_intent_id TEXT NOT NULL,
    attempt_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,
    status TEXT NOT NULL,
    provider_reference TEXT,
    error_code TEXT,
    error_provider_code TEXT,
    sync_count BIGINT NOT NULL,
    next_sync_time BIGINT,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint refund_pkey primary key (refund_id),
    constraint refund_operation_key unique (operation),
    constraint refund_intent_fkey foreign key (payment_intent_id) references payment_intent (payment_intent_id),
    constraint refund_amount_check check (amount > 0),
    constraint refund_status_check check (status in ('PENDING', 'SUCCEEDED', 'FAILED'))
);

create index refund_list on refund (create_time, refund_id);
create index refund_intent on refund (payment_intent_id, create_time, refund_id);
create index refund_order on refund (order_id, create_time, refund_id);
create index refund_due on refund (next_sync_time) where next_sync_time is not null;

-- One movement of money per row, with both of its sides: debits equal credits
-- because there is no way to write one without the other.
create table ledger_entry (
    ledger_entry_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    debit_account TEXT NOT NULL,
    credit_account TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    payment_intent_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    constraint ledger_entry_pkey primary key (ledger_entry_id),
    constraint ledger_entry_amount_check check (amount > 0),
    constraint ledger_entry_account_check check (debit_account <> credit_account),
    -- an attempt is authorized, released and captured once, a refund paid out once
    constraint ledger_entry_source_id_kind_key unique (source_id, kind)
);

create index ledger_entry_list on ledger_entry (create_time, ledger_entry_id);
create index ledger_entry_intent on ledger_entry (payment_intent_id, create_time, ledger_entry_id);
create index ledger_entry_order on ledger_entry (order_id, create_time, ledger_entry_id);

-- What providers told, as it came.
create table webhook_event (
    webhook_event_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    provider_event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    payment_intent_id TEXT,
    note TEXT NOT NULL,
    payload BYTEA NOT NULL,
    receive_time BIGINT NOT NULL,
    process_time BIGINT,
    constraint webhook_event_pkey primary key (webhook_event_id),
    constraint webhook_event_provider_provider_event_id_key unique (provider, provider_event_id),
    constraint webhook_event_status_check check (status in ('RECEIVED', 'PROCESSED', 'IGNORED', 'FAILED'))
);

create index webhook_event_list on webhook_event (receive_time, webhook_event_id);
create index webhook_event_intent on webhook_event (payment_intent_id, receive_time, webhook_event_id);
create index webhook_event_received on webhook_event (receive_time) where status = 'RECEIVED';
