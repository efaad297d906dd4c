"""How deeply a text nests, before the parser sees it: libpg_query has no bound, and would crash.

Its grammar is bounded where it needs a stack of its own (brackets); a chain such as 1+1+1 needs
none there, and one call for each sign where the tree is written out. Pure.
"""

import re

DEEPEST = 8000  # tokens of a chain; the parser crashes above 9,000 levels, and cannot tell 100
SHORTEST = 2 * DEEPEST  # characters; a shorter text has no such chain
_VALUE = r"(?:-?\w[\w.]*|'[^']*')"
_TOKEN = re.compile(
    rf"""(?P<comment>--[^\n]*|/\*.*?\*/)
    |\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"
    |(?<![\w$])\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff]\w*)?)\$.*?\$(?P=tag)\$
    |(?P<row>\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\))
    |(?P<reset>[,;]|\b(?:or|when|then|else|values)\b)
    |(?P<and>\band\b)|(?P<between>\bbetween\b)
    |(?P<set>\b(?:union|intersect|except|join)\b)
    |(?P<open>[(\[]|\bcase\b)|(?P<close>[)\]]|\bend\b)
    |(?P<word>\w[\w$]*|[^\s\w])""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


def too_deep(text: str) -> int:
    """Return the line where a text nests more deeply than the parser survives; 0: nowhere.

    Every word counts that is not separated from the one before, and every bracket that is open.
    """
    if len(text) < SHORTEST:
        return 0
    level, outer = _Level(), list[_Level]()
    below = 0  # of the levels outside this one
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            outer.append(level)
            below += level.depth + 1
            level = _Level()
        elif kind == "close" and outer:
            inner, level = level.longest, outer.pop()
            below -= level.depth + 1
            level.chain += inner + 1
        elif kind != "comment":
            level.take(kind or "word", token[0])
        if below + level.depth > DEEPEST:
            return text[: token.start()].count("\n") + 1
    return 0


class _Level:
    """What is counted between two brackets."""

    __slots__ = ("betweens", "chain", "peak", "sets")

    def __init__(self) -> None:
        self.chain = 0  # words since the last separator
        self.sets = 0  # UNION, JOIN and the like since the last semicolon
        self.peak = 0  # the longest chain
        self.betweens = 0  # whose AND is to come, and separates nothing

    @property
    def depth(self) -> int:
        """How deep it is now."""
        return self.chain + self.sets

    @property
    def longest(self) -> int:
        """How deep it was at most."""
        return max(self.peak, self.chain) + self.sets

    def take(self, kind: str, word: str) -> None:
        """Count a word; `kind` is the group of _TOKEN."""
        if kind == "set":
            self.sets += 1
        elif kind == "between":
            self.betweens += 1
            self.chain += 1
        elif kind == "and" and self.betweens:
            self.betweens -= 1
            self.chain += 1
        elif kind in ("reset", "and"):
            self.peak, self.chain = max(self.peak, self.chain), 0
            if word == ";":
                self.sets = self.peak = 0
        else:
            self.chain += 1
