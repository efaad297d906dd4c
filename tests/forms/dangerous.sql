-- Forms that make an application wait, fail or lose rows on the tables of stands.sql, when those are
-- large. Above each: the rule that must find its last statement; from=, to=: major versions; off:
-- outside of a transaction. "-- file" begins another file of the same deployment.

-- form: changing-column-type
set timezone = 'Europe/Oslo'; alter table orders alter happened type timestamptz;
-- form: changing-column-type
set local timezone to 'America/New_York';
alter table orders alter seen type timestamp;
-- form: changing-column-type
set time zone 'Asia/Tokyo';
alter table orders alter column happened set data type timestamptz;
-- form: adding-not-nullable-field
select 1; alter table orders alter memo set not null;
-- form: adding-not-nullable-field
alter table orders alter amount set not null; alter table orders alter note set not null;
-- form: changing-column-type
alter table orders alter code type varchar(20); alter table orders alter amount type bigint;
-- form: changing-column-type
alter table orders alter code type varchar(5);
-- form: changing-column-type
alter table orders alter code type varchar(30);
alter table orders alter code type varchar(25);
-- form: adding-not-nullable-field
alter table orders alter status set not null;
-- form: adding-not-nullable-field
alter table public.orders alter note set not null;
-- form: adding-not-nullable-field
set search_path = public, archive;
alter table orders alter memo set not null;
-- form: require-concurrent-index-creation
create table archive.customers (id int);
create index on customers (name);
-- form: adding-not-nullable-field
create table archive.invoices (id int);
alter table invoices alter total set not null;
-- form: adding-not-nullable-field
alter table events alter kind set not null;
-- form: adding-not-nullable-field
alter table events alter column at set not null;
-- form: changing-column-type
alter table events alter kind type text, alter at type date;
-- form: constraint-missing-not-valid
alter table events add constraint k check (id > 0);
-- form: adding-not-nullable-field
alter table invoices alter total set not null;
-- form: adding-not-nullable-field from=18
alter table customers add constraint n not null name not valid;
-- file
alter table customers alter name set not null;
-- form: adding-not-nullable-field from=18
alter table customers add constraint n not null name;
-- form: not-valid-constraint from=18
alter table customers add constraint n not null name not valid;
-- form: adding-not-nullable-field
alter table customers add constraint c check (name is not null) not valid;
-- file
alter table customers alter name set not null;
-- file
alter table customers validate constraint c;
-- form: adding-not-nullable-field
alter table customers add constraint c check (name is not null or email is not null);
-- file
alter table customers alter name set not null;
-- form: adding-not-nullable-field
alter table orders drop constraint amount_known;
-- file
alter table orders alter amount set not null;
-- form: adding-not-nullable-field
alter table orders alter note set not null, alter memo set not null;
-- form: adding-not-nullable-field
alter table only events alter id set not null;
-- form: require-concurrent-index-creation
create index orders_status on orders (status);
-- form: require-concurrent-index-creation
create unique index on orders (status, note);
-- form: require-concurrent-index-creation
create index on archive.orders (code);
-- form: require-concurrent-index-creation
create index if not exists orders_status on orders (lower(status));
-- form: require-concurrent-index-creation
create index on measures (value);
-- form: require-concurrent-index-creation
create index on totals (orders);
-- form: require-concurrent-index-creation
create index on orders using gin (payload) where amount > 0;
-- form: require-concurrent-index-deletion
drop index orders_code;
-- form: require-concurrent-index-deletion
drop index if exists archive.archive_status;
-- form: require-concurrent-index-deletion
select 1; drop index orders_code, orders_customer;
-- form: require-concurrent-reindex
reindex index orders_code;
-- form: require-concurrent-reindex
reindex table orders;
-- form: require-concurrent-reindex
reindex (verbose) table archive.orders;
-- form: require-concurrent-reindex off
reindex schema archive;
-- form: concurrently-on-partitioned
create index concurrently measures_value on measures (value);
-- form: concurrently-on-partitioned
create table parts (id int) partition by list (id);
-- file
create index concurrently parts_id on parts (id);
-- form: require-concurrent-partition-detach
alter table measures detach partition measures_1;
-- form: require-concurrent-partition-detach
alter table regions detach partition regions_eu;
-- form: constraint-missing-not-valid
alter table orders add constraint c check (amount > 0);
-- form: constraint-missing-not-valid
alter table orders add check (status in ('open', 'paid'));
-- form: constraint-missing-not-valid
alter table measures add constraint c check (value > 0);
-- form: constraint-missing-not-valid
alter table customers add column age int, add constraint c check (age > 0);
-- form: adding-foreign-key-constraint
alter table orders add constraint f foreign key (customer_id) references customers;
-- form: adding-foreign-key-constraint
alter table orders add foreign key (customer_id) references customers (id) on delete cascade;
-- form: adding-foreign-key-constraint
alter table invoices add constraint f foreign key (id) references archive.orders;
-- form: adding-foreign-key-constraint
alter table orders add column buyer int default 1 references customers;
-- form: foreign-key-no-index
alter table orders add constraint f foreign key (ref) references customers not valid;
-- file
alter table orders validate constraint f;
-- form: foreign-key-no-index
alter table invoices add constraint f foreign key (id) references customers not valid;
-- file
alter table invoices validate constraint f;
-- form: disallowed-unique-constraint
alter table orders add constraint u unique (status);
-- form: disallowed-unique-constraint
alter table customers add unique (email), add column phone text;
-- form: disallowed-unique-constraint
alter table customers add column phone text unique;
-- form: disallowed-unique-constraint
alter table archive.orders add constraint u unique (code) deferrable;
-- form: adding-serial-primary-key-field
alter table invoices add primary key (id);
-- form: adding-serial-primary-key-field
alter table events_old add constraint pk primary key (id);
-- form: primary-key-scan
alter table orders drop constraint orders_pkey, add constraint pk primary key using index orders_customer;
-- form: primary-key-scan
create unique index concurrently invoices_id on invoices (id);
-- file
alter table invoices add constraint pk primary key using index invoices_id;
-- form: add-exclude
alter table orders add constraint x exclude using btree (id with =);
-- form: add-exclude
alter table customers add exclude using hash (name with =);
-- form: changing-column-type
alter table orders alter amount type bigint;
-- form: changing-column-type
alter table orders alter column total type numeric(10, 3);
-- form: changing-column-type
alter table orders alter column total type numeric(8, 2);
-- form: changing-column-type
alter table orders alter status type varchar(20);
-- form: changing-column-type
alter table orders alter status type text using lower(status);
-- form: changing-column-type
alter table orders alter payload type json;
-- form: changing-column-type
alter table orders alter code type text collate "C";
-- form: changing-column-type
alter table orders alter feeling type text;
-- form: changing-column-type
alter table orders alter rank type positive;
-- form: changing-column-type
alter table orders alter at type time(0);
-- form: changing-column-type
alter table orders alter span type interval(0);
-- form: changing-column-type
alter table orders alter sku type text;
-- form: changing-column-type
alter table orders alter parted type text;
-- form: changing-column-type
alter table orders alter flags type bit varying(4);
-- form: changing-column-type
alter table measures alter value type bigint;
-- form: adding-required-field
alter table orders add column x int not null;
-- form: adding-required-field
alter table archive.orders add column x text not null, add column y int;
-- form: add-column-check
alter table orders add column x int check (x > 0);
-- form: add-column-check
alter table customers add column x int default 1 constraint c check (x > 0);
-- form: add-serial
alter table orders add column x bigserial;
-- form: add-serial
alter table customers add column x serial;
-- form: add-identity
alter table orders add column x int generated always as identity;
-- form: add-identity
alter table orders add column x bigint generated by default as identity;
-- form: add-generated
alter table orders add column x int generated always as (amount * 2) stored;
-- form: add-generated
alter table orders add column x int generated always as (amount * 2) stored, add column y int;
-- form: add-column-domain
alter table orders add column x positive;
-- form: add-column-domain
alter table orders add column x public.needed default 1;
-- form: add-column-domain
create domain short as text check (length(value) < 10);
alter table orders add column x short;
-- form: volatile-default
alter table orders add column x float default random();
-- form: volatile-default
alter table orders add column x timestamptz default clock_timestamp();
-- form: volatile-default
alter table orders add column x int default mine();
-- form: volatile-default
alter table orders add column x int default nextval('numbers');
-- form: volatile-default
alter table orders add column x int default archive.steady();
-- form: volatile-default
create function token() returns text language plpgsql as 'begin return random()::text; end';
alter table orders add column x text default token();
-- form: attach-scan
alter table measures attach partition measures_raw for values from ('2026-06-01') to ('2026-07-01');
-- form: attach-scan
alter table measures attach partition measures_2 for values from ('2026-02-01') to ('2026-02-15');
-- form: attach-scan
alter table measures attach partition measures_4 for values from ('2026-04-01') to ('2026-05-01');
-- form: attach-scan
alter table measures attach partition measures_3 for values from ('2026-03-01') to ('2026-03-20');
-- form: attach-scan
alter table kinds attach partition kinds_d for values in ('d');
-- form: attach-scan
alter table kinds attach partition kinds_raw default;
-- form: changing-column-type
alter table orders alter amount type int;
-- form: attach-scan
create table regions_us (id int not null, region text not null);
alter table regions attach partition regions_us for values in ('us');
-- form: partition-of
create table measures_9 partition of measures for values from ('2026-09-01') to ('2026-10-01');
-- form: partition-of
create table kinds_z partition of kinds for values in ('z');
-- form: ban-drop-default
alter table orders alter made drop default;
-- form: ban-drop-constraint
alter table orders drop constraint orders_pkey;
-- form: domain-scan
alter domain plain set not null;
-- form: domain-scan
alter domain positive add constraint c check (value < 1000);
-- form: domain-scan
alter domain plain add constraint c check (value < 1000) not valid;
-- file
alter domain plain validate constraint c;
-- form: refresh-locks
refresh materialized view totals;
-- form: refresh-locks
refresh materialized view sums with data;
-- form: set-unlogged
alter table orders set unlogged;
-- form: set-tablespace
alter table orders set tablespace pg_default;
-- form: set-access-method from=15
alter table orders set access method heap;
-- form: truncate
truncate orders;
-- form: truncate
create table n (id int); truncate n, archive.orders;
-- form: cluster
cluster orders using orders_code;
-- form: vacuum-full off
vacuum full orders;
-- form: vacuum-full off
vacuum (full, analyze) archive.orders;
-- form: lock-table
lock table orders in access exclusive mode;
-- form: every-row
update orders set status = 'open';
-- form: every-row
update orders set status = 'open' where true;
-- form: every-row
update orders set status = 'open' where 1 = 1;
-- form: every-row
update orders set status = 'open' where id = id;
-- form: every-row
update orders set status = 'open' where id is not null;
-- form: every-row
update orders o set status = 'open' where o.made is not null or o.status = 'x';
-- form: every-row
update orders set note = c.name from customers c where c.id = orders.customer_id;
-- form: every-row
update orders o set note = c.name from customers as c where o.customer_id = c.id and true;
-- form: every-row
delete from archive.orders;
-- form: every-row
delete from orders where true and not false;
-- form: every-row
delete from orders using customers c where c.id = orders.customer_id;
-- form: every-row
with gone as (delete from orders returning *) insert into archive.orders (id) select id from gone;
-- form: every-row
with new as (update customers set name = upper(name) returning id) select count(*) from new;
-- form: every-row from=15
merge into orders o using customers c on o.customer_id = c.id when matched then update set note = c.name;
-- form: every-row from=15
merge into orders o using archive.orders a on o.id = a.id when matched then delete;
-- form: every-row
select 1; delete from orders; select 2;
-- form: opaque
select purge();
-- form: opaque
insert into customers (id) select purge();
-- form: opaque
update customers set id = purge() where id = 1;
-- form: opaque
insert into customers (id) values (purge());
-- form: opaque
delete from customers where id = purge();
-- form: opaque
create materialized view v as select purge();
-- form: opaque
create function fill() returns int language plpgsql as 'begin update orders set id = 1; return 1; end';
select fill();
-- form: opaque
create function fill() returns int language plpgsql as 'begin update orders set id = 1; return 1; end';
insert into customers (id) select fill();
-- form: opaque
do $$ begin delete from orders; end $$;
-- form: opaque
call archive_all();
-- form: work-under-lock
alter table orders add column x int; update customers set name = 'x' where id = 1;
-- form: work-under-lock
alter table orders add column x int; create index on customers (name);
-- form: work-under-lock
alter table orders add constraint c check (amount > 0) not valid;
alter table orders validate constraint c;
-- form: work-under-lock
alter table orders add constraint f foreign key (customer_id) references customers not valid;
alter table orders validate constraint f;
-- form: work-under-lock
alter table invoices add column x int, validate constraint total_small;
-- form: work-under-lock
alter table orders add column x int;
create table copied as select * from orders;
-- form: work-under-lock
alter table orders add column x int; refresh materialized view totals;
-- form: work-under-lock
drop trigger touched on orders;
delete from customers where id < 1000000;
-- form: work-under-lock
alter table customers alter name set default 'x';
alter table customers alter email set not null;
-- form: work-under-lock
create table gone as select 1 as a; alter table customers add column x int;
insert into gone select id from orders;
-- form: work-under-lock
alter table customers add column x int;
with changed as (update orders set status = 'x' where id < 5 returning id) select count(*) from changed;
-- form: work-under-lock
alter table customers disable trigger user;
alter table measures attach partition measures_raw for values from ('2026-06-01') to ('2026-07-01');
-- file
alter table customers enable trigger user;
-- form: lock-after-work
update customers set name = 'x' where id < 1000;
alter table customers alter name set default 'x';
-- form: lock-after-work
delete from customers where id < 1000;
alter table orders add column x int;
-- form: lock-after-work
update orders set status = 'x' where id < 1000;
drop trigger touched on orders;
-- form: lock-after-work
with gone as (delete from orders where id < 10 returning id) insert into customers (id) select id from gone;
create trigger t before update on customers for each row execute function touch();
-- form: several-tables
alter table orders add column x int; alter table customers add column x int;
-- form: several-tables
alter table orders add column x int; alter table archive.orders add column x int;
-- form: several-tables
create policy p on customers using (true); drop policy own_orders on orders;
-- form: several-tables
alter table orders rename column note to remark; alter table customers rename column name to title;
-- form: enum-used-at-once
alter type mood add value 'great'; update orders set feeling = 'great' where id = 1;
-- form: enum-used-at-once
alter type mood add value 'great'; alter table orders alter feeling set default 'great';
-- form: enum-used-at-once
alter type mood add value 'great'; insert into orders (id, feeling) values (1, 'great');
-- form: ban-drop-column
select 1; alter table orders drop column note;
-- form: ban-drop-table
create table archive.kinds_a (id int);
drop table kinds_a;
-- form: renaming-column
alter table orders rename column note to remark;
-- form: renaming-table
alter table customers rename to clients;
-- form: extension-missing
create extension if not exists no_such_extension;
-- form: not-valid-constraint
alter table orders add constraint c check (amount > 0) not valid;
-- form: not-valid-constraint
alter table archive.orders add constraint both_known check (amount > 0) not valid;
-- file
alter table orders validate constraint both_known;
-- form: disabled-trigger
alter table orders disable trigger touched;
-- form: alter-system off
alter system set work_mem = '1GB';
-- form: drop-owned
drop owned by nobody;
-- form: privilege
alter role postgres superuser;
-- form: password-literal
create role joe password 'secret';
-- form: enum-used-at-once to=16
create type size as enum ('s');
alter type size add value 'm';
create table shirts (id int, size size default 'm');
-- form: set-tablespace
alter index orders_code set tablespace pg_default;
-- form: set-tablespace
alter table all in tablespace pg_default set tablespace pg_default;
-- form: every-row
delete from orders where id in (select id from orders);
-- form: every-row
update orders set note = 'x' where id = any (select o.id from orders o);
-- form: every-row
update orders set note = 'x' where coalesce(status, '') = coalesce(status, '');
-- form: every-row
insert into orders (id) select id from archive.orders on conflict (id) do update set note = 'x';
-- form: every-row
select id from orders for update;
-- form: every-row
with all_ as (select o.id from orders o for no key update) select count(*) from all_;
-- form: every-row
explain analyze delete from orders;
-- form: every-row
update orders set note = 'x' where note is null or note is not null;
-- form: every-row
create table gone as with d as (delete from orders returning id) select * from d;
-- form: adding-foreign-key-constraint from=18
alter table invoices add constraint f foreign key (id) references customers not enforced;
-- file
alter table invoices alter constraint f enforced;
-- form: work-under-lock
alter table orders add column x int; select count(*) from archive.orders;
-- form: work-under-lock
alter table orders add column x int; select setval('numbers', (select max(amount) from archive.orders));
-- form: work-under-lock
alter table orders add column x int; explain analyze select count(*) from archive.orders;
-- form: require-concurrent-reindex off
reindex schema archive;
-- form: partition-of
create table measures_9 partition of measures (value not null, primary key (id)) for values from ('2026-09-01') to ('2026-10-01');
