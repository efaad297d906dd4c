"""Plans and rehearsals as text. Pure."""

from collections.abc import Iterator
from pathlib import Path

from ..model import About, Migration, Plan, Rehearsal, Rehearsed, TableSize, Traced
from ..parser.backfill import Backfill
from ..parser.file import backfills_in
from ..plan.undoing import loss_words
from ..rehearsal import trials
from ..rehearsal.forecast import blocking_locks, forecast
from ..rehearsal.waiting import Waiting, waiting
from .format import duration, human, seconds


def headline(plan: Plan) -> str:
    """Return the first line of a deployment."""
    start = f"{plan.environment} · {plan.project} · plan {plan.digest[:12]}"
    if plan.correction is not None:
        return f"{start} · {plan.correction.verb}"
    count = len(plan.migrations)
    word = "pending" if plan.direction == "up" else "to undo"
    noun = "migration" if count == 1 else "migrations"
    return f"{start} · {count} {word} {noun}"


def plan_text(plan: Plan, rendered: tuple[str, ...] = ()) -> str:
    """Return a plan for people; `rendered` adds the SQL as it would be sent."""
    target = plan.target
    lines = [
        headline(plan),
        "",
        f"  digest     {plan.digest}",
        f"  target     database {target.database}, system {target.system_identifier}, "
        f"PostgreSQL {target.server_version // 10000}",
        f"  engine     {plan.engine}, {plan.engine_version}",
        f"  steps      {', '.join(str(s.name) for s in plan.steps)}",
        f"  history    {len(plan.history)} applied",
    ]
    lines += _sources(plan)
    lines += [
        f"  {'migrate' if plan.direction == 'up' else 'undo':<10} {m.name}"
        f"{f' {m.title}' if m.title else ''}{' (after the restart)' if m.phase == 'after' else ''}"
        f"{'' if m.transactional else ' (outside a transaction)'}"
        f"{f' (irreversible: {m.irreversible})' if m.irreversible else ''}"
        for m in plan.migrations
    ]
    lines += [f"  backfill   {line}" for line in _backfills(plan)]
    if plan.correction is not None:
        lines.append(f"  task       {plan.command}")
        lines += [f"  does       {line}" for line in plan.correction.changes]
    elif not plan.migrations:
        lines.append("  nothing to migrate")
    lines += [f"  loses      {loss_words(loss)}" for loss in plan.losses]
    lines += _about(plan.about) if plan.about is not None else []
    for text in rendered:
        lines += ["", text]
    return "\n".join(lines)


def _backfills(plan: Plan) -> list[str]:
    """Return which statements run in batches, each a transaction that no rollback takes back."""
    return [
        f"{migration.name}: {asked.table} by {asked.key or 'its primary key'}, "
        + ("left to invoke backfill.run" if left else "in batches that commit")
        + (", setting rows aside that fail" if asked.on_error == "skip" else "")
        for migration in plan.migrations
        for asked, left in _asked(plan, migration)
    ]


def _asked(plan: Plan, migration: Migration) -> Iterator[tuple[Backfill, bool]]:
    """Yield what runs in batches, and whether it is left to a job: all of a file of its own is."""
    script = migration.sql if plan.direction == "up" else migration.rollback or ""
    for asked in backfills_in(Path(migration.name), script):
        yield asked, asked.job
    if plan.direction == "up" and migration.backfill is not None:
        for asked in backfills_in(Path(migration.name), migration.backfill):
            yield asked, True


def _sources(plan: Plan) -> list[str]:
    """Return where the database is, and what the plan was made from beside its migrations."""
    sources = plan.sources
    lines = [f"  address    {plan.target.address}"] if plan.target.address else []
    lines += [f"  commit     {sources.commit}"] if sources.commit else []
    lines += [f"  changed    {name}" for name in sources.changed]
    return lines + [f"  file       {name}, {mark[:19]}" for name, mark in sources.files]


def _about(about: About) -> list[str]:
    """Return what a plan's reader should know beside what decides."""
    origin = about.origin
    commit = f" from commit {origin.commit[:12]}" if origin.commit else ""
    run = f", {origin.ci_run}" if origin.ci_run else ""
    lines = [
        f"  made       {about.made_at:%Y-%m-%d %H:%M:%S} UTC by {origin.deployer} on {origin.host}"
        f"{commit}{run}",
        f"  host       {about.host}",
    ]
    lines += [f"  backup to  {about.backup_to}"] if about.backup_to else []
    lines += [f"  {about.models.replace(': ', '     ', 1)}"] if about.models else []
    lines += [f"  table      {_table_size(table)}" for table in about.tables]
    lines += [f"  note       {note}" for note in about.notes]
    return [*lines, *(f"  lint       {finding}" for finding in about.findings)]


def _table_size(table: TableSize) -> str:
    rows = f"about {table.rows:,} rows" if table.rows >= 0 else "not analysed"
    return f"{table.name}: {rows}, {human(table.size)}"


def rehearsal_text(rehearsal: Rehearsal) -> str:
    """Return what an approver reads of a rehearsal: a line for each migration, and its alarms."""
    digest = rehearsal.plan_digest[:12]
    title = f"rehearsal of plan {digest} on a copy of backup {rehearsal.backup}"
    lines = [title, *_aligned(REHEARSED, rehearsed_rows(rehearsal))]
    if rows := waiting_rows(rehearsal):
        lines += _aligned(WAITING, rows)
    lines += waiting_notes(rehearsal)
    return "\n".join([*lines, *rehearsal_notes(rehearsal), forecast_text(rehearsal)])


def _aligned(head: tuple[str, ...], cells: list[tuple[str, ...]]) -> list[str]:
    rows = [head, *cells]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def forecast_text(rehearsal: Rehearsal) -> str:
    """Return how long a deployment, and a restore, would take."""
    estimate = forecast(rehearsal)
    return (
        f"forecast: a deployment takes {seconds(estimate.deployment)} and the restart, "
        f"a restore {seconds(estimate.restore)}"
    )


REHEARSED = (
    "migration",
    "time",
    "who waits, and how long",
    "rewrite",
    "full scan",
    "WAL",
    "rollback",
)


WAITING = ("relation", "what waits", "how long, and how often", "because of")


def waiting_rows(rehearsal: Rehearsal) -> list[tuple[str, ...]]:
    """Return a line for each relation that anybody waits for, under `WAITING`, busiest first."""
    return [_waiting(line) for line in waiting(rehearsal)]


def _waiting(line: Waiting) -> tuple[str, ...]:
    lock = line.lock
    others = f", and {line.others} more, {duration(line.seconds)} in all" if line.others else ""
    return (
        line.relation,
        lock.blocks,
        f"{duration(lock.seconds)} ({line.known}) × {_how_often(line)}",
        f"{lock.mode.removesuffix('Lock')} of {lock.statement.where}{others}",
    )


def _how_often(line: Waiting) -> str:
    """Return how many wait: the calls a minute, else the least that the table's counters say."""
    activity = line.activity
    if activity is None:
        return "calls not known"
    known = "measured" if activity.measured else "inferred"
    if activity.calls is not None:
        known = "inferred" if activity.shared else known
        return f"{activity.calls:,.0f} calls/min ({known})"
    return f"{activity.traffic:,.0f} scans and changed rows/min ({known}), calls not known"


def waiting_notes(rehearsal: Rehearsal) -> list[str]:
    """Return what the table of who waits rests on, and what a copy cannot know."""
    lines = [f"not known: {reason}" for reason in rehearsal.not_seen]
    if not waiting(rehearsal):
        return lines
    return [
        *lines,
        "measured: seen on the copy, or counted on the live server meanwhile; inferred: the time "
        "of a whole statement, rows by statistics, an average since the counters began, calls "
        "that tables of one name share",
        "assumed: nobody else works on the copy, and it does not wait for its disk, so each time "
        "may be longer live; before it, a try waits for its locks for one rung of lock.timeout at "
        "most",
    ]


def rehearsed_rows(rehearsal: Rehearsal) -> list[tuple[str, ...]]:
    """Return the cells of each migration, under `REHEARSED`."""
    busiest = [line.relation for line in waiting(rehearsal)]
    return [_rehearsed(migration, busiest) for migration in rehearsal.migrations]


def _who_waits(migration: Rehearsed, busiest: list[str]) -> str:
    """Return the longest lock of the busiest relation of a migration, and that there are others."""
    locks = sorted(blocking_locks(migration), key=lambda lock: busiest.index(lock.relation))
    if not locks:
        return "–"
    first = locks[0]
    tables = len({lock.relation for lock in locks})
    more = f"; {tables} relations, below" if tables > 1 else ""
    mode = first.mode.removesuffix("Lock")
    return f"{mode} on {first.relation}: {first.blocks}, {duration(first.seconds)}{more}"


def _rehearsed(migration: Rehearsed, busiest: list[str]) -> tuple[str, ...]:
    """Return the cells of a migration; what it did not do is a dash."""
    rewrites = {name for statement in migration.statements for name in statement.rewrites}
    scans = {name for statement in migration.statements for name, _ in statement.scans}
    unseen = (
        () if all(statement.scans_seen for statement in migration.statements) else ("not seen",)
    )
    wal = sum(statement.wal for statement in migration.statements)
    together = " with others" if migration.proven_with else ""
    rollback = (
        f"proven{together}, {duration(migration.rollback_seconds)}"
        if migration.rolled_back
        else migration.not_rolled_back
    )
    return (
        migration.name,
        duration(migration.seconds),
        _who_waits(migration, busiest),
        ", ".join(sorted(rewrites)) or "–",
        ", ".join([*sorted(scans), *unseen]) or "–",
        human(wal),
        rollback,
    )


def _batches(statement: Traced) -> str:
    many = "1 batch" if statement.batches == 1 else f"{statement.batches:,} batches"
    return (
        f"{statement.where}: {many}, {duration(statement.seconds)} at most each; "
        f"{statement.rows_changed:,} rows changed"
    )


def rehearsal_notes(rehearsal: Rehearsal) -> list[str]:
    """Return what ran in batches, what a rollback would lose, and how the service served."""
    lines = []
    for migration in rehearsal.migrations:
        lines += [
            f"{migration.name}: its rollback does not bring back: {what}" for what in migration.lost
        ]
        lines += [f"{migration.name}: its rollback drops {what}" for what in migration.dropped]
        lines += [_batches(statement) for statement in migration.statements if statement.batches]
        if migration.proven_with:
            others = ", ".join(migration.proven_with)
            lines.append(f"{migration.name}: its rollback gives the schema back with {others} only")
    lines += [f"left half done: {left}" for left in rehearsal.leftovers]
    return lines + [trials.line(trial) for trial in rehearsal.service]
