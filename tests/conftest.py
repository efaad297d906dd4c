"""One plugin per real part; each file says what it starts and how it stops it."""

import os
import tempfile

import pytest

from tests import heavy, memory, npm_postgres

# Fifteen hundred databases are made and dropped in one run, and on a disk each takes a quarter
# of a second of the processor, in memory a tenth of that. A TMPDIR that is set is obeyed.
if memory.directory() and "TMPDIR" not in os.environ:
    os.environ["TMPDIR"] = memory.directory()
    tempfile.tempdir = None  # what was asked before is asked anew
# Two thousand processes begin in one run: none of them shall compile our modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# The suite may run in a job of GitHub's; what is tested runs in none, but where a test says so.
for _name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_WORKSPACE"):
    os.environ.pop(_name, None)
# What tests/install-clients has unpacked, after everything else.
os.environ["PATH"] = os.pathsep.join(
    [os.environ["PATH"], *(str(npm_postgres.clients(major)) for major in range(13, 19))]
)

# Files whose single tests take longest: begun last, one worker would be at them alone, and nobody
# can take half a test from it.
LONG = (
    "test_two_hundred_kills.py",
    "test_matrix.py",
    "test_ten_at_once.py",
    "test_engine_prisma.py",
    "test_rehearse.py",
    "test_store_faults.py",
    "test_busy_tables.py",
    "test_backup_everything.py",
    "test_keeping_backups.py",
    "test_restart_compose.py",
    "test_deploy.py",
    "test_deploy_services.py",
    "test_workflows.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the long files first, the longest before the others; the rest stays shuffled."""
    items[:], left_out = heavy.sample(items)
    config.hook.pytest_deselected(items=left_out)
    order = {name: at for at, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_grants",
    "tests.fix_prisma",
    "tests.fix_alembic",
    "tests.fix_migration",
    "tests.fix_s3",
    "tests.fix_faults",
    "tests.fix_pgbouncer",
    "tests.fix_own_server",
    "tests.fix_proxy",
    "tests.fix_ssh",
    "tests.fix_systemd",
    "tests.fix_supervisor",
    "tests.fix_docker",
    "tests.fix_kubernetes",
    "tests.fix_github",
    "tests.forks",
    "tests.fix_unit",
    "tests.fix_attacks",
]
