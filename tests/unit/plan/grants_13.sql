-- Rights in the database shop of owner's. Run it in that database,
-- as a superuser, or as a member of owner with CREATEROLE (on RDS: the master user).
-- a note
-- 'one\nof two lines'

-- migrate: shop_migrate
-- a login; its password is set apart: \password
do $windlass$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'shop_migrate') then
    create role "shop_migrate" login;
  end if;
end
$windlass$;
-- to come in
grant connect on database "shop" to "shop_migrate";
-- what it changes is the owner's
grant "owner" to "shop_migrate";
-- what it creates belongs to the owner, not to it
alter role "shop_migrate" set role to "owner";
-- for schemas and extensions
grant create on database "shop" to "owner";
-- for new tables
grant usage, create on schema public to "owner";
-- Windlass's own tables; made first, nobody else can make it
create schema if not exists windlass authorization "owner";
-- it reads every table and sequence
grant usage on schema public to "owner";
-- it reads every table and sequence
grant select on all tables in schema public to "owner";
-- it reads every table and sequence
grant select on all sequences in schema public to "owner";
-- it reads every table and sequence
grant usage on schema windlass to "owner";
-- it reads every table and sequence
grant select on all tables in schema windlass to "owner";
-- it reads every table and sequence
grant select on all sequences in schema windlass to "owner";

-- plan: shop_plan
-- a login; its password is set apart: \password
do $windlass$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'shop_plan') then
    create role "shop_plan" login;
  end if;
end
$windlass$;
-- to come in
grant connect on database "shop" to "shop_plan";
-- Windlass's own tables; made first, nobody else can make it
create schema if not exists windlass authorization "owner";
-- names are looked up in it
grant usage on schema public to "shop_plan";
-- names are looked up in it
grant usage on schema windlass to "shop_plan";
-- the journal
grant select on all tables in schema windlass to "shop_plan";
-- the journal's tables that come later
alter default privileges for role "owner" in schema windlass grant select on tables to "shop_plan";
-- what is applied
grant select on public."schema_migrations" to "shop_plan";

-- backup: shop_backup
-- a login; its password is set apart: \password
do $windlass$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'shop_backup') then
    create role "shop_backup" login;
  end if;
end
$windlass$;
-- to come in
grant connect on database "shop" to "shop_backup";
-- Windlass's own tables; made first, nobody else can make it
create schema if not exists windlass authorization "owner";
-- it reads every table and sequence
grant usage on schema public to "shop_backup";
-- it reads every table and sequence
grant select on all tables in schema public to "shop_backup";
-- it reads every table and sequence
grant select on all sequences in schema public to "shop_backup";
-- those that come later
alter default privileges for role "owner" in schema public grant select on tables to "shop_backup";
-- those that come later
alter default privileges for role "owner" in schema public grant select on sequences to "shop_backup";
-- it reads every table and sequence
grant usage on schema windlass to "shop_backup";
-- it reads every table and sequence
grant select on all tables in schema windlass to "shop_backup";
-- it reads every table and sequence
grant select on all sequences in schema windlass to "shop_backup";
-- those that come later
alter default privileges for role "owner" in schema windlass grant select on tables to "shop_backup";
-- those that come later
alter default privileges for role "owner" in schema windlass grant select on sequences to "shop_backup";
-- row security must hide no row from a backup
alter role "shop_backup" bypassrls;
-- no role reads them all
do $windlass$ declare number oid; begin
  for number in select oid from pg_catalog.pg_largeobject_metadata loop
    execute pg_catalog.format('grant select on large object %s to %I', number, 'shop_backup');
  end loop;
end
$windlass$;

-- restore: shop_restore
-- a login; its password is set apart: \password
do $windlass$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'shop_restore') then
    create role "shop_restore" login;
  end if;
end
$windlass$;
-- to come in
grant connect on database "shop" to "shop_restore";
-- a restore goes into a new database
alter role "shop_restore" createdb;
-- it gives the objects back to their owner
grant "owner" to "shop_restore";
-- it gives the objects back to their owner
grant "other" to "shop_restore";
-- the swap ends other roles' sessions
grant pg_signal_backend to "shop_restore";
-- the swap carries over its settings in this database
alter role "shop_restore" createrole;
