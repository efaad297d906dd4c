"""What a server words anew after a restore is alike; tests/unit/parser/ has the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgwindlass.database.connection import Database, read_target
from pgwindlass.parser.equivalence import equivalent, meaning
from pgwindlass.postgres.clients import find_clients
from pgwindlass.postgres.definitions import definitions
from pgwindlass.stores.directory import DirectoryStore
from tests.fix_backup import restore, take
from tests.fix_postgres import Server
from tests.test_backup import run

# What a schema says with an expression, of the types that migrations have, and some that none has.
TABLE = """
create type mood as enum ('sad', 'ok', 'happy');
create type pair as (a varchar(10), b numeric);
create domain code as varchar(5) check (value in ('a', 'b'));
create domain positive as numeric(8, 2) check (value > 0);
create table t (
    id int primary key, role varchar(20) default 'a', "Odd" varchar(3) default 'o''x',
    c char(3) default 'x', n numeric(10, 2) default 1.5, neg int default -1,
    negn numeric default -1.5, big bigint default 3000000000, f float8 default 1e10,
    m mood default 'ok', ms mood[] default '{sad,ok}', i interval default '1 day',
    ts timestamptz default now() + interval '1 day 02:00', d date default '2020-01-01',
    tz timetz default '12:00+01', tags varchar(10)[] default array['a', 'b'],
    txt text[] default array['x'], p point default '(1,2)', b bytea default '\\x01',
    j jsonb default '{"a": [1]}', r int4range default '[1,2)', bits bit(3) default B'101',
    u uuid default '00000000-0000-0000-0000-000000000000', q code default 'a', y varchar(20),
    nul varchar default null, yes boolean default true, ip inet default '10.0.0.1',
    shared varchar(20) default current_user, tomorrow date default 'now'::text::date + 1,
    g varchar(30) generated always as (role || 'x') stored,
    g2 numeric generated always as (round(n * 1.2, 1)) stored,
    g3 text generated always as (case when role in ('a', 'b') then 'x' else upper(role) end) stored
);
"""
CHECKS = (
    "role in ('a', 'b')",
    "role not in ('a', 'b', 'c')",
    "role in ('a')",
    "role in (y, 'b')",
    'role in (y, "Odd")',
    "role = any (array['a', 'b'])",
    "role = any ('{a,b}')",
    "role = any ('{a,b}'::varchar[])",
    "role <> all (array['a', 'b']::varchar[])",
    "role::text = any (array['a', 'b']::text[])",
    "role::varchar(5) in ('a', 'b')",
    "role::name = any (array['a', 'b'])",
    "c in ('x', 'y')",
    "lower(role) in ('a', 'b') and role like 'a%' and role ~ '^a' and role similar to 'a|b'",
    "role like any (array['a%', 'b%'])",
    "role || y in ('ab', 'ac')",
    "coalesce(role, y, 'z') in ('a', 'b')",
    "nullif(role, 'x') is distinct from 'y'",
    "greatest(role, y, 'a') <> 'q'",
    "case role when 'a' then 1 when 'b' then 2 else 3 end in (1, 2)",
    "(role, id) in (('a', 1), ('b', 2))",
    "substring(role from 1 for 2) <> 'ab' and position('a' in role) > 0",
    "trim(both 'x' from role) <> ''",
    "n in (1, 2.5, 3)",
    "n between 0 and 99.5",
    "n > 0 and n * 2 < 1e6",
    "id in (1, 3000000000)",
    "id between symmetric 1 and 10",
    "neg in (-1, -2)",
    "f in (1, 2.5)",
    "(id + neg) * 2 - (id - (neg - 1)) > -5 and id / 2 < n / 2",
    "(id > 1 or id < 0) and (n > 1 or (n < 5 and (id = 3 or id = 4)))",
    "m in ('sad', 'ok')",
    "m::text in ('sad', 'ok')",
    "ms <@ array['sad', 'ok']::mood[]",
    "i > '1 hour' and i < interval '3' day",
    "i in ('1 hour', '2 hours')",
    "d >= '2000-01-01' and d in ('2020-01-01', '2021-01-01')",
    "ts > '2000-01-01 00:00:00+00' and (ts at time zone 'utc')::date > '2000-01-01'",
    "extract(year from d) > 2000",
    "(d, d + 1) overlaps ('2020-01-01'::date, '2021-01-01'::date)",
    "tags <@ array['a', 'b']::varchar[] and 'a' = any (tags)",
    "tags[1] in ('a', 'b')",
    "tags <> array[]::varchar[] and txt <> '{}' and txt && array['x', 'y']",
    "array[array[role], array['b']]::text[] <> array[array['a'], array['c']]::text[]",
    "j ->> 'a' in ('1', '2') and j -> 'a' is not null and j @> '{\"a\": 1}'",
    "r <@ '[1,10)'::int4range",
    "q in ('a', 'b') and 'a'::code = q",
    "bits in (B'101', B'111') and yes in (true, false) and yes is true",
    "ip in ('10.0.0.1', '10.0.0.2') and u <> '00000000-0000-0000-0000-000000000001'",
)
REST = """
create index i1 on t (role) where role in ('a', 'b');
create index i2 on t ((role || 'x')) where y = any (array['a', 'b']);
create index i3 on t (lower(role), (n::int), (i + interval '1 day'), (id::bigint), (role::text));
create index i4 on t ((case when role in ('a', 'b') then id end))
    where m in ('sad', 'ok') and role not in ('x', 'y') and n in (1, 2.5)
    and i in ('1 day', '2 days');
create unique index i5 on t (coalesce(role, 'none'), id desc nulls last);
create index i6 on t ((j ->> 'a')) where (j ->> 'b') in ('1', '2');
create view v1 as select id, role, case when role in ('a', 'b') then 'x' else y end as z,
    array['a', role] as arr, n::int as k from t where role in ('a', 'c');
create view v2 as select t.id, a.role from t join t a using (id) left join v1 on v1.role = a.role
    where a.role not in ('b', 'c') and exists (select from t where y in ('q', 'w'))
    order by 1, a.role desc limit 10;
create view v3 as with x as (
    select role, count(*) filter (where role in ('a', 'b')) as n,
           sum(n) over (partition by role order by id) as s
    from t group by role, id, t.n having role in ('a', 'b'))
    select * from x union all select 'a', 1, 2;
create view v4 as select * from (values ('a'::varchar, 1), ('b', 2)) as x (a, b)
    where a in ('a', 'b');
create view v5 as select t.role from t, lateral (select t.role in ('a', 'b') as yes) l,
    unnest(array['a', 'b']::varchar[]) u (w) where u.w in (t.role, 'c') and l.yes;
create view v6 as select string_agg(role, ',' order by role), array_agg(distinct role),
    role in (select y from t) as s, (role, y) = any (select role, y from t) as s2
    from t group by role, id, y;
create view v7 with (security_barrier) as select id, role from t where role in ('a', 'b')
    with check option;
create view v8 as select array['a', 'b']::varchar(3)[] as a, array[1, 2]::numeric(5, 1)[] as b,
    array[array['a']]::varchar[][] as c, '{1,2}'::int[] as d, (array['a', 'b'])[1] as e,
    array[now(), '2020-01-01']::date[] as f, array[id, neg]::text[] as g, array[id, big] as h,
    array(select role from t) as i, array['1 day']::interval[] as j, array[role]::text[] as k,
    array[array[role], array[y]]::text[] as l, array[role]::code[] as n from t;
create materialized view mv as select role, id from t where role in ('a', 'b');
create function f1(a varchar default 'x', b varchar[] default array['a', 'b'],
    c interval default '1 day') returns bool language sql as $$ select a in ('a', 'b') $$;
create function f2() returns trigger language plpgsql as $$ begin
    if new.role in ('a', 'b') then return new; end if; return null; end $$;
create trigger t1 before insert on t for each row when (new.role in ('a', 'b'))
    execute function f2();
create trigger t2 after update of role on t for each row
    when (old.role is distinct from new.role and new.y not in ('a', 'b'))
    execute function f2('a', 'b');
alter table t enable row level security;
create policy p1 on t using (role in ('a', 'b'))
    with check (y in ('a', 'b') and role = current_user);
create rule r1 as on update to v1 where old.role in ('a', 'b')
    do instead update t set role = new.role where role in ('a', 'z');
create table parted (role varchar(10), n numeric, check (role in ('a', 'b', 'c')))
    partition by list (role);
create table parted_a partition of parted for values in ('a', 'b');
create table parted_b partition of parted default;
create table ranged (role varchar(10), n numeric) partition by range (lower(role), n);
create table ranged_1 partition of ranged for values from ('a', 0) to ('b', 10.5);
create table heir (extra varchar(5) check (extra in ('p', 'q'))) inherits (t);
create table booked (during tsrange, kind varchar(5),
    exclude using gist (during with &&) where (kind in ('a', 'b')));
"""
FROM_14 = """
create function f3(a varchar) returns bool language sql
    begin atomic select a in ('a', 'b') and a = any (array['x', a]); end;
create procedure f4(a varchar) language sql
    begin atomic insert into booked (kind) values (a);
    update booked set kind = 'a' where kind in ('a', 'b'); end;
create statistics s1 on (lower(role)), (role || 'x') from t;
"""


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "backups")


def test_what_the_server_words_anew_after_a_restore_is_alike_and_nothing_else_is_worded_anew(
    server: Server,
    database: Database,
    store: DirectoryStore,
    new_database: Callable[[Server], Database],
) -> None:
    checks = [f"alter table t add constraint c{n} check ({e})" for n, e in enumerate(CHECKS)]
    run(database, ";".join([TABLE + REST + (FROM_14 if server.major >= 14 else ""), *checks]))
    copy = new_database(server)
    restore(take(database, store), store, copy)
    with database.connect("test") as connection:
        clients = find_clients(read_target(connection).server_version)

    before, after = definitions(database, clients, ()), definitions(copy, clients, ())

    assert before.keys() == after.keys()
    worded_anew = [title for title in before if before[title] != after[title]]
    assert len(worded_anew) >= 15
    assert [title for title in before if isinstance(meaning(before[title]), str)] == []
    assert [title for title in before if not equivalent(before[title], after[title])] == []
