-- Forms that stop no application on the tables of stands.sql, however large those are: no finding
-- above a note. Written as in dangerous.sql.

-- form: three files of one deployment
alter table customers add constraint c check (name is not null) not valid;
-- file
alter table customers validate constraint c;
-- file
alter table customers alter name set not null;
-- form: the check goes with SET NOT NULL
alter table customers add constraint c check (name is not null) not valid;
-- file
alter table customers validate constraint c;
-- file
alter table customers alter name set not null;
alter table customers drop constraint c;
-- form: a foreign key in two files
alter table orders add constraint f foreign key (customer_id) references customers not valid;
-- file
alter table orders validate constraint f;
-- form: a foreign key whose index comes first
create index concurrently orders_ref on orders (ref);
-- file
alter table orders add constraint f foreign key (ref) references customers not valid;
-- file
alter table orders validate constraint f;
-- form: a check in two files
alter table orders add constraint c check (amount > 0) not valid;
-- file
alter table orders validate constraint c;
-- form: a unique constraint by an index
create unique index concurrently orders_status on orders (status);
-- file
alter table orders add constraint u unique using index orders_status;
-- form: a primary key by an index over columns that are never null
create unique index concurrently archive_id on archive.orders (amount);
-- file
alter table archive.orders drop constraint orders_pkey, add constraint pk primary key using index archive_id;
-- form: a primary key by an index, proven by a check
alter table orders drop constraint orders_pkey, add constraint pk primary key using index orders_amount;
-- form: SET NOT NULL behind a validated check
alter table orders alter amount set not null;
-- form: SET NOT NULL behind a check that says more
alter table orders alter ref set not null;
-- form: SET NOT NULL twice
alter table orders alter id set not null;
-- form: SET NOT NULL in the other schema
alter table archive.orders alter amount set not null;
-- form: by search_path
set local search_path = archive;
alter table orders alter status set not null;
-- form: a column of a namesake
set search_path to archive, public;
alter table orders alter code type varchar(60);
-- form: behind the parent, each child proven
alter table events_old alter kind set not null;
-- form: NOT NULL NOT VALID and its VALIDATE from=18
alter table customers add constraint n not null name not valid;
-- file
alter table customers validate constraint n;
-- form: SET NOT NULL behind NOT NULL, validated from=18
alter table customers add constraint n not null name not valid;
-- file
alter table customers validate constraint n;
-- file
alter table customers alter name set not null;
-- form: ON ONLY
create index measures_value on only measures (value);
-- form: ON ONLY, each partition, attached
create index measures_value on only measures (value);
-- file
create index concurrently measures_1_value on measures_1 (value);
-- file
alter index measures_value attach partition measures_1_value;
-- form: attached, proven by a check and NOT NULL
alter table measures attach partition measures_2 for values from ('2026-02-01') to ('2026-03-01');
-- form: attached, proven by a check alone
alter table measures attach partition measures_3 for values from ('2026-03-01') to ('2026-04-01');
-- form: attached, its check validated before
alter table measures_4 validate constraint april;
-- file
alter table measures attach partition measures_4 for values from ('2026-04-01') to ('2026-05-01');
-- form: attached to a list
alter table kinds attach partition kinds_b for values in ('b', 'c');
-- form: attached to a wider list
alter table kinds attach partition kinds_b for values in ('b', 'c', 'e');
-- form: attached, all made here
create table measures_8 (like measures including all);
alter table measures attach partition measures_8 for values from ('2026-08-01') to ('2026-09-01');
-- form: attached, its bound is open
alter table measures attach partition measures_2 for values from ('2026-02-01') to (maxvalue);
-- form: detached concurrently from=14
alter table measures detach partition measures_1 concurrently;
-- form: a new column that refers
alter table orders add column buyer int references customers;
-- form: a new column that refers, by name
alter table orders add column buyer int constraint buyer_of references customers (id) on delete set null;
-- form: a new column
alter table orders add column x int;
-- form: a new column with a default
alter table orders add column x int not null default 7;
-- form: a new column with a stable default
alter table orders add column x timestamptz default now();
-- form: a new column with a default of the standard
alter table orders add column x timestamptz not null default current_timestamp;
-- form: a new column with a stable function of the project
alter table orders add column x int default steady();
-- form: a new column of a domain that refuses nothing
alter table orders add column x plain;
-- form: a new column of an enum
alter table orders add column x mood default 'ok';
-- form: a virtual column from=18
alter table orders add column x int generated always as (amount * 2) virtual;
-- form: a virtual column, by default from=18
alter table orders add column x int generated always as (amount * 2);
-- form: a column that is there
alter table orders add column if not exists amount bigint not null;
-- form: several columns
alter table orders add column x int, add column y text, add column z jsonb default '{}';
-- form: a wider varchar
alter table orders alter code type varchar(20);
-- form: a varchar without a limit
alter table orders alter code type varchar;
-- form: varchar to text
alter table orders alter code type text;
-- form: text to varchar
alter table customers alter name type varchar;
-- form: a wider numeric
alter table orders alter total type numeric(12, 2);
-- form: a numeric without a limit
alter table orders alter total type numeric;
-- form: cidr to inet
alter table orders alter address type inet;
-- form: timestamp in UTC
alter table orders alter happened type timestamptz;
-- form: timestamp, the zone set to UTC
set timezone = 'UTC'; alter table orders alter happened type timestamptz;
-- form: timestamptz in UTC
alter table orders alter seen type timestamp;
-- form: a zone of a file before
set timezone = 'Europe/Oslo'; select 1;
-- file
alter table orders alter happened type timestamptz;
-- form: a wider bit string
alter table orders alter flags type bit varying(16);
-- form: a bit string without a limit
alter table orders alter flags type bit varying;
-- form: a wider interval
alter table orders alter span type interval(6);
-- form: a time with more digits
alter table orders alter at type time(6);
-- form: a time without a limit
alter table orders alter at type time;
-- form: a domain to its base
alter table orders alter rank type int;
-- form: to a domain that refuses nothing
alter table customers alter name type label;
-- form: the same type
alter table orders alter payload type jsonb;
-- form: USING the column itself
alter table orders alter code type text using code;
-- form: USING a cast to the new type
alter table orders alter code type text using code::text;
-- form: several types, none rewritten
alter table orders alter code type varchar(40), alter total type numeric(14, 2), alter address type inet;
-- form: twice, wider each time
alter table orders alter code type varchar(20);
-- file
alter table orders alter code type varchar(30);
-- form: an index, concurrently
create index concurrently orders_status on orders (status);
-- form: a unique index, concurrently
create unique index concurrently if not exists orders_status on orders (status) where amount > 0;
-- form: an index that is there
create index if not exists orders_code on orders (code);
-- form: an index of a materialized view, concurrently
create index concurrently totals_orders on totals (orders);
-- form: an index dropped, concurrently
drop index concurrently orders_code;
-- form: an index that is not there
drop index if exists no_such_index;
-- form: rebuilt, concurrently
reindex index concurrently orders_code;
-- form: rebuilt, in brackets
reindex (concurrently) table orders;
-- form: an index renamed
alter index orders_code rename to orders_by_code;
-- form: validated alone
alter table invoices validate constraint total_small;
-- form: validated, several
alter table invoices validate constraint total_small;
alter table invoices validate constraint of_customer;
-- form: NOT NULL behind what stood NOT VALID
alter table invoices validate constraint total_there;
-- file
alter table invoices alter total set not null;
-- form: a table, with its indexes and keys
create table parcels (id int primary key, code text unique, weight int check (weight > 0));
create index on parcels (weight);
alter table parcels add constraint c check (id > 0);
alter table parcels alter weight set not null;
-- form: a table that refers
create table parcels (id int primary key, order_id int references orders);
-- form: a table, filled
create table parcels (id int, order_id int);
insert into parcels select id, id from orders;
create index on parcels (order_id);
-- form: a table filled, and changed as a whole
create table parcels (id int, order_id int);
insert into parcels values (1, 2);
update parcels set order_id = 3;
delete from parcels;
truncate parcels;
-- form: a table of a file before
create table parcels (id int, code text);
-- file
create unique index on parcels (code);
alter table parcels add column x int not null;
alter table parcels alter code type varchar(5);
-- form: a table of a file before, dropped
create table parcels (id int, code text);
-- file
drop table parcels;
-- form: a table by a query
create table parcels as select 1 as id;
create index on parcels (id);
-- form: a table, renamed
create table parcels (id int, code text);
alter table parcels rename to boxes;
create index on boxes (code);
-- form: a table, moved
create table parcels (id int);
alter table parcels set schema archive;
create index on archive.parcels (id);
-- form: a temporary table
create temporary table picked as select id from orders where id < 10;
create index on picked (id);
delete from picked;
-- form: a partitioned table, whole
create table logs (id int, day date) partition by range (day);
create table logs_1 partition of logs for values from ('2026-01-01') to ('2026-02-01');
create index on logs (id);
-- form: a materialized view of its own
create materialized view busy as select 1 as a;
create unique index on busy (a);
refresh materialized view busy;
-- form: a table in a schema of its own
create schema shop;
create table shop.orders (id int);
create index on shop.orders (id);
alter table shop.orders add column x int not null;
-- form: a domain that no table uses
alter domain unused set not null;
-- form: a domain, NOT VALID
alter domain positive add constraint c check (value < 1000) not valid;
-- form: a default
alter table orders alter status set default 'open';
-- form: no default, after the restart
-- windlass: phase=after
alter table orders alter made drop default;
-- form: storage
alter table orders set (fillfactor = 80);
-- form: statistics
alter table orders alter status set statistics 500;
-- form: an identity for a column
alter table orders alter id add generated by default as identity;
-- form: a trigger
create trigger noted before insert on customers for each row execute function touch();
-- form: a trigger gone
drop trigger touched on orders;
-- form: a trigger disabled and enabled
alter table orders disable trigger touched;
-- file
alter table orders enable trigger touched;
-- form: a policy
create policy seen on orders for select using (true);
-- form: a view
create view paid as select id from orders where status = 'paid';
-- form: a view replaced
create or replace view open_orders as select id from orders where not made;
-- form: a function
create function later() returns int language plpgsql as 'begin delete from orders; return 1; end';
-- form: a function replaced
create or replace function steady() returns int language sql stable as 'select 2';
-- form: a type
create type size as enum ('s', 'm');
-- form: a value
alter type mood add value 'great';
-- form: a value, in a file of its own, then used off
alter type mood add value 'great';
-- file
update orders set feeling = 'great' where id = 1;
-- form: a type with its values, at once from=17
create type size as enum ('s');
alter type size add value 'm';
create table shirts (id int, size size default 'm');
-- form: a value that is a word elsewhere
alter type mood add value 'great';
insert into customers (id, name) values (1, 'great');
-- form: rows by condition
update orders set status = 'open' where status is null;
-- form: rows by key
update orders set status = 'open' where id = 7;
-- form: rows by key, of a join
update orders set note = c.name from customers c where c.id = orders.customer_id and orders.note is null;
-- form: rows by a list
delete from orders where id in (1, 2, 3);
-- form: rows by a subquery
delete from orders where customer_id in (select id from customers where name is null);
-- form: rows of a WITH, by key
with old as (delete from orders where id = 7 returning id) select count(*) from old;
-- form: rows given
insert into customers (id, name) values (1, 'a'), (2, 'b') on conflict (id) do update set name = 'c';
-- form: rows given, merged from=15
merge into customers c using (values (1, 'a')) as v (id, name) on c.id = v.id
when matched then update set name = v.name when not matched then insert (id, name) values (v.id, v.name);
-- form: rows added by a merge from=15
merge into customers c using orders o on c.id = o.customer_id when not matched then insert (id) values (o.customer_id);
-- form: rows, nullable column
update orders set status = 'x' where note is not null;
-- form: functions of the server
insert into customers (id, name) values (1, upper('a')), (2, md5('b'));
-- form: a volatile function of the server
insert into customers (id, name) values (1, gen_random_uuid()::text);
-- form: a function that reads
insert into customers (id) select reads();
-- form: a stable function
update customers set name = 'x' where id = steady();
-- form: a sequence
select setval('numbers', 100);
-- form: a question
select count(*), max(id) from orders;
-- form: a comment
comment on table orders is 'what was bought';
-- form: refreshed, concurrently
refresh materialized view concurrently totals;
-- form: an extension that is there
create extension if not exists plpgsql;
-- form: a column, a file for each table
alter table orders add column x int;
-- file
alter table customers add column x int;
-- form: two changes of one table
alter table orders add column x int;
alter table orders alter x set default 1;
-- form: a table and a column
create table parcels (id int primary key);
alter table orders add column parcel_id int references parcels;
-- form: rows given behind a lock
alter table customers add column x int;
insert into customers (id, name, x) values (1, 'a', 1);
-- form: rows of a table made here, and a lock
create table parcels (id int);
insert into parcels values (1);
update parcels set id = 2;
alter table orders add column x int;
-- form: a column dropped, after the restart
-- windlass: phase=after
alter table orders drop column memo;
-- form: a table dropped that is not there
drop table if exists no_such_table;
-- form: a constraint, not enforced from=18
alter table orders add constraint c check (amount > 0) not enforced;
-- form: a table renamed within a file, then its name used
create table parcels (id int);
alter table parcels rename to archive_parcels;
create table parcels (id int, code text);
create index on parcels (code);
-- form: a lock that keeps no application out
lock table orders in share update exclusive mode;
-- form: the weakest lock
lock table orders, customers in access share mode;
-- form: a lock as a writer has it, without waiting
lock table orders in row exclusive mode nowait; alter table customers add column x int;
-- form: a plain vacuum, in words off
vacuum (full false) orders;
-- form: a plain vacuum by a number off
vacuum (full 0, analyze) orders;
-- form: a plan without running it
explain delete from orders;
-- form: a plan of a query that runs
explain analyze select id from orders where id = 1;
-- form: a row locked
select id from orders where id = 5 for update;
-- form: some rows locked
select id from orders order by id limit 10 for update skip locked;
-- form: rows of values, upserted
insert into customers (id, name) select * from (values (1, 'a')) v (id, name) on conflict (id) do update set name = excluded.name;
-- form: a sequence behind the largest key, under a lock
alter table orders add column x int; select setval('numbers', (select max(id) from orders));
-- form: a small query under a lock
alter table orders add column x int; select name from customers where id = 1;
-- form: a foreign key that is not enforced from=18
alter table invoices alter constraint of_customer not enforced;
-- form: an index that is renamed and set
alter index orders_code set (fillfactor = 80); alter index orders_code rename to codes;
-- form: rows of a subquery with a condition
delete from orders where id in (select id from orders where made);
-- form: rows that another table names
delete from orders where customer_id in (select id from customers);
