"""Verify a backup by restoring it into a throwaway server, with constraints and indexes."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime

from .. import process
from ..config.sections import BackupsConfig
from ..database.children import child_name, judged
from ..database.connection import Database
from ..errors import StepFailed, Unchanged
from ..model import Manifest, Proof
from ..parser.equivalence import equivalent
from ..postgres import definitions, throwaway
from ..stores import Store
from . import handover
from .restore import Restored, RestoreOptions, restore_backup
from .stream import SHOWN, Meter, Progress
from .verify import Reader, reader

ACLS = ("ACL", "DEFAULT ACL")  # of the owner's own rights, they name the owner


def drill(manifest: Manifest, store: Store, config: BackupsConfig, *, progress: Progress) -> Proof:
    """Restore a backup into a throwaway server and compare rows and definitions.

    Every index and constraint is built, every materialised view filled; then the rows of each
    table are counted, and what pg_dump says of the copy's definitions is compared with what the
    backup holds of the source's.

    Raises:
        StepFailed: it cannot be restored, or the copy differs; it says where.

    """
    began = time.monotonic()
    needs = throwaway.needs_of(manifest)
    with throwaway.copied(needs, config.throwaway, sandboxed=config.sandbox) as (server, copy):
        wanted = RestoreOptions(copy=True, as_superuser=server.boxed)
        restored = restore_backup(manifest, store, copy, config, progress=progress, wanted=wanted)
        if restored.loaded_as:
            server.roles.append(restored.loaded_as)  # until the copy is gone
        _compare(reader(manifest, store, config, manifest.server_version), copy, restored)
        return Proof(
            level="restore",
            at=datetime.now(UTC),
            seconds=round(time.monotonic() - began, 3),
            tables=restored.tables,
            rows=restored.rows,
            server=server.name + _without(restored),
        )


def _without(restored: Restored) -> str:
    """Say what was not tried, as a role without rights cannot create it."""
    if not restored.left_out:
        return ""
    more = f"; and {len(restored.left_out) - SHOWN} more" if len(restored.left_out) > SHOWN else ""
    names = "; ".join(restored.left_out[:SHOWN])
    return f", without what only a superuser may do: {names}{more}"


def _compare(reading: Reader, copy: Database, loaded: Restored) -> None:
    """Raise unless the copy's definitions are the ones in the backup."""
    source = definitions.archive_definitions(reading.clients, _definitions(reading))
    name = child_name(copy, "drill")
    env = copy.environment(streaming=True) | {"PGAPPNAME": name}
    command = reading.clients.command(
        "pg_dump", "--format=custom", "--schema-only", "--no-password", env=env
    )
    restored = definitions.archive_definitions(
        reading.clients,
        process.stream(command, purpose=reading.clients.purpose, env=env, judge=judged(copy, name)),
    )
    if loaded.left_out or loaded.loaded_as:
        source, restored = (_comparable(titles, loaded) for titles in (source, restored))
    titles = sorted(
        title
        for title in source.keys() | restored.keys()
        if not equivalent(source.get(title, ""), restored.get(title, ""))
    )
    if titles:
        more = f"; and {len(titles) - SHOWN} more" if len(titles) > SHOWN else ""
        raise StepFailed(
            f"restored, {reading.manifest.id} has other definitions than its source: "
            f"{'; '.join(titles[:SHOWN])}{more}",
            state=Unchanged("seen on a copy"),
            next_step="restore it into a new database (invoke restore --into NAME), and compare "
            "pg_dump --schema-only of it and of the live database",
        )


def _comparable(titles: Mapping[str, str], loaded: Restored) -> dict[str, str]:
    """Return definitions without what a role without rights cannot create or give away."""
    kept = {}
    for title, text in titles.items():
        match = definitions.TITLE.fullmatch(title)
        if match is not None and handover.is_left(match["type"], match["name"], match["schema"]):
            continue
        owner = title.rpartition("; Owner: ")[2]
        if owner not in (*loaded.not_given, loaded.loaded_as):
            kept[title] = text
        elif match is None or match["type"] not in ACLS or not _named(owner).search(text):
            kept[title.removesuffix(owner) + "-"] = _owned_by(owner).sub("", text)
    return kept


def _named(role: str) -> re.Pattern[str]:
    quoted = '"' + role.replace('"', '""') + '"'
    return re.compile(rf"(?<![\w$])(?:{re.escape(role)}|{re.escape(quoted)})(?![\w$])")


def _owned_by(role: str) -> re.Pattern[str]:
    """Match the statement at the end of a definition that says whose it is."""
    return re.compile(rf"\n+ALTER [^\n]* OWNER TO {_named(role).pattern};\s*\Z")


def _definitions(reading: Reader) -> Iterator[bytes]:
    """Yield the archive that holds the definitions; the reader stops before the rows."""
    part = next(
        archive for archive in reading.manifest.archives if archive.holds in ("all", "schema")
    )
    with closing(reading.archive(part, Meter(lambda _done, _total: None))) as archive:
        yield from archive
