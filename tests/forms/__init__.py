"""Dangerous and safe forms of SQL as data, and what stands before each of them."""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pgwindlass.lint.catalog import Catalog, Function
from pgwindlass.lint.forward import advance
from pgwindlass.parser.file import SqlFile, parse
from pgwindlass.parser.split import split

HERE = Path(__file__).parent
STANDS = (HERE / "stands.sql").read_text()
LARGE = 2 * 1000**3  # bytes of each table: an error where a form works on all of it
BUILTIN = {"random": True, "clock_timestamp": True, "nextval": True, "gen_random_uuid": True}
STEADY = ("now", "upper", "lower", "length", "md5", "count", "sum", "max", "setval")


@dataclass(frozen=True)
class Form:
    """Files of one deployment; `rule` finds the last statement of the last one that it finds."""

    name: str  # of a dangerous form: the rule
    texts: tuple[str, ...]
    line: int
    oldest: int
    newest: int
    outside: bool  # of one transaction: the server would refuse it there

    @property
    def files(self) -> tuple[SqlFile, ...]:
        return tuple(
            file_of(text, Path(f"migrations/2026080{number}_000000_x.sql"))
            for number, text in enumerate(self.texts, 1)
        )

    def is_of(self, major: int) -> bool:
        return self.oldest <= major <= self.newest


def file_of(text: str, path: Path) -> SqlFile:
    """A text as a file, parsed once."""
    return replace(_parsed(text), path=path)


@cache
def _parsed(text: str) -> SqlFile:
    return parse(Path("form.sql"), text)


@cache
def read(name: str) -> tuple[Form, ...]:
    """The forms of a file."""
    forms, line = [], 1
    parts = re.split(r"^-- form: ", (HERE / name).read_text(), flags=re.MULTILINE)
    line += parts[0].count("\n")
    for part in parts[1:]:
        title, _, text = part.partition("\n")
        words = dict(re.findall(r" (from|to)=(\d+)", title))
        forms.append(
            Form(
                name=re.sub(r" (from=\d+|to=\d+|off)", "", title),
                texts=tuple(re.split(r"^-- file\n", text, flags=re.MULTILINE)),
                line=line,
                oldest=int(words.get("from", 13)),
                newest=int(words.get("to", 18)),
                outside=title.endswith(" off"),
            )
        )
        line += part.count("\n")
    return tuple(forms)


@cache
def catalog_of(major: int) -> Catalog:
    """What stands, rolled forward from nothing, as large tables that are in use."""
    catalog = Catalog(
        major=major,
        live=True,
        functions={
            **{
                ("pg_catalog", name): Function(True, volatile, False)
                for name, volatile in BUILTIN.items()
            },
            **{("pg_catalog", name): Function(True, name == "setval", False) for name in STEADY},
        },
        extensions=frozenset({"plpgsql"}),
    )
    for statement in split(Path("stands.sql"), STANDS):
        catalog = advance(catalog, statement.kind, statement.node)
    return replace(
        catalog,
        tables={
            key: replace(table, made=False, size=0 if table.kind == "p" else LARGE, rows=10_000_000)
            for key, table in catalog.tables.items()
        },
        enums=dict.fromkeys(catalog.enums, False),
    )
