"""The verbs of `invoke` and `windlass`: parse, call, print, exit."""

import sys
from typing import NoReturn

from invoke.collection import Collection
from invoke.exceptions import ParseError
from invoke.program import Program

from ..errors import UNCHANGED
from ..report import runner
from ..report.deployment import error_text
from ..version import __version__
from .backfill import backfill_tasks
from .backup import backup_tasks, restore
from .deploy import approve, deploy, migrate, plan, rehearse, resume, rollback
from .history import baseline, history, identity, repair, stamp, status, unstamp
from .pause import pause
from .project import check, comment, create, doctor, grants, init, lint, schema
from .service import restart, smoke, verify

__all__ = ["main", "ns"]

ns = Collection(
    approve,
    baseline,
    check,
    comment,
    create,
    deploy,
    doctor,
    grants,
    history,
    identity,
    init,
    lint,
    migrate,
    pause,
    plan,
    rehearse,
    repair,
    restart,
    restore,
    resume,
    rollback,
    schema,
    smoke,
    stamp,
    status,
    unstamp,
    verify,
)
ns.add_collection(backfill_tasks)
ns.add_collection(backup_tasks)


class _Windlass(Program):
    """Invoke's own program, but for wrong usage, which exits 2."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Parse the flags before the task's name."""
        try:
            super().parse_core(argv)
        except ParseError as error:
            _usage(error)

    def parse_tasks(self) -> None:
        """Parse the tasks and their flags."""
        try:
            super().parse_tasks()
        except ParseError as error:
            _usage(error)


def _usage(error: ParseError) -> NoReturn:
    text = error_text(str(error), str(UNCHANGED), "windlass --list")
    with runner.attached():
        sys.stderr.write(text + "\n")
    raise SystemExit(2)


def main() -> None:
    """Run the console script."""
    _Windlass(name="windlass", binary="windlass", version=__version__, namespace=ns).run()
