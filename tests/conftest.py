"""One plugin per real part; each file says what it starts and how it stops it."""

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
