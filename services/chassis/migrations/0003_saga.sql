-- What becomes of several steps in several services that happen all, or not at all.
create table saga (
    saga_id TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Of its definition, pinned at the beginning.
    version BIGINT NOT NULL,
    -- The step after which there is only forward; null if there is no way back at all.
    pivot BIGINT,
    status TEXT NOT NULL,
    -- Its direction, which FAILED does not tell.
    undoing BOOLEAN NOT NULL,
    -- -1 when everything was taken back, the number of steps when all are done.
    step BIGINT NOT NULL,
    -- JSON.
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    message TEXT NOT NULL,
    -- Why somebody asked it to go back.
    interrupt TEXT,
    -- What a person said about the current step.
    directive TEXT,
    lease_owner TEXT NOT NULL,
    -- Grows whenever it is taken up: whoever holds an older one cannot write.
    lease_epoch BIGINT NOT NULL,
    lease_expire_time BIGINT,
    -- Grows whenever it is woken: a step that parks meanwhile sees it.
    wakes BIGINT NOT NULL,
    next_time BIGINT NOT NULL,
    deadline BIGINT,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    constraint saga_pkey primary key (saga_id),
    constraint saga_status_check check (
        status in ('RUNNING', 'PARKED', 'COMPENSATING', 'DONE', 'COMPENSATED', 'FAILED')
    ),
    constraint saga_directive_check check (directive is null or directive = 'SKIP'),
    constraint saga_step_check check (step >= -1)
);

-- What is due. Ended sagas are not in it.
create index saga_next_time_idx on saga (next_time) where status in ('RUNNING', 'PARKED', 'COMPENSATING');
create index saga_create_time_idx on saga (create_time, saga_id);

-- Every attempt of every step, and every decision of a person.
create table saga_step (
    saga_step_id {{SEQ_PK}},
    saga_id TEXT NOT NULL,
    step TEXT NOT NULL,
    undo BOOLEAN NOT NULL,
    attempt BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT NOT NULL,
    create_time BIGINT NOT NULL
);

create index saga_step_saga_id_idx on saga_step (saga_id, saga_step_id);
