"""Which variables a project's Python gets, and what stands in a secret's place. Pure."""

import re
from collections.abc import Iterable, Mapping

from ...secret import names_secret, redact

# What stands for a secret before an approval; long enough for those who check its length.
PLACEHOLDER = "placeholder-until-the-plan-is-approved-0000"
URL_PLACEHOLDER = "{scheme}://placeholder:placeholder@localhost/placeholder"
HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+]*)://")
_USERINFO = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s]*@")


def named(names: Iterable[str], variables: Mapping[str, str], *, secrets: bool) -> dict[str, str]:
    """Return the variables that deploy.yml names, of those that are set.

    Args:
        names: what `migrations.environment` says.
        variables: ours.
        secrets: whether secrets pass; otherwise a placeholder stands for each.

    """
    values = {name: variables[name] for name in names if name in variables}
    if secrets:
        return values
    return {
        name: _placeholder(value) if is_secret(name, value) else value
        for name, value in values.items()
    }


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable holds a secret: by its name, its place in deploy.yml, or a login."""
    return names_secret(name) or redact(value) != value or bool(_USERINFO.match(value))


def _placeholder(value: str) -> str:
    """Return what stands for a secret; of a URL the scheme stays: settings check it."""
    written = scheme(value)
    return URL_PLACEHOLDER.format(scheme=written) if written else PLACEHOLDER


def scheme(url: str) -> str:
    """Return the scheme of a URL, which names a driver: postgresql+asyncpg; empty: it has none."""
    match = _SCHEME.match(url)
    return match[1] if match else ""
