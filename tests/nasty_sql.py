"""Migrations whose splitting is a trap, by the name of the case.

The names of what a case creates begin with the name of the case.
"""

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
