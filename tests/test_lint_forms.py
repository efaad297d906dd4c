"""Every dangerous form is found, and every safe one is silent, as if each table were large."""

import sys
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from pgwindlass.engines import HISTORIES
from pgwindlass.lint import squawk
from pgwindlass.lint.severity import graded
from pgwindlass.lint.statements import lint_files
from pgwindlass.model import Finding
from pgwindlass.parser.file import SqlFile
from tests import forms

MAJORS = range(13, 19)


@pytest.fixture(scope="module")
def said() -> dict[str, list[squawk.Said]]:
    """What squawk says of each text of a form: asked once, of all of them."""
    texts = {
        text
        for name in ("dangerous.sql", "safe.sql")
        for form in forms.read(name)
        for text in form.texts
    }
    files = [forms.file_of(text, Path(f"{number}.sql")) for number, text in enumerate(texts)]
    answers = squawk.squawk_says(files, 18)
    return {file.text: answers[file.path] for file in files}


def grave(form: forms.Form, major: int) -> list[Finding]:
    """What stops somebody: above a note, and listed."""
    found = graded(lint_files(form.files, forms.catalog_of(major), HISTORIES), None)
    return [one for one in found if one.level != "note" and not one.counted]


@pytest.fixture(autouse=True)
def squawk_asked_once(said: dict[str, list[squawk.Said]], monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(files: Iterable[SqlFile], _: int) -> dict[Path, Collection[squawk.Said]]:
        return {file.path: said[file.text] for file in files}

    monkeypatch.setattr(squawk, "squawk_says", answer)


@pytest.mark.parametrize("major", MAJORS)
def test_recall_and_precision(major: int, capsys: pytest.CaptureFixture[str]) -> None:
    dangerous = [form for form in forms.read("dangerous.sql") if form.is_of(major)]
    safe = [form for form in forms.read("safe.sql") if form.is_of(major)]
    missed = [
        (form.line, form.name)
        for form in dangerous
        if form.name not in {one.rule for one in grave(form, major)}
    ]
    false = [(form.line, form.name, str(one)) for form in safe for one in grave(form, major)]
    found, wrong = len(dangerous) - len(missed), len({line for line, *_ in false})
    with capsys.disabled():
        sys.stdout.write(
            f"\n{major}: recall {found}/{len(dangerous)}, "
            f"precision {found}/{found + wrong} ({len(safe)} safe forms)\n"
        )

    assert missed == []
    assert false == []


def test_there_are_enough_of_each() -> None:
    assert len(forms.read("dangerous.sql")) >= 120
    assert len(forms.read("safe.sql")) >= 120


def test_one_finding_of_a_statement_and_rule() -> None:
    for name in ("dangerous.sql", "safe.sql"):
        for form in forms.read(name):
            found = lint_files(form.files, forms.catalog_of(18), HISTORIES)
            keys = [(one.file, one.number, one.rule) for one in found if one.number]
            assert len(keys) == len(set(keys)), form
