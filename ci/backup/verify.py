"""Verify a backup from what the store holds: hashed, decoded, rows counted. Needs no server."""

import os
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from .. import process
from ..config.sections import BackupsConfig
from ..errors import ChildFailed, StepFailed, Unchanged
from ..model import Manifest, Part, Proof, ProofLevel
from ..postgres.clients import Clients, find_clients
from ..secret import Secret
from ..stores import Store
from . import encryption
from .checkpoints import WIDEST, Checkpoints, judged
from .rowcount import RowCounter, by_plain_name, check_rows
from .stream import Meter, Progress, Together
from .tables import TableName

AT_ONCE = 4  # parts read back at the same time, where there are as many cores


@dataclass(frozen=True, slots=True)
class Reader:
    """Where a backup's archives come from, and how they are opened and decoded."""

    manifest: Manifest
    store: Store
    clients: Clients
    identity: Secret | None

    known: dict[str, Checkpoints] = field(default_factory=dict)  # of parts without their own

    def archive(self, part: Part, meter: Meter) -> Generator[bytes, None, None]:
        """Yield an archive as pg_dump wrote it, and of it nothing that is not what was stored then.

        Raises:
            StepFailed: a piece differs; it was not yielded.

        """
        stored = self._judged(part, meter)
        yield from encryption.opened(stored, self.manifest.encrypted_for, self.identity)

    def _judged(self, part: Part, meter: Meter) -> Generator[bytes, None, None]:
        every, digests = self._checkpoints(part)
        with closing(meter.passing(self.store.read(part.key))) as stored:
            yield from judged(stored, every, digests, size=part.size, sha256=part.sha256)
            pass_by(stored, part, meter)
        check_part(part, meter, self.store)

    def _checkpoints(self, part: Part) -> tuple[int, tuple[str, ...]]:
        """Return a part's checkpoints; of an older manifest's, they come of reading it all once."""
        if part.every or part.size <= WIDEST:
            return part.every or WIDEST, part.checkpoints
        if part.key not in self.known:
            noted = Checkpoints()
            meter = Meter(lambda _done, _total: None, checkpoints=noted)
            with closing(meter.passing(self.store.read(part.key))) as stored:
                pass_by(stored, part, meter)
            check_part(part, meter, self.store)
            self.known[part.key] = noted
        return self.known[part.key].every, tuple(self.known[part.key].digests)


def reader(manifest: Manifest, store: Store, config: BackupsConfig, server_version: int) -> Reader:
    """Return how to read a backup with the tools of a server's major version.

    Where none of these can undo its compression, those of its own major version do, if that is
    older: what an older pg_restore sends, a newer server takes; not the other way round.

    Raises:
        StepFailed: none can; it says which were found and what to install.

    """
    identity = config.encrypt.identity if config.encrypt else None
    find = partial(find_clients, compression=manifest.compression, image=config.image)
    try:
        clients = find(server_version)
    except StepFailed:
        if manifest.server_version // 10_000 >= server_version // 10_000:
            raise
        clients = find(manifest.server_version)
    return Reader(manifest, store, clients, identity)


def verify_backup(
    manifest: Manifest,
    store: Store,
    config: BackupsConfig,
    *,
    level: ProofLevel,
    progress: Progress,
) -> Proof:
    """Read a backup back, in one pass, compare it with its manifest, and return the proof.

    Args:
        manifest: which one.
        store: where it is.
        config: which tools, and the key of one that is encrypted.
        level: "checksum" compares sizes and SHA-256; "rows" also decodes the archives, which
            needs no server, and compares each table's rows with the snapshot's.
        progress: called with (bytes read, bytes in all).

    Raises:
        StepFailed: something differs; it says what was expected and what was found.

    """
    began = time.monotonic()
    together = Together(progress, manifest.size)
    counted: dict[TableName, int] = {}
    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as pool:
        if level == "checksum":
            check = partial(_hash, store, together)
        else:
            check = partial(
                _count, reader(manifest, store, config, manifest.server_version), together
            )
        for rows in pool.map(check, manifest.parts):
            counted |= rows
    if level != "checksum":
        expected = by_plain_name(manifest.row_counts)
        extra = {name: 0 for name in counted if name not in expected}
        check_rows(
            {**expected, **extra},
            counted,
            store.address(manifest.key),
            state="the archive is as it was written, but it is not the database: do not rely on it",
        )
    return Proof(
        level=level,
        at=datetime.now(UTC),
        seconds=round(time.monotonic() - began, 3),
        tables=len(counted),
        rows=sum(counted.values()),
    )


def _hash(store: Store, together: Together, part: Part) -> dict[TableName, int]:
    meter = Meter(together.of(part.key))
    with closing(meter.passing(store.read(part.key))) as stored:
        pass_by(stored, part, meter)
    check_part(part, meter, store)
    return {}


def _count(reading: Reader, together: Together, part: Part) -> dict[TableName, int]:
    """Return the rows of each table in one part; its hash is compared in the same pass."""
    if part.holds == "globals":
        return _hash(reading.store, together, part)
    meter = Meter(together.of(part.key))
    source = reading.archive(part, meter)
    # Data alone: a function's text may hold a line that looks like COPY … FROM stdin.
    command = reading.clients.command("pg_restore", "--section=data", "--file=-")
    counter = RowCounter()
    try:
        for chunk in process.pipe(command, source, purpose=reading.clients.offline):
            counter.feed(chunk)
    except ChildFailed:
        for _ in source:  # a damaged archive is the better explanation: its hash says so
            pass
        raise
    for _ in source:  # pg_restore may stop reading before the end
        pass
    return counter.finish()


def pass_by(stored: Iterator[bytes], part: Part, meter: Meter) -> None:
    """Read on, to the end or to more bytes than the part has: the meter says then what is there."""
    while meter.size <= part.size and next(stored, None) is not None:
        continue


def check_part(part: Part, meter: Meter, store: Store) -> None:
    """Raise unless what passed the meter has the part's size and SHA-256."""
    digest = meter.sha256.hexdigest()
    if (meter.size, digest) == (part.size, part.sha256):
        return
    raise StepFailed(
        f"{store.address(part.key)} is damaged: expected {part.size} bytes with SHA-256 "
        f"{part.sha256}, got {meter.size} bytes with {digest}",
        state=Unchanged("this backup cannot be used"),
        next_step="take another one (invoke backup), and find out what changed this one",
    )
