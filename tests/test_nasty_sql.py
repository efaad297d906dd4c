"""SQL whose splitting is a trap: what a migration does is what PostgreSQL's own psql does.

Every text of the corpus is applied by the real program to one database and by the real psql to
another; then pg_dump, with the data, must say the same of both. The names of what a case creates
begin with the name of the case, so that a difference is laid at its door.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pgwindlass.database.connection import Database
from pgwindlass.errors import ConfigError
from pgwindlass.parser.file import SqlFile, normalise, parse
from tests.fix_postgres import Server
from tests.kit import Project, tables

pytestmark = pytest.mark.sampled(2)

NAME = "20260801_000000_a"
PATH = Path(f"migrations/{NAME}.sql")
DATABASES = ("nasty_windlass", "nasty_psql")
LEFT_OUT = ("-N", "windlass", "-T", "public.schema_migrations")  # the runner's own

CASES: dict[str, str] = {
    "dollar_tags": """
        create function dollar_tags_f() returns text language sql
            as $body$ select ';$$;'::text; $body$;
        create function dollar_tags_g() returns text language sql
            as $é1$ select $q$it's; "$$" $q$ $é1$;
        create table dollar_tags (a text);
        insert into dollar_tags values
            ($$;$$), ($a$$b$;$b$$a$), ($_$ $ $1 ; $_$), ($$a$b$c$$), ($A$$a$;$A$);
    """,
    "dollar_deep": """
        do $outer$
        begin
            execute $inner$
                create function dollar_deep_f() returns text language plpgsql as $f$
                begin execute $x$ select ';' $x$; return $$;'$$; end; $f$;
            $inner$;
            create table dollar_deep (a text default ';');
        end;
        $outer$;
    """,
    "dollar_in_names": """
        create table dollar_in_names$$ (a$b$c int, d$$ int);
        insert into dollar_in_names$$ (a$b$c, d$$) values (1, 2);
        insert into dollar_in_names$$ values (3, 4);
    """,
    "dollar_in_comments": """
        -- $$ ; it's "open
        create table dollar_in_comments (a int); /* $$ ; ' " $a$ */
        -- $a$
        insert into dollar_in_comments values (1); -- $$
        insert into dollar_in_comments values (2);
    """,
    "comments_nested": """
        /* /* ; */ */ create table comments_nested (a int /* ; /* '; */ -- */); /*/**/*/
        insert into /* a; */ comments_nested --;
        values (1 /* $$ */), (2--1
        ); /**/ -- /*
        insert into comments_nested values (3); -- */
    """,
    "comment_at_the_end": "create table comment_at_the_end (a int);\n-- no newline; behind this",
    "comment_for_a_semicolon": "create table comment_for_a_semicolon (a int) -- ; and no newline",
    "comment_marks_in_operators": """
        create table comment_marks_in_operators as
            select 1 - -1 as a, 2*/* ; */3 as b, 4+-5 as c, '--;' as d, '/*;' as e;
        insert into comment_marks_in_operators values (6--;
        , 7, 8, '*/', '');
    """,
    "names_quoted": """
        create table "names_quoted;" (
            "a;b" int, "it's" int, "say ""hi"";" int, "--" int, "/*" int, "$$" int, "\\" int);
        insert into "names_quoted;" ("a;b", "it's", "say ""hi"";", "--", "/*", "$$", "\\")
            values (1, 2, 3, 4, 5, 6, 7);
    """,
    "names_that_are_keywords": """
        create table names_that_are_keywords ("select" int, "end" int, begin int, commit int,
            value int, atomic int, "case" int, copy int, stdin int);
        insert into names_that_are_keywords (begin, commit, atomic, "end") values (1, 2, 3, 4);
        create view names_that_are_keywords_v as select begin as commit, atomic as begin,
            commit as "end", t.end as rollback from names_that_are_keywords t;
        create function names_that_are_keywords_begin() returns int language sql return 1;
    """,
    "names_with_blanks": """
        create schema names_with_blanks_a\u00a0; create schema names_with_blanks_b\u3000
        ;create schema names_with_blanks_c\u0085;
    """,
    "strings_plain": """
        create table strings_plain (a text);
        insert into strings_plain values ('a;b'), ('it''s;'), (''''), (';'''), ('\\'),
            ('C:\\;\\'), ('"'), ('--'), ('/*'), ('$$'), ('
        ;
        ');
    """,
    "strings_escaped": r"""
        create table strings_escaped (a text);
        insert into strings_escaped values (E'\';'), (e'\\'), (E'\\\';--'), (E'\'\''),
            (E'a\n\r\n;\t\x41\101\u00e9\U0001F984'), (E''''), (E'\\'';');
    """,
    "strings_unicode": r"""
        create table strings_unicode (U&"\0061;" int, U&"!00e9!+01F984" uescape '!' int, a text);
        insert into strings_unicode values (1, 2, U&'d\0061ta; \\ '''),
            (3, 4, U&'d!0061t!+000061;!!' UESCAPE '!'),
            (5, 6, u&'\D83E\DD84'), (7, 8, U&'#0061;' uescape
            '#');
    """,
    "strings_of_bits": """
        create table strings_of_bits (a bit(4), b varbit, c bytea, d int);
        insert into strings_of_bits values (B'1010', X'1fF', '\\xdeadbeef', 0x1F),
            (b'0000', x'0', E'\\\\000;', 0b101), (B'10'
            '10', X'', '', 0o17);
    """,
    "strings_continued": "create table strings_continued (a text); insert into strings_continued\n"
    "values ('one;'\n ' two;'  \t\n\n' three'), (E'\\';'\n 'b;'), (U&'\\0061'\n'\\0062;'),\n"
    "(N'national;'\n';');\n",
    "begin_atomic": """
        create table begin_atomic (a int);
        create function begin_atomic_f(n int) returns text language sql begin atomic
            insert into begin_atomic
                values (case when n > 0 then 1 else case n when 0 then 2 else 3 end end);
            select case when n > 0 then 'begin;' else 'end;' end;
        end;
        create or replace procedure begin_atomic_p() language sql begin atomic
            ; insert into begin_atomic values (4); update begin_atomic set a = a + 1;;
        end;
        create function begin_atomic_empty() returns void language sql begin atomic end;
        create function begin_atomic_return(a int) returns int language sql
            return case when a > 1 then a end;
        select begin_atomic_f(1); call begin_atomic_p();
    """,
    "rule_with_actions": """
        create table rule_with_actions (a int);
        create table rule_with_actions_log (a int, b text);
        create rule rule_with_actions_r as on insert to rule_with_actions do also (
            insert into rule_with_actions_log values (new.a, ';)');
            insert into rule_with_actions_log values (new.a + 1, '(;');
            ; delete from rule_with_actions_log where a = 3;
        );
        insert into rule_with_actions values (1); insert into rule_with_actions values (2);
    """,
    "procedure_that_says_commit": """
        create table procedure_that_says_commit (a text);
        create procedure procedure_that_says_commit_p() language plpgsql as '
        begin
            insert into procedure_that_says_commit values (''COMMIT;'');
            if false then commit; rollback; end if;
        end;
        ';
        call procedure_that_says_commit_p();
    """,
    "do_blocks": """
        create table do_blocks (a text);
        do 'begin insert into do_blocks values (''one;''); end';
        do language plpgsql $$ declare x text := ';'; begin
            <<l>> loop exit l; end loop; insert into do_blocks values (x);
        end $$;
        DO $$BEGIN IF true THEN
            INSERT INTO do_blocks VALUES ('BEGIN; COMMIT;');
        END IF; END$$ LANGUAGE plpgsql;
    """,
    "triggers": """
        create table triggers (a int, b text);
        create function triggers_f() returns trigger language plpgsql as $$
        BEGIN
            -- BEGIN; COMMIT;
            new.b := 'begin; commit;' || case when new.a > 1 then ';' else '' end;
            return new;
        END;
        $$;
        create trigger triggers_t before insert or update of a on triggers
            for each row when (new.a <> 0) execute function triggers_f();
        insert into triggers values (0), (1), (2);
        comment on trigger triggers_t on triggers is 'a; b';
    """,
    "words_of_transactions": """
        create function words_of_transactions_f() returns text language sql
            as 'select $$BEGIN; COMMIT; ROLLBACK; END;$$::text';
        create table words_of_transactions ("begin" int, "commit;" text default 'COMMIT;');
        /* BEGIN; */ insert into words_of_transactions values (1); -- COMMIT;
        comment on table words_of_transactions is 'ROLLBACK;
COMMIT;
';
    """,
    "schema_with_elements": """
        create schema schema_with_elements
            create table t (a int primary key, b text default ';')
            create index i on t (b)
            create view v as select a, b from t where b <> ';'
            create sequence s;
        insert into schema_with_elements.t values (1);
        create table schema_with_elements.u (like schema_with_elements.t);
    """,
    "percent_signs": """
        create table "percent_signs_%s" (a text, "%(b)s" int, "%%" int);
        insert into "percent_signs_%s" values ('%s', 7 % 4, 7%4), ('%%', 1, 1),
            ('%(a)s %b %t', 9 %2::int, 1), ('100%', 0, 0),
            (format('%s %I %L %%', 'a', 'b', 'c'), 3, 3);
        create function percent_signs_f() returns text language plpgsql as $$
        begin raise notice '% %%', 1; return format('%1$s', 2) || '%s'; end $$;
        select * from "percent_signs_%s"
            where a like '%s%' or a similar to '%(a)s%' or a ~~ '%%';
    """,
    "question_marks": """
        create table question_marks (a jsonb);
        insert into question_marks values ('{"a": 1, "b;": "?"}'), ('["a?", "$1"]');
        create view question_marks_v as select a ? 'a' as q, a ?| array['a', 'b;'] as any,
            a ?& array['a'] as all, a @> '{"a": 1}' as c, a <@ '{}' as d, a #>> '{a}' as e,
            a @? '$.a' as f, a @@ '$.a == 1' as g from question_marks;
        create function question_marks_f(int, int) returns int language sql return $1 + $2;
        create operator ?%# (function = question_marks_f, leftarg = int, rightarg = int);
        create table question_marks_o as select 1 ?%# 2 as a, -1 operator(public.?%#) -2 as b;
    """,
    "colons": """
        create table colons (a int[], b jsonb, c text);
        insert into colons values
            ('{1,2,3}'::int[], '{"a":1, "b":"c:d", ":e":":\\"f\\""}'::jsonb, '12:30'::time::text),
            (array[1,2]::int[], '{}', ':x'), ('[2:3]={4,5}', '{":a":null}', ':''x''');
        create view colons_v as select a[1:2] as s, a[:2] as t, a[2:] as u, a[:] as v,
            a[1 : 2] as w, b->>':e' as x, cast(c as varchar(3))::text as y from colons;
        create function colons_f(n int) returns int language plpgsql as $$
        declare x int:=1; begin x:=x+n; return x; end $$;
        create table colons_named as
            select make_interval(days:=2) as a, make_interval(hours => 3) as b;
    """,
    "empty_statements": ";;\n; create table empty_statements (a int);; ;\n"
    ";insert into empty_statements values (1);/* ; */;--;\n;;",
    "only_comments": "-- a file of comments; only\n/* and; nothing\n/* else */ */\n-- the end;",
    "only_blanks": " \t\r\n\n",
    "only_semicolons": ";\n;;\n",
    "only_nothing": "",
    "line_ends_of_windows": "-- a comment;\r\ncreate table line_ends_of_windows (\r\n"
    "  a text, -- with one;\r\n  b text\r\n);\r\n\r\n"
    "insert into line_ends_of_windows values ('a;'\r\n  'b', $$c;$$);\r\n-- the end\r\n",
    "line_ends_of_old": "-- a comment;\rcreate table line_ends_of_old (a text, -- with one;\r"
    " b text);\r\rinsert into line_ends_of_old values ('a;'\r 'b', 'c');--\r"
    "insert into line_ends_of_old values ('d', 'e');",
    "line_ends_mixed": "create table line_ends_mixed (a int); -- one\n-- two;\r-- three;\r\n"
    "insert into line_ends_mixed values (1);\n\rinsert into line_ends_mixed values (2) --\r;\r\r\n",
    "byte_order_mark": "\ufeffcreate table byte_order_mark (a text);\n"
    "insert into byte_order_mark values ('\ufeff;');\n",
    "mark_and_comment": "\ufeff-- é;\ncreate table mark_and_comment (a int);",
    "blanks": "\f\tcreate\ftable\tblanks\f(a\ttext)\f;\f\tinsert\tinto\n"
    "blanks values ('\t;\f')\t;\n\f",
    "other_alphabets": """
        create table other_alphabets_größe (
            straße text, имя text, "名前;" text, 🦄 text, "a\u0301;" text, "\u00a0" text);
        insert into other_alphabets_größe values
            ('é;', 'ё;', '日本;語', '🦄;👩\u200d👩\u200d👧', '\u202e;', '\u00a0;');
        insert into other_alphabets_größe (🦄, имя) values ($я$;$$я;$я$, 'ÿ');
        create function other_alphabets_ƒ(ñ int) returns text language plpgsql
            as $ñ$ begin return 'ñ;$$'; end $ñ$; -- ñ;
        create index "other_alphabets_🦄;" on other_alphabets_größe (🦄);
        comment on column other_alphabets_größe.🦄 is '🦄;';
    """,
    "generated_columns": """
        create table generated_columns (a int generated always as identity (start 5), b int,
            c int generated always as (case when b > 1 then b * 2 else 0 end) stored,
            d text default 'x;' || ';');
        insert into generated_columns (b) values (1), (2);
        insert into generated_columns (a, b) overriding system value values (99, 3);
    """,
    "prepared_statements": """
        create table prepared_statements (a text, b int);
        prepare prepared_statements_s (text, int) as
            insert into prepared_statements values ($1 || ';', $2 + 1);
        execute prepared_statements_s ('a;', 1); execute prepared_statements_s('%s', 2);
        deallocate prepared_statements_s;
        prepare prepared_statements_t as select $1::int; execute prepared_statements_t (1);
    """,
    "search_path_local": """
        create schema search_path_local; set local search_path = search_path_local, pg_temp;
        create table t (a text); insert into t values ('a;');
        create table schema_migrations (a int);
    """,
    "search_path_empty": """
        select pg_catalog.set_config('search_path', '', false); set check_function_bodies = false;
        create table public.search_path_empty (a int);
        insert into public.search_path_empty values (1);
        create function public.search_path_empty_f() returns int language sql
            as 'select nothing; from nowhere';
    """,
    "case_at_the_end": """
        create view case_at_the_end as
            select case when true then case 1 when 1 then 'a;' end else 'b' end;
        create table case_at_the_end_t as select case when 1 > 0 then 'begin' else 'end' end as end;
        insert into case_at_the_end_t select case 1 when 1 then ';' end
    """,
    "outer_serializable": """
        -- the runner's own transaction
        BEGIN ISOLATION LEVEL SERIALIZABLE;
        create table outer_serializable (a int);
        insert into outer_serializable values (1);
        END;
    """,
    "outer_start": """
        START TRANSACTION; ; create table outer_start (a int);
        insert into outer_start values (1); COMMIT WORK;
        -- behind it
    """,
    "outer_begin": "begin transaction;create table outer_begin (a text);"
    "insert into outer_begin values ('commit;');end transaction",
    "outer_no_chain": "begin work; create table outer_no_chain (a int); commit and no chain; ;",
    "outer_around_nothing": "begin;\n-- nothing;\ncommit;",
    "cursors": """
        create table cursors (a int);
        declare cursors_c scroll cursor for values (1), (2), (3);
        fetch all from cursors_c; move backward 2 in cursors_c; close cursors_c;
        show work_mem; explain select ';'; notify cursors, 'a; b';
        lock table cursors in share mode; table cursors;
        with x as (insert into cursors values (1) returning a) select * from x;
    """,
    "values_and_sets": """
        values (';'), ('--'); (select 1) union (select 2);
        create table values_and_sets as (values ('a;'), ('b')) order by 1 desc;
        set local time zone 'Europe/Zurich'; set local application_name = 'a; b';
        insert into values_and_sets select '2026-08-01 12:00 UTC'::timestamptz::text;
    """,
    "types": """
        create type types_e as enum ('a;', 'b''', '%s');
        create domain types_d as text check (value <> ';' and value !~ '^--');
        create type types_c as (a int, "b;" text);
        create table types (a types_e default 'a;', b types_d, c types_c, d int4range);
        insert into types values ('%s', 'x', row(1, ';')::types_c, '[1,2)'),
            ('b''', default, '(2,";")', '(,)');
        create aggregate types_a (text) (sfunc = textcat, stype = text, initcond = ';');
        create cast (types_c as text) with inout;
    """,
    "policies_and_grants": """
        create table policies_and_grants (a text);
        alter table policies_and_grants enable row level security;
        create policy "policies_and_grants;p" on policies_and_grants for all to public
            using (a <> ';') with check (a not like '%;');
        grant select (a), insert on policies_and_grants to public;
        alter table policies_and_grants add check (a <> ';)'), add column b int default 1;
        insert into policies_and_grants values ('a');
    """,
    "merge_and_conflicts": """
        create table merge_and_conflicts (a int primary key, b text);
        insert into merge_and_conflicts values (1, ';')
            on conflict (a) do update set b = excluded.b || ';' where true;
        merge into merge_and_conflicts t using (values (1, 'x;'), (2, 'y;')) s (a, b) on t.a = s.a
            when matched then update set b = s.b when not matched then insert values (s.a, s.b);
        update merge_and_conflicts set (a, b) = (select 3, 'z;') where a = 2;
    """,
    "one_line": "create table one_line(a int);insert into one_line values(1);insert into one_line "
    "values(2);create function one_line_f()returns int language sql begin atomic;select 1;end;"
    "create index on one_line(a)",
    "long_insert": "create table long_insert (a int, b text);\ninsert into long_insert values\n"
    + ",\n".join(f"({i}, '{i}; it''s %s, ü, \\ {'x' * 960}--')" for i in range(5_000))
    + ";\ninsert into long_insert values (-1, 'behind it;');\n",
    "many_statements": "create table many_statements (a int, b text);\n"
    + "".join(f"insert into many_statements values ({i}, 'é;{i}'); -- ü;\n" for i in range(2_000)),
}
LEAVES_NOTHING = {case for case in CASES if case.startswith("only_")} | {"outer_around_nothing"}


@dataclass(frozen=True)
class Outcome:
    """What `windlass migrate` and psql left of the corpus: pg_dump's entries by their titles."""

    windlass: dict[str, str]
    psql: dict[str, str]


def psql(server: Server, url: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a file as one transaction by the server's own client."""
    return subprocess.run(
        [server.binaries / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-f", file, url],
        env={**os.environ, "PGCLIENTENCODING": "UTF8", "PGTZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def dumped(server: Server, url: str) -> dict[str, str]:
    """Return what pg_dump says of a database, data included, by the title of each entry."""
    text = subprocess.run(
        [server.binaries / "pg_dump", *LEFT_OUT, url], capture_output=True, check=True
    ).stdout.decode()
    text = re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)
    title = r"^--\n-- (?:Data for )?Name: (.*; Type: .*; Schema: .*)\n--\n"
    parts = re.split(title, text, flags=re.MULTILINE)
    return {"head": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def of(case: str, entries: dict[str, str]) -> dict[str, str]:
    """Return the entries that name a case's objects, in the title or right behind it."""
    name = re.compile(rf"(?<![a-z_]){case}(?![a-z])")
    return {title: body for title, body in entries.items() if name.search(title + body[:500])}


def parsed(text: str) -> SqlFile:
    return parse(PATH, normalise(text.encode(), PATH))


@pytest.fixture(scope="module")
def outcome(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """Apply the whole corpus, once by each of the two."""
    server = servers(16)
    ours, theirs = (server.url(name) for name in DATABASES)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    project = Project(tmp_path_factory.mktemp("nasty") / "p", ours)
    for number, (case, text) in enumerate(CASES.items()):
        project.migration(f"20260801_{number:06d}_{case}", text)
        file = project.home / f"migrations/20260801_{number:06d}_{case}.sql"
        by_psql = psql(server, theirs, file)
        assert by_psql.returncode == 0, f"psql does not take {case}: {by_psql.stderr}"

    ran = project.run("migrate", "--env", "dev")

    assert ran.code == 0, ran.err[-2000:]
    yield Outcome(dumped(server, ours), dumped(server, theirs))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in DATABASES:
            connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("case", CASES)
def test_a_migration_does_what_psql_does_with_its_text(outcome: Outcome, case: str) -> None:
    ours, theirs = of(case, outcome.windlass), of(case, outcome.psql)

    assert ours == theirs
    assert (theirs == {}) == (case in LEAVES_NOTHING)


def test_the_corpus_leaves_nothing_that_belongs_to_no_case(outcome: Outcome) -> None:
    both = (outcome.windlass, outcome.psql)

    ours, theirs = (
        {k: v for k, v in entries.items() if not any(of(case, {k: v}) for case in CASES)}
        for entries in both
    )

    assert ours == theirs
    assert set(theirs) == {"head"}


@pytest.mark.unit
@pytest.mark.parametrize("case", CASES)
def test_each_statement_stands_at_the_line_it_is_said_to_begin_at(case: str) -> None:
    file = parsed(CASES[case])
    lines = file.text.split("\n")

    for statement in file.statements:
        assert statement.sql.split("\n")[0] in lines[statement.line - 1]


@pytest.mark.unit
def test_a_file_of_all_cases_is_split_as_each_alone() -> None:
    texts = [text for case, text in CASES.items() if not case.startswith("outer_")]

    together = parsed("\n;\n".join(text.removeprefix("\ufeff") for text in texts)).statements

    alone = [statement.sql for text in texts for statement in parsed(text).statements]
    assert [statement.sql for statement in together] == alone
    assert len(alone) > 2_150


@pytest.mark.parametrize(
    "text",
    [
        "select 'a' -- it's; between\n  'b'",
        "select 'a'\n-- between\n-- the two\n'b'",
        "select U&'!0061' /* ; */ uescape '!'",
        "select U&'!0061' uescape -- ;\n'!'",
        "select 1 where 1 not /* ; */ in (2)",
        "select 1 where 1 not -- ;\n between 2 and 3",
        "select 'a' not /* ; */ like 'b' or 'a' not /* ; */ ilike 'b'",
        "select 'a' not /* ; */ similar to 'b'",
        "select 1 order by 1 nulls /* ; */ first",
        "select 1 order by 1 nulls -- ;\n last",
        "select '10:00'::time with /* ; */ time zone, '10:00'::time without -- ;\n time zone",
        "select * from unnest(array[1]) with /* ; */ ordinality",
        "select 1 is /* ; */ not /* ; */ null and not /* ; */ true",
        "with x as not /* ; */ materialized (select 1 /* ; */) select -- ;\n * from x",
    ],
)
def test_a_comment_may_stand_wherever_the_server_takes_one(server16: Server, text: str) -> None:
    with psycopg.connect(server16.url()) as connection:
        connection.execute(text.encode())

    assert [statement.sql for statement in parsed(f"{text};\nselect 1;").statements] == [
        text,
        "select 1",
    ]


def test_a_continued_string_keeps_its_escapes_where_psql_loses_them(server16: Server) -> None:
    text = "select E'a'\n'\\';'"
    with psycopg.connect(server16.url()) as connection:
        assert connection.execute(text.encode()).fetchall() == [("a';",)]

    assert [statement.sql for statement in parsed(f"{text};\nselect 2;").statements] == [
        text,
        "select 2",
    ]


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        "begin/* ; */;\nselect 1;\ncommit;",
        "begin--;\n;\nselect 1;\nend/**/transaction--;\n;",
        "/* ; */begin;--\nselect 1;/**/commit/* ; */",
        "start/**/transaction;\nselect 1;\ncommit/**/and/**/no/**/chain",
    ],
)
def test_a_comment_may_touch_the_outer_begin_and_commit(text: str) -> None:
    assert [statement.sql for statement in parsed(text).statements] == ["select 1"]


@pytest.mark.unit
def test_a_directive_is_a_comment_and_not_a_line_inside_something_else() -> None:
    body = "create function f() returns text language sql as $$\n-- windlass: what\nselect 'a' $$"
    text = f"/*\n-- windlass: transaction=off\n*/\n{body};\nselect '\n-- windlass: phase=after\n';"

    file = parsed(text)

    assert file.transactional
    assert file.phase == "before"
    assert [statement.line for statement in file.statements] == [4, 7]


@pytest.mark.unit
def test_line_ends_of_windows_in_a_string_are_one_character_wherever_it_was_checked_out() -> None:
    windows = parsed("select 'a\r\nb', $$\r\n;\r\n$$;\r\nselect 2;")

    assert [statement.sql for statement in windows.statements] == [
        "select 'a\nb', $$\n;\n$$",
        "select 2",
    ]


@pytest.mark.parametrize(
    ("begin", "level"),
    [
        ("begin isolation level serializable;", "serializable"),
        ("begin; set transaction isolation level repeatable read;", "repeatable read"),
        ("start transaction read only;", "of a transaction that makes no table"),
    ],
)
def test_what_the_outer_begin_asks_for_holds_or_is_refused(
    tmp_path: Path, database16: Database, begin: str, level: str
) -> None:
    project = Project(tmp_path / "p", database16.url.reveal())
    project.migration(
        NAME, f"{begin} create table t as select current_setting('transaction_isolation'); end;"
    )

    ran = project.run("migrate", "--env", "dev")

    if ran.code:
        assert f"{PATH}:1: " in ran.error()[0]
    else:
        with psycopg.connect(project.url) as connection:
            assert connection.execute("table t").fetchall() == [(level,)]


def test_what_a_dry_run_prints_is_sql_that_psql_takes(
    tmp_path: Path, server16: Server, database16: Database
) -> None:
    project = Project(tmp_path / "p", database16.url.reveal())
    project.migration("20260101_000000_first", "")
    assert project.run("migrate", "--env", "dev").code == 0
    project.migration(NAME, "create table a (i int) -- it's\n;\ncreate table b (i int) -- ; end")

    dry = project.run("migrate", "--env", "dev", "--dry-run")
    (tmp_path / "dry.sql").write_text(dry.out)
    by_psql = psql(server16, project.url, tmp_path / "dry.sql")

    assert by_psql.returncode == 0, by_psql.stderr
    assert tables(project.url) == {"a", "b", "schema_migrations"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "select '🦄', 'é';\nselect\n '日本;語' as 名,\n '👩\u200d👧' || nothing;\n",
            4,
            '"nothing"',
        ),
        ("\ufeffselect 1;\r\nselect\r\n  '%s',\r\n  nothing;\r\n", 4, '"nothing"'),
        ("-- é\r/* ;\r*/ select 1;\rselect\r  nothing;\r", 5, '"nothing"'),
        ("select '🦄';\n/* ;\n*/ select 1 % 0;\n", 3, "division by zero"),
        (
            "select '🦄';\ncreate function f() returns int language sql as $$\n"
            "  select 'é';\n  selec 1;\n$$;\n",
            4,
            'syntax error at or near "selec"',
        ),
    ],
)
def test_what_the_server_refuses_is_found_at_its_line(
    tmp_path: Path, database16: Database, text: str, line: int, words: str
) -> None:
    project = Project(tmp_path / "p", database16.url.reveal())
    project.migration(NAME, text)

    ran = project.run("migrate", "--env", "dev")

    assert ran.code == 1
    assert ran.error()[0].startswith(f"✗ migrate: {PATH}:{line}: ")
    assert words in ran.error()[0]


META = "psql's meta-commands do not run here"
VARIABLE = "psql's :variables do not run here"
COPY = "write INSERT statements"
TRANSACTION = "split the file where two transactions are meant"
MEND = "mend the statement"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "line", "words", "next_step"),
    [
        ("select 1;\nselect 'open;\n", 2, "unterminated quoted string", MEND),
        ("select 1;\nselect E'open\\';\n", 2, "unterminated quoted string", MEND),
        ('select 1;\n\nselect "open;\n', 3, "unterminated quoted identifier", MEND),
        ("select 1;\ndo $a$ begin end $b$;\n", 2, "unterminated dollar-quoted string", MEND),
        ("select 1;\n/* a /* b */ ;\n", 2, "unterminated /* comment", MEND),
        ("select B'1;\n", 1, "unterminated bit string literal", MEND),
        ("select 1;\nselect U&'\\zzzz';\n", 2, "invalid Unicode escape (column 11)", MEND),
        ("\\i other.sql\n", 1, 'at or near "\\" (column 1)', META),
        ("select 1;\n\\set x 1\n", 2, 'at or near "\\" (column 1)', META),
        ("select 'é' as a \\gexec\n", 1, 'at or near "\\" (column 17)', META),
        ("select 1\\; select 2;\n", 1, 'at or near "\\" (column 9)', META),
        ("\\restrict a\nselect 1;\n", 1, 'at or near "\\" (column 1)', META),
        ("select 1;\nselect :var;\n", 2, 'at or near ":" (column 8)', VARIABLE),
        ("select '🦄',\n :'var';\n", 2, 'at or near ":" (column 2)', VARIABLE),
        ('select *\nfrom :"var";\n', 2, 'at or near ":" (column 6)', VARIABLE),
        ("copy t from stdin;\n1\t2\n\\.\n", 2, 'at or near "1" (column 1)', COPY),
        ("select 1;\ncopy t FROM\n stdin;\nа\tb\n\\.\n", 4, 'at or near "а" (column 1)', COPY),
        ("copy t from stdin;\n\\.\n", 2, 'at or near "\\" (column 1)', COPY),
        ("copy t from stdin;\nselect 1;\n", 1, "COPY … FROM stdin does not run here", COPY),
        (
            "select 1;\nCOPY t (a,b) FROM STDIN WITH (FORMAT csv);\n",
            2,
            "COPY … FROM stdin does not run here",
            COPY,
        ),
        ("copy t (a,b) from stdin with (format csv);\n1,2\n\\.\n", 2, "syntax error", COPY),
        ("select 1;\ncopy t to stdout;\n", 2, "COPY", ""),
        ("select 1;\ncopy (select 1) to stdout (format csv);\n", 2, "COPY", ""),
        ("-- copied from stdin\nselec 1;\n", 2, 'at or near "selec" (column 1)', MEND),
        (
            "begin;\nselect 1;\nROLLBACK;\nselect 2;\ncommit;\n",
            3,
            "ROLLBACK in the mid",
            TRANSACTION,
        ),
        ("begin;\nselect 1;\nrollback;\n", 3, "ROLLBACK", ""),
        ("begin;\nselect 1;\nabort work;\n", 3, "ABORT", ""),
        ("select 1;\nprepare transaction 'a';\n", 2, "PREPARE in the middle", TRANSACTION),
        ("begin;\nselect 1;\nprepare transaction 'a';\n", 3, "PREPARE", ""),
        ("begin;\nselect 1;\ncommit and chain;\nselect 2;\ncommit;\n", 3, "COMMIT", TRANSACTION),
        ("begin;\nselect 1;\ncommit and chain;\n", 3, "COMMIT", ""),
        ("begin;\nselect 1;\nend work and chain;\n", 3, "END", ""),
        ("begin;\nselect 1;\ncommit prepared 'a';\n", 3, "COMMIT", ""),
        ("begin;\nbegin;\nselect 1;\ncommit;\ncommit;\n", 2, "BEGIN in the middle", TRANSACTION),
        ("select 'é🦄日本', $é$;🦄$é$;\nselec 2;\n", 2, 'near "selec" (column 1)', MEND),
        ("/* 日本;\n語 */ select 'ß', selec from;\n", 2, 'near ";" (column 28)', MEND),
        ("-- 🦄🦄\n\n  select '🦄🦄' 🦄 🦄;\n", 3, 'near "🦄" (column 17)', MEND),
        ("\ufeff-- é\r\nselect 'é';\r\n\r\n selec;\r\n", 4, 'near "selec" (column 2)', MEND),
        ("select 1;\r-- é\rselec;\r", 3, 'near "selec" (column 1)', MEND),
        ("select 1;\n\ufeffselect 2;\n", 2, "syntax error at or near", MEND),
        (
            "create function f() returns int begin atomic\n select 'ß;';\n selec 2;\nend",
            3,
            'near "selec" (column 2)',
            MEND,
        ),
    ],
)
def test_what_the_server_would_not_take_is_refused_with_its_line(
    text: str, line: int, words: str, next_step: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)

    assert caught.value.what.startswith(f"{PATH}:{line}: ")
    assert words in caught.value.what
    assert next_step in caught.value.next_step
    assert caught.value.exit_code == 2


@pytest.mark.unit
@pytest.mark.parametrize("quote", ["'", '"', "$a$", "/*", "E'"])
def test_what_is_open_to_the_end_of_the_file_does_not_put_the_file_into_the_message(
    quote: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(f"select 1;\nselect {quote}open;\n" + "select 2;\n" * 1_000)

    assert "\n" not in caught.value.what
    assert len(caught.value.what) < 300


@pytest.mark.unit
@pytest.mark.parametrize(
    ("raw", "line", "words"),
    [
        (b"select 1;\nselect '\0';\n", 2, "holds a NUL byte"),
        (b"\0", 1, "holds a NUL byte"),
        (b"select 1;\r\n\r\nselect 2; -- \0", 3, "holds a NUL byte"),
        (b"select 1;\nselect '\xff';\n", 2, "not UTF-8: byte 0xff"),
        ("-- a\n-- é\n".encode("latin-1"), 2, "not UTF-8: byte 0xe9"),
        ("select '–';".encode("cp1252"), 1, "not UTF-8: byte 0x96"),
        (b"select 1;\n\n-- \xc3", 3, "not UTF-8: byte 0xc3"),
        (b"-- \xed\xa0\xbe\xed\xb6\x84", 1, "not UTF-8: byte 0xed"),
        (b"-- a\n-- \xc0\x80", 2, "not UTF-8: byte 0xc0"),
        (b"select 1;\r\rselect '\xff';", 3, "not UTF-8: byte 0xff"),
        ("select 1;\n".encode("utf-16"), 1, "not UTF-8: byte 0xff"),
        ("\ufeffselect 1;\n".encode("utf-16-be"), 1, "not UTF-8: byte 0xfe"),
        ("select 1;\n".encode("utf-16-le"), 1, "holds a NUL byte"),
        ("select 1;\n".encode("utf-16-be"), 1, "holds a NUL byte"),
        ("select 1;\n".encode("utf-32"), 1, "not UTF-8: byte 0xff"),
    ],
)
def test_bytes_that_no_server_takes_are_refused_with_their_line(
    raw: bytes, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        normalise(raw, PATH)

    assert caught.value.what.startswith(f"{PATH}:{line}: ")
    assert words in caught.value.what
    assert caught.value.exit_code == 2
