"""Values that must not be printed, and how they are taken out of a text."""

import base64
import time
from urllib.parse import quote

import pytest

from pgwindlass import secret
from pgwindlass.secret import (
    Secret,
    is_in,
    known,
    names_secret,
    redact,
    redact_to,
    remember,
    remember_environment,
)

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are remembered as long as the process lives: each test begins without any."""
    monkeypatch.setattr(secret, "_known", set())


def test_a_secret_shows_nowhere_but_where_it_is_revealed() -> None:
    value = Secret("shown-nowhere-1")

    assert (repr(value), str(value), f"{value}") == ("***", "***", "***")
    assert value.reveal() == "shown-nowhere-1"


def test_secrets_are_equal_by_their_values() -> None:
    assert Secret("equal-values-1") == Secret("equal-values-1")
    assert Secret("equal-values-1") != Secret("equal-values-2")
    assert Secret("equal-values-1") != "equal-values-1"
    assert hash(Secret("equal-values-1")) != hash(Secret("equal-values-2"))
    assert len({Secret("equal-values-1"), Secret("equal-values-1")}) == 1


def test_a_secret_is_taken_out_of_a_text() -> None:
    Secret("taken-out-1")

    assert redact("x taken-out-1 y taken-out-1") == "x *** y ***"


def test_the_longest_secret_is_taken_out_first() -> None:
    remember("prefix-of-it")
    remember("prefix-of-it-and-more")

    assert redact("prefix-of-it-and-more") == "***"


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://u:p%40ss-of-url@h/d", "p%40ss-of-url"),
        ("postgresql://u:p%40ss-of-url@h/d", "p@ss-of-url"),
        ("postgresql://u:slash%2Fof-url@h/d", "slash/of-url"),
        ("postgresql://u:low%2fcase-of-url@h/d", "low%2Fcase-of-url"),
        ("postgresql://u:plain+of-url@h/d", quote("plain+of-url", safe="")),
    ],
)
def test_the_password_of_a_url_is_taken_out_as_written_and_as_meant(
    url: str, password: str
) -> None:
    remember(url)

    assert redact(f"auth {password} failed") == "auth *** failed"
    assert redact(f"connect {url}") == "connect ***"


def test_what_only_looks_like_a_url_is_taken_out_whole() -> None:
    remember("http://[not-an-address")

    assert redact("x http://[not-an-address y") == "x *** y"


def test_the_name_of_a_revision_in_alembics_words_is_no_password() -> None:
    text = "Can't locate revision identified by 'a1b2c3'"

    assert redact(text) == text


def test_a_secret_of_several_lines_is_taken_out_line_by_line() -> None:
    remember("  first-line-of-key\n\tsecond-line-of-key\r\nthird-line-of-key")
    remember("single-return-1\rsingle-return-2")

    assert redact("second-line-of-key") == "***"
    assert redact("(first-line-of-key)") == "(***)"
    assert redact("third-line-of-key") == "***"
    assert redact("single-return-2") == "***"


def test_a_secret_is_taken_out_as_a_header_has_it() -> None:
    remember("of-a-header-7")
    encoded = base64.b64encode(b"of-a-header-7").decode()

    assert encoded.endswith("==")
    assert redact(f"Basic {encoded}") == "Basic ***=="


@pytest.mark.parametrize(("value", "encoded"), [("seven-7", False), ("eight--8", True)])
def test_a_short_secret_is_not_looked_for_in_base64(value: str, encoded: bool) -> None:
    remember(value)

    assert (base64.b64encode(value.encode()).decode().rstrip("=") in known()) is encoded


def test_a_secret_is_taken_out_of_json() -> None:
    remember('quote"back\\slash-é')

    assert redact('{"a": "quote\\"back\\\\slash-é"}') == '{"a": "***"}'
    assert redact('{"a": "quote\\"back\\\\slash-\\u00e9"}') == '{"a": "***"}'


@pytest.mark.parametrize(("value", "expected"), [("q7z", "q7z"), ("q7zx", "***")])
def test_a_value_of_three_characters_is_left(value: str, expected: str) -> None:
    remember(value)

    assert redact(value) == expected


def test_the_word_for_a_server_of_our_own_is_no_secret() -> None:
    remember("embedded")

    assert redact("database: embedded") == "database: embedded"


@pytest.mark.parametrize(
    ("name", "remembered"),
    [
        ("PASSWORD", True),
        ("DB_PASSWORD", True),
        ("PGPASSWORD", True),
        ("db_passwd", True),
        ("SIGNING_PASSPHRASE", True),
        ("CLIENT_SECRET", True),
        ("GITHUB_TOKEN", True),
        ("AWS_CREDENTIALS", True),
        ("SENTRY_DSN", True),
        ("API_KEY", True),
        ("DATABASE_URL", True),
        ("UAT_DATABASE_URL", True),
        ("TOKEN_OF_API", True),
        ("HOME", False),
        ("KEYBOARD", False),
        ("TOKENS", False),
        ("API_URL", False),
        ("TOKEN_URL", False),
        ("PASSWORD_FILE", False),
        ("SECRET_NAME", False),
        ("CREDENTIALS_PATH", False),
        ("SECRET_DIR", False),
        ("KEY_ID", False),
    ],
)
def test_a_variable_is_a_secret_by_its_name(name: str, remembered: bool) -> None:
    value = f"value-of-{name}-1"

    remember_environment({"FIRST": "never-a-secret-1", name: value})

    assert (value in known()) is remembered
    assert "never-a-secret-1" not in known()


@pytest.mark.parametrize(
    ("value", "remembered"),
    [("7chars!", False), ("8 chars!", True), ("/run/secrets/of/it", False)],
)
def test_a_short_value_or_a_path_is_no_proof_of_a_secret(value: str, remembered: bool) -> None:
    remember_environment({"DB_PASSWORD": value})

    assert (value in known()) is remembered


@pytest.mark.parametrize(
    ("value", "stands"),
    [
        ("is-in-8!", True),
        ("is-in-7", False),
        ("wordofletters", False),
        ("48151623421", False),
    ],
)
def test_a_secret_that_is_a_word_or_a_number_may_stand_in_any_text(
    value: str, stands: bool
) -> None:
    remember(value)

    assert is_in(f"select '{value}'") is stands
    assert not is_in("select 'nothing of it'")


def test_a_secret_of_two_lines_is_taken_out_whole_and_by_lines() -> None:
    remember("only-feed-1\nonly-feed-2")

    assert redact("(only-feed-1\nonly-feed-2)") == "(***)"
    assert redact("only-feed-2") == "***"


def test_a_secret_that_json_writes_otherwise_is_taken_out_as_it_is_too() -> None:
    remember('plain"quote-1')

    assert redact('x plain"quote-1 y') == "x *** y"


@pytest.mark.parametrize("url", ["http://host/no-password", "http://[no-address"])
def test_a_url_without_a_password_makes_no_other_word_a_secret(url: str) -> None:
    remember(url)

    assert redact("XXXX") == "XXXX"


def test_the_beginning_of_a_long_text_ends_with_no_half_of_a_secret() -> None:
    remember("across-the-cut-1")

    assert redact_to("x across-the-cut-1 y", 100) == "x *** y"
    assert redact_to("x" * 92 + "across-the-cut-1" + "y" * 100, 100).startswith("x" * 92 + "***")
    assert "across" not in redact_to("x" * 92 + "across-the-cut-1" + "y" * 100, 100)
    assert redact_to("x" * 200, 100).endswith("… (100 more characters)")


def test_a_long_text_is_searched_by_its_words() -> None:
    remember("of-a-long-text-1")
    remember("with a blank-in-it")

    text = "word " * 30_000

    assert redact(f"{text}of-a-long-text-1 {text}with a blank-in-it") == f"{text}*** {text}***"
    assert redact(text) == text


def test_a_value_is_found_across_two_lines() -> None:
    remember("0123-of-two-lines-4567")

    assert redact("token: 0123-of-two-lines\n  -4567 end") == "token: *** end"
    assert (
        redact("token: 0123-of-two-lines-\n  4568 end") == "token: 0123-of-two-lines-\n  4568 end"
    )


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("API_TOKEN", True), ("SMOKE_KEY", True), ("TOKEN_FILE", False), ("PLACE", False)],
)
def test_a_variable_s_name_says_whether_it_is_a_secret(name: str, is_one: bool) -> None:
    assert names_secret(name) is is_one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET app.token = 'abc'", "SET app.token = '***'"),
        ("set local \"app.api_key\" to 'x''y'; --", "set local \"app.api_key\" to '***'; --"),
        ("alter role r set app.jwt_secret = E'x\\'y'", "alter role r set app.jwt_secret = E'***'"),
        ("select set_config('app.password', 'x', true)", None),
        ("update t set token = 'x'", "update t set token = 'x'"),
        ("set search_path = 'token'", "set search_path = 'token'"),
        ("set app.tenant = 'token'", "set app.tenant = 'token'"),
    ],
)
def test_the_value_of_a_setting_with_a_secrets_name_is_taken_out(
    text: str, expected: str | None
) -> None:
    assert redact(text) == (expected or "select set_config('app.password', '***', true)")


def test_many_short_lines_are_searched_in_little_time() -> None:
    remember("a-value-that-is-there")
    text = "a=1;\n" * (1 << 20) + "a-value-that-is-there\n"
    began = time.process_time()

    assert redact(text).endswith("\n***\n")
    assert time.process_time() - began < 2  # it takes 0.4 s, and took 1 s
