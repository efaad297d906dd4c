"""Attack: an input that has no end, no bottom or no sense. It ends in three lines, soon."""

import gzip
import itertools
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests
from urllib3 import Retry

from pgwindlass import secret, web
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import Expect, SmokeCheck, SmokeConfig
from pgwindlass.config.yamlfile import read_yaml
from pgwindlass.connections import Exchange, Over, Session
from pgwindlass.database.connection import Database
from pgwindlass.errors import ConfigError, StepFailed
from pgwindlass.github.api import GithubApi
from pgwindlass.parser.file import LARGEST, read_script
from pgwindlass.parser.split import split
from pgwindlass.secret import Secret
from pgwindlass.smoke import run_checks
from tests.fix_runner import Job
from tests.kit import Project, parts

pytestmark = pytest.mark.attack
SOON = 5.0  # seconds of processor time; each takes well under one on an idle machine
DEEP = 50_000


def _bomb() -> str:
    """Return a billion of letters in 400 characters."""
    letters = "abcdefghij"
    lines = ["a: &a [" + ", ".join("x" * 9) + "]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]"
        for before, name in itertools.pairwise(letters)
    ]
    return "\n".join(lines)


YAMLS = {
    "alias bomb": _bomb(),
    "quadratic merges": "a: &a {"
    + ", ".join(f"k{n}: {n}" for n in range(2000))
    + "}\n"
    + "".join(f"b{n}: {{<<: *a}}\n" for n in range(2000)),
    "[[[[": "[" * DEEP,
    "{{{{": "a: " + "{" * DEEP,
    "- - - -": "- " * DEEP,
    "itself": "a: &a [*a]",
    "itself in a mapping": "a: &a {b: *a}",
    "itself merged": "a: &a\n  <<: *a\n",
    "an object": "a: !!python/object/apply:os.system [ls]",
    "a name": "a: !!python/name:os.system x",
    "an unknown tag": "a: !shell {b: c}",
    "bytes": "a: !!binary aGk=",
    "no number": "a: !!int many",
    "5000 digits": f"a: {'9' * 5000}",
    "no end": f"a: {'9' * 400}.0",
    "twice": "a: 1\na: 2",
    "a list as key": "? [a]\n: b",
    "a mapping as key": "{a: b}: c",
    "NUL": "a: \0",
    "escape": "a: \x1b[2J",
    "two documents": "a: 1\n---\nb: 2",
    "2 MB": "a: " + "x" * 2_000_000,
    "UTF-16": "a: b",
}


@pytest.mark.unit
@pytest.mark.parametrize("kind", YAMLS)
def test_a_hostile_deploy_yml_is_refused_soon(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "deploy.yml"
    file.write_bytes(YAMLS[kind].encode("utf-16" if kind == "UTF-16" else "utf-8"))

    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)

    assert time.process_time() - began < SOON
    assert str(file) in caught.value.what
    assert caught.value.next_step


# What is no file, in the place of one.
ODD: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "no end": lambda path: path.symlink_to("/dev/zero"),
    "a circle": lambda path: path.symlink_to(path.name),
    "nothing": lambda path: path.symlink_to("nowhere"),
    "a socket": lambda path: _bind(path),
    "outside": lambda path: path.symlink_to("/proc/self/environ"),
}


def _bind(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as door:
        os.chdir(path.parent)  # its name may be too long
        door.bind(path.name)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    here = Path.cwd()
    yield Project(tmp_path / "shop", "postgresql://nobody@127.0.0.1:9/none")
    os.chdir(here)


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("where", ["migration", "deploy.yml", "plan"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    project: Project, where: str, what: str
) -> None:
    places = {
        "migration": project.migrations / "20260801_000000_a.sql",
        "deploy.yml": project.deploy_yml,
        "plan": project.home / "plan.json",
    }
    arguments = {
        "migration": ("lint",),
        "deploy.yml": ("lint",),
        "plan": ("deploy", "--env", "dev", "--plan", "plan.json"),
    }
    places[where].unlink(missing_ok=True)
    ODD[what](places[where])

    ran = project.run(*arguments[where])

    assert ran.code in (1, 2)
    assert len(ran.error()) == 3
    assert "error of Windlass itself" not in ran.err
    assert "PATH=" not in ran.err  # of our environment


@pytest.mark.parametrize(
    "raw",
    [
        b"select 1;\0drop table a;",
        b"select '\xff';",
        "select 1;".encode("utf-16"),
        b"select " + b"(" * DEEP + b"1" + b")" * DEEP,
        b"select " + b"array[" * DEEP,
        b"select " + b"not " * DEEP + b"true",
        b"select 1" + b"+1" * DEEP,
        b"do $a$" * DEEP,
        b"/*" * DEEP,
        b"create table a (i int);" + b"\\" * DEEP,
        b"-- windlass: lock_timeout=99999999999999h\nselect 1;",
        b"-- windlass: lock_timeout=-1s\nselect 1;",
        b"-- windlass: lock_timeout=60d\nselect 1;",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_a_hostile_migration_is_refused_soon(project: Project, raw: bytes) -> None:
    (project.migrations / "20260801_000000_a.sql").write_bytes(raw)

    began = time.monotonic()
    ran = project.run("lint")

    assert time.monotonic() - began < 4 * SOON
    assert ran.code == 2, ran.out + ran.err
    assert len(ran.error()) == 3
    assert "20260801_000000_a.sql" in ran.error()[0]


CHAINS = {
    "brackets": "select " + "(" * DEEP,
    "sets": "select 1" + " union select 1" * DEEP,
    "signs": "select 1" + "+1" * DEEP,
    "casts": "select 1" + "::int" * DEEP,
    "collations": "select 'a'" + ' collate "C"' * DEEP,
    "joins": "select 1 from a" + " cross join a" * DEEP,
    "tests": "select 1" + " isnull" * DEEP,
    "zones": "select now()" + " at time zone 'x'" * DEEP,
    "between": "select 1" + " is null between 1 and 1" * DEEP,
    "behind a quote": "select E'\\''" + "+1" * DEEP + "+'",
    "in a row": "select " + ("(" + "1+" * 50) * 1000 + "1" + ")" * 1000,
    "cases": "select 1" + "+case when true then 1 end" * DEEP,
    "arrays": "select 1" + " = any(a)" * DEEP,
}


@pytest.mark.unit
@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_without_end_does_not_crash_the_parser(chain: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split(Path("x.sql"), CHAINS[chain])

    assert caught.value.what.startswith("x.sql")


@pytest.mark.unit
def test_data_of_any_length_is_no_chain() -> None:
    rows = ", ".join(f"({n}, 'a''b', now() - interval '1 day', -{n}.5)" for n in range(3000))
    cases = "select case a " + "when 1 then 'a' || 'b' " * 3000 + "end"
    text = f"insert into t values {rows};\n{cases};\n" + "-- a comment\n" * 20_000

    assert len(split(Path("x.sql"), text)) == 2


@pytest.mark.unit
def test_a_migration_of_any_size_takes_no_more_memory_than_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x.sql"
    with file.open("wb") as sparse:
        sparse.truncate(100 * 1024**3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(ConfigError) as caught:
        read_script(file, Path("x.sql"))

    assert f"at most {LARGEST:,} are read" in caught.value.what
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize(
    "name",
    ["20260801_000000_a\n  state: all is well.sql", "20260801_000000_\x1b[2Ja.sql", "'; drop.sql"],
)
def test_a_files_name_writes_no_line_of_ours(project: Project, name: str) -> None:
    (project.migrations / name).write_text("select 1;")

    ran = project.run("lint")

    assert ran.code == 2
    assert len(ran.error()) == 3
    assert "\x1b" not in ran.err
    assert ran.error()[1] == "  state: nothing was changed"


@pytest.mark.unit
def test_a_hundred_thousand_files_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgwindlass.config.sections import MigrationsConfig
    from pgwindlass.engines.sql import files

    monkeypatch.setattr(Path, "glob", lambda *_: iter(range(100_000)))  # none of them is looked at
    config = MigrationsConfig(directory=".")

    with pytest.raises(ConfigError) as caught:
        files.SqlFiles(config, tmp_path, table=None).list()  # type: ignore[arg-type]  # not asked

    assert "100,000 files; at most 50,000 are read" in caught.value.what


PLANS = {
    "brackets": b'{"project": ' + b"[" * DEEP,
    "an array": b"[" * DEEP + b"]" * DEEP,
    "mappings": b'{"a":' * DEEP,
    "no UTF-8": b'{"project": "\xff"}',
    "half a character": b'{"project": "\\ud800"}',
    "a number": b'{"project": 1e999999}',
    "empty": b"",
    "NUL": b"\0" * 1000,
    "its half": None,
}


@pytest.mark.parametrize("kind", PLANS)
def test_a_hostile_plan_is_refused(project: Project, kind: str) -> None:
    plan = PLANS[kind]
    (project.home / "plan.json").write_bytes(b'{"project": "shop"' if plan is None else plan)

    ran = project.run("deploy", "--env", "dev", "--plan", "plan.json")

    assert ran.code == 2
    assert ran.error()[0].startswith("✗ plan.json is no plan: ")
    assert len(ran.error()) == 3


def test_a_plan_of_a_hundred_megabytes_is_not_read(project: Project) -> None:
    with (project.home / "plan.json").open("wb") as sparse:
        sparse.truncate(100 * 1024**2)

    ran = project.run("deploy", "--env", "dev", "--plan", "plan.json")

    assert ran.code == 2
    assert "104,857,600 bytes, and at most 67,108,864 are read" in ran.error()[0]


@pytest.mark.unit
@pytest.mark.parametrize(
    "text", ["99999999999999h", "1e999999s", "9" * 400 + "d", "-5s", "nans", "infs", "", "5", "٣s"]
)
def test_no_length_of_time_is_endless(text: str) -> None:
    try:
        seconds = Duration.parse(text).seconds
    except ValueError as error:
        assert len(str(error)) < 200
    else:
        assert seconds == 3


@pytest.mark.parametrize(
    "line",
    [
        "lock: {timeout: [99999999999999h], wait: 3s}",
        "lock: {timeout: [100ms], statement_timeout: 60d}",
        "lock: {timeout: [100ms], concurrently: 0s}",
        "lock: {timeout: [100ms], wait: -3s}",
    ],
)
def test_a_lock_never_waits_for_ever(project: Project, line: str) -> None:
    text = project.deploy_yml.read_text()
    project.deploy_yml.write_text(text.replace("lock: {timeout: [100ms, 200ms], wait: 3s}", line))

    ran = project.run("plan", "--env", "uat")

    assert ran.code == 2
    assert ran.error()[0].startswith("✗ deploy.yml:")


# A server that says what it is given, byte for byte, and then goes on as it likes.
Script = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"


class Servers:
    """Servers of one test, each with a script for every client; at its end none talks on."""

    def __init__(self) -> None:
        self.doors: list[socket.socket] = []
        self.clients: list[socket.socket] = []

    def __call__(self, script: Script) -> str:
        """Start a server, and return its address."""
        door = socket.create_server(("127.0.0.1", 0))
        self.doors.append(door)
        threading.Thread(target=self.listen, args=(door, script), daemon=True).start()
        return f"http://127.0.0.1:{door.getsockname()[1]}"

    def listen(self, door: socket.socket, script: Script) -> None:
        with suppress(OSError):
            while True:
                client, _ = door.accept()
                self.clients.append(client)
                threading.Thread(target=self.answer, args=(client, script), daemon=True).start()

    def answer(self, client: socket.socket, script: Script) -> None:
        with closing(client), suppress(OSError):
            client.recv(65536)
            script(client)

    def end(self) -> None:
        for door in self.doors:
            door.close()
        for client in self.clients:  # who still sends, or reads without end, ends with that
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def serve() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.end()


def _drip(client: socket.socket) -> None:
    client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        client.sendall(b"x")
        time.sleep(0.05)


def _slow_head(client: socket.socket) -> None:
    for byte in HEAD * 1000:
        client.sendall(bytes([byte]))
        time.sleep(0.05)


def _flood(client: socket.socket) -> None:
    client.sendall(HEAD + b"\r\n")
    while True:
        client.sendall(b"x" * 65536)


def _packed(raw: bytes, name: str = "gzip") -> Script:
    def say(client: socket.socket) -> None:
        head = HEAD + f"Content-Encoding: {name}\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
        client.sendall(head + raw)

    return say


def _said(body: bytes, head: bytes = HEAD) -> Script:
    def say(client: socket.socket) -> None:
        client.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    return say


def _redirect(to: str) -> Script:
    head = f"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\n".encode()
    return _said(b"", head)


def _chunk(client: socket.socket) -> None:
    client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;")
    while True:
        client.sendall(b"x")
        time.sleep(0.05)


def _nothing(client: socket.socket) -> None:
    client.recv(1)


def _continue(client: socket.socket) -> None:
    while True:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


ANSWERS: dict[str, tuple[Script, str]] = {
    "drip": (_drip, "no answer: Timeout"),
    "chunk of no end": (_chunk, "no answer: Timeout"),
    "slow head": (_slow_head, "no answer: "),
    "flood": (_flood, "its body is larger than 8388608 bytes"),
    "gzip bomb": (
        _packed(gzip.compress(b"x" * 100_000_000, 1)),
        "its body is larger than 8388608 bytes once unpacked",
    ),
    "no gzip": (_packed(b"no gzip at all"), "its body is no gzip"),
    "unknown packing": (_packed(b"xyz", "zst\x07d"), "its body is packed as"),
    "brackets": (_said(b"[" * DEEP), "the body is no JSON"),
    "brackets that close": (_said(b"[" * 900 + b"]" * 900), "$ is "),
    "5000 digits": (_said(b'{"status": ' + b"9" * 5000 + b"}"), "the body is no JSON"),
    "no end": (_said(b'{"status": 1e999999}'), "$.status is Infinity"),
    "no UTF-8": (_said(b'{"status": "\xff"}'), "the body is no JSON"),
    "elsewhere": (_redirect("http://127.0.0.2:9/"), "status 302 to http://127.0.0.2:9/"),
    "a file": (_redirect("file:///etc/passwd"), "status 302 to file:///etc/passwd"),
    "long place": (_redirect("http://" + "x" * 50_000), "status 302 to http://xxx"),
    "no HTTP": (lambda client: client.sendall(b"\x1b]0;x\x07" * 9), "no answer: "),
    "many heads": (
        lambda client: client.sendall(HEAD + b"X-A: b\r\n" * 100_000),
        "no answer: ",
    ),
    "continue": (_continue, "no answer: "),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_hostile_service_ends_a_smoke_test_in_time(
    serve: Servers, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret, "_known", set())  # other tests' secrets may look like the answers
    script, problem = ANSWERS[kind]
    check = SmokeCheck(
        get="/", headers={"X-Key": Secret("k3y-of-the-smoke")}, expect=Expect(json={"status": "ok"})
    )
    config = SmokeConfig(
        base_url=serve(script), checks=(check,), deadline=Duration(0.4), pause=Duration(0.2)
    )

    began = time.monotonic()
    with pytest.raises(StepFailed) as caught:
        run_checks(config, progress=lambda *_: None)

    assert time.monotonic() - began < SOON
    assert problem in caught.value.what
    assert len(caught.value.what) < 1500


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("drip", "not to the end"),
        ("flood", "larger than"),
        ("gzip bomb", "once unpacked"),
        ("brackets", "the body is no JSON"),
        ("elsewhere", "redirects to another server"),
        ("a file", "redirects to another server"),
    ],
)
def test_a_hostile_answer_of_githubs_api_ends_in_time(
    serve: Servers, monkeypatch: pytest.MonkeyPatch, kind: str, problem: str
) -> None:
    monkeypatch.setattr("pgwindlass.github.api.ALL_WITHIN", 0.5)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")  # elsewhere it asks by https alone
    api = GithubApi(serve(ANSWERS[kind][0]), "acme/shop", Secret("t0ken-of-github"))

    began = time.monotonic()
    with pytest.raises(StepFailed) as caught:
        api.get("actions", permission="actions: read")

    assert time.monotonic() - began < SOON
    assert problem in parts(caught.value)


def test_a_redirect_takes_no_token_to_another_server(serve: Servers) -> None:
    heard: list[bytes] = []
    other = serve(lambda client: heard.append(client.recv(1)))
    first = serve(_redirect(other))

    with Session() as session, pytest.raises(web.BadAnswer):
        web.fetch(
            session,
            "GET",
            first,
            within=2,
            redirects=True,
            headers={"Authorization": "Bearer x", "X-Api-Key": "y"},
        )

    assert heard == []


def test_a_redirect_loop_ends(serve: Servers) -> None:
    url = serve(_redirect("/again"))

    with Session() as session, pytest.raises(web.BadAnswer, match="more than 5 times"):
        web.fetch(session, "GET", url, within=5, redirects=True)


def asking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == web.THREAD]


ENDLESS: dict[str, Script] = {
    "continue": _continue,
    "slow head": _slow_head,
    "drip": _drip,
    "chunk of no end": _chunk,
    "nothing": _nothing,
}


@pytest.mark.parametrize("tries", [0, 3])
@pytest.mark.parametrize("kind", ENDLESS)
def test_a_request_without_an_end_leaves_no_thread(serve: Servers, kind: str, tries: int) -> None:
    url = serve(ENDLESS[kind])
    retries = Retry(total=tries, backoff_factor=0.1)

    with Session(retries) as session, pytest.raises(requests.RequestException):
        web.fetch(session, "GET", url, within=0.3)

    ended = time.monotonic() + SOON
    while asking() and time.monotonic() < ended:
        time.sleep(0.01)
    assert asking() == []


@pytest.mark.parametrize("moment", ["before it connects", "before it sends on an open connection"])
def test_a_request_that_was_ended_sends_nothing_more(serve: Servers, moment: str) -> None:
    heard: list[bytes] = []
    answer = HEAD.replace(b"close", b"keep-alive") + b"Content-Length: 0\r\n\r\n"

    def talk(client: socket.socket) -> None:
        heard.append(b"first")
        client.sendall(answer)
        heard.append(client.recv(65536))

    url = serve(talk)
    with Session() as session:
        if moment != "before it connects":
            session.get(url, timeout=5)
        outcomes: list[type[BaseException]] = []
        exchange = Exchange()
        exchange.end()

        def send() -> None:
            exchange.begin()
            with pytest.raises(Over) as caught:
                session.get(url, timeout=5)
            outcomes.append(caught.type)

        sender = threading.Thread(target=send)
        sender.start()
        sender.join()

    assert outcomes == [Over]
    assert [said for said in heard if said not in (b"first", b"")] == []


@pytest.mark.parametrize(
    "variables",
    [
        {"GITHUB_REPOSITORY": ""},
        {"GITHUB_RUN_ID": ""},
        {"GITHUB_SERVER_URL": ""},
        {"GITHUB_REPOSITORY": "no repository"},
        {"GITHUB_REPOSITORY": "../../evil"},
        {"GITHUB_REPOSITORY": "a/b\n::set-output name=x::y"},
        {"GITHUB_RUN_ID": "1/../2"},
        {"GITHUB_RUN_ATTEMPT": "x"},
        {"GITHUB_SERVER_URL": "file:///etc"},
        {"GITHUB_SERVER_URL": "https://github.com@evil.example"},
    ],
    ids=lambda variables: "=".join(*variables.items())[:40],
)
def test_half_a_job_of_githubs_is_refused(
    tmp_path: Path, database16: Database, variables: dict[str, str]
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "create table a (i int);", "drop table a;")

    ran = Job(project).run("plan", "--env", "dev", **variables)

    assert ran.code == 2
    lines = [line for line in ran.err.splitlines() if not line.startswith("::")]
    assert next(iter(variables)) in "\n".join(lines)
    assert "error of Windlass itself" not in ran.err
    assert "\n::set-output" not in ran.err


@pytest.mark.parametrize("what", ["a directory", "binary", "gone"])
def test_files_of_the_runner_that_are_none_are_told(
    tmp_path: Path, database16: Database, what: str
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration("20260801_000000_a", "create table a (i int);", "drop table a;")
    odd = tmp_path / "odd"
    if what == "a directory":
        odd.mkdir()
    elif what == "binary":
        odd.write_bytes(os.urandom(100_000))
    else:
        odd = tmp_path / "no" / "such"

    ran = Job(project).run(
        "plan", "--env", "dev", GITHUB_STEP_SUMMARY=str(odd), GITHUB_OUTPUT=str(odd)
    )

    assert ran.code == 0, ran.err
    assert ("could not be written" in ran.err) is (what != "binary")


def test_a_server_error_of_ten_megabytes_is_told_in_part(
    tmp_path: Path, database16: Database
) -> None:
    project = Project(tmp_path / "shop", database16.url.reveal())
    project.migration(
        "20260801_000000_a",
        "do $$ begin raise notice '%', repeat('n', 3000000); "
        "raise exception '%', repeat('e', 10000000); end $$;",
        "select 1;",
    )

    ran = project.run("deploy", "--env", "dev", "--json")

    assert ran.code == 1
    assert len(ran.err) < 250_000
    assert len(json.loads(ran.out)["error"]["what"]) < 10_000
    assert len(str(project.run("history", "--env", "dev").out)) < 100_000
