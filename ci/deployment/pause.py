"""Whether an environment rests: paused by a person, or frozen by `deploy.yml`.

A pause is a row of the target database. The server's clock decides when one ends, and when a
freeze begins: who deploys does not set that clock.
"""

from datetime import datetime, timedelta

import msgspec
import psycopg

from ..database import lock, own_tables, trusted
from ..errors import ConfigError
from ..model import Pause
from ..origin import find_origin
from ..plan import freeze
from . import events, identity, journal, mirror, notices
from .work import Work

READ = "select record::text from windlass.pause"
WRITE = """
    insert into windlass.pause (record) values (%s::jsonb)
    on conflict (only_one) do update set at = pg_catalog.now(), record = excluded.record
"""
CLEAR = "delete from windlass.pause"
PAUSED, RESUMED, PASSED = "paused", "resumed", "freeze-passed"
STEP = "pause"


def read(connection: psycopg.Connection) -> Pause | None:
    """Return the pause, whether its time is over or not; None: there is none.

    Raises:
        Refused: the table is not to be believed.

    """
    if not trusted.exists(connection, "pause"):
        return None
    row = connection.execute(READ).fetchone()
    return msgspec.json.decode(row[0], type=Pause) if row else None


def require_running(work: Work) -> None:
    """Do nothing where the environment is not paused. Reads only.

    Raises:
        Refused: it is; says who paused it, since when, and why.

    """
    pause = work.database.read(STEP, read)
    if pause is not None:
        now = journal.server_clock(work.database)
        freeze.require_unpaused(pause, now, environment=work.settings.name)


def require_deployable(work: Work, break_glass: str = "") -> None:
    """Do nothing where the environment is neither paused nor frozen. Reads only.

    A reason to break the glass passes a freeze, and no pause: `resume` lifts that, recorded.

    Raises:
        Refused: it is one of the two.

    """
    require_running(work)
    if windows := work.settings.environment.freeze:
        now = journal.server_clock(work.database)
        freeze.require_thawed(windows, now, environment=work.settings.name, break_glass=break_glass)


def tell_passed(work: Work, break_glass: str) -> None:
    """Tell and record that a freeze is passed; under the lock, with the tables prepared."""
    windows = work.settings.environment.freeze
    if not windows or not break_glass:
        return
    window = freeze.frozen(windows, journal.server_clock(work.database))
    if window is not None:
        work.reporter.alarm(f"BREAK-GLASS: {break_glass}: {work.settings.name} is {window}")
        record = {"window": str(window), "reason": break_glass}
        events.append_now(work.database, PASSED, record)


def pause(
    work: Work, reason: str, *, within: timedelta | None = None, until: datetime | None = None
) -> Pause:
    """Pause the environment, for so long, until then, or until somebody resumes it; recorded.

    A deployment that runs goes on. One pause takes the place of another.

    Raises:
        ConfigError: there is no reason, or the end is over already.
        Refused: the database is another environment's.
        LockHeld: a deployment is running, and the tables are of an older version.

    """
    _require_reason("pause", reason)
    identity.require(work)
    _prepare(work)
    now = journal.server_clock(work.database)
    end = now + within if within is not None else until
    if end is not None and end <= now:
        raise ConfigError(
            f"the pause would end at {end:%Y-%m-%d %H:%M} UTC, which is over",
            next_step="--for 2h, or --until with a later time",
        )
    record = Pause(by=_who(work), since=now, reason=reason.strip(), until=end)
    text = record.canonical().decode()
    with work.database.session(STEP) as connection, events.transaction(connection):
        events.append(connection, PAUSED, work.deployment_id, events.record_of(record))
        connection.execute(WRITE, (text,))
    mirror.send(work)
    notices.send(work, "paused", f"{work.settings.name} is {record}")
    return record


def lift(work: Work, reason: str) -> Pause | None:
    """Lift the pause, recorded; return what it was. None: there was none, and nothing is recorded.

    Raises:
        ConfigError: there is no reason.
        Refused: the database is another environment's.

    """
    identity.require(work)
    was = work.database.read(STEP, read)
    if was is None:
        return None
    _require_reason("resume", reason)
    record = {"reason": reason.strip(), "by": _who(work), "pause": events.record_of(was)}
    with work.database.session(STEP) as connection, events.transaction(connection):
        events.append(connection, RESUMED, work.deployment_id, record)
        connection.execute(CLEAR)
    mirror.send(work)
    return was


def _prepare(work: Work) -> None:
    """Bring the tables up to date, under the deployment lock; where they are, without it."""
    if work.database.read(STEP, own_tables.read_version) >= len(own_tables.VERSIONS):
        work.database.read(STEP, own_tables.require_known)
        return
    with lock.hold(work.database, wait=work.settings.environment.lock.wait.seconds):
        own_tables.prepare(work.database, work.terms())


def _who(work: Work) -> str:
    origin = find_origin(work.settings.root)
    return f"{origin.deployer}@{origin.host}"


def _require_reason(verb: str, reason: str) -> None:
    if not reason.strip() or not reason.isprintable():
        raise ConfigError(
            f"{verb} needs a reason on one line, which is recorded", next_step='--reason "why"'
        )
