"""Plans signed with real SSH keys, and judged by the real ssh-keygen."""

import base64
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import psycopg
import pytest

from pgwindlass.approvals import ssh_branch
from pgwindlass.approvals.ssh import sign
from pgwindlass.config.sections import SshApproval
from pgwindlass.database.connection import Database
from pgwindlass.deployment import await_approval
from pgwindlass.deployment.work import open_work
from pgwindlass.errors import ChildFailed
from pgwindlass.model import ApprovalStatement, Plan, Signed
from tests.kit import Project, Quiet, Ran, parts, tables

pytestmark = pytest.mark.sampled(3)

A = "20260801_000000_create_orders"
NAMES = ("ann", "bob", "eve")


@dataclass
class Team:
    """A project whose production asks for signatures; ann and bob may approve, eve may not."""

    project: Project

    @property
    def home(self) -> Path:
        return self.project.home

    def key(self, name: str) -> Path:
        return self.home / "keys" / name

    def approve(self, name: str, plan: str = "plan.json", **more: str) -> Ran:
        return self.project.run(
            "approve", "--env", "production", "--plan", plan, "--key", str(self.key(name)), **more
        )

    def deploy(self, **more: str) -> Ran:
        return self.project.run("deploy", "--env", "production", "--plan", "plan.json", **more)

    def plan(self) -> str:
        """Write plan.json and return its digest."""
        found = self.project.json("plan", "--env", "production", "--out", "plan.json")
        return str(found["digest"])

    def digest(self, plan: str = "plan.json") -> str:
        """Return the digest of a plan that was written."""
        return msgspec.json.decode((self.home / plan).read_bytes(), type=Plan).digest

    def set(self, keys: str) -> None:
        """Write other keys into the approval section."""
        text = self.project.deploy_yml.read_text()
        line = next(one for one in text.splitlines() if one.strip().startswith("approval:"))
        self.project.deploy_yml.write_text(
            text.replace(line, f"    approval: {{from: ssh, signers: approvers, {keys}}}")
        )
        if (self.home / ".git").exists():
            self.commit()

    def commit(self, name: str = "deployer") -> None:
        """Commit what decides."""
        who = ["-c", f"user.email={name}@example.com", "-c", f"user.name={name}"]
        git("add", "migrations", "deploy.yml", "approvers", "restart.py", at=self.home)
        git(*who, "commit", "--quiet", "--allow-empty", "-m", "change", at=self.home)

    def signers(self, **options: str) -> None:
        """Write the allowed signers; a name's options stand before its key."""
        keys = {name: self.key(name).with_suffix(".pub").read_text() for name in NAMES}
        lines = [
            f"{name}@example.com {options.get(name, '')} {keys[name]}"
            for name in options or ("ann", "bob")
        ]
        (self.home / "approvers").write_text("".join(lines))

    @property
    def approvals(self) -> list[Path]:
        return sorted((self.home / ".windlass" / "approvals").glob("*.approval"))


class Healthy(BaseHTTPRequestHandler):
    """A service that answers its smoke test."""

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        body = b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def team(tmp_path: Path, database16: Database, service: str) -> Team:
    project = Project(tmp_path / "shop", database16.url.reveal(), service)
    project.migration(A, "create table orders (id int);", "drop table orders;")
    project.deploy_yml.write_text(
        project.deploy_yml.read_text().replace(
            "approval: {from: terminal}", "approval: {from: ssh, signers: approvers}"
        )
    )
    found = Team(project)
    (found.home / "keys").mkdir()
    for name in NAMES:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", found.key(name)],
            check=True,
        )
    found.signers()
    found.plan()
    return found


def require_refused(ran: Ran, team: Team, *said: str) -> None:
    assert ran.code == 3, ran.err
    for words in said:
        assert words in ran.error()[0], ran.err
    assert tables(team.project.url) == set()


def test_an_approved_plan_runs_once(team: Team) -> None:
    ran = team.approve("ann")
    assert ran.code == 0, ran.err
    assert "signed plan " in ran.out

    done = team.deploy()

    assert done.code == 0, done.err
    assert "✓ approval" in done.err and "by ann@example.com (ssh)" in done.err
    history = team.project.deployments("production")
    shown = team.project.run("history", "--env", "production", "--deployment", history[0]["id"])
    assert "ann@example.com" in shown.out


def test_without_a_signature_it_says_how_to_get_one(team: Team) -> None:
    ran = team.deploy()

    require_refused(ran, team, "has no approval")
    assert "invoke approve --env production --plan plan.json" in ran.error()[2]


def test_somebody_who_may_not_approve_does_not_count(team: Team) -> None:
    team.approve("eve")

    require_refused(team.deploy(), team, "its key is not one of")


def test_a_forged_statement_does_not_count(team: Team) -> None:
    team.approve("ann")
    (file,) = team.approvals
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    statement = msgspec.json.decode(signed.statement, type=ApprovalStatement)
    forged = msgspec.structs.replace(
        statement, expires_at=statement.expires_at + timedelta(days=300)
    )
    file.write_bytes(
        msgspec.structs.replace(signed, statement=forged.canonical().decode()).canonical()
    )

    require_refused(team.deploy(), team, "does not count: it is forged")


def test_a_signature_for_something_else_does_not_count(team: Team) -> None:
    """Made with the right key, over the right bytes, but for git."""
    team.approve("ann")
    (file,) = team.approvals
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    other = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", team.key("ann")],
        input=signed.statement,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    file.write_bytes(msgspec.structs.replace(signed, signature=other).canonical())

    require_refused(team.deploy(), team, "does not count")


def test_a_revoked_key_does_not_count(team: Team) -> None:
    team.set("revoked: revoked")
    (team.home / "revoked").write_text(team.key("ann").with_suffix(".pub").read_text())
    team.plan()
    team.approve("ann")

    require_refused(team.deploy(), team, "its key is revoked")


def test_a_key_out_of_its_validity_does_not_count(team: Team) -> None:
    team.signers(ann='valid-before="20200101"')
    team.approve("ann")

    require_refused(team.deploy(), team, "its key is not one of", "or not valid any more")


def test_a_key_of_another_namespace_does_not_count(team: Team) -> None:
    team.signers(ann='namespaces="git"')
    team.approve("ann")

    require_refused(team.deploy(), team)


def test_deploy_yml_may_shorten_what_was_signed(team: Team) -> None:
    team.approve("ann")
    (file,) = team.approvals
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    statement = msgspec.json.decode(signed.statement, type=ApprovalStatement)

    assert statement.expires_at - statement.granted_at == timedelta(hours=24)
    assert statement.granted_at <= datetime.now(UTC)


def test_two_are_required_and_one_person_is_not_two(team: Team) -> None:
    team.set("required: 2")
    team.plan()
    team.approve("ann")
    team.approve("ann")

    require_refused(team.deploy(), team, "has 1 of 2 approvals, by ann@example.com")
    team.approve("bob")
    done = team.deploy()
    assert "by ann@example.com, bob@example.com (ssh)" in done.err


def test_whoever_deploys_cannot_approve(team: Team) -> None:
    team.approve("ann")

    ran = team.deploy(GITHUB_ACTOR="ann@example.com")

    require_refused(ran, team, "ann@example.com deploys, and so cannot approve")


def test_the_author_does_not_count_where_that_is_asked_for(team: Team) -> None:
    team.set("not_by_author: true")
    git("init", "-q", at=team.home)
    team.commit("ann")
    team.plan()
    team.approve("ann")

    require_refused(team.deploy(), team, "ann@example.com wrote the commit")
    team.approve("bob")
    done = team.deploy()
    assert "by bob@example.com (ssh)" in done.err
    assert "ann@example.com wrote the commit, and so cannot approve" in done.err  # and is told


def test_an_approval_is_used_up_by_the_deployment_it_let_through(team: Team) -> None:
    text = team.project.deploy_yml.read_text()  # a service that never answers its smoke test
    team.project.deploy_yml.write_text(
        text.replace(team.project.base_url, "http://127.0.0.1:9").replace(
            "deadline: 3s", "deadline: 300ms"
        )
    )
    team.plan()
    """Even where the same plan would come again: the first one failed and rolled back."""
    team.approve("ann")
    first = team.deploy()
    assert "✓ approval" in first.err and "↶ undo migrate" in first.err
    assert tables(team.project.url) == {"schema_migrations"}
    team.plan()  # the history table exists now: another plan
    team.approve("ann")
    second = team.deploy()
    assert "✓ approval" in second.err and "↶ undo migrate" in second.err
    assert team.plan() == team.plan()

    again = team.deploy()

    assert again.code == 3
    deployment = team.project.deployments("production")[0]["id"]
    assert f"the approval of ann@example.com was used by deployment {deployment}" in again.err


def test_an_approver_needs_none_of_the_environment_s_secrets(team: Team) -> None:
    team.plan()
    text = team.project.deploy_yml.read_text()
    team.project.deploy_yml.write_text(text.replace("${DATABASE_URL}", "${NOBODY_HAS_THIS}"))

    ran = team.approve("ann")

    assert ran.code == 0, ran.err
    assert team.project.run("plan", "--env", "production").code == 2


def test_an_approver_reads_the_rehearsal_where_no_store_can_be_reached(team: Team) -> None:
    text = team.project.deploy_yml.read_text().replace("steps: {rehearsal: off}", "steps: {}")
    team.project.deploy_yml.write_text(text)
    ran = team.project.run("plan", "--env", "production", "--rehearse", "--out", "plan.json")
    assert ran.code == 0, ran.err
    team.project.run("plan", "--env", "production", "--out", "again.json")  # carries the known one
    to = f'{{to: "file://{team.home}/backups"}}'
    assert to in text
    nowhere = "{to: s3://nobody/shop, endpoint: 'http://127.0.0.1:9'}"
    team.project.deploy_yml.write_text(text.replace(to, nowhere))

    for plan in ("plan.json", "again.json"):
        ran = team.approve("ann", plan)

        assert ran.code == 0, ran.err
        assert f"rehearsal of plan {team.digest(plan)[:12]} on a copy of backup " in ran.err
        assert f"{A}  " in ran.err and "proven, " in ran.err


def test_a_rehearsal_of_another_plan_is_none_of_this_one(team: Team) -> None:
    rehearsed = team.project.run("rehearse", "--env", "production")
    assert rehearsed.code == 0, rehearsed.err
    team.plan()
    file = team.home / "plan.json"
    text = file.read_text()
    file.write_text(text.replace(f'"plan_digest":"{team.digest()}"', f'"plan_digest":"{"0" * 64}"'))
    assert file.read_text() != text

    ran = team.approve("ann")

    assert ran.code == 0, ran.err
    assert "no rehearsal of this plan is in its file" in ran.err


def test_a_file_that_is_none_is_named(team: Team) -> None:
    team.approve("ann")
    (file,) = team.approvals
    file.write_text("{")

    ran = team.deploy()

    require_refused(ran, team, "has no approval")
    assert f"{file.name} is not a readable approval, and is skipped: " in ran.err


def test_a_key_with_a_passphrase_says_how_to_use_it(team: Team) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "long enough", "-f", team.home / "locked"],
        check=True,
    )

    ran = team.project.run(
        "approve", "--env", "production", "--plan", "plan.json", "--key", str(team.home / "locked")
    )

    assert ran.code == 1
    assert "ssh-add" in ran.error()[2]
    assert team.approvals == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--env", "production"), "no plan was named"),
        (("--env", "uat", "--plan", "plan.json"), "uat takes no signatures"),
        (("--env", "production", "--plan", "nowhere.json"), "nowhere.json is no plan"),
    ],
)
def test_wrong_usage_is_said(team: Team, arguments: tuple[str, ...], said: str) -> None:
    ran = team.project.run("approve", *arguments)

    assert ran.code == 2
    assert said in ran.error()[0]


def test_doctor_counts_the_signers(team: Team) -> None:
    def look() -> dict[str, str]:
        checks = team.project.json("doctor", "--env", "production")
        found = next(one for one in checks if one["name"] == "approval")
        return {"found": found["found"], "problem": found["problem"]}

    assert look() == {"found": "1 of 2 signers", "problem": ""}
    team.set("required: 3")
    assert "3 approvals are required" in look()["found"]
    (team.home / "approvers").unlink()
    assert "does not exist" in look()["found"]


def git(*arguments: str | Path, at: Path) -> str:
    argv = ["git", "-C", str(at), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def shared(team: Team, tmp_path: Path) -> Team:
    """Return the team whose project is a clone of a repository that approvers push to."""
    bare = tmp_path / "shop.git"
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    git("init", "--quiet", at=team.home)
    git("config", "user.email", "deployer@example.com", at=team.home)
    git("config", "user.name", "Deployer", at=team.home)
    git("remote", "add", "origin", bare, at=team.home)
    team.commit()
    team.plan()
    return team


def pushed(team: Team, *names: str) -> None:
    """Let approvers sign and push, and take their files away: they sit at another machine."""
    plan = msgspec.json.decode((team.home / "plan.json").read_bytes(), type=Plan)
    config = team.project.settings("production").environment.approval
    assert isinstance(config, SshApproval)
    for name in names:
        file, _ = sign(
            plan,
            config,
            directory=team.home / "elsewhere",
            key=str(team.key(name)),
            comment="",
            now=datetime.now(UTC),
        )
        ssh_branch.push(team.home, config.branch, file, message="signed")


def waiting(team: Team, within: str) -> Ran:
    return team.project.run(
        "deploy", "--env", "production", "--plan", "plan.json", "--wait-for-approval", within
    )


def test_signatures_that_were_pushed_are_fetched(shared: Team) -> None:
    shared.set("required: 2")
    shared.plan()
    pushed(shared, "ann")
    ran = shared.project.run(
        "approve",
        "--env",
        "production",
        "--plan",
        "plan.json",
        "--key",
        str(shared.key("bob")),
        "--push",
    )
    assert ran.code == 0, ran.err
    shared.approvals[0].unlink()
    bare = shared.home.parent / "shop.git"
    listed = git("ls-tree", "-r", "--name-only", "windlass-approvals", at=bare)
    assert len(listed.splitlines()) == 2
    assert git("status", "--porcelain", "--untracked-files=no", at=shared.home) == ""

    done = waiting(shared, "1m")

    assert done.code == 0, done.err
    assert "2 new on branch windlass-approvals" in done.err
    assert "by ann@example.com, bob@example.com (ssh)" in done.err
    assert "orders" in tables(shared.project.url)


def test_it_waits_with_nothing_held_until_the_last_signature_stands(shared: Team) -> None:
    shared.set("required: 2")
    shared.plan()
    pushed(shared, "ann")
    plan = msgspec.json.decode((shared.home / "plan.json").read_bytes(), type=Plan)
    settings = shared.project.settings("production")
    held: list[object] = []

    def bob_is_late() -> None:
        with psycopg.connect(shared.project.url, autocommit=True) as connection:
            query = "select count(*) from pg_locks where locktype = 'advisory'"
            held.append(connection.execute(query).fetchone())
        pushed(shared, "bob")

    reporter = Quiet()
    with open_work(settings, deployment_id="01K3", reporter=reporter) as work:
        late = threading.Timer(0.5, bob_is_late)
        late.start()
        await_approval.wait(plan, work, within=30, every=0.2)
        late.join()

    assert held == [(0,)]
    assert reporter.notes[1:] == ["1 new on branch windlass-approvals"] * 2
    assert f"plan {plan.digest} until" in reporter.notes[0]


def test_when_the_time_is_over_nothing_was_done(shared: Team) -> None:
    require_refused(waiting(shared, "1s"), shared, "has no approval, after 1s of waiting")


def test_a_forged_signature_on_the_branch_is_told_and_does_not_end_the_waiting(
    shared: Team,
) -> None:
    shared.approve("ann")
    (file,) = shared.approvals
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    forged = signed.statement.replace('"comment":""', '"comment":"x"')
    assert forged != signed.statement
    file.write_bytes(msgspec.structs.replace(signed, statement=forged).canonical())
    ssh_branch.push(shared.home, "windlass-approvals", file, message="forged")
    file.unlink()

    ran = waiting(shared, "1s")
    assert ran.code == 3
    assert ran.err.count("does not count: it is forged; it is skipped") == 1
    assert "it is forged, after 1s of waiting" in ran.error()[0]

    pushed(shared, "bob")
    assert "by bob@example.com (ssh)" in waiting(shared, "1m").err


def test_another_plan_s_signatures_are_left_on_the_branch(shared: Team) -> None:
    pushed(shared, "ann")
    to, branch = shared.home / "to", "windlass-approvals"

    assert ssh_branch.fetch(shared.home, branch, to, digest="0" * 64) == 0
    assert not to.exists()
    assert ssh_branch.fetch(shared.home, branch, to, digest=shared.digest()) == 1
    assert ssh_branch.fetch(shared.home, branch, to, digest=shared.digest()) == 0


def test_a_remote_that_is_away_is_told_and_asked_again(shared: Team) -> None:
    git("remote", "set-url", "origin", "/nowhere/shop.git", at=shared.home)

    ran = waiting(shared, "1s")

    require_refused(ran, shared, "after 1s of waiting; and git:", "/nowhere/shop.git")
    assert ran.err.count("git did not fetch windlass-approvals; trying again") == 1

    ran = shared.project.run(
        "approve",
        "--env",
        "production",
        "--plan",
        "plan.json",
        "--key",
        str(shared.key("ann")),
        "--push",
    )
    assert ran.code == 1
    assert "the signature was not pushed to windlass-approvals of origin" in ran.error()[0]
    assert len(shared.approvals) == 1


def test_pushes_at_the_same_time_all_arrive(shared: Team) -> None:
    files = [shared.home / f"{number:012}-0.approval" for number in range(4)]
    for file in files:
        file.write_text("{}")
    branch = "windlass-approvals"
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda f: ssh_branch.push(shared.home, branch, f, message="m"), files))

    listed = git("ls-tree", "--name-only", branch, at=shared.home.parent / "shop.git")
    assert listed.splitlines() == [file.name for file in files]


def test_a_job_gives_git_its_token_and_shows_it_nowhere(
    shared: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout leaves no credentials behind; the server asks for those of GITHUB_TOKEN."""
    asked: list[str | None] = []

    class Private(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Private)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    git("remote", "set-url", "origin", f"{address}/acme/shop.git", at=shared.home)
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": "ghs_of_the_job",
        "GITHUB_SERVER_URL": address,
    }.items():
        monkeypatch.setenv(name, value)
    encoded = base64.b64encode(b"x-access-token:ghs_of_the_job").decode()

    with pytest.raises(ChildFailed) as failed:
        ssh_branch.fetch(shared.home, "windlass-approvals", shared.home / "to", digest="0" * 64)
    server.shutdown()
    server.server_close()

    assert asked[0] == f"basic {encoded}"
    assert encoded not in parts(failed.value) + failed.value.stderr


def test_a_wait_that_makes_no_sense_is_refused(team: Team) -> None:
    for arguments, said in (
        ("production --wait-for-approval soon", '"soon" is not a duration'),
        ("uat --wait-for-approval 1s", "uat takes no signatures"),
        (
            "production --wait-for-approval 1s --break-glass now",
            "--break-glass and --wait-for-approval exclude each other",
        ),
    ):
        ran = team.project.run("deploy", "--env", *arguments.split())
        assert (ran.code, said in ran.error()[0]) == (2, True), ran.err


def test_a_plan_that_the_plan_job_did_not_show_is_refused_before_anything(team: Team) -> None:
    argv = ("deploy", "--env", "production", "--plan", "plan.json", "--digest")

    require_refused(team.project.run(*argv, "0" * 64), team, "000000000000 was handed on with it")
    require_refused(team.project.run(*argv, ""), team, "none was handed on with it")
