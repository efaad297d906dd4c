"""What a manifest may say of itself: a store is writable by others than its writer. Pure."""

import re

from ..model import Manifest, Part
from .checkpoints import FIRST, WIDEST

# As `dump` builds them: what a database is called is percent-encoded.
PLACE = re.compile(r"[a-z][a-z0-9-]*/[A-Za-z0-9._~%-]+/[A-Za-z0-9._~%-]+/")
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
DIGEST = re.compile(r"[0-9a-f]{64}")


def is_place(text: str) -> bool:
    """Tell whether a key's beginning is one of a backup: three plain elements, none of dots."""
    return PLACE.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))


def complaint(manifest: Manifest, place: str) -> str:
    """Return what is wrong with a manifest that lies in `place`; empty where nothing is."""
    if manifest.key != place:
        return f"it describes {manifest.key if is_place(manifest.key) else repr(manifest.key)}"
    if manifest.environment != place.split("/", 1)[0]:
        return f"it is of the environment {manifest.environment!r}"
    keys = [part.key for part in manifest.parts]
    if not keys or len(set(keys)) < len(keys):
        return "it names no part, or one twice"
    return next(filter(None, (_of_part(part, place) for part in manifest.parts)), "")


def _of_part(part: Part, place: str) -> str:
    if not (part.key.startswith(place) and NAME.fullmatch(part.key.removeprefix(place))):
        return f"its part {part.key!r} is not a file of its own folder"
    if part.size < 0 or not DIGEST.fullmatch(part.sha256):
        return f"its part {part.key!r} has no size and SHA-256 that could be"
    if part.every == 0 and not part.checkpoints:
        return ""
    if not FIRST <= part.every <= WIDEST or len(part.checkpoints) != part.size // part.every:
        return f"the checkpoints of its part {part.key!r} do not cover it"
    return ""
