"""A length of time as people write it: 200ms, 5s, 5m, 24h, 7d. Pure."""

import re
from typing import Any

import msgspec

from ..visible import shortened

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
LONGEST = 3650 * 86400.0  # seconds; what is longer is a slip, and no clock's date
SHOWN = 60  # characters of what an error quotes
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration:
    """A length of time as people write it: 200ms, 5s, 5m, 24h, 7d.

    Not a dataclass, which msgspec would want to read from a mapping.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and other.seconds == self.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    @classmethod
    def parse(cls, text: object) -> "Duration":
        """Return the duration; ValueError says what was expected."""
        match = DURATION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                f'"{shortened(str(text), SHOWN)}" is not a duration; '
                "expected one such as 500ms, 5s, 5m or 24h"
            )
        seconds = float(match[1]) * UNITS[match[2]]
        if seconds > LONGEST:
            raise ValueError(f'"{shortened(str(text), SHOWN)}" is longer than 3650d, the longest')
        return cls(seconds)

    def __repr__(self) -> str:
        if self.seconds < 1:
            return f"{self.seconds * 1000:g}ms"
        unit = next(u for u in ("d", "h", "m", "s") if self.seconds % UNITS[u] == 0 or u == "s")
        return f"{self.seconds / UNITS[unit]:g}{unit}"


def _span(text: str) -> Any:  # noqa: ANN401  # msgspec's own field type
    """A default duration; a factory: the JSON Schema cannot show our own type's values."""
    return msgspec.field(default_factory=lambda: Duration.parse(text))
