"""Values that must not be printed, and the one function that takes them out of a text.

`redact` knows two things: the values that were remembered, in every spelling that a program may
give them, and the places where SQL, libpq and URLs have a password, whatever its value.
"""

import base64
import functools
import html
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, urlsplit

SHORTEST = 4  # shorter values would blank half the log, and give themselves away by position
# What holds a secret by its name, and what only says where one is.
_NAMED = re.compile(
    r"(^|_)(PG)?(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS|DSN)(_|$)|(^|_)KEY$"
    r"|DATABASE_URL$",
    re.IGNORECASE,
)
_POINTER = re.compile(r"(?<!DATABASE)_(FILE|PATH|DIR|URL|NAME|ID)$", re.IGNORECASE)
_GUESSED = 8  # characters: a name is no proof, and shorter values appear in other texts too
_HEX = re.compile(r"(?:[0-9a-f]{2}){8,}")
# A line that is one word: what base64 and hex are where a program wraps them.
_LONG = 100_000  # characters of a text whose words are looked at once each
_WRAPPED_FROM = 16  # characters of such a line
# What may stand between two characters of a value, and does not show: line breaks with their
# indent, colours and other sequences of a terminal, control and zero-width characters.
_SEQUENCE = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\^_]"
_INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff"
)
_GAP = rf"(?:{_SEQUENCE}|[\s{_INVISIBLE}])*"
_UNSEEN = re.compile(rf"{_SEQUENCE}|[{_INVISIBLE}]")
_UNSEEN_ASCII = "".join(chr(c) for c in (*range(32), 127) if chr(c) not in "\t\n\r")
_BREAKS = re.compile(r"\s+")
# Where a password stands, in SQL, in a libpq connection string and in a URL. `${NAME}` is none.
_CLAUSE = re.compile(r"password\s+(?:e|u&)?[\\'$]")
_HEAD = r"\bPASSWORD\s+(?:E|U&)?"
_JOINS = r"(?!\s*(?:\|\||[,);]|$))"  # the quote ends a text there, which more is added to
_CLAUSES = tuple(
    re.compile(rf"(?P<head>{_HEAD}{clause}", re.IGNORECASE)
    for clause in (
        rf"'(?!')){_JOINS}(?:''|\\.|[^'\"\\\n])+(?=')",
        rf"''(?!')){_JOINS}[^'\"\n]+(?='')",
        rf"\\+'){_JOINS}[^'\"\\\n]+(?=\\)",
        r"\$\w*\$)[^$\"\n]+(?=\$)",
    )
)
_CONNINFO = re.compile(
    r"(?P<head>\b(?:ssl)?password=)(?!\*\*\*|\$\{)(?:'(?:\\\\?.|''|[^'\\\"\n])+'|[^\s'\"&;,)\\]+)",
    re.IGNORECASE,
)
# A setting whose name says that it is one: SET app.token = '…', set_config('app.token', '…').
_SETTING = re.compile(
    r"(?P<head>\bset(?:_config\s*\(\s*'|\s+(?:local\s+|session\s+)?)[\w\"\\-]+\.[\w.\"\\-]*"
    r"(?:password|passwd|passphrase|passcode|secret|token|api_?key|access_key|private_key)"
    r"[\\\"']*\s*(?:=|to\b|,)\s*e?')(?!\*\*\*')(?:''|\\.|[^'\\])+(?=')",
    re.IGNORECASE,
)
_SET = re.compile("passw|passphrase|passcode|secret|token|api_?key|access_key|private_key")
_USERINFO = re.compile(r"(?P<head>://[^\s/?#@:'\"\\]*:)(?!\*\*\*@|\$\{)[^\s/?#@'\"\\]+(?=@)")
_known: set[str] = set()


class Secret:
    """A string whose repr, str and format are `***`; `reveal()` is the one way out.

    Every secret is remembered, so that `redact` finds it in other programs' messages.
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


class OptionalSecret(Secret):
    """A secret that may be empty, where a job is not given it."""

    __slots__ = ()


def remember(value: str) -> None:
    """Have `redact` replace this value, and the password in it where it is a URL."""
    values, spellings = {value}, set[str]()
    if "://" in value:
        user, password = _userinfo(value)
        values |= {password, unquote(password)}
        pair = f"{unquote(user)}:{unquote(password)}"
        if password and len(pair) >= _GUESSED:  # as a header has it
            spellings |= set(_encoded(pair))
    if "\n" in value or "\r" in value:  # GitHub masks line by line, and we tell line by line
        values |= {line.strip() for line in value.splitlines()}
    for each in values:
        spellings |= _spellings(each)
    _known.update(v for v in spellings if len(v) >= SHORTEST and v != "embedded")


@functools.lru_cache(maxsize=1024)
def _spellings(value: str) -> frozenset[str]:
    """Return a value as it is, and as programs write it."""
    if len(value) < SHORTEST:
        return frozenset()
    backslashed = value.replace("\\", "\\\\")
    quoted = {
        value,
        value.replace("'", "''"),  # SQL
        backslashed.replace("'", "\\'"),  # libpq's connection strings, E'' and Python
        backslashed.replace("'", "''"),  # E'', in its other form
        ascii(value)[1:-1],
        repr(value.encode(errors="replace"))[2:-1],
    }
    written = {form for text in quoted for form in _as_json(text)} | quoted
    whole = quote(value, safe="", errors="replace")  # of a byte that is not UTF-8 there is no text
    percent = {
        whole,
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
        quote(whole, safe=""),  # a URL in a URL
    }
    written |= percent | {re.sub("%[0-9A-F]{2}", lambda m: m[0].lower(), p) for p in percent}
    written |= {
        html.escape(value, quote=False),
        html.escape(value),
        *(
            html.escape(value).replace("&#x27;", single).replace("&quot;", double)
            for single in ("&#39;", "&apos;")
            for double in ("&quot;", "&#34;")
        ),
    }
    if len(value) >= _GUESSED:
        written |= set(_encoded(value))
    return frozenset(written)


def _as_json(text: str) -> Iterator[str]:
    """Yield a text as JSON has it: asked to, all but ASCII escaped, and what HTML would obey."""
    for plain in (True, False):
        escaped = json.dumps(text, ensure_ascii=plain)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
        for signs in ("<>&", "<>&'"):
            yield re.sub(f"[{signs}]", lambda m: f"\\u{ord(m[0]):04x}", escaped)


def _encoded(value: str) -> Iterator[str]:
    """Yield a value in hex and base64; in base64 also from the middle of a longer text."""
    raw = value.encode(errors="replace")
    yield raw.hex()
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        whole = alphabet(raw).decode().rstrip("=")  # as it is in a header, and in Kubernetes
        yield whole
        yield quote(whole, safe="")
        for before in range(3):  # bytes of something else in its first group
            text = alphabet(b"\0" * before + raw).decode()
            first, last = (0, 2, 3)[before], (before + len(raw)) * 8 // 6
            yield text[first:last]


def names_secret(name: str) -> bool:
    """Tell whether a variable's name says that it holds a secret."""
    return bool(_NAMED.search(name)) and not _POINTER.search(name)


def remember_environment(variables: Mapping[str, str]) -> None:
    """Remember the variables whose names say that they hold a secret."""
    for name, value in variables.items():
        if names_secret(name) and len(value) >= _GUESSED and not value.startswith("/"):
            remember(value)


def known() -> frozenset[str]:
    """Return every value that `redact` replaces; the test suite plants and looks for them."""
    return frozenset(_known)


def is_in(text: str) -> bool:
    """Tell whether a text contains a known secret, except those of letters alone."""
    telling = {v for v in _known if len(v) >= _GUESSED and not v.isalpha() and not v.isdigit()}
    return bool(_literal(text, telling) or _hidden(text, telling))


def redact(text: str) -> str:
    """Return the text with every known secret replaced by `***`, the longest first.

    A value is also found where line breaks, colours or invisible characters are between its
    characters. So are passwords that nobody told us, where SQL, libpq or a URL has one.
    """
    for value in sorted(_literal(text, _known), key=len, reverse=True):
        text = text.replace(value, "***")
    for value in sorted(_hidden(text, _known), key=len, reverse=True):
        text = _pattern(value).sub("***", text)
    return _without_passwords(text)


def redact_to(text: str, most: int) -> str:
    """Return the beginning of a redacted text, and how much is left out; fast for a long one.

    What may be half a secret at the cut is left out too.
    """
    if len(text) <= most:
        return redact(text)
    longest = max(map(len, _known), default=0)
    head = redact(text[: most + 2 * longest])
    head = head[: max(0, min(most, len(head) - longest))]
    return f"{head}… ({len(text) - most:,} more characters)"


def _without_passwords(text: str) -> str:
    """Return the text with `***` where SQL, a connection string or a URL has a password."""
    lower = text.lower()
    for pattern in _CLAUSES if _CLAUSE.search(lower) else ():
        text = pattern.sub(r"\g<head>***", text)
    if "password=" in lower:
        text = _CONNINFO.sub(r"\g<head>***", text)
    if "set" in lower and _SET.search(lower):
        text = _SETTING.sub(r"\g<head>***", text)
    return _USERINFO.sub(r"\g<head>***", text) if "://" in text and "@" in text else text


def _literal(text: str, values: set[str]) -> set[str]:
    """Return those of the values that are in a text as they are."""
    if len(text) <= _LONG:
        return {value for value in values if value in text}
    letters = set(text)
    values = {value for value in values if letters.issuperset(value)}
    words = "\n".join(set(text.split()))  # a long log says the same words again and again
    spaced = {value for value in values if value != _traits(value)[0]}
    return {v for v in values - spaced if v in words} | {v for v in spaced if v in text}


def _hidden(text: str, values: set[str]) -> set[str]:
    """Return those of the values that are in a text with something between their characters.

    Also those that are there in hex, in capitals.
    """
    unseen = _UNSEEN.sub("", text) if _has_unseen(text) else ""
    hidden = "\n".join(part for part in (unseen, _joined(text)) if part)
    matches = set()
    if hidden:
        long = {value for value in values if len(value) >= _GUESSED}
        matches = {value for value in long if _traits(value)[0] in hidden}
    lower = text.lower()
    return matches | {v for v in values if _traits(v)[1] and v in lower}


def _has_unseen(text: str) -> bool:
    if text.isprintable():
        return False
    if text.isascii():
        return any(sign in text for sign in _UNSEEN_ASCII)
    return _UNSEEN.search(text) is not None


@functools.lru_cache(maxsize=8192)
def _traits(value: str) -> tuple[str, bool]:
    """Return a value without its white space, and whether it is hex."""
    return _BREAKS.sub("", value), bool(_HEX.fullmatch(value))


def _joined(text: str) -> str:
    """Return the words that a line break may have cut, without it: a long one, and what follows."""
    lines = text.split("\n")
    if len(lines) == 1 or max(map(len, lines)) < _WRAPPED_FROM:
        return ""
    parts: list[str] = []
    going = False
    for line in lines:
        words = line.split(None, 1) if going else ()
        if words:
            parts.append(words[0].strip("\\+"))
        alone = len(words) == 1
        last = line.rstrip(" \t\r\\+")[-_WRAPPED_FROM:]
        wide = len(last) == _WRAPPED_FROM and " " not in last and "\t" not in last
        if wide and not (going and alone):
            parts.append("\n" + line.rstrip(" \t\r\\+").rsplit(None, 1)[-1])
        going = wide
    return "".join(parts)


@functools.lru_cache(maxsize=256)
def _pattern(value: str) -> re.Pattern[str]:
    """Return what finds a value with gaps in it; hex in either case."""
    bare, is_hex = _traits(value)
    return re.compile(_GAP.join(re.escape(sign) for sign in bare), re.IGNORECASE if is_hex else 0)


def _userinfo(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # not a URL after all; the whole value is remembered anyway
        return "", ""
    return parts.username or "", parts.password or ""
