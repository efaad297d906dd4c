"""What to write instead of one statement: its rewrites and what stays of it, as SQL. Pure."""

from collections.abc import Iterable

from ..parser import tree
from ..parser.tree import Node
from . import inverse
from .catalog import Catalog
from .forward import Step
from .rule import Remark, Script, Subject


def instead(step: Step, remarks: Iterable[Remark], final: Catalog) -> str:
    """Return what to write instead of what these remarks are about, as a text to paste; or nothing.

    A comment stands above each file but the first.
    """
    scripts = [script for remark in remarks for script in _of(step, remark, final)]
    texts = ["".join(f"{sql};\n" for sql in script.sql) for script in scripts]
    return "".join(
        f"-- a migration of its own: {script.about}\n{text}" if number else text
        for number, (script, text) in enumerate(zip(scripts, texts, strict=True))
    )


def _of(step: Step, remark: Remark, final: Catalog) -> tuple[Script, ...]:
    if remark.rule.rewrite is None:
        return ()
    return remark.rule.rewrite(Subject(step, remark.cmd, final))


def scripts_of(step: Step, remarks: tuple[Remark, ...], final: Catalog) -> tuple[Script, ...]:
    """Return the files to write instead of a statement; none where no remark has a rewrite.

    Of an ALTER TABLE the commands that nothing is said of come first, in a file of theirs.
    """
    if not any(_of(step, remark, final) for remark in remarks):
        return ()
    if step.statement.kind != "alter_table_stmt":
        written = (_of(step, remark, final) for remark in remarks)
        return next(several for several in written if several)
    scripts: list[Script] = []
    kept: list[Node] = []
    for cmd in tree.commands(step.statement.node):
        about = [remark for remark in remarks if remark.cmd == cmd]
        parts = [(remark, _of(step, remark, final)) for remark in about]
        scripts += [script for _, several in parts for script in several]
        if all(remark.rule.keeps or not several for remark, several in parts):
            kept.append(cmd)
    if not kept:
        return tuple(scripts)
    node = with_commands(step.statement.node, *kept)
    first = Script(
        "",
        (tree.sql("alter_table_stmt", node),),
        inverse.of("alter_table_stmt", node, step.before),
    )
    return (first, *scripts)


def with_commands(node: Node, *cmds: Node) -> Node:
    """Return an ALTER TABLE with these commands alone."""
    changed = type(node)()
    changed.CopyFrom(node)
    del changed.cmds[:]
    for cmd in cmds:
        changed.cmds.add().alter_table_cmd.CopyFrom(cmd)
    return changed
