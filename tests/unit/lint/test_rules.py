"""Every rule of our own, and what it says of a statement."""

import re

import pytest

from pgwindlass.lint import rules
from pgwindlass.lint.rules import RULES, Remark, Rule

pytestmark = pytest.mark.unit

LATER = {
    "long-lock",
    "hot-table",
    "invalid-index",
    "not-valid-constraint",
    "disabled-trigger",
    "detaching-partition",
}


def test_a_rule_says_its_text_with_the_words_of_the_statement() -> None:
    rule = Rule(id="x", level="note", about="a", text="reads {table} by {mode}", does="scan")

    assert rule.says(table="t", mode="m") == Remark(rule, "reads t by m", "scan")


def test_a_rule_without_words_says_its_text() -> None:
    assert rules.TRUNCATE.says() == (
        rules.TRUNCATE,
        "TRUNCATE deletes every row, and only the backup has them",
        "",
    )


def test_a_word_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="line"):
        rules.WORK_UNDER_LOCK.says()


def test_a_rule_is_found_by_its_id_and_no_two_have_one() -> None:
    written = [value for value in vars(rules).values() if isinstance(value, Rule)]

    assert [*RULES.values()] == written
    assert [*RULES] == [rule.id for rule in written]
    assert len(RULES) == len(written)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_rule_has_what_it_is_known_by(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.about
    assert rule.text or rule.later


def test_what_the_deployment_finds_is_not_found_in_the_text() -> None:
    assert {rule.id for rule in RULES.values() if rule.later} == LATER


def test_what_the_catalog_alone_knows_in_full() -> None:
    assert {rule.id for rule in RULES.values() if rule.catalog} == {
        "add-column-domain",
        "volatile-default",
        "concurrently-on-partitioned",
        "primary-key-scan",
        "foreign-key-no-index",
    }


@pytest.mark.parametrize(
    ("does", "ids"),
    [
        (
            "rewrite",
            {
                "set-logged",
                "set-unlogged",
                "set-tablespace",
                "set-access-method",
                "add-serial",
                "add-identity",
                "add-generated",
                "add-column-domain",
                "volatile-default",
            },
        ),
        ("scan", {"add-column-check", "attach-scan", "primary-key-scan", "domain-scan"}),
        ("rows", {"every-row"}),
    ],
)
def test_what_works_on_every_row_says_how(does: str, ids: set[str]) -> None:
    assert {rule.id for rule in RULES.values() if rule.does == does} == ids


@pytest.mark.parametrize(
    ("level", "ids"), [("unknown", {"opaque"}), ("note", {"references-locks"})]
)
def test_what_is_neither_an_error_nor_a_warning(level: str, ids: set[str]) -> None:
    assert {rule.id for rule in RULES.values() if rule.level == level} == ids
