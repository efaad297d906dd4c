"""What is so: read from the database, the store and the machine, never from what a run says."""

from functools import partial
from pathlib import Path

import psycopg

from tests.reliability import run as runs
from tests.reliability.cells import Verb
from tests.reliability.cluster import until
from tests.reliability.project import NAMES
from tests.reliability.state import Facts
from tests.reliability.world import DATABASE, LIMIT, World

SHAPE = """
    select pg_catalog.md5(pg_catalog.string_agg(x, ';' order by x)) from (
        select c.relname || '.' || a.attname || ':' || a.atttypid::regtype as x
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'public'::regnamespace and not a.attisdropped
          and c.relname not like 'schema\\_migrations%%'
        union all
        select i.indexrelid::regclass || case when i.indisvalid then '' else ' invalid' end
        from pg_index i join pg_class c on c.oid = i.indrelid
        where c.relnamespace = 'public'::regnamespace and c.relname <> 'schema_migrations') s
"""
SESSIONS = """
    select application_name || ' ' || pg_catalog.left(query, 60) from pg_stat_activity
    where pid <> pg_backend_pid() and backend_type = 'client backend'
      and (application_name like 'windlass%%' or datname like 'shop%%')
"""
ENDS_WITHIN = 6.0  # seconds in which a server and a process group notice that a run is gone
LOCKS = """
    select pid::text || ' ' || locktype from pg_locks
    where locktype = 'advisory' and granted
"""


def _rows(session: psycopg.Connection, statement: str) -> list[tuple[object, ...]]:
    try:
        return session.execute(statement.encode()).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return []


def _text(rows: list[tuple[object, ...]]) -> str:
    return str(rows[0][0]) if rows else ""


def facts(world: World) -> Facts:
    """Read the state now."""
    with world.current.session(DATABASE) as session:
        rows = partial(_rows, session)
        names = rows("select migration_name from schema_migrations order by 1")
        heads = rows("select version_num from alembic_version")
        counts = rows("select name, n from counts where n <> 0 order by 1")
        kept = rows("select count(*), md5(string_agg(i || value, ',' order by i)) from kept")
        deployments = rows("select id, status from windlass.deployment order by started_at, id")
        corrections = rows("select count(*) from windlass.correction")
        project = rows("select project from windlass.identity")
        databases = rows("select datname from pg_database where datname ~ '^shop(_|$)'")
        shape = rows(SHAPE)
    identity = world.site.home / "identity"
    applied = [str(name) for (name,) in names]
    for (head,) in heads:  # each one has all before it
        applied += NAMES[: NAMES.index(str(head)) + 1]
    return Facts(
        history=tuple(name.rpartition("_")[2] for name in applied),
        counts=tuple((str(name), int(str(n))) for name, n in counts),
        kept=(int(str(kept[0][0])), str(kept[0][1])) if kept else (0, ""),
        shape=_text(shape),
        deployments=tuple((str(key), str(status)) for key, status in deployments),
        backups=frozenset(backup_ids(world.store)),
        databases=frozenset(str(name) for (name,) in databases),
        corrections=int(_text(corrections) or 0),
        approvals=len([*world.store.glob("approvals/*/*.json")]),
        project=_text(project),
        identity=identity.read_text() if identity.exists() else "",
    )


def backup_ids(store: Path) -> list[str]:
    """Return the ids of the backups that have a manifest."""
    return sorted(path.parent.name for path in store.rglob("manifest.json"))


def leftovers(world: World, verb: Verb) -> list[str]:
    """Return what nobody needs any more, and is there all the same."""
    until(lambda: not runs.orphans(), ENDS_WITHIN)
    problems = [f"a process lives on: {line[:60]}" for line in runs.orphans()]
    if not until(lambda: not world.current.execute(SESSIONS), ENDS_WITHIN):
        rows = world.current.execute(SESSIONS)
        problems += [f"a session lives on: {text}" for (text,) in rows]
    locks = world.current.execute(LOCKS)
    problems += [f"a lock is held: {text}" for (text,) in locks]
    problems += _of_the_store(world.store) + _of_the_server(world, verb)
    problems += [
        f"a temporary file is left: {path.name}" for path in (world.site.home / "tmp").iterdir()
    ]
    if world.site.overlapping():
        problems.append("two restarts ran at once")
    return problems


def _of_the_store(store: Path) -> list[str]:
    problems = []
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        whole = (path.parent / "manifest.json").exists()
        kept = path.relative_to(store).parts[0] in ("approvals", "journal")
        if path.name.startswith(".") or not (whole or kept):
            problems.append(f"an object of no backup is in the store: {path.name}")
    return problems


def _of_the_server(world: World, verb: Verb) -> list[str]:
    with world.current.session(DATABASE) as session:
        databases = _rows(
            session,
            "select datname, datconnlimit from pg_database where datname ~ '^shop(_|$)' order by 1",
        )
        running = _rows(session, "select id from windlass.deployment where status = 'running'")
        markers = _rows(session, "select kind from windlass.marker")
    problems = []
    for name, limit in databases:
        put_aside = verb.swaps and str(name).startswith(f"{DATABASE}_before_restore_")
        if name == verb.makes:
            continue
        if name != DATABASE and not put_aside:
            problems.append(f"the database {str(name)[:14]}… is left")
        elif limit != LIMIT:
            problems.append(f"the connection limit of {str(name)[:20]} is {limit}, not {LIMIT}")
    problems += ["a deployment is running in the journal"] * len(running)
    problems += [f"the marker {kind} is left" for (kind,) in markers]
    return problems
