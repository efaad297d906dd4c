"""Which values of `deploy.yml` are secrets, by their places and variables' names. Pure.

A value that came through `${NAME}` into a header, a body, a query, an argv or a userinfo is one;
a host and a path are not, unless NAME says so.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..errors import ConfigError, Place
from ..secret import SHORTEST, names_secret, remember

Path_ = tuple[str | int, ...]

# Keys whose whole value goes into a request, or into a program's arguments.
_WHOLE = frozenset({"headers", "bearer", "json", "run", "identity"})
_PATHS = frozenset({"get", "post", "put", "patch", "delete", "head"})
# What a variable of an argv, a header or a body says by its name, and what only looks like one.
_PLAIN_NAME = re.compile(
    r"(^|_)(HOST|HOSTNAME|PATH|FILE|DIR|DIRECTORY|URL|NAME|ID|PORT|USER|REGION|ENV|ENVIRONMENT|"
    r"VERSION|TAG|SHA|REF|SERVICE|UNIT|CONTAINER|NAMESPACE|PROJECT|HOME|PYTHON)$",
    re.IGNORECASE,
)
_PLAIN_VALUE = re.compile(r"(?:\.{0,2}|~)/.*|\d{1,7}|true|false|null|none|yes|no", re.IGNORECASE)
_SENT_SECRETS = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)
_LITERAL_USERINFO = re.compile(r"(?<=://)(?![^/?#@\"]*\$\{)[^/?#@\"\s]+@")


def remember_value(name: str, value: str, at: Path_, before: str) -> None:
    """Remember the value of a variable where it stands in a secret's place.

    Args:
        name: the variable's name.
        value: its value.
        at: the path in deploy.yml of the text it is in.
        before: what stands before it in that text, as written.

    """
    if _is_secret(name, value, at, before):
        remember(value)


def _is_secret(name: str, value: str, at: Path_, before: str) -> bool:
    if names_secret(name):
        return True
    place = _place(at, before)
    if place == "argv":
        return not (_PLAIN_NAME.search(name) or _PLAIN_VALUE.fullmatch(value))
    return bool(place) and not _PLAIN_VALUE.fullmatch(value)


def _place(at: Path_, before: str) -> str:
    """Return what kind of secret's place a variable is in; empty where it is in none."""
    if "expect" in at:
        return ""
    keys = [key for key in at if isinstance(key, str)]
    for key in keys:
        if key in _WHOLE:
            return "argv" if key in ("run", "identity") else key
    if "?" in before:
        return "query" if "://" in before or _PATHS & set(keys[-1:]) else ""
    authority = before.partition("://")[2]
    user, colon, _ = authority.partition(":")
    return "userinfo" if colon and user and not re.search(r"[/@]", authority) else ""


def remember_userinfo(text: str) -> None:
    """Remember the password in a URL's userinfo, and a token that stands there alone."""
    if not text.startswith(("http://", "https://")) or "@" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:  # whoever uses it says what is wrong with it
        return
    if parts.password:
        remember(f"{parts.scheme}://{parts.netloc.rpartition('@')[0]}@")
    elif parts.username and not parts.username.isalpha():
        remember(parts.username)


def without_userinfo(url: str) -> str:
    """Return a URL without user and password, as it may be shown."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


def require_long(name: str, value: str, at: Path_, place: Place) -> None:
    """Raise ConfigError where a secret is too short to be taken out of a text."""
    if 0 < len(value) < SHORTEST and (names_secret(name) or "bearer" in at):
        raise ConfigError(
            f"{'.'.join(map(str, at))}: the secret in {name} has {len(value)} characters, and "
            f"only those of {SHORTEST} or more can be kept out of logs",
            place=place,
            next_step="set a longer secret",
        )


def masked(written: object, key: str = "") -> object:
    """Return a part of deploy.yml as written, with `***` for secrets that stand there literally.

    A plan shows it. Variables stay unexpanded, so that they need no mask.
    """
    if isinstance(written, Mapping):
        return {
            name: masked(value, f"{key}.{name}" if key == "headers" else str(name))
            for name, value in written.items()
        }
    if isinstance(written, (list, tuple)):
        return [masked(value, key) for value in written]
    if not isinstance(written, str):
        return written
    sent = key == "bearer" or (key.startswith("headers.") and _SENT_SECRETS.search(key))
    if sent and "${" not in written:
        return "***"
    return _LITERAL_USERINFO.sub("***@", written)


def as_policy(written: object) -> str:
    """Return a section of deploy.yml as a plan has it: JSON, literal secrets masked."""
    return json.dumps(masked(written), sort_keys=True)
