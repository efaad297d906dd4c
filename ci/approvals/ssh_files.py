"""Signed approvals as files: read with bounds, whoever wrote them; what is none is told apart."""

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .. import files
from ..model import ApprovalStatement, Signed

SUFFIX = ".approval"
LARGEST = 64 * 1024  # bytes of a file; a real one has about 1,000
NONCE = re.compile(r"[0-9a-f]{32}")  # as `sign` makes them
_ARMOUR = re.compile(r"-----BEGIN SSH SIGNATURE-----(.*)-----END SSH SIGNATURE-----\s*", re.DOTALL)
_MAGIC = b"SSHSIG"


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file that is an approval by its form. Its signature is not judged."""

    path: Path
    signed: Signed
    statement: ApprovalStatement


@dataclass(frozen=True, slots=True)
class Junk:
    """A file that is none, and why."""

    path: Path
    why: str


def read_signed_files(directory: Path) -> tuple[tuple[SignedFile, ...], tuple[Junk, ...]]:
    """Return the approvals of a directory by name, and what is not readable as one."""
    files: list[SignedFile] = []
    junk: list[Junk] = []
    paths = sorted(directory.iterdir()) if directory.is_dir() else []
    for path in paths:
        if not path.name.endswith(SUFFIX):
            continue
        try:
            files.append(_read(path))
        except (OSError, ValueError, RecursionError) as error:
            junk.append(Junk(path, " ".join(str(error).split())[:200]))
    return tuple(files), tuple(junk)


def _read(path: Path) -> SignedFile:
    """Return the approval in a file; OSError or ValueError where there is none."""
    raw = files.read(path, at_most=LARGEST, links=False)
    signed = msgspec.json.decode(raw, type=Signed)
    statement = msgspec.json.decode(signed.statement.encode(), type=ApprovalStatement)
    if statement.granted_at.tzinfo is None or statement.expires_at.tzinfo is None:
        raise ValueError("its times have no time zone")
    return SignedFile(path, signed, statement)


def key_of(signature: str) -> bytes | None:
    """Return the public key that a signature says it is of; None where it is no signature.

    Format: PROTOCOL.sshsig of OpenSSH: the magic, a version, then the key as a string.
    """
    match = _ARMOUR.fullmatch(signature.strip())
    if match is None:
        return None
    try:
        blob = base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error:
        return None
    start = len(_MAGIC) + 8
    size = int.from_bytes(blob[len(_MAGIC) + 4 : start], "big")
    if not blob.startswith(_MAGIC) or len(blob) < start + size:
        return None
    return blob[start : start + size]


def printable(text: str) -> str:
    """Return a text without control characters: a file's name is whoever pushed it's choice."""
    return "".join(each if each.isprintable() else "?" for each in text)
