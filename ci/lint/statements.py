"""What is dangerous in a migration's SQL, found on the parser's tree and in the catalog.

Each statement is judged on the catalog as those before it will have changed it. squawk says what
it knows of what breaks old code. Rules of severity are `severity`'s.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import msgspec
from postgast import pg_query_pb2

from ..database.history_table import HistoryTable
from ..model import Finding
from ..parser import tree
from ..parser.file import SqlFile
from ..parser.tree import Node
from . import indexes, names, pointers, rows, rules, squawk, squawked, written
from .catalog import NOTHING, Catalog, Key, shown
from .columns import Altered, added_column, not_null, retyped
from .constraints import added_constraint, attached, detached, enforced
from .fix import Judged
from .forward import Step, advance, steps
from .passwords import password_remarks
from .privilege import privilege_remarks
from .rule import Remark
from .rules import RULES
from .severity import SMALL
from .transaction import OUT, Held, transaction_remarks
from .unfinished import Begun, unfinished

# By the parser's name of a statement.
ERRORS = {
    "alter_system_stmt": rules.ALTER_SYSTEM,
    "dropdb_stmt": rules.DROP_DATABASE,
    "drop_owned_stmt": rules.DROP_OWNED,
}
# Alter-table subtypes (nodes/parsenodes.h) that copy the table under its strongest lock.
COPIES = {
    "AT_SetLogged": rules.SET_LOGGED,
    "AT_SetUnLogged": rules.SET_UNLOGGED,
    "AT_SetTableSpace": rules.SET_TABLESPACE,
    "AT_SetAccessMethod": rules.SET_ACCESS_METHOD,
}
MADE = "on a table that the same deployment makes"


def lint_files(
    files: Iterable[SqlFile], catalog: Catalog | None, history: Collection[HistoryTable]
) -> tuple[Finding, ...]:
    """Return the findings of files, in the order of their lines, less those they allow.

    One of a statement and rule. An allowance that nothing here needs is a finding of its own.
    Those of tables that the same deployment makes have `counted`, and level note.

    Args:
        files: in running order.
        catalog: what they find; None: no database is known.
        history: the tables that no migration may write to.

    """
    all_, known = tuple(files), catalog or NOTHING
    reports = squawk.squawk_says(all_, known.major)
    left = unfinished(steps(all_, known))
    final = behind(all_, known)
    results: dict[Path, list[Finding]] = {file.path: [] for file in all_}
    for step, remarks in judged(all_, known, final, history):
        results[step.file.path] += _of_step(step, remarks, final)
        results[step.file.path] += [
            _of_squawk(step, each) for each in reports[step.file.path] if each.number == step.number
        ]
    return tuple(
        finding
        for file in all_
        for finding in _allowed(file, [*results[file.path], *_left(left.get(file.path, ()))], known)
    )


def _left(begun: Iterable[Begun]) -> list[Finding]:
    """Return what a file begins, and no file finishes."""
    return [
        Finding(
            level=item.remark.rule.level,
            rule=item.remark.rule.id,
            file=str(item.file),
            line=item.statement.line,
            message=item.remark.message,
            statement=item.statement.line,
            number=item.number + 1,
            table=str(item.statement.node.relation.relname),
        )
        for item in begun
    ]


def behind(files: Iterable[SqlFile], catalog: Catalog) -> Catalog:
    """Return the catalog behind the last of files."""
    for step in steps(files, catalog):
        catalog = step.after
    return catalog


def judged(
    files: Iterable[SqlFile],
    catalog: Catalog,
    final: Catalog,
    history: Collection[HistoryTable],
) -> Iterator[Judged]:
    """Yield every statement of files with what our rules say of it."""
    held = Held()
    for step in steps(files, catalog):
        held = held if step.number else Held()
        remarks = [
            *password_remarks(step.statement),
            *privilege_remarks(step.statement, history),
            *_remarks(step, final),
        ]
        remarks += transaction_remarks(step, held, remarks)
        held = held.after(step)
        yield Judged(step, tuple(remarks))


def worth_mending(each: Judged) -> Judged:
    """Return a statement with what stops somebody: on a table that serves, and is not small."""
    catalog = each.step.before

    def serves(remark: Remark) -> bool:
        keys = [key for key in remark.works if not catalog.is_made(key)]
        if remark.works and not keys:
            return False
        return not (remark.does and 0 <= catalog.size_of(keys).size < SMALL)

    return each._replace(remarks=tuple(filter(serves, each.remarks)))


def _of_step(step: Step, remarks: Iterable[Remark], final: Catalog) -> Iterator[Finding]:
    by_rule: dict[str, list[Remark]] = {}
    for remark in remarks:
        by_rule.setdefault(remark.rule.id, []).append(remark)
    yield from (_finding(step, several, final) for several in by_rule.values())


def _finding(step: Step, remarks: list[Remark], final: Catalog) -> Finding:
    """Return one finding of what a rule says of a statement, however often it does."""
    first = remarks[0]
    serving = tuple(
        dict.fromkeys(
            key for remark in remarks for key in remark.works if not step.before.is_made(key)
        )
    )
    works = tuple(key for remark in remarks for key in remark.works)
    counted = MADE if works and not serving else ""
    messages = tuple(dict.fromkeys(remark.message for remark in remarks))
    more = f"; and {len(messages) - 1} more like it" if len(messages) > 1 else ""
    size, rows_ = step.before.size_of(serving)
    return Finding(
        level="note" if counted else first.rule.level,
        rule=first.rule.id,
        file=str(step.file.path),
        line=step.statement.line,
        message=f"{first.message}{more}",
        statement=step.statement.line,
        number=step.number + 1,
        table=works[0][1] if works else "",
        relation=shown(_largest(step.before, serving)) if serving else "",
        does=first.does,
        size=size,
        rows=rows_,
        counted=counted,
        instead="" if counted else written.instead(step, remarks, final),
    )


def _largest(catalog: Catalog, keys: tuple[Key, ...]) -> Key:
    """Return the table that the size is mostly of; the first where that is not known."""
    return max(keys, key=lambda key: catalog.size_of([key]).size)


def _of_squawk(step: Step, report: squawk.Said) -> Finding:
    keys = squawked.named(step)
    made = bool(keys) and all(step.before.is_made(key) for key in keys)
    gone = bool(keys) and step.before.live and not any(key in step.before.tables for key in keys)
    broken = report.rule == squawk.SYNTAX_ERROR
    counted = MADE if made else "on a table that is not there" if gone else ""
    if not counted and squawked.is_harmless(step, report.rule):
        counted = "harmless by the catalog"
    return Finding(
        level=rules.OPAQUE.level if broken else "note" if counted else "warning",
        rule=rules.OPAQUE.id if broken else report.rule,
        file=str(step.file.path),
        line=report.line,
        message=f"squawk cannot read it: {report.message}" if broken else _pointed(step, report),
        statement=step.statement.line,
        number=step.number + 1,
        table=keys[0][1] if keys else "",
        relation=shown(keys[0]) if keys and keys[0] in step.before.tables else "",
        counted="" if broken else counted,
    )


def _pointed(step: Step, report: squawk.Said) -> str:
    """Return what squawk says, with the recipe that writes the change for old and new code."""
    call = pointers.of_squawk(step, report.rule)
    return f"{report.message}: {call}" if call else report.message


def _allowed(file: SqlFile, results: list[Finding], catalog: Catalog) -> list[Finding]:
    """Return what a file does not allow, by line, and what it allows for nothing."""
    first: dict[int, int] = {}
    for number, statement in enumerate(file.statements, 1):
        first.setdefault(statement.line, number)

    def covered(finding: Finding) -> bool:
        # Above a line an allowance is for the statement that begins there, not for one behind it.
        return any(
            item.covers(finding.rule, finding.statement)
            and (not item.statement or finding.number in (0, first.get(item.statement, 0)))
            for item in file.allowed
        )

    kept = _of_one_transaction([finding for finding in results if not covered(finding)])
    stale = _stale(file, results, catalog)
    return sorted([*kept, *stale], key=lambda finding: (finding.line, finding.number))


def _of_one_transaction(results: list[Finding]) -> list[Finding]:
    """Return one finding of what stands in one transaction: the first, which names the others."""
    kept: list[Finding] = []
    for finding in results:
        rule = RULES.get(finding.rule)
        if rule is None or not rule.apart or finding.counted:
            kept.append(finding)
            continue
        alike = [f for f in results if f.rule == finding.rule and not f.counted]
        if alike[0] is finding:
            lines = ", ".join(dict.fromkeys(str(f.line) for f in alike[1:]))
            more = f"; so do lines {lines}" if lines else ""
            kept.append(msgspec.structs.replace(finding, message=f"{finding.message}{more}"))
    return kept


def _stale(file: SqlFile, results: Iterable[Finding], catalog: Catalog) -> Iterator[Finding]:
    later = {
        rule.id for rule in RULES.values() if rule.later or (rule.catalog and not catalog.live)
    }
    for allowed in file.allowed:
        needed = any(allowed.covers(finding.rule, finding.statement) for finding in results)
        if not needed and allowed.rule not in later:
            yield Finding(
                level=rules.STALE_ALLOW.level,
                rule=rules.STALE_ALLOW.id,
                file=str(file.path),
                line=allowed.line,
                message=rules.STALE_ALLOW.says(rule=allowed.rule).message,
            )


def _remarks(step: Step, final: Catalog) -> Iterator[Remark]:
    statement, catalog = step.statement, step.before
    if statement.kind in ERRORS:
        yield ERRORS[statement.kind].says()
    if hidden := rows.hidden(statement, catalog):
        yield rules.OPAQUE.says(why=hidden)
    if statement.kind == "alter_table_stmt":
        yield from _alterations(step, final)
    elif statement.kind in JUDGED:
        yield from JUDGED[statement.kind](statement.node, catalog)
    if statement.backfill is None:  # which runs in batches
        yield from rows.every_row(statement, catalog)


def _alterations(step: Step, final: Catalog) -> Iterator[Remark]:
    """Judge each command on what those before it in the same statement leave."""
    node, catalog = step.statement.node, step.before
    if node.objtype == pg_query_pb2.ObjectType.OBJECT_INDEX:
        yield from indexes.altered_index(node, catalog)
    if node.objtype not in (
        pg_query_pb2.ObjectType.OBJECT_TABLE,
        pg_query_pb2.ObjectType.OBJECT_MATVIEW,
    ):
        return
    key = names.key_of(node.relation, catalog)
    if node.missing_ok and catalog.live and key not in catalog.tables:
        return
    for cmd in tree.commands(node):
        table = catalog.tables.get(key)
        altered = Altered(cmd, key, table, catalog, recurses=bool(node.relation.inh))
        for remark in _of_command(altered, final):
            yield remark._replace(cmd=cmd)
        catalog = advance(catalog, "alter_table_stmt", written.with_commands(node, cmd))


def _of_command(altered: Altered, final: Catalog) -> Iterator[Remark]:
    subtype = tree.subtype(altered.cmd)
    if subtype in COPIES:
        yield COPIES[subtype].says(altered.key)
    elif subtype in COMMANDS:
        yield from COMMANDS[subtype](altered)
    elif subtype == "AT_AddConstraint":
        yield from added_constraint(altered, final)


def _set_not_null(altered: Altered) -> Iterator[Remark]:
    yield from not_null(altered, str(altered.cmd.name))


def _set_expression(altered: Altered) -> Iterator[Remark]:
    yield rules.ADD_GENERATED.says(*altered.members)


COMMANDS: dict[str, Callable[[Altered], Iterator[Remark]]] = {
    "AT_AddColumn": added_column,
    "AT_AlterColumnType": retyped,
    "AT_SetNotNull": _set_not_null,
    "AT_AttachPartition": attached,
    "AT_DetachPartition": detached,
    "AT_SetExpression": _set_expression,
    "AT_AlterConstraint": enforced,
}


def _truncated(node: Node, catalog: Catalog) -> Iterator[Remark]:
    keys = [names.key_of(item.range_var, catalog) for item in node.relations]
    yield rules.TRUNCATE.says(*keys)


def _clustered(node: Node, catalog: Catalog) -> Iterator[Remark]:
    own = [names.key_of(node.relation, catalog)] if node.HasField("relation") else []
    yield rules.CLUSTER.says(*own)


def _vacuumed(node: Node, catalog: Catalog) -> Iterator[Remark]:
    if any(o.def_elem.defname == "full" and rows.is_on(o.def_elem) for o in node.options):
        keys = [names.key_of(r.vacuum_relation.relation, catalog) for r in node.rels]
        yield rules.VACUUM_FULL.says(*keys)


def _locked(node: Node, catalog: Catalog) -> Iterator[Remark]:
    if node.mode in OUT:
        yield rules.LOCK_TABLE.says(*(names.key_of(r.range_var, catalog) for r in node.relations))


def _moved(_: Node, __: Catalog) -> Iterator[Remark]:
    yield rules.SET_TABLESPACE.says()


def _refreshed(node: Node, catalog: Catalog) -> Iterator[Remark]:
    if not node.concurrent:
        yield rules.REFRESH_LOCKS.says(names.key_of(node.relation, catalog))


def _domain(node: Node, catalog: Catalog) -> Iterator[Remark]:
    """Say which tables ALTER DOMAIN reads; VALIDATE keeps writers out too, but of some 18.x."""
    constraint = getattr(node, "def").constraint
    reads = {"O": True, "C": not constraint.skip_validation, "V": True}
    key = catalog.type_key(names.texts(node.type_name), catalog.domains)
    if not reads.get(node.subtype, False):
        return
    shown_type = ".".join(key) if key is not None else ""
    users = [
        table
        for table, value in catalog.tables.items()
        if any(column.type == shown_type for column in value.columns.values())
    ]
    if users or not catalog.live:
        yield rules.DOMAIN_SCAN.says(*users)


def _dropped(node: Node, catalog: Catalog) -> Iterator[Remark]:
    if node.remove_type == pg_query_pb2.ObjectType.OBJECT_INDEX:
        yield from indexes.dropped_index(node, catalog)


def _extension(node: Node, catalog: Catalog) -> Iterator[Remark]:
    if catalog.extensions is not None and str(node.extname) not in catalog.extensions:
        yield rules.EXTENSION_MISSING.says(name=str(node.extname))


JUDGED: dict[str, Callable[[Node, Catalog], Iterator[Remark]]] = {
    "truncate_stmt": _truncated,
    "cluster_stmt": _clustered,
    "vacuum_stmt": _vacuumed,
    "lock_stmt": _locked,
    "alter_table_move_all_stmt": _moved,
    "refresh_mat_view_stmt": _refreshed,
    "alter_domain_stmt": _domain,
    "index_stmt": indexes.created_index,
    "drop_stmt": _dropped,
    "reindex_stmt": indexes.rebuilt_index,
    "create_extension_stmt": _extension,
}
