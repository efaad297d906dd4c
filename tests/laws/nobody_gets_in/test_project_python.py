"""Before an approval a project's Python has nothing to steal, and leaves nothing for later.

A spy stands where nobody looked yet: in env.py, in a revision, and in the models they import. It
writes down what it sees, and tries every way to the environment's database.
"""

import json
import os
import py_compile
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pgwindlass.config.sections import MigrationsConfig
from pgwindlass.database.connection import Database
from pgwindlass.engines import open_engine
from pgwindlass.engines.alembic.pipe import Child, Installation
from pgwindlass.errors import Refused, WindlassError
from pgwindlass.secret import Secret
from tests.fix_alembic import PYTHON, AlembicProject, project_of
from tests.fix_postgres import Server
from tests.kit import WINDLASS, Ran
from tests.test_checking import commit

pytestmark = [pytest.mark.attack, pytest.mark.sampled(4)]

Make = Callable[..., AlembicProject]
FIRST = "1a2b3c4d5e6f"
APPLICATIONS = {  # what deploy.yml names: the application's settings ask for it
    "SECRET_KEY": "the-application-signs-with-this",
    "SENTRY_DSN": "https://0123456789abcdef@sentry.example/7",
    "CACHE": "redis://:a-password-of-a-cache@cache.internal/0",
}
SECRETS = APPLICATIONS | {
    "PRODUCTION_DATABASE_URL": "postgresql://deployer:hunter2-of-production@db.internal/shop",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG-bPxRfiCY",
    "AGE_IDENTITY": "AGE-SECRET-KEY-1QQQQQQQQQQQQ",
    "GITHUB_TOKEN": "ghs_0123456789abcdefABCDEF",
    "PGPASSWORD": "a-password-of-libpq",
}
SPY = """
def _spy(place):
    import builtins, json, os
    environ = dict(os.environ)
    found = {{"place": place, "pid": os.getpid(), "environ": environ}}
    found["left"] = getattr(builtins, "left_by", None)
    builtins.left_by = os.getpid()
    try:
        with open(f"/proc/{{os.getppid()}}/environ", "rb") as file:
            found["parent"] = file.read().decode(errors="replace")
    except OSError:
        found["parent"] = ""
    import psycopg
    url = environ.get("DATABASE_URL", "").replace("+psycopg", "")
    for way, target in {{"url": url, "variables": "", "service": "service=live"}}.items():
        try:
            with psycopg.connect(target, connect_timeout=2, autocommit=True) as connection:
                found[way] = connection.execute("select current_database()").fetchone()[0]
                if environ.get("SECRET_KEY") != {key!r}:
                    connection.execute("create table if not exists stolen (i int)")
        except Exception:
            found[way] = ""
    with open({loot!r}, "a") as file:
        file.write(json.dumps(found) + "\\n")
_spy({place!r})
"""
PLACES = ("alembic/env.py", "alembic/versions/second_test.py", "app/models.py")


@dataclass(frozen=True)
class Loot:
    """What the spies of one run saw, and whether one of them wrote into the database."""

    ran: Ran
    found: list[dict[str, Any]]
    wrote: bool


@dataclass
class Attacked:
    """A project with one revision applied, one pending, spies, and an environment of secrets."""

    made: AlembicProject
    loot: Path
    seen: dict[str, Loot] = field(default_factory=dict)

    @property
    def database(self) -> str:
        return self.made.project.url.partition("@/")[2].partition("?")[0]

    def place_spies(self) -> None:
        for place in PLACES:
            file = self.made.backend / place
            text = SPY.format(loot=str(self.loot), place=place, key=APPLICATIONS["SECRET_KEY"])
            file.write_text(file.read_text() + text)

    def during(self, *arguments: str) -> Loot:
        """Run a verb, and return what the spies saw."""
        self.loot.unlink(missing_ok=True)
        ran = self.made.project.run(*arguments)
        lines = self.loot.read_text().splitlines() if self.loot.exists() else []
        wrote = self.made.sql("select to_regclass('stolen') is not null") == [(True,)]
        return Loot(ran, [json.loads(line) for line in lines], wrote)

    def once(self, verb: str) -> Loot:
        """Return the same of a verb that was run before, or now."""
        if verb not in self.seen:
            before = set(self.made.versions.iterdir())
            self.seen[verb] = self.during(*VERBS[verb])
            for written in set(self.made.versions.iterdir()) - before:
                written.unlink()
        return self.seen[verb]


def attacked_project(home: Path, database: Database) -> Attacked:
    made = project_of("error_events", home / "shop", database)
    assert made.project.run("migrate", "--env", "dev").code == 0
    names = [*APPLICATIONS, "APP_ENV", "NOT_SET"]
    made.set("  url_variable:", f"  environment: [{', '.join(names)}]\n  url_variable:")
    commit(made.project)
    made.revision(
        "second",
        FIRST,
        'op.add_column("error_events", sa.Column("note", sa.Text()))',
        'op.drop_column("error_events", "note")',
    )
    parameters = database.parameters()
    service = home / "service.conf"
    service.write_text(f"[live]\nhost={parameters['host']}\ndbname={database.name}\n")
    passwords = home / "passwords"
    passwords.write_text("*:*:*:*:a-password-of-a-file\n")
    passwords.chmod(stat.S_IRUSR)
    made.project.env = SECRETS | {
        "APP_ENV": "staging",
        "PGHOST": parameters["host"],
        "PGDATABASE": database.name,
        "PGUSER": "postgres",
        "PGPASSFILE": str(passwords),
        "PGSERVICEFILE": str(service),
        "WINDLASS_SANDBOX": "off",  # what holds without one
    }
    found = Attacked(made, home / "shop" / "loot")
    found.place_spies()
    return found


@pytest.fixture(scope="module")
def attacked(
    tmp_path_factory: pytest.TempPathFactory, servers: Callable[[int], Server]
) -> Iterator[Attacked]:
    """The project that each verb reads; none of them changes its database."""
    server, name = servers(16), f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    database = Database(url=Secret(server.url(name)), deployment_id="test")
    yield attacked_project(tmp_path_factory.mktemp("attacked"), database)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


VERBS = {
    "plan": ("plan", "--env", "uat"),
    "plan --rehearse": ("plan", "--env", "uat", "--rehearse"),
    "check": ("check", "--base", "HEAD"),
    "lint": ("lint",),
    "status": ("status", "--env", "production"),
    "doctor": ("doctor", "--env", "production"),
    "create": ("create", "--name", "empty"),
    "deploy, refused": ("deploy", "--env", "production"),
}
CODES = {"deploy, refused": 3, "status": 1}


@pytest.mark.parametrize("verb", VERBS)
class TestWhatIsReadBeforeAnApproval:
    """Each verb that reads the project, and what the spies tried meanwhile."""

    def test_it_sees_no_secret(self, attacked: Attacked, verb: str) -> None:
        loot = attacked.once(verb)

        assert loot.ran.code == CODES.get(verb, 0), loot.ran.err
        assert loot.found
        for found in loot.found:
            text = json.dumps(found["environ"])
            assert [name for name, value in SECRETS.items() if value in text] == []
            assert not found["environ"].keys() & {"PGSERVICEFILE", "AGE_IDENTITY"}
            # A copy's address names a file that is nowhere, so that libpq reads no other.
            assert found["environ"].get("PGPASSFILE", "/nonexistent") == "/nonexistent"
            assert found["environ"]["HOME"] != os.environ.get("HOME")

    def test_it_sees_no_address(self, attacked: Attacked, verb: str) -> None:
        for found in attacked.once(verb).found:
            assert attacked.database not in json.dumps(found)

    def test_it_reaches_no_live_database(self, attacked: Attacked, verb: str) -> None:
        for found in attacked.once(verb).found:
            ways = {way: found[way] for way in ("url", "variables", "service")}
            assert attacked.database not in ways.values()

    def test_it_writes_into_no_live_database(self, attacked: Attacked, verb: str) -> None:
        assert not attacked.once(verb).wrote


@pytest.mark.parametrize(
    "arguments",
    [
        ("history", "--env", "production"),
        ("approve", "--env", "production", "--plan", "none.json"),
        ("backup.list", "--env", "production"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_verb_that_needs_no_revision_starts_no_code_of_the_project(
    attacked: Attacked, arguments: tuple[str, ...]
) -> None:
    assert attacked.during(*arguments).found == []


def test_what_the_settings_of_an_application_check_is_there_without_the_secret(
    attacked: Attacked,
) -> None:
    seen = attacked.once("plan").found[0]["environ"]

    assert seen["APP_ENV"] == "staging"
    assert len(seen["SECRET_KEY"]) >= 32
    assert seen["SENTRY_DSN"].startswith("https://placeholder:")
    assert seen["CACHE"].startswith("redis://placeholder:")
    assert "NOT_SET" not in seen


def test_the_environment_of_the_program_that_started_it_is_not_to_be_read(
    attacked: Attacked,
) -> None:
    """A real start: the secrets are where the kernel put them."""
    attacked.loot.unlink(missing_ok=True)
    project = attacked.made.project
    subprocess.run(
        [str(WINDLASS), "plan", "--env", "uat"],
        cwd=project.home,
        env=project.variables(),
        check=True,
        capture_output=True,
    )

    found = [json.loads(line) for line in attacked.loot.read_text().splitlines()]
    assert found
    for one in found:
        assert [name for name, value in SECRETS.items() if value in one["parent"]] == []
        assert attacked.database not in one["parent"]


def test_what_was_approved_runs_in_another_process_with_what_it_needs_and_no_more(
    tmp_path: Path, database16: Database
) -> None:
    """Also: what the one that read left in memory is not there, and no thread of its is."""
    attacked = attacked_project(tmp_path, database16)
    waiting = (
        "\nimport threading, time\n"
        "def _wait():\n"
        "    for _ in range(400):\n"
        f"        if os.environ.get('SECRET_KEY') == {APPLICATIONS['SECRET_KEY']!r}:\n"
        f"            open({str(tmp_path / 'caught')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "            return\n"
        "        time.sleep(0.05)\n"
        "import os\nthreading.Thread(target=_wait, daemon=True).start()\n"
    )
    models = attacked.made.backend / "app" / "models.py"
    models.write_text(models.read_text() + waiting)

    loot = attacked.during("migrate", "--env", "dev")

    assert loot.ran.code == 0, loot.ran.err
    assert not loot.wrote
    runs = [one for one in loot.found if one["environ"].get("PGDATABASE") == database16.name]
    running, reading = (
        {one["pid"] for one in loot.found if (one in runs) is wanted} for wanted in (True, False)
    )
    assert running and reading
    for one in runs:
        assert APPLICATIONS.items() <= one["environ"].items()
        others = [v for n, v in SECRETS.items() if n not in APPLICATIONS]
        assert not [value for value in others if value in json.dumps(one["environ"])]
    # The one that runs begins with the listing, before it has an address.
    readers = reading - running
    assert readers
    assert all(one["left"] in (None, one["pid"]) for one in loot.found)
    caught = (tmp_path / "caught").read_text().split() if (tmp_path / "caught").exists() else []
    assert not {int(pid) for pid in caught} & readers


@pytest.fixture
def events(tmp_path: Path, database16: Database) -> AlembicProject:
    """A project whose only revision is pending; its database has no table yet. No sandbox."""
    made = project_of("error_events", tmp_path / "shop", database16)
    made.project.env = {"WINDLASS_SANDBOX": "off"}
    return made


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("app/__init__.py", "OTHER = 1\n"),
        ("sitecustomize.py", "OTHER = 1\n"),
        ("app/models.cpython-311-x86_64-linux-gnu.so", "no library\n"),
        (".env", "DATABASE_URL=elsewhere\n"),
        ("alembic/env.py", None),
    ],
)
def test_what_it_writes_for_the_approved_run_to_find_stops_that_run(
    events: AlembicProject, written: str, text: str | None
) -> None:
    """None: the file is written anew as it was, which leaves its hash as it is."""
    file = events.backend / written
    what = "file.read_text()" if text is None else repr(text)
    append(
        events.backend / "app" / "models.py",
        "import os, pathlib\n"
        f"file = pathlib.Path({str(file)!r})\n"
        f"if 'PGDATABASE' not in os.environ: file.write_text({what})\n",
    )

    ran = events.project.run("migrate", "--env", "dev")

    assert ran.code == 3, ran.err
    assert f"{file} was written while the migrations were read" in ran.error()[0]
    assert "no revision ran" in ran.error()[1]
    assert events.sql("select to_regclass('error_events')") == [(None,)]


@pytest.mark.parametrize(
    "place", ["alembic/versions/1a2b3c4d5e6f_create_error_events.py", "app/models.py"]
)
def test_bytecode_that_an_earlier_run_left_beside_a_text_does_not_run(
    events: AlembicProject, place: str, tmp_path: Path
) -> None:
    text = events.backend / place
    poison = tmp_path / "poison.py"
    poison.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + text.read_text())
    cached = text.parent / "__pycache__" / f"{text.stem}.cpython-311.pyc"
    cached.parent.mkdir(exist_ok=True)
    py_compile.compile(str(poison), cfile=str(cached), dfile=str(text))
    raw = bytearray(cached.read_bytes())
    was = text.stat()
    raw[8:12] = int(was.st_mtime).to_bytes(4, "little")
    raw[12:16] = was.st_size.to_bytes(4, "little")
    cached.write_bytes(bytes(raw))

    ran = events.project.run("migrate", "--env", "dev")

    assert ran.code == 0, ran.err
    assert not (tmp_path / "ran").exists()
    assert events.heads() == [FIRST]


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("other revisions", "Alembic reads other revisions than when the plan was made"),
        ("another table", "env.py keeps the heads in public.mine, and said public.alembic_version"),
    ],
)
def test_who_says_something_else_when_it_is_trusted_is_stopped_before_the_first_statement(
    events: AlembicProject, lie: str, said: str
) -> None:
    events.set("  url_variable:", "  environment: [SECRET_KEY]\n  url_variable:")
    events.project.env |= {"SECRET_KEY": APPLICATIONS["SECRET_KEY"]}
    trusted = f"__import__('os').environ['SECRET_KEY'] == {APPLICATIONS['SECRET_KEY']!r}"
    if lie == "other revisions":
        file = next(events.versions.glob("*.py"))
        append(file, f"\nif {trusted}: revision = 'another'\n")
    else:
        env = events.backend / "alembic" / "env.py"
        env.write_text(
            env.read_text().replace(
                "connection=connection, target_metadata=target_metadata)",
                "connection=connection, target_metadata=target_metadata, "
                f"version_table='mine' if {trusted} else 'alembic_version')",
            )
        )

    ran = events.project.run("migrate", "--env", "dev")

    assert ran.code != 0
    assert said in ran.error()[0]
    assert events.sql("select to_regclass('error_events'), to_regclass('mine')") == [(None, None)]


@pytest.mark.parametrize("where", ["table", "schema", "search_path"])
def test_a_name_that_is_sql_stays_a_name(events: AlembicProject, where: str) -> None:
    events.sql("create table kept (i int)")
    evil = "x\"; drop table kept; --', '"
    env = events.backend / "alembic" / "env.py"
    told = {
        "table": f"version_table={evil!r}",
        "schema": f"version_table_schema={evil!r}",
        "search_path": "",
    }[where]
    text = env.read_text().replace(
        "connection=connection, target_metadata=target_metadata)",
        f"connection=connection, target_metadata=target_metadata, {told})",
    )
    if where == "search_path":
        statement = 'set search_path to "x\'; drop table kept; --"'
        text = text.replace(
            "        context.configure(connection",
            f"        connection.exec_driver_sql({statement!r})\n"
            "        context.configure(connection",
        )
    env.write_text(text)

    ran = events.project.run("status", "--env", "dev")

    assert ran.code == 1, ran.err  # one is pending
    assert events.sql("select to_regclass('kept')::text") == [("kept",)]


ANSWERS = {
    "no JSON": "print('what?')",
    "no object": "print('[1, 2]')",
    "another type": "print(json.dumps({'result': 7}))",
    "an error without its fields": "print(json.dumps({'error': {'kind': 'x'}}))",
    "an event that nobody asked about": "print(json.dumps({'at': 'statement'})); sys.exit()",
    "bytes that are no text": "sys.stdout.buffer.write(b'\\xff\\xfe\\n')",
    "numbers beyond all": "print('{\"result\": ' + '9' * 5000 + '}')",
    "brackets without end": "print('[' * 100000)",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_none_ends_in_three_lines(answer: str, tmp_path: Path) -> None:
    """The project has the pipe in its hands: it can write into it what it wants."""
    python = fake_python(tmp_path, ANSWERS[answer])
    place = Installation(
        ini=tmp_path / "alembic.ini", shown=Path(), python=python, url_variable="DATABASE_URL"
    )

    with pytest.raises(WindlassError) as raised:
        Child(place).ask({"do": "graph"})

    assert raised.value.what and raised.value.state and raised.value.next_step


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "../../../../../../etc/passwd", "link.py", "/etc/hosts.py"]
)
def test_a_file_of_ours_is_not_read_as_a_revision(tmp_path: Path, path: str) -> None:
    """What a revision's file holds is shown in the plan; and the child says where it is."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "alembic.ini").touch()
    (tmp_path / "ours.py").write_text("SECRET = 1\n")
    (tmp_path / "shop" / "link.py").symlink_to(tmp_path / "ours.py")
    (tmp_path / "shop" / "env.py").touch()
    revision = {"revision": "x", "down": [], "depends": [], "labels": [], "message": ""}
    listing = {"revisions": [revision | {"path": path}], "env": "env.py", "directory": "."}
    answer = json.dumps({"result": listing | {"versions": {}}})
    python = fake_python(tmp_path, f"print({answer!r})")
    engine = open_engine(MigrationsConfig(engine="alembic", python=str(python)), tmp_path / "shop")

    with pytest.raises(Refused, match=r"expected a \.py file below"):
        engine.files.list()


def fake_python(directory: Path, answers: str) -> Path:
    """Return a program that answers a request with what it wants."""
    python = directory / "python"
    python.write_text(
        "#!/usr/bin/env python3\nimport json, sys\nprint('{\"ready\": true}', flush=True)\n"
        f"sys.stdin.readline()\n{answers}\n"
    )
    python.chmod(0o755)
    return python


def test_a_fork_that_keeps_the_pipe_and_waits_learns_nothing(
    events: AlembicProject, tmp_path: Path
) -> None:
    """It leaves its group, so that it lives on, and reads the pipe when its parent is gone."""
    append(
        events.backend / "app" / "models.py",
        "import os, select, time\n"
        "parent = os.getpid()\n"
        "if 'PGDATABASE' not in os.environ and not os.environ.get('forked') and os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    out = open({str(tmp_path / 'heard')!r}, 'wb')\n"
        "    while os.getppid() == parent: time.sleep(0.02)\n"
        "    while select.select([0], [], [], 1)[0]:\n"
        "        chunk = os.read(0, 65536)\n"
        "        if not chunk: break\n"
        "        out.write(chunk); out.flush()\n"
        "    out.write(b'END'); out.close(); os._exit(0)\n"
        "os.environ['forked'] = 'yes'\n",
    )

    ran = events.project.run("migrate", "--env", "dev")

    deadline = time.monotonic() + 10
    heard = tmp_path / "heard"
    while not heard.exists() or not heard.read_bytes().endswith(b"END"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert database_name(events).encode() not in heard.read_bytes()
    assert b'"connect"' not in heard.read_bytes()
    assert ran.code in (0, 1), ran.err


def database_name(made: AlembicProject) -> str:
    return made.project.url.partition("@/")[2].partition("?")[0]


TRIES = """
import json, os, pathlib, socket, sys, time
def _tried(what, attempt):
    try:
        return attempt() or ""
    except Exception as error:
        return f"{{type(error).__name__}}"
def _environments():
    texts = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/environ")]
    return "found" if any({secret!r}.encode() in text for text in texts) else ""
def _live():
    with socket.socket(socket.AF_UNIX) as line:
        line.connect({local!r})
        return "connected"
def _network():
    with socket.create_connection(("127.0.0.1", {port}), timeout=2):
        return "connected"
def _write(path):
    pathlib.Path(path).write_text("# written")
    return "written"
def _daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3)
            pathlib.Path({later!r}).write_text("still here")
        os._exit(0)
    return ""
if "PGDATABASE" not in os.environ:
    pathlib.Path({loot!r}).write_text(json.dumps({{
        "the environment of every process": _tried("", _environments),
        "a local socket that it knows": _tried("", _live),
        "the network": _tried("", _network),
        "an installed package": _tried("", lambda: _write({package!r})),
        "a hook of git": _tried("", lambda: _write({hook!r})),
        "deploy.yml": _tried("", lambda: _write({deploy!r})),
        "a file elsewhere": _tried("", lambda: _write({elsewhere!r})),
        "a password of a program": _tried("", lambda: pathlib.Path({password!r}).read_text()),
        "a database of development": _tried("", lambda: " ".join(os.listdir({embedded!r}))),
        "a process that stays": _tried("", _daemon),
    }}))
"""
TRIED = [
    "the environment of every process",
    "a local socket that it knows",
    "the network",
    "an installed package",
    "a hook of git",
    "deploy.yml",
    "a file elsewhere",
    "a password of a program",
    "a database of development",
    "a process that stays",
]


def install(made: AlembicProject) -> Path:
    """Give the project an environment of its own, and return where its packages are."""
    venv = made.project.home / "venv"
    packages = venv / "lib" / "python3" / "site-packages"
    packages.mkdir(parents=True)
    (venv / "bin").mkdir()
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
    python.chmod(0o755)
    text = made.project.deploy_yml.read_text()
    made.project.deploy_yml.write_text(re.sub(r"python: .*", "python: venv/bin/python", text))
    return packages


@pytest.fixture(scope="module")
def boxed(
    tmp_path_factory: pytest.TempPathFactory, servers: Callable[[int], Server]
) -> dict[str, str]:
    """Return what code in a sandbox got by each way, while a plan was made."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here")
    home = tmp_path_factory.mktemp("boxed")
    database = Database(url=Secret(servers(16).url()), deployment_id="test")
    made = project_of("error_events", home / "shop", database)
    commit(made.project)
    packages = install(made)
    (home / "home").mkdir()
    (home / "home" / ".pgpass").write_text("a-password-of-a-program")
    (home / "shop" / ".windlass" / "embedded").mkdir(parents=True)
    local = Path(tempfile.mkdtemp(prefix="wl-socket-", dir="/dev/shm")) / "socket"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(str(local), family=socket.AF_UNIX),
    ):
        append(
            made.backend / "app" / "models.py",
            TRIES.format(
                secret=SECRETS["AWS_SECRET_ACCESS_KEY"],
                local=str(local),
                port=server.getsockname()[1],
                package=str(packages / "evil.pth"),
                hook=str(home / "shop" / ".git" / "hooks" / "post-checkout"),
                deploy=str(made.project.deploy_yml),
                elsewhere=str(home / "elsewhere"),
                password=str(home / "home" / ".pgpass"),
                embedded=str(home / "shop" / ".windlass"),
                later=str(home / "shop" / "later"),
                loot=str(home / "shop" / "loot"),
            ),
        )
        made.project.env = SECRETS | {"HOME": str(home / "home")}
        ran = made.project.run("doctor", "--env", "dev")
        if "does not run here" in ran.out + ran.err:
            pytest.skip("bubblewrap does not run here")
        assert "read in a sandbox" in ran.out, ran.err + ran.out
    shutil.rmtree(local.parent)
    time.sleep(3.5)
    found: dict[str, str] = json.loads((home / "shop" / "loot").read_text())
    # What it wrote into a file system of its own is not written.
    places = {
        "an installed package": packages / "evil.pth",
        "a hook of git": home / "shop" / ".git" / "hooks" / "post-checkout",
        "a file elsewhere": home / "elsewhere",
        "a process that stays": home / "shop" / "later",
    }
    found |= {way: "written" if place.exists() else "" for way, place in places.items()}
    return found | {"deploy.yml": "written" if "# written" in text_of(made) else ""}


def text_of(made: AlembicProject) -> str:
    return made.project.deploy_yml.read_text()


@pytest.mark.parametrize("way", TRIED)
def test_in_a_sandbox_this_leads_nowhere(boxed: dict[str, str], way: str) -> None:
    errors = ("ConnectionRefusedError", "OSError", "FileNotFoundError", "PermissionError")
    assert boxed[way] in ("", *errors)


def test_the_switch_of_the_sandbox_is_the_machines_and_doctor_says_so(
    attacked: Attacked,
) -> None:
    assert "read without a sandbox: WINDLASS_SANDBOX=off" in attacked.once("doctor").ran.out
