"""Values that must not be printed, and the one function that takes them out of a text."""

import json
from urllib.parse import quote, unquote, urlsplit

_SHORTEST = 4  # shorter values would blank half the log, and give themselves away by position
_known: set[str] = set()


class Secret:
    """A string whose repr, str and format are `***`; `reveal()` is the one way out.

    Every secret made is remembered, so that `redact` finds it in other programs' messages.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """Return the value; call it in the argument list that needs it, never keep the result."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def remember(value: str) -> None:
    """Have `redact` replace this value, and the password in it where it is a URL."""
    found = {value}
    if "://" in value:
        password = _password(value)
        found |= {password, unquote(password), quote(unquote(password), safe="")}
    # As they stand in JSON, which escapes quotes, backslashes and, asked to, all but ASCII.
    found |= {json.dumps(v, ensure_ascii=plain)[1:-1] for v in found for plain in (True, False)}
    _known.update(v for v in found if len(v) >= _SHORTEST and v != "embedded")


def known() -> frozenset[str]:
    """Return every value that `redact` replaces; the test suite plants and looks for them."""
    return frozenset(_known)


def redact(text: str) -> str:
    """Return the text with every known secret replaced by `***`, the longest first."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # not a URL after all; the whole value is remembered anyway
        return ""
