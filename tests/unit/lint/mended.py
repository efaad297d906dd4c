"""What lint writes instead of each dangerous form, beside what was read and found right."""

import re
from functools import cache

from pgwindlass.engines import HISTORIES
from pgwindlass.lint.rule import Script
from pgwindlass.lint.rules import RULES
from pgwindlass.lint.statements import behind, judged, worth_mending
from pgwindlass.lint.written import scripts_of
from tests import forms

MAJOR = 18
HEAD = """\
-- What is written instead of the last statements of each dangerous form, by rule and number: one
-- file after another, with what undoes and verifies it. Each is executed by tests/test_lint_fix.py.
"""


@cache
def answers() -> dict[str, str]:
    """What is written now, by rule and number; forms without a rewrite are not there."""
    catalog, texts = forms.catalog_of(MAJOR), dict[str, str]()
    for form in forms.read("dangerous.sql"):
        rule = RULES.get(form.name)
        if rule is None or rule.rewrite is None or not form.is_of(MAJOR):
            continue
        files = form.files
        final = behind(files, catalog)
        scripts = [
            script
            for step, remarks in map(worth_mending, judged(files, catalog, final, HISTORIES))
            if step.file is files[-1]
            for script in scripts_of(step, remarks, final)
        ]
        number = sum(key.rpartition(" ")[0] == form.name for key in texts) + 1
        if scripts:
            texts[f"{form.name} {number}"] = "".join(map(_text, scripts))
    return texts


def _text(script: Script) -> str:
    undone = ("-- undone by its author",) if script.rollback is None else script.rollback
    parts = {"": script.sql, "undo: ": undone, "verify: ": script.verify}
    lines = [f"-- {kind}{sql}\n" if kind else f"{sql};\n" for kind in parts for sql in parts[kind]]
    return f"-- file: {script.about}\n{''.join(lines)}"


def expected() -> dict[str, str]:
    """What was found right: tests/forms/mended.sql."""
    parts = re.split(r"^-- form: ", (forms.HERE / "mended.sql").read_text(), flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts[1:])


def of(module: str) -> list[str]:
    """The forms whose rule has its rewrite in this module of ci/lint."""
    return [key for key in expected() if _module(key.rpartition(" ")[0]) == module]


def _module(rule: str) -> str:
    rewrite = RULES[rule].rewrite
    assert rewrite is not None
    return rewrite.__module__.rpartition(".")[2]
