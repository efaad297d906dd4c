"""A summary's Markdown: texts from outside, tables, and what fits into its bytes. Pure.

What comes from outside is in a code span or a code fence, where GitHub reads no Markdown,
no HTML, no mention and no link.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..secret import redact
from .runner_commands import Annotation

LIMIT = 200 * 1024  # bytes of one summary; GitHub drops a step's above 1 MiB, and more is not read
ROWS = 100  # of one table
CELL = 300  # characters of one cell
TEXT = 10_000  # characters of a verdict or a next step
SPARE = 4 * 1024  # bytes that a section leaves to those behind it
DROPPED = "{} parts of this summary are left out; the log has them.\n"
# Characters that do not show, or turn the order of what does: they are shown by their numbers.
HIDDEN = re.compile("[\x80-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
PLAIN = re.compile(r"[^`|\\\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Section:
    """A part of a summary: its head, its rows, and what to say of rows for which is no room."""

    head: str
    rows: tuple[str, ...] = ()
    foot: str = ""
    noun: str = "rows"
    most: int = ROWS
    elsewhere: str = "the log has them"


@dataclass(frozen=True)
class Page:
    """All that a task says on GitHub."""

    sections: tuple[Section, ...]
    outputs: dict[str, str] = field(default_factory=dict)
    annotations: tuple[Annotation, ...] = ()


def code(text: object) -> str:
    """Return a text from outside as a code span, on one line and no longer than a cell may be."""
    line = " ".join(_shown(str(text)).split())
    line = line if len(line) <= CELL else f"{line[: CELL - 1]}…"
    if not line:
        return "–"
    if PLAIN.fullmatch(line):
        return f"`{line}`"
    # A backtick would end the span, a bar the cell: every sign becomes an entity.
    signs = "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in line if c >= " ")
    return f"<code>{signs}</code>"


def html(text: str) -> str:
    """Return a text for HTML that Markdown reads too: entities for every sign, in <code>."""
    signs = "".join(c if c.isalnum() else f"&#{ord(c)};" for c in _shown(text)[:CELL] if c >= " ")
    return f"<code>{signs}</code>"


def _shown(text: str) -> str:
    return HIDDEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", redact(text))


def _cut(text: str) -> str:
    excess = len(text) - TEXT
    return text if excess <= 0 else f"{text[:TEXT]}\n… {excess} more characters are in the log"


def fence(text: str, language: str = "") -> str:
    """Return a text from outside as a block of code that nothing in it can end."""
    shown = "".join(c for c in _shown(text).replace("\r", "\n") if c in "\n\t" or c >= " ")
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{shown}\n{ticks}"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]], **more: str) -> Section:
    """Return a table; its cells are Markdown already."""
    title = more.pop("title", "")
    head = f"| {' | '.join(header)} |\n|{' --- |' * len(header)}\n"
    lines = tuple(f"| {' | '.join(row)} |\n" for row in rows)
    return Section(f"{title}\n\n{head}" if title else head, lines, "\n", **more)  # type: ignore[arg-type]  # texts alone


def rendered(sections: Iterable[Section], room: int = LIMIT) -> str:
    """Return the sections within so many bytes, saying what is left out."""
    text, dropped = "", 0
    room -= len(DROPPED) + 4  # a number for its braces
    for section in sections:
        head, foot = section.head, section.foot
        left_out = f"\n{len(section.rows)} {section.noun} left out here; {section.elsewhere}.\n"
        if _size(text + head + foot + left_out) > room:
            dropped += 1
            continue
        text += head
        shown = 0
        for row in section.rows[: section.most]:
            if _size(text) + _size(row) + _size(foot) > room - SPARE:
                break
            text += row
            shown += 1
        text += foot
        if left := len(section.rows) - shown:
            text += f"{left} more {section.noun} left out here; {section.elsewhere}.\n\n"
    fits = dropped and room >= 0
    return text + DROPPED.format(dropped) if fits else text


def _size(text: str) -> int:
    return len(text.encode())


def facts(*pairs: tuple[str, object], title: str = "") -> Section:
    """Return a table of names and values; what has no value is left out."""
    rows = [(name, code(value)) for name, value in pairs if value not in (None, "")]
    return table(("", ""), rows, title=title)


def head(title: str, verdict: str, next_step: str = "") -> Section:
    """Return the first part: what it was, how it went, what to do next."""
    next_part = f"Next:\n\n{fence(_cut(next_step))}\n\n" if next_step else ""
    return Section(f"### {title}\n\n{fence(_cut(verdict))}\n\n{next_part}")
