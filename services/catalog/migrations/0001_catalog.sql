-- What is added to the net price of a kind of goods. The three that every shop
-- needs are there from the start; their rates are a starting point.
create table tax_category (
    tax_category text not null,
    title text not null,
    rate_micros bigint not null,
    update_time bigint not null,
    constraint tax_category_pkey primary key (tax_category),
    constraint tax_category_rate_check check (rate_micros between 0 and 1000000)
);

insert into tax_category (tax_category, title, rate_micros, update_time)
values ('standard', 'Standard rate', 210000, 0), ('reduced', 'Reduced rate', 100000, 0), ('zero', 'Zero rate', 0, 0);

-- `revision` counts changes of the product's own fields (its etag), `version`
-- those of anything that belongs to it (its events). `category_ids` repeats
-- `product_category` for the sake of reads, and is written with it.
create table product (
    product_id text not null,
    state text not null,
    title text not null,
    title_key text not null,
    slug text not null,
    description text not null,
    tax_category text not null,
    options text not null,
    media text not null,
    category_ids text not null,
    revision bigint not null,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    publish_time bigint,
    constraint product_pkey primary key (product_id),
    constraint product_tax_category_fkey foreign key (tax_category) references tax_category (tax_category),
    constraint product_state_check check (state in ('DRAFT', 'PUBLISHED', 'UNPUBLISHED', 'ARCHIVED')),
    constraint product_published_check check ((state = 'DRAFT') = (publish_time is null))
);

-- One index per order of a list, with and without the filter by state.
create index product_state_create_time_idx on product (state, create_time, product_id);
create index product_state_title_idx on product (state, title_key, product_id);
create index product_create_time_idx on product (create_time, product_id);
create index product_title_idx on product (title_key, product_id);

-- Every slug that a product has or had: an old one goes on leading to it.
create table product_slug (
    slug text not null,
    product_id text not null,
    create_time bigint not null,
    constraint product_slug_pkey primary key (slug),
    constraint product_slug_product_id_fkey foreign key (product_id) references product (product_id) on delete cascade
);

create index product_slug_product_id_idx on product_slug (product_id);

create table variant (
    variant_id text not null,
    product_id text not null,
    sku text not null,
    barcode text not null,
    -- The choices as one text, so that an index can keep them apart.
    option_key text not null,
    option_values text not null,
    weight_grams bigint not null,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    constraint variant_pkey primary key (variant_id),
    constraint variant_sku_key unique (sku),
    constraint variant_product_id_option_key_key unique (product_id, option_key),
    constraint variant_product_id_fkey foreign key (product_id) references product (product_id) on delete cascade,
    constraint variant_weight_check check (weight_grams >= 0)
);

create index variant_product_id_sku_idx on variant (product_id, sku);
create index variant_barcode_idx on variant (barcode) where barcode <> '';

-- A price is never changed but superseded, so that a `price_id` says for ever
-- what was quoted. `start_time` and `end_time` hold the ends of time where a
-- window is open.
create table price (
    price_id text not null,
    variant_id text not null,
    currency_code text not null,
    min_quantity bigint not null,
    minor_units bigint not null,
    start_time bigint not null,
    end_time bigint not null,
    create_time bigint not null,
    supersede_time bigint,
    constraint price_pkey primary key (price_id),
    constraint price_variant_id_fkey foreign key (variant_id) references variant (variant_id) on delete cascade,
    constraint price_amount_check check (minor_units >= 0),
    constraint price_min_quantity_check check (min_quantity >= 1),
    constraint price_window_check check (start_time < end_time)
);

create unique index price_standing_key
    on price (variant_id, currency_code, min_quantity, start_time, end_time)
    where supersede_time is null;
create index price_history_idx on price (variant_id, price_id);

-- One row, which every change of the tree's shape updates first: two moves at
-- once could else make a ring that neither would make alone.
create table category_tree (
    category_tree text not null,
    version bigint not null,
    constraint category_tree_pkey primary key (category_tree)
);

insert into category_tree (category_tree, version) values ('tree', 1);

-- `parent_id` is empty at the top. `path` is made of the slugs from the top down.
create table category (
    category_id text not null,
    parent_id text not null,
    slug text not null,
    path text not null,
    title text not null,
    description text not null,
    position bigint not null,
    depth bigint not null,
    version bigint not null,
    create_time bigint not null,
    update_time bigint not null,
    constraint category_pkey primary key (category_id),
    constraint category_path_key unique (path),
    constraint category_depth_check check (depth between 0 and 5)
);

create index category_parent_id_position_idx on category (parent_id, position, category_id);
create index category_depth_idx on category (depth, position, category_id);

-- Who stands above whom, each above itself at distance 0.
create table category_closure (
    ancestor_id text not null,
    descendant_id text not null,
    distance bigint not null,
    constraint category_closure_pkey primary key (ancestor_id, descendant_id),
    constraint category_closure_ancestor_id_fkey
        foreign key (ancestor_id) references category (category_id) on delete cascade,
    constraint category_closure_descendant_id_fkey
        foreign key (descendant_id) references category (category_id) on delete cascade
);

create index category_closure_descendant_id_idx on category_closure (descendant_id, ancestor_id);

create table product_category (
    product_id text not null,
    category_id text not null,
    constraint product_category_pkey primary key (product_id, category_id),
    constraint product_category_product_id_fkey
        foreign key (product_id) references product (product_id) on delete cascade,
    constraint product_category_category_id_fkey foreign key (category_id) references category (category_id)
);

create index product_category_category_id_idx on product_category (category_id, product_id);

-- Under which categories a product is found: its own and all above. Made from
-- `product`, `product_category` and `category_closure`, so that a page of a
-- category reads as many rows as it shows.
create table product_listing (
    category_id text not null,
    product_id text not null,
    state text not null,
    create_time bigint not null,
    title_key text not null,
    constraint product_listing_pkey primary key (product_id, category_id),
    constraint product_listing_product_id_fkey
        foreign key (product_id) references product (product_id) on delete cascade
);

create index product_listing_state_create_time_idx on product_listing (category_id, state, create_time, product_id);
create index product_listing_state_title_idx on product_listing (category_id, state, title_key, product_id);
create index product_listing_create_time_idx on product_listing (category_id, create_time, product_id);
create index product_listing_title_idx on product_listing (category_id, title_key, product_id);
