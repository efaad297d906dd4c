"""The SQL that gives each job's role what it needs in a database, and no more. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from ..errors import ConfigError, Refused
from .quoting import block, ident, literal
from .rights import JOBS, Job, Rights, configuring, job_of, of_history

OWN = "windlass"  # the schema of our own tables
LONGEST_NAME = 63  # bytes, of a role's name
LARGE_OBJECTS = """declare number oid; begin
  for number in select oid from pg_catalog.pg_largeobject_metadata loop
    execute pg_catalog.format('grant select on large object %s to %I', number, /*NAME*/);
  end loop;
end"""


class GrantStatement(msgspec.Struct, frozen=True, kw_only=True):
    """One statement, and what it is for. An optional one is printed as a comment."""

    sql: str
    why: str
    optional: bool = False


class RoleGrants(msgspec.Struct, frozen=True, kw_only=True):
    """What one job's role is given. `job`: migrate, plan, backup or restore."""

    job: Job
    role: str
    statements: tuple[GrantStatement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What all the statements are about."""

    rights: Rights  # of the owner, in the database
    history: tuple[tuple[str, str], ...]
    name: str  # of the role

    @property
    def schemas(self) -> tuple[str, ...]:
        """The schemas with something in them, the public one and Windlass's own."""
        names = {schema.name for schema in self.rights.schemas} | {"windlass"}
        return tuple(sorted(names))


def role_names(text: str, database: str) -> dict[Job, str]:
    """Return the roles that are asked for, by job: `plan,backup=saver`; empty is all of them.

    A role without a name is DATABASE_JOB.

    Raises:
        ConfigError: there is no such job, one is named twice, or a name cannot be a role's.

    """
    asked = [part.strip() for part in text.split(",") if part.strip()] or list(JOBS)
    names: dict[Job, str] = {}
    for part in asked:
        word, equals, name = part.partition("=")
        job = job_of(word.strip())
        name = name.strip() if equals else f"{database}_{job}"
        if job in names:
            raise ConfigError(f"--role names {job} twice", next_step=f"--role {job}=NAME once")
        _require_name(name, job)
        names[job] = name
    return names


def _require_name(name: str, job: str) -> None:
    if not name or "\0" in name or len(name.encode()) > LONGEST_NAME or name.startswith("pg_"):
        raise ConfigError(
            f'"{name}" cannot be a role\'s name',
            next_step=f"--role {job}=NAME: 1 to {LONGEST_NAME} bytes, not beginning with pg_",
        )
    if name.lower() in ("public", "none"):
        raise ConfigError(
            f'"{name}" is no role of its own: what it is given, everybody has',
            next_step=f"--role {job}=NAME with another name",
        )


def grants_for(
    owner: Rights, names: Mapping[Job, str], history: Iterable[tuple[str, str]]
) -> tuple[RoleGrants, ...]:
    """Return the statements for each role, in the order they are to be run; every one idempotent.

    Args:
        owner: the rights of the role that owns the schema's objects.
        names: of the roles, by job.
        history: the tables (schema, name) of the migration tool.

    Raises:
        Refused: the owner is a superuser.

    """
    if owner.superuser:
        raise Refused(
            f"{owner.user}, the owner, is a superuser: a role that is its member is one too",
            next_step=f"let a role without a login own it: alter database "
            f"{ident(owner.database)} owner to NAME; or --owner NAME, who owns the tables",
        )
    kept = tuple(history)
    makers = {"migrate": _migrate, "plan": _plan, "backup": _backup, "restore": _restore}
    return tuple(
        RoleGrants(
            job=job,
            role=name,
            statements=tuple(makers[job](_Given(rights=owner, history=kept, name=name))),
        )
        for job, name in names.items()
    )


def _role(given: _Given) -> Iterator[GrantStatement]:
    """Make the role where it is missing, and let it in."""
    name = given.name
    text = block(
        "begin\n"
        f"  if not exists (select from pg_catalog.pg_roles where rolname = {literal(name)}) then\n"
        f"    create role {ident(name)} login;\n"
        "  end if;\n"
        "end"
    )
    yield GrantStatement(sql=text, why="a login; its password is set apart: \\password")
    if name != given.rights.user:
        database = ident(given.rights.database)
        yield GrantStatement(
            sql=f"grant connect on database {database} to {ident(name)}", why="to come in"
        )


def _migrate(given: _Given) -> Iterator[GrantStatement]:
    rights, name, owner = given.rights, ident(given.name), ident(given.rights.user)
    yield from _role(given)
    if given.name != rights.user:
        yield GrantStatement(sql=f"grant {owner} to {name}", why="what it changes is the owner's")
        yield GrantStatement(
            sql=f"alter role {name} set role to {owner}",
            why="what it creates belongs to the owner, not to it",
        )
    if not rights.create:
        yield GrantStatement(
            sql=f"grant create on database {ident(rights.database)} to {owner}",
            why="for schemas and extensions",
        )
    if any(schema.name == "public" and not schema.create for schema in rights.schemas):
        yield GrantStatement(
            sql=f"grant usage, create on schema public to {owner}", why="for new tables"
        )
    yield _own_schema(given)
    if any(not relation.select for relation in rights.relations):
        why = "a deployment's backup reads tables of other owners too"
        if rights.server_version >= 140000:
            yield GrantStatement(sql=f"grant pg_read_all_data to {owner}", why=why)
        else:
            yield from _explicit(given, owner)
    if rights.server_version >= 180000:
        yield GrantStatement(
            sql=f"grant pg_signal_autovacuum_worker to {owner}",
            why="an autovacuum is asked to give way; without it a migration waits longer for it",
            optional=True,
        )


def _own_schema(given: _Given) -> GrantStatement:
    owner = ident(given.rights.user)
    return GrantStatement(
        sql=f"create schema if not exists {OWN} authorization {owner}",
        why="Windlass's own tables; made first, nobody else can make it",
    )


def _plan(given: _Given) -> Iterator[GrantStatement]:
    name, owner = ident(given.name), ident(given.rights.user)
    yield from _role(given)
    yield _own_schema(given)
    for schema in given.schemas:
        yield GrantStatement(
            sql=f"grant usage on schema {ident(schema)} to {name}", why="names are looked up in it"
        )
    yield GrantStatement(
        sql=f"grant select on all tables in schema {OWN} to {name}", why="the journal"
    )
    yield GrantStatement(
        sql=f"alter default privileges for role {owner} in schema {OWN} "
        f"grant select on tables to {name}",
        why="the journal's tables that come later",
    )
    tables = of_history(given.rights.relations, given.history)
    for table in (relation for relation in tables if relation.schema != "windlass"):
        yield GrantStatement(
            sql=f"grant select on {ident(table.schema, table.name)} to {name}",
            why="what is applied",
        )


def _backup(given: _Given) -> Iterator[GrantStatement]:
    rights, name = given.rights, ident(given.name)
    yield from _role(given)
    if rights.server_version >= 140000:
        yield GrantStatement(
            sql=f"grant pg_read_all_data to {name}", why="it reads every table and sequence"
        )
    else:
        yield _own_schema(given)
        yield from _explicit(given, name)
    if any(relation.secured for relation in rights.relations):
        yield GrantStatement(
            sql=f"alter role {name} bypassrls", why="row security must hide no row from a backup"
        )
    if rights.large_objects:
        yield GrantStatement(sql=_large_objects(given.name), why="no role reads them all")


def _explicit(given: _Given, role: str) -> Iterator[GrantStatement]:
    owner = ident(given.rights.user)
    for name in given.schemas:
        schema = ident(name)
        for text in (
            f"grant usage on schema {schema} to {role}",
            f"grant select on all tables in schema {schema} to {role}",
            f"grant select on all sequences in schema {schema} to {role}",
        ):
            yield GrantStatement(sql=text, why="it reads every table and sequence")
        if role != owner:
            for kind in ("tables", "sequences"):
                yield GrantStatement(
                    sql=f"alter default privileges for role {owner} in schema {schema} "
                    f"grant select on {kind} to {role}",
                    why="those that come later",
                )


def _large_objects(name: str) -> str:
    return block(LARGE_OBJECTS.replace("/*NAME*/", literal(name)))


def _restore(given: _Given) -> Iterator[GrantStatement]:
    rights, name = given.rights, ident(given.name)
    yield from _role(given)
    yield GrantStatement(
        sql=f"alter role {name} createdb", why="a restore goes into a new database"
    )
    others = (role.name for role in rights.owners if not role.superuser)
    for owner in dict.fromkeys((rights.user, *others)):
        if owner == given.name:
            continue
        yield GrantStatement(
            sql=f"grant {ident(owner)} to {name}", why="it gives the objects back to their owner"
        )
    yield GrantStatement(
        sql=f"grant pg_signal_backend to {name}", why="the swap ends other roles' sessions"
    )
    for role in rights.configured:
        yield GrantStatement(
            sql=configuring(rights, role.name, name),
            why="the swap carries over its settings in this database",
        )


def grants_text(grants: Iterable[RoleGrants], rights: Rights, notes: Iterable[str] = ()) -> str:
    """Return the script, with what each statement is for; it runs in psql as it is."""
    head = [
        f"-- Rights in the database {_line(rights.database)} of {_line(rights.user)}'s. Run it in "
        "that database,",
        f"-- as a superuser, or as a member of {_line(rights.user)} with CREATEROLE (on RDS: the "
        "master user).",
        *(f"-- {_line(note)}" for note in notes),
    ]
    lines = ["\n".join(head)]
    for entry in grants:
        lines.append(f"\n-- {entry.job}: {_line(entry.role)}")
        for statement in entry.statements:
            text = f"{statement.sql};"
            if statement.optional:
                text = "\n".join(f"-- {line}" for line in text.splitlines())
            optional = "optional: " if statement.optional else ""
            lines.append(f"-- {optional}{statement.why}\n{text}")
    return "\n".join(lines)


def _line(text: str) -> str:
    """Keep a name inside its comment: a line end in it would begin a statement."""
    return " ".join(text.split()) if text.isprintable() else repr(text)
