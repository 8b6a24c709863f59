-- People who registered. Guests have sessions and no account.
create table account (
    user_id text not null,
    -- Lower case, so that the unique constraint is the rule "one account per address".
    email text not null,
    display_name text not null,
    -- An Argon2id PHC string with its own salt and parameters. Secret.
    password_hash text not null,
    status text not null,
    -- Kept here and not on the addresses, so that there is one of each at most.
    default_shipping_id text,
    default_billing_id text,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    constraint account_pkey primary key (user_id),
    constraint account_email_key unique (email),
    constraint account_status_check check (status in ('ACTIVE', 'SUSPENDED'))
);

create index account_create_time_idx on account (create_time, user_id);

create index account_status_create_time_idx on account (status, create_time, user_id);

-- An entry of an address book.
create table address (
    address_id text not null,
    user_id text not null,
    label text not null,
    -- A mercat.values.v1.PostalAddress, encoded: read and written whole, never searched.
    postal bytea not null,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    constraint address_pkey primary key (address_id),
    constraint address_user_id_fkey foreign key (user_id) references account (user_id)
);

create index address_user_id_idx on address (user_id, address_id);

-- A place where somebody is signed in: the family of the refresh tokens below.
create table session (
    session_id text not null,
    -- An account, or a guest, who has none: hence no foreign key.
    user_id text not null,
    kind text not null,
    state text not null,
    user_agent text not null,
    create_time bigint not null,
    refresh_time bigint not null,
    expire_time bigint not null,
    revoke_time bigint,
    constraint session_pkey primary key (session_id),
    constraint session_kind_check check (kind in ('GUEST', 'USER')),
    constraint session_state_check check (state in ('ACTIVE', 'REVOKED')),
    constraint session_revoke_time_check check ((state = 'REVOKED') = (revoke_time is not null))
);

create index session_user_id_idx on session (user_id, create_time, session_id);

create index session_expire_time_idx on session (expire_time);

-- Every refresh token that was ever given out, by its SHA-256. A spent one is
-- kept to be recognised when a thief, or the one stolen from, brings it back.
create table refresh_token (
    token_hash bytea not null,
    session_id text not null,
    state text not null,
    create_time bigint not null,
    constraint refresh_token_pkey primary key (token_hash),
    constraint refresh_token_session_id_fkey foreign key (session_id) references session (session_id) on delete cascade,
    constraint refresh_token_state_check check (state in ('LIVE', 'SPENT'))
);

-- However two refreshes race, a session has one live token.
create unique index refresh_token_session_id_key on refresh_token (session_id) where state = 'LIVE';

create index refresh_token_session_id_idx on refresh_token (session_id);

create index refresh_token_spent_idx on refresh_token (create_time) where state = 'SPENT';

-- Failed attempts to sign in, per account and per network address, as the time
-- until which they count. The subject is a digest: no e-mail address is kept of
-- people who have no account.
create table attempt (
    subject text not null,
    until_time bigint not null,
    constraint attempt_pkey primary key (subject)
);

create index attempt_until_time_idx on attempt (until_time);

-- A named set of permissions.
create table role (
    role_id text not null,
    name text not null,
    description text not null,
    built_in boolean not null,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    constraint role_pkey primary key (role_id),
    constraint role_name_key unique (name)
);

create table role_permission (
    role_id text not null,
    permission text not null,
    constraint role_permission_pkey primary key (role_id, permission),
    constraint role_permission_role_id_fkey foreign key (role_id) references role (role_id) on delete cascade
);

-- Who has which role. Whoever has one is staff.
create table account_role (
    user_id text not null,
    role_id text not null,
    create_time bigint not null,
    constraint account_role_pkey primary key (user_id, role_id),
    constraint account_role_user_id_fkey foreign key (user_id) references account (user_id),
    constraint account_role_role_id_fkey foreign key (role_id) references role (role_id)
);

create index account_role_role_id_idx on account_role (role_id, user_id);

-- The keys that sign access tokens.
create table signing_key (
    kid text not null,
    -- The private key. Secret.
    pkcs8 bytea not null,
    state text not null,
    create_time bigint not null,
    -- Until when a retired key still verifies.
    expire_time bigint,
    constraint signing_key_pkey primary key (kid),
    constraint signing_key_state_check check (state in ('SIGNING', 'RETIRED')),
    constraint signing_key_expire_time_check check ((state = 'RETIRED') = (expire_time is not null))
);

-- One key signs.
create unique index signing_key_state_key on signing_key (state) where state = 'SIGNING';

-- Random values that this service made for itself on its first start.
create table secret (
    name text not null,
    -- Secret.
    value bytea not null,
    constraint secret_pkey primary key (name)
);
