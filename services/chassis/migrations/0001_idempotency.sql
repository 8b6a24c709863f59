-- What a mutating call answered, so that the same call sent again gets the same
-- answer and has no second effect.
create table idempotency (
    principal TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    -- SHA-256 of the request: another request under the same id is refused.
    request_hash BYTEA NOT NULL,
    -- RUNNING is seen by others only where the effect spans transactions.
    state TEXT NOT NULL,
    response BYTEA,
    create_time BIGINT NOT NULL,
    -- RUNNING: when the one who runs it is taken for dead. DONE: when it may be forgotten.
    expire_time BIGINT NOT NULL,
    constraint idempotency_pkey primary key (principal, method, request_id),
    constraint idempotency_state_check check (state in ('RUNNING', 'DONE'))
)
-- One tree to write instead of two.
-- sqlite: without rowid
;

create index idempotency_expire_time_idx on idempotency (expire_time);
