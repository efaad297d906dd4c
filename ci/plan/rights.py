"""Which rights a job needs in a database, and which of them a role lacks. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from .quoting import ident

Job = Literal["migrate", "plan", "backup", "restore"]
JOBS: tuple[Job, ...] = ("migrate", "plan", "backup", "restore")
SHOWN = 3  # objects that are named; the others are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRights:
    """A schema that is no system schema, and what the role may do there."""

    name: str
    usage: bool
    create: bool
    owned: bool  # by the role, or by one whose rights it has


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationRights:
    """A table or a sequence, of no extension, and what the role may do with it."""

    schema: str
    name: str
    kind: str  # pg_class.relkind: r, p, S
    owner: str
    owned: bool
    select: bool
    write: bool  # INSERT, UPDATE and DELETE
    secured: bool = False  # row security is on
    filtered: bool = False  # and hides rows from the role


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRights:
    """Another role, and what the role may do as it.

    usage: it has that role's rights. assume: it may SET ROLE to it, so may give objects to it.
    configure: it may change that role's settings. superuser: whoever is its member is one too.
    """

    name: str
    usage: bool
    assume: bool
    configure: bool
    superuser: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What one role may do in one database, as the server says.

    owners: the roles that own something here, the database itself among them. configured: the
    roles with settings of their own in this database. large_objects: how many there are. sealed:
    those it may not read.
    """

    user: str
    database: str
    owner: str  # of the database
    server_version: int
    superuser: bool
    createdb: bool
    read_all: bool  # pg_read_all_data; False before 14
    signal: bool  # pg_signal_backend
    create: bool  # in the database
    schemas: tuple[SchemaRights, ...] = ()
    relations: tuple[RelationRights, ...] = ()
    owners: tuple[RoleRights, ...] = ()
    configured: tuple[RoleRights, ...] = ()
    large_objects: int = 0
    sealed: tuple[int, ...] = ()

    @property
    def super_owners(self) -> frozenset[str]:
        """The superusers that own something here: nobody is made a member of one."""
        return frozenset(owner.name for owner in self.owners if owner.superuser)


@dataclass(frozen=True, slots=True)
class MissingRight:
    """A right that a role lacks, in words, and the SQL that gives it."""

    right: str
    remedy: str


def missing_rights(
    rights: Rights, job: Job, history: Iterable[tuple[str, str]] = (), *, saves: bool = False
) -> tuple[MissingRight, ...]:
    """Return what the role lacks for a job; empty where it lacks nothing.

    Args:
        rights: of the role in the database.
        job: what it shall do.
        history: the tables (schema, name) of the migration tool; an empty schema is any.
        saves: whether a migration's deployment takes a backup first.

    """
    if rights.superuser:
        return ()
    kept = tuple(history)
    match job:
        case "migrate":
            missing = _migrate(rights, kept)
            return (*missing, *_read_all(rights)) if saves else missing
        case "plan":
            return _plan(rights, kept)
        case "backup":
            return _read_all(rights)
        case "restore":
            return _restore(rights)


def job_of(word: str) -> Job:
    """Return the job of that name; ConfigError where there is none."""
    for job in JOBS:
        if job == word:
            return job
    raise ConfigError(f'"{word}" is no role', next_step=f"--role with one of: {', '.join(JOBS)}")


def of_history(
    relations: Iterable[RelationRights], history: Iterable[tuple[str, str]]
) -> tuple[RelationRights, ...]:
    """Return the tables that are the migration tool's, or Windlass's own."""
    names = tuple(history)
    return tuple(
        relation
        for relation in relations
        if relation.kind in ("r", "p")
        and (
            relation.schema == "windlass"
            or any(
                relation.name == name and schema in ("", relation.schema) for schema, name in names
            )
        )
    )


def _migrate(rights: Rights, history: tuple[tuple[str, str], ...]) -> tuple[MissingRight, ...]:
    user, missing = ident(rights.user), []
    if not rights.create:
        missing.append(
            MissingRight(
                f"CREATE on the database {rights.database}",
                f"grant create on database {ident(rights.database)} to {user}",
            )
        )
    for schema in rights.schemas:
        if schema.name == "public" and not schema.create:
            missing.append(
                MissingRight(
                    "CREATE on the schema public", f"grant usage, create on schema public to {user}"
                )
            )
        if schema.name == "windlass" and not schema.owned:
            missing.append(
                MissingRight(
                    "ownership of the schema windlass",
                    f"grant OWNER to {user}, where OWNER owns it",
                )
            )
    tables = [t for t in of_history(rights.relations, history) if not (t.owned or t.write)]
    missing += [
        MissingRight(
            f"ownership of {_names(t for t in tables if t.owner == owner)}",
            _given_away(t for t in tables if t.owner == owner)
            if owner in rights.super_owners
            else f"grant {ident(owner)} to {user}",
        )
        for owner in sorted({table.owner for table in tables})
    ]
    return tuple(missing)


def _plan(rights: Rights, history: tuple[tuple[str, str], ...]) -> tuple[MissingRight, ...]:
    tables = of_history(rights.relations, history)
    needed = {table.schema for table in tables} | {"windlass"}
    missing = _usage(rights, needed)
    return (*missing, *_select(rights, tables))


def _read_all(rights: Rights) -> tuple[MissingRight, ...]:
    needed = {relation.schema for relation in rights.relations}
    lacks = (*_usage(rights, needed), *_select(rights, rights.relations))
    user = ident(rights.user)
    if lacks and rights.server_version >= 140000:
        first = lacks[0].right + (f" (and {len(lacks) - 1} more)" if len(lacks) > 1 else "")
        lacks = (
            MissingRight(f"pg_read_all_data, for {first}", f"grant pg_read_all_data to {user}"),
        )
    hidden = [relation for relation in rights.relations if relation.filtered]
    if hidden:
        right = f"BYPASSRLS, for the row security of {_names(hidden)}"
        lacks = (*lacks, MissingRight(right, f"alter role {user} bypassrls"))
    if rights.sealed:
        more = f" (and {len(rights.sealed) - 1} more)" if len(rights.sealed) > 1 else ""
        number = rights.sealed[0]
        lacks = (
            *lacks,
            MissingRight(
                f"SELECT on the large object {number}{more}",
                f"grant select on large object {number} to {user}",
            ),
        )
    return lacks


def _restore(rights: Rights) -> tuple[MissingRight, ...]:
    user, missing = ident(rights.user), []
    if not rights.createdb:
        missing.append(MissingRight("CREATEDB", f"alter role {user} createdb"))
    missing += [
        MissingRight(f"membership in {owner.name}, which owns objects", _grant(owner.name, user))
        for owner in rights.owners
        if not (owner.superuser or (owner.usage and owner.assume))
    ]
    missing += [
        MissingRight(
            f"the objects of {name}, a superuser: none is made a member of one",
            f"reassign owned by {ident(name)} to OWNER in this database; or restore as a superuser",
        )
        for name in sorted(rights.super_owners)
    ]
    missing += [
        MissingRight(
            f"ADMIN on {role.name}, which has settings in this database",
            configuring(rights, role.name, user),
        )
        for role in rights.configured
        if not role.configure
    ]
    return tuple(missing)


def configuring(rights: Rights, role: str, user: str) -> str:
    """Return what lets `user`, a quoted name, change a role's settings, and not be that role."""
    text = f"alter role {user} createrole"
    if rights.server_version < 160000:  # it may then change every role but superusers
        return text
    return f"{text}; {_grant(role, user)} with admin true, inherit false, set false"


def signal_missing(rights: Rights) -> tuple[MissingRight, ...]:
    """Return the right to end other roles' sessions where the role lacks it: a swap needs it."""
    if rights.signal or rights.superuser:
        return ()
    remedy = _grant("pg_signal_backend", ident(rights.user))
    return (MissingRight("pg_signal_backend, to end other roles' sessions", remedy),)


def _usage(rights: Rights, needed: set[str]) -> tuple[MissingRight, ...]:
    user = ident(rights.user)
    return tuple(
        MissingRight(
            f"USAGE on the schema {schema.name}",
            f"grant usage on schema {ident(schema.name)} to {user}",
        )
        for schema in rights.schemas
        if schema.name in needed and not schema.usage
    )


def _select(rights: Rights, relations: Iterable[RelationRights]) -> tuple[MissingRight, ...]:
    user = ident(rights.user)
    return tuple(
        MissingRight(
            f"SELECT on {relation.schema}.{relation.name}",
            f"grant select on {ident(relation.schema, relation.name)} to {user}",
        )
        for relation in relations
        if not relation.select
    )


def _grant(role: str, user: str) -> str:
    return f"grant {ident(role)} to {user}"


def _given_away(tables: Iterable[RelationRights]) -> str:
    """Return how tables of a superuser become somebody's whose member one may be."""
    return "; ".join(
        f"alter table {ident(table.schema, table.name)} owner to OWNER" for table in tables
    )


def _names(relations: Iterable[RelationRights]) -> str:
    names = [f"{relation.schema}.{relation.name}" for relation in relations]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
