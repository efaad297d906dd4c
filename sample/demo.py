"""`make demo`: the sample project deployed to dev, UAT and production, for real.

An embedded PostgreSQL with three databases, a directory for backups, the sample API behind two of
them. Everything lives in one temporary directory and is gone at the end.
"""

import os
import pty
import pwd
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from pgwindlass.postgres.embedded import running
from sample.data import fill


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ROOT = Path(__file__).resolve().parent.parent
BASE = "20260801_090000_create_base_tables"
ENVIRONMENTS = ("dev", "uat", "production")
TOKEN = "demo-smoke-token"  # a made-up one, for a server that lives half a minute
PORTS = {"uat": free_port(), "production": free_port()}

DEPLOY_YML = """\
project: todo-backend

backups:
  to: file://{home}/backups

environments:
  dev:
    tier: development
    database: ${{DEV_DATABASE_URL}}

  uat:
    tier: acceptance
    database: ${{UAT_DATABASE_URL}}
    restart: &restart
      with: command
      environment: [PYTHONPATH]
      run: [{python}, -m, sample.service, restart, {home}/uat]
      identity: [{python}, -m, sample.service, identity, {home}/uat]
      settle: 500ms
    smoke: &smoke
      base_url: http://127.0.0.1:{uat}
      deadline: 4s
      pause: 100ms
      checks:
        - {{get: /health, expect: {{json: {{status: ok}}}}}}
        - post: /api/chat
          bearer: ${{SMOKE_TOKEN}}
          json: {{conversation_id: smoke, message: List my tasks}}
          expect: {{status: 200, within: 2s}}

  production:
    tier: production
    database: ${{PRODUCTION_DATABASE_URL}}
    approval: {{from: terminal}}
    signing: {{signers: "{home}/backup-signers", key_file: "{home}/backup-key"}}
    restart:
      <<: *restart
      run: [{python}, -m, sample.service, restart, {home}/production]
      identity: [{python}, -m, sample.service, identity, {home}/production]
    smoke: {{<<: *smoke, base_url: "http://127.0.0.1:{production}"}}
    on_failure: rollback
"""

# What a hurried colleague pushes on Friday: the API still reads messages.content.
BAD = "20260814_163000_rename_message_content"
BAD_FILES = {
    f"{BAD}.sql": "-- Migration: rename_message_content\n-- Created: 2026-08-14\n"
    "-- Description: a better name\n\nBEGIN;\n"
    "ALTER TABLE messages RENAME COLUMN content TO body;\nCOMMIT;\n",
    f"{BAD}_rollback.sql": "-- Rollback: rename_message_content\n\nBEGIN;\n"
    "ALTER TABLE messages RENAME COLUMN body TO content;\nCOMMIT;\n",
}


def main() -> int:
    """Run the demonstration; the exit status is 0 when everything went as it should."""
    if not _has_name():
        print(f"the user {os.geteuid()} has no entry in /etc/passwd: ssh-keygen refuses to sign")
        return 1
    started = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="windlass-demo-"))
    home.chmod(0o755)
    try:
        with running(home / "pg") as server, _services(home):
            urls = _databases(server.reveal())
            _project(home, urls)
            env = _environment(urls)
            _show(home, env)
    finally:
        shutil.rmtree(home)
    print(f"\neverything in {time.monotonic() - started:.0f} s; nothing is left running")
    return 0


def _has_name() -> bool:
    try:
        return bool(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return False


def _show(home: Path, env: dict[str, str]) -> None:
    for name in PORTS:
        _service("start", home, name, env)
    _say("What is pending today")
    _windlass(home, env, "status", "--env", "production", expect=1)
    _say("dev migrates by itself")
    _windlass(home, env, "deploy", "--env", "dev")
    _say("UAT: backup first, then migrate, restart, smoke test")
    _windlass(home, env, "deploy", "--env", "uat", "--yes")
    _say("production without a terminal: refused")
    _windlass(home, env, "deploy", "--env", "production", expect=3)
    _say("production, approved at a terminal")
    _windlass(home, env, "deploy", "--env", "production", answer="production")
    _say("Friday afternoon: a migration that breaks the API. The smoke test fails; it rolls back")
    for name, text in BAD_FILES.items():
        (home / "project" / "migrations" / name).write_text(text)
    _windlass(home, env, "deploy", "--env", "production", answer="production", expect=4)
    for name in BAD_FILES:
        (home / "project" / "migrations" / name).unlink()
    _say("Can the newest backup be restored? A drill says so, and how long it takes")
    _windlass(home, env, "backup.drill", "--env", "production")
    _say("What production is left with")
    _windlass(home, env, "status", "--env", "production")
    _windlass(home, env, "smoke", "--env", "production")
    _windlass(home, env, "backup.list", "--env", "production")
    _windlass(home, env, "history", "--env", "production")


def _databases(url: str) -> dict[str, str]:
    """Make the three databases as a team with its own SQL runner has them, with rows in them."""
    urls = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ENVIRONMENTS:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            urls[name] = url.replace("/postgres?", f"/{name}?")
    base = (ROOT / "migrations" / f"{BASE}.sql").read_text()
    for own in urls.values():
        with psycopg.connect(own, autocommit=True) as connection:
            connection.execute(base.encode())
            connection.execute(
                "create table schema_migrations (migration_name text primary key, "
                "checksum text, applied_at timestamptz not null default now())"
            )
            connection.execute(
                "insert into schema_migrations (migration_name) values (%s)", (BASE,)
            )
            fill(connection, rows=10_000)
    return urls


def _project(home: Path, urls: dict[str, str]) -> None:
    project = home / "project"
    project.mkdir()
    shutil.copytree(ROOT / "migrations", project / "migrations")
    (project / "deploy.yml").write_text(
        DEPLOY_YML.format(home=home, python=sys.executable, **PORTS)
    )
    key = home / "backup-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (home / "backup-signers").write_text(f"production {key.with_suffix('.pub').read_text()}")
    for name, port in PORTS.items():
        (home / name).mkdir()
        (home / name / "environment").write_text(
            f"DATABASE_URL={urls[name]}\nPORT={port}\nSMOKE_TOKEN={TOKEN}\n"
        )


def _environment(urls: dict[str, str]) -> dict[str, str]:
    variables = {f"{name.upper()}_DATABASE_URL": url for name, url in urls.items()}
    return {
        **os.environ,
        **variables,
        "SMOKE_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
        # Where no one watches, a moving line would only fill the log.
        "TERM": os.environ.get("TERM", "dumb") if sys.stdout.isatty() else "dumb",
        "COLUMNS": "120",
    }


def _service(action: str, home: Path, name: str, env: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "sample.service", action, str(home / name)], env=env, check=True
    )


@contextmanager
def _services(home: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for name in PORTS:
            if (home / name).exists():
                _service("stop", home, name, {**os.environ, "PYTHONPATH": str(ROOT)})


def _windlass(
    home: Path, env: dict[str, str], *arguments: str, answer: str = "", expect: int = 0
) -> None:
    """Run a task as a person would; `answer` is what they type at a real (pseudo) terminal."""
    program = Path(sys.executable).with_name("windlass")
    print(f"$ windlass {' '.join(arguments)}", flush=True)
    argv = [str(program), *arguments]
    if answer:
        code = _at_a_terminal(argv, home / "project", env, answer)
    else:
        code = subprocess.run(
            argv, cwd=home / "project", env=env, stdin=subprocess.DEVNULL, check=False
        ).returncode
    print(f"(exit {code})\n", flush=True)
    if code != expect:
        raise SystemExit(f"windlass {' '.join(arguments)} exited {code}, expected {expect}")


def _at_a_terminal(argv: list[str], cwd: Path, env: dict[str, str], answer: str) -> int:
    primary, secondary = pty.openpty()
    child = subprocess.Popen(
        argv, cwd=cwd, env=env, stdin=secondary, stdout=secondary, stderr=secondary, close_fds=True
    )
    os.close(secondary)
    seen = b""
    while True:
        ready, _, _ = select.select([primary], [], [], 60)
        try:
            chunk = os.read(primary, 65536) if ready else b""
        except OSError:  # Linux says EIO when the other end is closed
            chunk = b""
        if not chunk:
            break
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
        seen += chunk
        if b"approve exactly this: " in seen and answer:
            os.write(primary, f"{answer}\n".encode())
            answer = ""
    os.close(primary)
    return child.wait()


def _say(text: str) -> None:
    print(f"── {text} {'─' * max(3, 90 - len(text))}\n", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
