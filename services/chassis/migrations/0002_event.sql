-- The name of this outbox: a consumer that sees another one knows that the
-- numbers of its cursor mean nothing here.
create table feed (
    singleton BIGINT NOT NULL,
    feed_id TEXT NOT NULL,
    constraint feed_pkey primary key (singleton),
    constraint feed_singleton_check check (singleton = 1)
);

-- Events in the order in which their transactions committed.
create table outbox (
    seq {{SEQ_PK}},
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- An encoded io.cloudevents.v1.CloudEvent.
    envelope BYTEA NOT NULL,
    create_time BIGINT NOT NULL
);

-- How far a consumer has read a source.
create table feed_cursor (
    consumer TEXT NOT NULL,
    source TEXT NOT NULL,
    feed_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint feed_cursor_pkey primary key (consumer, source)
);

-- The events whose effect a consumer has had.
create table inbox (
    consumer TEXT NOT NULL,
    event_id TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    constraint inbox_pkey primary key (consumer, event_id)
)
-- sqlite: without rowid
;

create index inbox_create_time_idx on inbox (create_time);

-- Deliveries that failed, and those of the same subject that wait behind them.
create table dead_letter (
    dead_letter_id {{SEQ_PK}},
    consumer TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    envelope BYTEA NOT NULL,
    -- WAITING: will be tried. PARKED: given up, until somebody redrives it.
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    failure TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint dead_letter_consumer_event_id_key unique (consumer, event_id),
    constraint dead_letter_state_check check (state in ('WAITING', 'PARKED'))
);

create index dead_letter_consumer_source_subject_idx on dead_letter (consumer, source, subject, dead_letter_id);
