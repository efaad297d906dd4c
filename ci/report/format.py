"""How numbers, sizes and times are written for people, and documents for machines. Pure."""

import json

import msgspec

from ..secret import redact
from ..visible import as_json_escapes


def as_json(value: object) -> str:
    """Return one machine-readable document, secrets taken out."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2, sort_keys=True)
    return as_json_escapes(redact(text))


def seconds(value: float) -> str:
    """Return a time for people: 0.4 s."""
    return f"{value:.1f} s"


def human(size: int) -> str:
    """Return a size as people read it: 1.2 GB."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def duration(value: float) -> str:
    """Return a short time for people: 12 ms, 4.2 s, 3 min 20 s."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"
