"""Untracked objects: what migrations without a record create, and already exists. Is it the same?

The catalog is asked by name, which is quick (`find_untracked`). Only what exists is compared
(`compare_untracked`): every applied migration is run from disk on an empty throwaway database, then
those that are not applied; what changes with each is compared with the live definitions. Where the
files do not build the schema from nothing, the live definitions are copied, and the migrations
undone there by their rollback scripts and rerun.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import psycopg

from ..config.sections import BackupsConfig
from ..database.connection import Database, is_pooled
from ..engines import Engine
from ..errors import UNCHANGED, StepFailed, Unchanged, WindlassError
from ..model import Migration, Unrecorded
from ..plan.pending import in_running_order
from ..postgres import definitions, roles, schema, throwaway
from ..postgres.clients import Clients, find_clients
from .copy import COPIED, Copy, Definitions, one_line


def pending_without_record(database: Database, engine: Engine) -> tuple[Migration, ...]:
    """Return every migration that has no record, not even of a part, in running order."""

    def read(connection: psycopg.Connection) -> frozenset[str]:
        return _recorded(connection, engine)

    recorded = database.read("unrecorded", read)
    return in_running_order(
        migration for migration in engine.files.list() if migration.name not in recorded
    )


def _recorded(connection: psycopg.Connection, engine: Engine) -> frozenset[str]:
    names = {row.name for row in engine.history.rows(connection)}
    return frozenset(names | {partial.name for partial in engine.history.partials(connection)})


def find_untracked(
    database: Database, engine: Engine, migrations: tuple[Migration, ...]
) -> tuple[Unrecorded, ...]:
    """Return those of the migrations whose objects exist and that are not recorded. Reads only.

    Not compared yet. What another deployment finishes meanwhile is left out.
    """
    if not migrations:
        return ()
    return database.read("unrecorded", lambda line: read_untracked(line, engine, migrations))


def read_untracked(
    connection: psycopg.Connection, engine: Engine, migrations: tuple[Migration, ...]
) -> tuple[Unrecorded, ...]:
    """Return the same, in a transaction of the caller's, whose search_path may be changed."""
    untracked = engine.untracked.unrecorded(migrations, connection) if migrations else ()
    if not untracked:
        return ()
    # Read after the catalog: what was created meanwhile has its record by now.
    recorded = _recorded(connection, engine)
    return tuple(item for item in untracked if item.migration not in recorded)


def compare_untracked(
    untracked: tuple[Unrecorded, ...],
    database: Database,
    engine: Engine,
    config: BackupsConfig | None,
) -> tuple[Unrecorded, ...]:
    """Return the same with verdicts; unknown, with the reason, where it cannot be found out.

    What another deployment has finished meanwhile is left out.

    Args:
        untracked: from `find_untracked`.
        database: the live database; nothing is changed in it.
        engine: of the migrations.
        config: the throwaway server and the client tools; None: what is installed here.

    """
    if not untracked:
        return ()
    try:
        comparison = _comparison(untracked, database, engine, config)
        if not comparison.later:
            return ()
        chain, live = comparison.chain(), comparison.live()
    except (WindlassError, psycopg.Error) as error:
        return tuple(msgspec.structs.replace(item, says=(one_line(error),)) for item in untracked)
    names = [migration.name for migration in comparison.later]
    return tuple(
        _with_verdict(item, names.index(item.migration), chain, live)
        for item in untracked
        if item.migration in names
    )


def _with_verdict(
    item: Unrecorded, at: int, chain: Sequence[Definitions], live: Definitions
) -> Unrecorded:
    differs = definitions.differences_from_live(chain[at], chain[at + 1 :], live)
    return msgspec.structs.replace(item, verdict="different" if differs else "alike", says=differs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One comparison, and what it needs."""

    database: Database
    engine: Engine
    config: BackupsConfig | None
    clients: Clients
    needs: throwaway.Needs
    runner: roles.Runner
    applied: tuple[Migration, ...]
    later: tuple[Migration, ...]  # not applied, up to the last one whose objects exist
    untracked: frozenset[str]  # names of those whose objects exist

    def live(self) -> dict[str, str]:
        """Return the live definitions."""
        return definitions.definitions(
            self.database, self.clients, self.engine.history.tables, *COPIED
        )

    def chain(self) -> list[Definitions]:
        """Return the definitions before the first of the later migrations, and after each."""
        configured = self.config.throwaway if self.config else None
        sandboxed = self.config.sandbox if self.config else "auto"
        with throwaway.running(self.needs, configured, sandboxed=sandboxed) as server:
            try:
                with throwaway.copy(server, encoding=self.needs.encoding) as empty:
                    copy = self.of(server, empty)
                    for migration in self.applied:
                        copy.apply(migration)
                    return list(copy.states(self.later))
            except (WindlassError, psycopg.Error) as first:
                with throwaway.copy(server, encoding=self.needs.encoding) as database:
                    return self.back_and_forth(server, database, first)

    def of(self, server: throwaway.Throwaway, admin: Database) -> Copy:
        """Return a database as a copy of the live database, in which nothing has run yet."""
        clone = server.clone(admin, self.runner)
        return Copy(
            database=clone.database,
            admin=admin,
            lacks=clone.lacks,
            engine=self.engine,
            clients=self.clients,
            options=COPIED,
            verifies=False,
        )

    def back_and_forth(
        self, server: throwaway.Throwaway, admin: Database, first: WindlassError | psycopg.Error
    ) -> list[Definitions]:
        """Return the same from a copy of the live definitions; `first` says why."""
        try:
            self.restore(admin)
            copy = self.of(server, admin)
            with admin.connect("role") as connection:
                user = copy.database.parameters()["user"]
                roles.transfer(connection, admin.parameters()["user"], user)
            for migration in reversed(self.later):
                if migration.name in self.untracked:
                    with copy.database.connect("stamp") as connection, connection.transaction():
                        self.engine.corrections.stamp(connection, migration)
                    copy.undo(migration)
            return list(copy.states(self.later))
        except (WindlassError, psycopg.Error) as second:
            raise StepFailed(
                f"the migrations do not run from nothing ({one_line(first)}), nor back and forth "
                f"on a copy of the live definitions ({one_line(second)})",
                state=Unchanged("seen on a copy"),
                next_step="compare by hand",
            ) from second

    def restore(self, copy: Database) -> None:
        """Copy the live definitions; no rows, and no history."""
        schema.copy_definitions(self.database, copy, self.clients, self.engine.history.tables)


def _comparison(
    untracked: tuple[Unrecorded, ...],
    database: Database,
    engine: Engine,
    config: BackupsConfig | None,
) -> _Comparison:
    def read(
        connection: psycopg.Connection,
    ) -> tuple[throwaway.Needs, roles.Runner, frozenset[str], bool]:
        if is_pooled(connection):
            raise StepFailed(
                "the address is a pooler's: pg_dump needs one session",
                state=UNCHANGED,
                next_step="write the address of the server itself into database:",
            )
        applied = frozenset(row.name for row in engine.history.rows(connection))
        runner = roles.read_runner(connection)
        needs = throwaway.read_needs(connection, roles=runner.roles)
        return needs, runner, applied, connection.pgconn.ssl_in_use

    needs, runner, recorded, tls = database.read("unrecorded", read)
    on_disk = engine.files.list()
    names = frozenset(item.migration for item in untracked)
    rest = in_running_order(migration for migration in on_disk if migration.name not in recorded)
    # -1: another deployment has finished and recorded all of them meanwhile.
    last = max((at for at, migration in enumerate(rest) if migration.name in names), default=-1)
    return _Comparison(
        database=database,
        engine=engine,
        config=config,
        needs=needs,
        runner=runner,
        untracked=names,
        clients=find_clients(needs.server_version, tls=tls, image=config.image if config else ""),
        applied=tuple(migration for migration in on_disk if migration.name in recorded),
        later=rest[: last + 1],
    )
