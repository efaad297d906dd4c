"""One plugin per real part; each file says what it starts and how it stops it."""

import os

from tests import npm_postgres

# What tests/install-clients has unpacked, after everything else.
os.environ["PATH"] = os.pathsep.join(
    [os.environ["PATH"], *(str(npm_postgres.clients(major)) for major in range(13, 19))]
)

pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_migration",
    "tests.fix_s3",
    "tests.fix_faults",
    "tests.fix_pgbouncer",
    "tests.fix_proxy",
    "tests.fix_systemd",
    "tests.fix_docker",
    "tests.fix_kubernetes",
    "tests.forks",
]
