-- What stands before each form: large tables that an application uses.
create schema archive;
create domain positive as int check (value > 0);
create domain plain as int;
create domain label as text;
create domain needed as int not null;
create domain unused as int;
create type mood as enum ('sad', 'ok');
create table customers (id int primary key, email varchar(50), name text);
create table orders (
    id int primary key,
    customer_id int,
    total numeric(10, 2),
    code varchar(10),
    status text,
    happened timestamp,
    seen timestamptz,
    address cidr,
    payload jsonb,
    flags bit varying(8),
    amount int,
    ref int,
    feeling mood,
    rating positive,
    rank plain,
    note text,
    memo text,
    span interval(3),
    at time(3),
    made bool not null default false,
    sku varchar(20),
    parted varchar(10),
    constraint amount_known check (amount is not null),
    constraint both_known check (ref is not null and ref > 0),
    constraint note_or_memo check (note is not null or memo is not null),
    constraint note_looks check ((note is not null) is not null),
    constraint status_quotes check (status <> '(status IS NOT NULL)'),
    constraint sku_form check (sku <> '')
);
create index orders_code on orders (code);
create unique index orders_customer on orders (customer_id);
create unique index orders_amount on orders (amount);
create unique index orders_id on orders (id);
create index orders_parted on orders (id) where parted = 'x';
create table archive.orders (
    id int primary key,
    customer_id int,
    code varchar(50),
    amount int not null,
    status varchar(100) not null,
    note text not null,
    memo text not null
);
create index archive_status on archive.orders (status);
create table invoices (id int, customer_id int, total bigint);
alter table invoices add constraint total_small check (total < 100000) not valid;
alter table invoices add constraint total_there check (total is not null) not valid;
alter table invoices add constraint of_customer
    foreign key (customer_id) references customers not valid;
create table events (id int, at timestamp, kind varchar(5));
create table events_old (constraint kind_known check (kind is not null)) inherits (events);
create table measures (id int not null, day date, value int) partition by range (day);
create table measures_1 partition of measures for values from ('2026-01-01') to ('2026-02-01');
create table measures_raw (id int not null, day date not null, value int);
create table measures_2 (
    id int not null, day date not null, value int,
    constraint february check (day >= date '2026-02-01' and day < date '2026-03-01')
);
create table measures_3 (
    id int not null, day date, value int,
    constraint march check (day is not null and day >= '2026-03-01' and day < '2026-04-01')
);
create table measures_4 (id int not null, day date not null, value int);
alter table measures_4 add constraint april
    check (day >= '2026-04-01' and day < '2026-05-01') not valid;
create table regions (id int not null, region text not null) partition by list (region);
create table regions_eu partition of regions for values in ('eu');
create table regions_rest partition of regions default;
create table kinds (id int not null, kind text not null) partition by list (kind);
create table kinds_a partition of kinds for values in ('a');
create table kinds_b (id int not null, kind text not null, constraint b check (kind in ('b', 'c')));
create table kinds_d (id int not null, kind text not null, constraint d check (kind in ('d', 'x')));
create table kinds_raw (id int not null, kind text not null);
create materialized view totals as select customer_id, count(*) as orders from orders group by 1;
create unique index totals_customer on totals (customer_id);
create materialized view sums as select sum(ref) as total from orders;
create view open_orders as select id from orders where made;
create function mine() returns int language plpgsql as 'begin return 1; end';
create function steady() returns int language sql stable as 'select 1';
create function reads() returns int language plpgsql as 'begin return 1; end';
create function purge() returns int language plpgsql as 'begin delete from orders; return 1; end';
create function archive.steady() returns int language plpgsql as 'begin return 1; end';
create function touch() returns trigger language plpgsql as 'begin return new; end';
create sequence numbers;
create trigger touched before update on orders for each row execute function touch();
create policy own_orders on orders using (true);
