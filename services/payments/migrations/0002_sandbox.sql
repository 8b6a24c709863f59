-- The books of the built-in provider. They are the provider's, not the shop's:
-- nothing in the tables of 0001 points here and nothing here points there, so
-- that one can be checked against the other.
create table sandbox_charge (
    -- the caller's idempotency key
    charge_key TEXT NOT NULL,
    reference TEXT NOT NULL,
    merchant_reference TEXT NOT NULL,
    payment_method TEXT NOT NULL,
    state TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    captured BIGINT NOT NULL,
    refunded BIGINT NOT NULL,
    automatic_capture BOOLEAN NOT NULL,
    failure TEXT,
    action_uri TEXT,
    -- what it becomes by itself, and when
    due_state TEXT,
    due_failure TEXT,
    due_time BIGINT,
    -- how many requests were refused that a second time are granted
    refusals BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint sandbox_charge_pkey primary key (charge_key),
    constraint sandbox_charge_state_check check (state in (
        'ACTION_REQUIRED', 'PROCESSING', 'AUTHORIZED', 'CAPTURED', 'DECLINED', 'VOIDED')),
    constraint sandbox_charge_captured_check check (captured between 0 and amount),
    constraint sandbox_charge_refunded_check check (refunded between 0 and captured)
);

create index sandbox_charge_merchant on sandbox_charge (merchant_reference);

create table sandbox_refund (
    refund_key TEXT NOT NULL,
    charge_key TEXT NOT NULL,
    reference TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    state TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    constraint sandbox_refund_pkey primary key (refund_key),
    constraint sandbox_refund_amount_check check (amount > 0),
    constraint sandbox_refund_state_check check (state in ('SUCCEEDED', 'FAILED'))
);

-- Webhooks that are to be sent. Without a payload, the charge as it is then.
create table sandbox_webhook (
    seq {{SEQ_PK}},
    event_id TEXT NOT NULL,
    charge_key TEXT NOT NULL,
    payload TEXT,
    send_time BIGINT NOT NULL
);

create index sandbox_webhook_due on sandbox_webhook (send_time);
