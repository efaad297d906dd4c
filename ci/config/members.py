"""The members of a service that several processes serve: their names, and where each answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Member:
    """One of several that are restarted one after the other.

    host: as ssh or DOCKER_HOST takes it; empty: this machine.
    part: the unit or the container; empty: all that is configured, together.
    address: the base URL of its smoke tests; empty: the service's own.
    """

    host: str
    part: str
    address: str = ""

    @property
    def name(self) -> str:
        """What people see."""
        return f"{self.part} on {self.host}" if self.host and self.part else self.host or self.part


def members(
    hosts: Sequence[str], parts: Sequence[str], smoke: str | Sequence[str], *, noun: str
) -> tuple[Member, ...]:
    """Return every part on every host, in order.

    Args:
        hosts: empty: this machine alone.
        parts: empty: a host is a member as a whole.
        smoke: one base URL for each member, or one for all with {host} and the noun in braces.
        noun: what a part is: unit, container.

    Raises:
        ValueError: something is named twice, or `smoke` does not fit the members.

    """
    for names in (hosts, parts):
        for name in names if names != ("",) else ():
            if not name.strip() or name.startswith("-"):
                raise ValueError(f'"{name}" is no name of a host or a {noun}')
            if names.count(name) > 1:
                raise ValueError(f"{name} is named twice")
    pairs = [(host, part) for host in hosts or ("",) for part in parts or ("",)]
    if isinstance(smoke, str):
        addresses = [_address(smoke, host, part, noun) for host, part in pairs]
        if smoke and len(set(addresses)) < len(pairs):
            raise ValueError(
                f"smoke is one address for several members: write {{host}} or {{{noun}}} into it, "
                "or a list with one address for each"
            )
    else:
        addresses = list(smoke)
        if len(addresses) != len(pairs):
            raise ValueError(f"smoke has {len(addresses)} addresses for {len(pairs)} members")
    return tuple(
        Member(host, part, address) for (host, part), address in zip(pairs, addresses, strict=True)
    )


def _address(template: str, host: str, part: str, noun: str) -> str:
    values = {"host": hostname(host), noun: part}
    for name in PLACEHOLDER.findall(template):
        if not values.get(name):
            raise ValueError(f"smoke: {{{name}}} stands for nothing here")
    return PLACEHOLDER.sub(lambda match: values[match[1]], template)


def hostname(target: str) -> str:
    """Return the host of what ssh or DOCKER_HOST takes: `deploy@api1`, `ssh://api1:22`."""
    if "://" in target:
        return urlsplit(target).hostname or ""
    return target.rpartition("@")[2]
