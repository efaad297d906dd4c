"""Which migrations run, and why none may. Pure."""

from collections.abc import Collection, Iterable
from typing import Protocol

from ..config import Settings
from ..config.sections import MigrationsConfig
from ..errors import Refused, Unchanged
from ..model import Facts, Failed, Migration, Partial
from ..policy import ROLLBACK_ASKED_FOR
from .states import EVERYTHING, MigrationState, State, compare, heads, is_graph, up_to

BACK = "bring the file back as it was (git log)"


class RefusalTexts(Protocol):
    """What an engine says of a migration, in the terms of its tool."""

    def no_file(self, name: str) -> str:
        """Return what to say of an applied migration that has no file."""
        ...

    def failed(self, name: str) -> str:
        """Return what to say of a migration that the tool itself began, and did not end."""
        ...

    def rollback_script(self, name: str) -> str:
        """Return where the rollback script of a migration is expected."""
        ...


def in_running_order(migrations: Iterable[Migration]) -> tuple[Migration, ...]:
    """Return migrations as a deployment runs them: those of after the restart last."""
    return tuple(sorted(migrations, key=lambda migration: migration.phase == "after"))  # stable


def order_problems(
    base: tuple[Migration, ...], here: tuple[Migration, ...], config: MigrationsConfig
) -> tuple[str, ...]:
    """Return, as texts, why migrations do not follow those of the commit they are merged into.

    Args:
        base: the commit's migrations.
        here: the migrations after the merge.
        config: what deploy.yml allows.

    """
    by_name = {migration.name: migration for migration in here}
    base_names = {migration.name for migration in base}
    problems = [
        f"{migration.name} is in the base and missing here: bring it back, or merge the base first"
        for migration in base
        if migration.name not in by_name
    ]
    problems += [
        f"{migration.name} was edited: it may have run already; write a new migration instead"
        for migration in base
        if migration.name in by_name and by_name[migration.name].checksum != migration.checksum
    ]
    if is_graph(here):
        several = heads(here) if config.several_heads == "refuse" else ()
        if len(several) > 1:
            names = ", ".join(several)
            problems.append(
                f"several heads: {names}: merge them (invoke create --merge --name NAME)"
            )
    elif base_names and config.out_of_order == "refuse":
        newest = max(base_names)
        problems += [
            f"{migration.name} is older than {newest}, the base's newest: give it a later timestamp"
            for migration in here
            if migration.name not in base_names and migration.name < newest
        ]
    return tuple(problems)


def pending(  # noqa: PLR0913  # three ways to say which
    settings: Settings,
    on_disk: tuple[Migration, ...],
    facts: Facts,
    *,
    names: RefusalTexts,
    to: str | None = None,
    steps: int | None = None,
    only: Collection[str] | None = None,
) -> tuple[Migration, ...]:
    """Return the migrations to run, in order, up to and including `to`, and at most `steps`.

    `names` gives the texts of refusals; `only` has the names that may be among them.

    Raises:
        Refused: the history does not fit the files, or a rollback script is asked for and missing.

    """
    states = compare(on_disk, facts.history, facts.partials, facts.failed)
    _refuse_failed(settings, facts.failed, names)
    _refuse_another_case(states)
    _refuse_edited(settings, states)
    _refuse_ahead(settings, states)
    _refuse_missing(states, names)
    _refuse_half_undone(settings, facts.partials)
    _refuse_out_of_order(settings, states)
    runs = (State.PENDING, State.OUT_OF_ORDER, State.PARTIAL)
    runnable = {s.name for s in states if s.state in runs}
    if to not in (None, EVERYTHING) and to not in {s.name for s in states}:
        raise Refused(
            f'there is no migration "{to}"',
            next_step=f"invoke status --env {settings.name} lists them",
        )
    if to is None:
        _refuse_several_heads(settings, on_disk)
    selected = runnable if to is None or to == EVERYTHING else up_to(on_disk, [to])
    if only is not None:
        selected = frozenset(selected) & frozenset(only)
    migrations = tuple(m for m in on_disk if m.name in runnable and m.name in selected)[:steps]
    _refuse_without_rollback(settings, migrations, names)
    return migrations


def _refuse_another_case(states: tuple[MigrationState, ...]) -> None:
    folded: dict[str, str] = {}
    for state in states:
        other = folded.setdefault(state.name.lower(), state.name)
        if other != state.name:
            raise Refused(
                f"{state.name} and {other} differ in case alone: one is on disk, the other applied",
                next_step="name the file as the history has it",
            )


def _refuse_failed(settings: Settings, failed: tuple[Failed, ...], names: RefusalTexts) -> None:
    if failed:
        name, env = failed[0].name, settings.name
        raise Refused(
            names.failed(name),
            next_step=f"undo by hand what it left, then invoke unstamp --env {env} --name {name} "
            f"makes it pending again; or finish it by hand, then invoke stamp --env {env} "
            f"--name {name}",
        )


def _refuse_half_undone(settings: Settings, partials: tuple[Partial, ...]) -> None:
    interrupted = next((partial for partial in partials if partial.direction == "down"), None)
    if interrupted is not None:
        raise Refused(
            f"{interrupted.name} is half undone: {interrupted}",
            next_step=f"finish it: invoke rollback --env {settings.name} --name {interrupted.name}",
        )


def _refuse_several_heads(settings: Settings, on_disk: tuple[Migration, ...]) -> None:
    head_names = heads(on_disk) if is_graph(on_disk) else ()
    if len(head_names) > 1 and settings.shared.migrations.several_heads == "refuse":
        raise Refused(
            f"Multiple head revisions are present: {', '.join(head_names)}",
            next_step="merge them: invoke create --merge --name merge_heads; or go to one of "
            f"them: invoke migrate --env {settings.name} --to {head_names[0]}, or to all: --to "
            f"{EVERYTHING}; where they are meant to stay apart: migrations: "
            "{several_heads: allow}",
        )


def _refuse_edited(settings: Settings, states: tuple[MigrationState, ...]) -> None:
    edited = [state.name for state in states if state.state is State.EDITED]
    if edited:
        raise Refused(
            f"{edited[0]} is applied and was edited after it was applied{_more(edited)}",
            next_step=f"{BACK}, and write a new migration for the new change; where the edit "
            f"changes nothing: invoke repair --env {settings.name} --name {edited[0]}",
        )


def _refuse_ahead(settings: Settings, states: tuple[MigrationState, ...]) -> None:
    ahead = [state.name for state in states if state.state is State.AHEAD]
    if ahead:
        here = max(state.name for state in states if state.state is State.APPLIED)
        migrations = "a migration" if len(ahead) == 1 else f"{len(ahead)} migrations"
        back = (
            f"; to bring the database back to these files, from that commit: invoke rollback --env "
            f"{settings.name} --to {here}"
        )
        raise Refused(
            f"the database is ahead: it has {migrations} that these files do not know "
            f"({_few(ahead)}); this checkout is older than what is deployed",
            state=Unchanged("every file here is applied"),
            next_step="deploy from the commit that has them (invoke history --env "
            f"{settings.name} --json names it){back}",
        )


def _few(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"the newest: {max(names)}"


def _refuse_missing(states: tuple[MigrationState, ...], names: RefusalTexts) -> None:
    missing = [state.name for state in states if state.state is State.MISSING]
    if missing:
        raise Refused(
            f"{names.no_file(missing[0])}{_more(missing)}",
            next_step=f"{BACK}: this database was migrated from a commit that has it",
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _refuse_out_of_order(settings: Settings, states: tuple[MigrationState, ...]) -> None:
    older = [s.name for s in states if s.state is State.OUT_OF_ORDER]
    allowed = settings.tier == "development" or settings.shared.migrations.out_of_order == "allow"
    if older and not allowed:
        raise Refused(
            f"{older[0]} is older than the newest applied migration",
            next_step="give it a new timestamp, or set migrations.out_of_order: allow",
        )


def _refuse_without_rollback(
    settings: Settings, migrations: tuple[Migration, ...], names: RefusalTexts
) -> None:
    missing = [m.name for m in migrations if m.rollback is None and not m.irreversible]
    if missing and ROLLBACK_ASKED_FOR[settings.tier]:
        raise Refused(
            f"{missing[0]} has no rollback script, which the {settings.tier} tier asks for",
            next_step=f"write {names.rollback_script(missing[0])}; where nothing can undo it, say "
            "so in a comment at the head of its file: windlass: irreversible REASON",
        )
