"""Passwords that stand in a migration's text."""

import pytest

from pgwindlass.parser.passwords import in_text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("create role a login password 'geheim'", "the PASSWORD of a role"),
        ("create group g password 'x'", "the PASSWORD of a role"),
        ("alter user a with encrypted password 'x1'", "the PASSWORD of a role"),
        ("alter role a password 'md5abc'", "the PASSWORD of a role"),
        ("create role a password $$x$$", "the PASSWORD of a role"),
        ("create role a password E'x'", "the PASSWORD of a role"),
        ("create role a password U&'\\0078'", "the PASSWORD of a role"),
        (
            "create user mapping for a server s options (user 'u', password 'p')",
            "the option password",
        ),
        ("alter user mapping for a server s options (set password 'p')", "the option password"),
        (
            "create server s foreign data wrapper w options (secret_access_key 'x')",
            "the option secret_access_key",
        ),
        (
            "create subscription s connection 'host=h password=x' publication p",
            "the password of a subscription's CONNECTION",
        ),
        (
            "alter subscription s connection 'postgresql://u:p@h/d'",
            "the password of a subscription's CONNECTION",
        ),
        ("select dblink_connect('host=h password=x')", "the password in dblink_connect()"),
        (
            "select * from dblink('c' || ' password=x', 'select 1') as t(i int)",
            "the password in dblink()",
        ),
        ("set app.jwt_secret = 'abc'", "the setting app.jwt_secret"),
        ("alter database d set app.api_key to 'x'", "the setting app.api_key"),
        ("alter role r set \"app.token\" = 'x'", "the setting app.token"),
        ("select set_config('app.password', 'x', false)", "the setting app.password"),
        ("select pgp_sym_encrypt('a', 'key')", "the password of pgp_sym_encrypt()"),
        ("insert into u values (crypt('admin', gen_salt('bf')))", "the password of crypt()"),
        (
            "do $$ begin create role a password 'x'; end $$",
            "a password in a text that is executed",
        ),
        (
            "do $$ begin execute 'alter role a password ''x'''; end $$",
            "a password in a text that is executed",
        ),
        (
            "do 'begin create role a password ''x''; end'",
            "a password in a text that is executed",
        ),
        (
            "create function f() returns void language plpgsql as "
            "$f$ begin perform dblink_exec('password=x', 'y'); end $f$",
            "a password in a text that is executed",
        ),
        (
            "do $do$ begin create user mapping for a server s "
            "options (user 'u', password 'p'); end $do$",
            "a password in a text that is executed",
        ),
        ("op.execute(\"CREATE ROLE a PASSWORD 'x'\")", "PASSWORD in a text"),
    ],
)
def test_a_password_is_found_where_it_stands(sql: str, where: str) -> None:
    assert in_text(sql)[0] == where


@pytest.mark.parametrize(
    "sql",
    [
        "create role a login",
        "alter role a password null",
        "create table logins (id int, password text default 'x')",
        "do $$ begin execute format('alter role a password %L', current_setting('app.pw')); end $$",
        "do $$ begin execute 'alter role a password ' || quote_literal(pw); end $$",
        "create role a password 'SCRAM-SHA-256$4096:salt$key:key'",
        "comment on column t.password is 'x'",
        "select crypt(pw, gen_salt('bf')) from t",
        "insert into docs values ('password = x')",
        "create user mapping for a server s options (user 'u')",
        "select dblink_connect('host=h dbname=d')",
        "update users set password = 'x' where false",
        "create subscription s connection 'host=h passfile=/x' publication p",
        "set password_encryption = 'scram-sha-256'",
        "insert into config (key, value) values ('token', 'x')",
        "no sql at all, password",
        "select 1",
    ],
)
def test_what_only_speaks_of_a_password_is_none(sql: str) -> None:
    assert in_text(sql) == ()


def test_every_place_of_a_script_is_told_once() -> None:
    text = "create role a password 'x';\ncreate role b password 'y';\nset app.token = 'z';"

    assert in_text(text) == ("the PASSWORD of a role", "the setting app.token")
