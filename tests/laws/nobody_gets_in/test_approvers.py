"""Who approves is not who deploys, one person counts once, and junk is in nobody's way."""

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgwindlass.approvals import ssh_branch
from pgwindlass.approvals.github import GithubSource
from pgwindlass.approvals.ssh import SshSource, sign
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import GithubApproval, SshApproval
from pgwindlass.errors import ConfigError, NotApproved
from pgwindlass.github.remote import open_github
from pgwindlass.model import Approval, Signed
from pgwindlass.plan.gate import require_approval
from tests.unit import examples

pytestmark = [pytest.mark.attack, pytest.mark.sampled(2)]

PLAN = examples.plan(environment="production")
PEOPLE = ("ann", "bob", "eve")
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "zed", "GITHUB_TRIGGERING_ACTOR": "zed"}


@dataclass
class Desk:
    """Keys of three people, an allowed-signers file, and a directory of signatures."""

    home: Path
    notes: list[str]
    config: SshApproval

    def key(self, name: str) -> Path:
        return self.home / "keys" / name

    def public(self, name: str) -> str:
        return " ".join(self.key(name).with_suffix(".pub").read_text().split()[:2])

    def signers(self, *lines: str) -> None:
        """Write the file; `ann@x {ann}` has ann's key."""
        keys = {name: self.public(name) for name in PEOPLE}
        text = "".join(f"{line.format(**keys)}\n" for line in lines)
        (self.home / "approvers").write_text(text)

    def approve(self, name: str, **changes: Any) -> Path:
        """Sign, as `invoke approve` does; changes go into the statement before it is signed."""
        file, statement = sign(
            PLAN,
            self.config,
            directory=self.directory,
            key=str(self.key(name)),
            comment="",
            now=datetime.now(UTC),
        )
        if changes:
            text = msgspec.structs.replace(statement, **changes).canonical().decode()
            self.signed(file, name, text)
        return file

    def signed(self, file: Path, name: str, text: str) -> None:
        """Sign any text, and keep it as an approval."""
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "windlass", "-f", str(self.key(name))]
        ran = subprocess.run(argv, input=text, capture_output=True, text=True, check=True)
        file.write_bytes(Signed(statement=text, signature=ran.stdout).canonical())

    @property
    def directory(self) -> Path:
        return self.home / ".windlass" / "approvals"

    def judged(self, required: int = 1) -> tuple[Approval, ...]:
        """Return what counts, as a deployment asks; NotApproved where too little does."""
        source = SshSource(
            self.config, environment="production", root=self.home, note=self.notes.append
        )
        return require_approval(
            PLAN, source.find(PLAN), required=required, now=datetime.now(UTC), how="how"
        )

    def refusal(self, required: int = 1) -> str:
        with pytest.raises(NotApproved) as caught:
            self.judged(required)
        return caught.value.what


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("people") / "keys"
    place.mkdir()
    for name in PEOPLE:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", f"{place / name}"]
        subprocess.run(argv, check=True)
    return place


@pytest.fixture
def desk(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    home = tmp_path / "shop"
    shutil.copytree(keys, home / "keys")
    for name in ("GITHUB_ACTIONS", "GITHUB_ACTOR", "GITHUB_TRIGGERING_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))  # no keys there, no settings of git
    config = SshApproval(signers="approvers", expires=Duration(3600))
    found = Desk(home, [], config)
    found.signers("ann@example.com,github:ann {ann}", "bob@example.com,github:bob {bob}")
    return found


def on_github(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in (GITHUB | variables).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        ("ann@example.com,github:ann {ann}", {"GITHUB_ACTOR": "ann"}),
        ("ann@example.com,github:Ann {ann}", {"GITHUB_ACTOR": "aNN"}),
        ("ann@example.com,github:ann {ann}", {"GITHUB_TRIGGERING_ACTOR": "ann"}),
        ("GitHub:Ann,ann@example.com {ann}", {"GITHUB_TRIGGERING_ACTOR": "Ann"}),
        ("7+ann@users.noreply.github.com {ann}", {"GITHUB_ACTOR": "ann"}),
        ("ann,github:somebody {ann}", {"GITHUB_ACTOR": "Ann"}),
    ],
    ids=["actor", "another case", "who ran it again", "prefix", "noreply", "bare login"],
)
def test_who_starts_a_run_on_github_does_not_approve_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str, variables: dict[str, str]
) -> None:
    on_github(monkeypatch, **variables)
    desk.signers(line)
    desk.approve("ann")

    assert " deploys, and so cannot approve plan " in desk.refusal()


def test_who_starts_a_run_does_not_approve_with_a_second_key(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_github(monkeypatch, GITHUB_ACTOR="ann")
    desk.signers("ann@example.com,github:ann {ann}", "Ann@Example.com,github:ann2 {bob}")
    desk.approve("bob")

    assert "ann@example.com deploys, and so cannot approve" in desk.refusal()


def test_a_signer_without_a_login_counts_for_nobody_on_github(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.signers("# who\n\nann@example.com {ann}")
    desk.approve("ann")
    assert desk.judged()

    on_github(monkeypatch, GITHUB_ACTOR="ann")

    assert desk.refusal() == (
        "ann@example.com has no login in approvers:3, and so cannot be told from who deploys: "
        "write ann@example.com,github:LOGIN there"
    )


@pytest.mark.parametrize(
    "variables",
    [{"EMAIL": "Ann@Example.com"}, {"GIT_COMMITTER_EMAIL": "ann@example.com"}],
    ids=["email", "committer"],
)
def test_who_deploys_on_a_laptop_is_known_by_every_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    desk.approve("ann")

    assert "ann@example.com deploys" in desk.refusal()


def test_who_deploys_cannot_hide_behind_another_name_and_sign_with_the_own_key(desk: Desk) -> None:
    (desk.home / ".ssh").mkdir()
    for name in ("ann", "ann.pub"):
        shutil.copy(
            desk.home / "keys" / name, desk.home / ".ssh" / name.replace("ann", "id_ed25519")
        )
    desk.approve("ann")

    assert "ann@example.com deploys" in desk.refusal()


@pytest.mark.parametrize(
    "lines",
    [
        ("ann@example.com {ann}", "Ann@Example.COM {bob}"),
        ("ann@example.com,github:ann {ann}", "a.nother@example.com,github:ANN {bob}"),
        ("ann@example.com {ann}", "x@example.com {bob}", "x@example.com,ann@example.com {eve}"),
        ("7+ann@users.noreply.github.com {ann}", "ann@example.com,github:ann {bob}"),
    ],
    ids=["case", "login", "bridged", "noreply"],
)
def test_two_keys_of_one_person_count_once(desk: Desk, lines: tuple[str, ...]) -> None:
    desk.signers(*lines)
    desk.approve("ann")
    desk.approve("bob")

    assert "has 1 of 2 approvals, by " in desk.refusal(required=2)


def test_one_key_under_two_names_counts_once(desk: Desk) -> None:
    desk.signers("ann@example.com {ann}", "bob@example.com {ann}")
    desk.approve("ann")
    desk.approve("ann")

    assert "has 1 of 2 approvals, by ann@example.com" in desk.refusal(required=2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("* {eve}", "no wildcards"),
        ("*@example.com {eve}", "no wildcards"),
        ("ann@example.com,!bob@example.com {eve}", "no wildcards"),
        ("bob@example.co? {eve}", "no wildcards"),
        ("ann@example.com cert-authority {eve}", "lets certificates in"),
        ('ann@example.com namespaces="windlass",cert-authority {eve}', "lets certificates in"),
    ],
)
def test_a_line_for_anybody_is_refused_with_its_place(desk: Desk, line: str, said: str) -> None:
    desk.signers("ann@example.com {ann}", line)
    desk.approve("ann")

    with pytest.raises(ConfigError) as caught:
        desk.judged()
    assert caught.value.what.startswith("approvers:2: ")
    assert said in caught.value.what


HOURS = timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lambda now: {"granted_at": now + 6 * HOURS, "expires_at": now + 30 * HOURS}, "is dated "),
        (lambda _: {"granted_at": datetime.max.replace(tzinfo=UTC)}, "is dated 9999"),
        (lambda now: {"expires_at": now - HOURS}, "expired at "),
        (lambda now: {"granted_at": now - 2 * HOURS, "expires_at": now + HOURS}, "expired at "),
        (lambda _: {"nonce": ""}, "its nonce is not one that invoke approve writes"),
        (lambda _: {"nonce": "0" * 31}, "its nonce is not one"),
        (lambda _: {"nonce": "A" * 32}, "its nonce is not one"),
        (lambda _: {"nonce": "0" * 33}, "its nonce is not one"),
        (lambda _: {"nonce": "0" * 31 + "\n"}, "its nonce is not one"),
    ],
    ids=["future", "end of time", "over", "long", "empty", "short", "case", "longer", "line"],
)
def test_what_was_signed_with_an_odd_time_or_nonce_does_not_count(
    desk: Desk, changes: Callable[[datetime], dict[str, Any]], said: str
) -> None:
    desk.approve("ann", **changes(datetime.now(UTC)))

    assert said in desk.refusal()


def test_a_time_without_a_zone_is_skipped(desk: Desk) -> None:
    file = desk.approve("ann")
    statement = msgspec.json.decode(file.read_bytes(), type=Signed).statement
    desk.signed(file, "ann", statement.replace('Z"', '"'))

    assert "has no approval" in desk.refusal()
    assert "its times have no time zone" in desk.notes[0]


# Files that whoever can write the directory may put beside a valid approval.


def forged(desk: Desk, file: Path) -> None:
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    other = signed.statement.replace('"comment":""', '"comment":"x"')
    changed = msgspec.structs.replace(signed, statement=other)
    file.with_name("forged.approval").write_bytes(changed.canonical())


def by_eve(desk: Desk, file: Path) -> None:
    desk.approve("eve").rename(file.with_name("eve\x1b[2J.approval"))


def by_the_end_of_time(desk: Desk, file: Path) -> None:
    desk.approve("eve", granted_at=datetime.max.replace(tzinfo=UTC))


def no_json(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").write_text("{")


def binary(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").write_bytes(bytes(range(256)) * 9)


def brackets(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").write_text('{"x":' + "[" * 60_000)


def huge(desk: Desk, file: Path) -> None:
    with file.with_name("0.approval").open("wb") as out:
        out.truncate(3 << 30)


def a_link(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").symlink_to("/dev/zero")


def a_dangling_link(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").symlink_to("nowhere")


def a_directory(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").mkdir()


def a_pipe(desk: Desk, file: Path) -> None:
    os.mkfifo(file.with_name("0.approval"))


def half_a_signature(desk: Desk, file: Path) -> None:
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    blob = base64.b64encode(b"SSHSIG\0\0\0\1\xff\xff\xff\xffssh").decode()
    text = f"-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----\n"
    changed = msgspec.structs.replace(signed, signature=text)
    file.with_name("0.approval").write_bytes(changed.canonical())


def a_surrogate(desk: Desk, file: Path) -> None:
    file.with_name("0.approval").write_text('{"statement":"\\ud800","signature":""}')


@pytest.mark.parametrize(
    "junk",
    [
        forged,
        by_eve,
        by_the_end_of_time,
        no_json,
        binary,
        brackets,
        huge,
        a_link,
        a_dangling_link,
        a_directory,
        a_pipe,
        half_a_signature,
        a_surrogate,
    ],
    ids=lambda junk: junk.__name__,
)
def test_junk_is_told_once_and_blocks_nobody(
    desk: Desk, junk: Callable[[Desk, Path], None]
) -> None:
    file = desk.approve("ann")
    junk(desk, file)
    source = SshSource(
        desk.config, environment="production", root=desk.home, note=desk.notes.append
    )

    for _ in range(2):  # a wait looks again and again
        found = require_approval(PLAN, source.find(PLAN), now=datetime.now(UTC), how="")
        assert [approval.approver for approval in found] == ["ann@example.com"]
    assert len(desk.notes) == 1 and "skipped" in desk.notes[0]
    assert "\x1b" not in desk.notes[0]


@pytest.fixture
def shared(desk: Desk, tmp_path: Path) -> Desk:
    """Return the desk as a clone of a repository that everybody may push to."""
    bare = tmp_path / "shop.git"
    subprocess.run(["git", "init", "--quiet", "--bare", bare], check=True)
    for argv in (
        ("init", "--quiet"),
        ("config", "user.email", "dep@example.com"),
        ("config", "user.name", "Dep"),
        ("remote", "add", "origin", str(bare)),
    ):
        subprocess.run(["git", "-C", str(desk.home), *argv], check=True)
    return desk


def push_tree(desk: Desk, *entries: str) -> None:
    """Push a commit of these lines of ls-tree as the branch of signatures."""

    def git(*argv: str, given: str = "") -> str:
        ran = subprocess.run(
            ["git", "-C", str(desk.home), *argv],
            input=given,
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout.strip()

    trees = {"": list(entries)}
    tree = git("mktree", "--missing", given="".join(f"{line}\n" for line in trees[""]))
    commit = git("commit-tree", tree, "-m", "x")
    git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/windlass-approvals")


def test_what_others_push_to_the_branch_does_not_stop_the_fetch(shared: Desk) -> None:
    def blob(data: bytes) -> str:
        argv = ["git", "-C", str(shared.home), "hash-object", "-w", "--stdin"]
        return (
            subprocess.run(argv, input=data, capture_output=True, check=True)
            .stdout.decode()
            .strip()
        )

    file = shared.approve("ann")
    good, name = blob(file.read_bytes()), file.name
    file.unlink()
    digest = PLAN.digest[:12]
    inner = subprocess.run(
        ["git", "-C", str(shared.home), "mktree"],
        input=f"100644 blob {blob(b'junk')}\t{name}\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    entries = [
        f"040000 tree {inner}\t0",  # the same name, in a directory that comes first
        f"120000 blob {blob(b'/etc/passwd')}\t{digest}-0a.approval",
        f"160000 commit {'1' * 40}\t{digest}-0b.approval",
        f"100644 blob {blob(bytes(70_000))}\t{digest}-0c.approval",
        f"100644 blob {blob(b'x')}\t{digest}-zz.approval",
        f"100644 blob {good}\t{name}",
    ]
    push_tree(shared, *entries)

    assert (
        ssh_branch.fetch(shared.home, "windlass-approvals", shared.directory, digest=PLAN.digest)
        == 1
    )
    assert [path.name for path in shared.directory.iterdir()] == [name]
    assert shared.judged()[0].approver == "ann@example.com"


def test_junk_under_the_name_of_a_signature_does_not_keep_it_away(shared: Desk) -> None:
    file = shared.approve("ann")
    ssh_branch.push(shared.home, "windlass-approvals", file, message="ann")
    outside = shared.home / "outside"
    outside.write_text("mine")
    file.unlink()
    file.symlink_to(outside)

    ssh_branch.fetch(shared.home, "windlass-approvals", shared.directory, digest=PLAN.digest)

    assert outside.read_text() == "mine"
    assert shared.judged()[0].approver == "ann@example.com"


def test_who_wrote_what_a_merge_brought_does_not_count(
    shared: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*argv: str, name: str = "dep") -> None:
        who = ["-c", f"user.name={name}", "-c", f"user.email={name}@example.com"]
        subprocess.run(["git", "-C", str(shared.home), *who, *argv], check=True)

    git("commit", "--quiet", "--allow-empty", "--message", "first")
    git("checkout", "--quiet", "-b", "change")
    git("commit", "--quiet", "--allow-empty", "--message", "a change", name="ann")
    git("checkout", "--quiet", "-")
    git("merge", "--quiet", "--no-ff", "--message", "merge", "change")
    shared.config = msgspec.structs.replace(shared.config, not_by_author=True)
    shared.approve("ann")

    assert "ann@example.com wrote the commit" in shared.refusal()
    message = "another\n\nCo-authored-by: Bob <Bob@example.com>"
    git("commit", "--quiet", "--allow-empty", "--message", message)
    shared.approve("bob")
    assert "bob@example.com wrote the commit" in shared.refusal(required=2)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what is asked, and says that everything is approved."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            asked.append(str(self.headers.get("Authorization")))
            self.send_response(404)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "variables",
    [
        {"GITHUB_API_URL": "{url}"},
        {"GITHUB_API_URL": "https://api.github.com.evil.example"},
        {"GITHUB_API_URL": "https://u:p@evil.example/api/v3"},
        {"GITHUB_API_URL": "http://api.github.com"},
        {"GITHUB_API_URL": "{url}", "GITHUB_SERVER_URL": "{url}"},
    ],
)
def test_on_a_laptop_a_token_goes_to_the_remote_s_own_api_alone(
    shared: Desk,
    elsewhere: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    url, asked = elsewhere
    remote = ["git", "-C", str(shared.home), "remote", "set-url", "origin"]
    subprocess.run([*remote, "https://github.com/acme/shop"], check=True)
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_of_a_person")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(url=url))

    with pytest.raises(ConfigError) as caught:
        open_github(shared.home, note=lambda _text: None)
    assert caught.value.next_step == "unset GITHUB_API_URL"
    assert asked == [] and "u:p" not in caught.value.what


def test_a_laptop_s_variables_do_not_name_a_server_of_one_s_own(
    shared: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = ["git", "-C", str(shared.home), "remote", "set-url", "origin"]
    subprocess.run([*remote, "https://github.com/acme/shop"], check=True)
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_of_a_person")
    monkeypatch.delenv("GITHUB_API_URL", raising=False)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://evil.example")

    api, site = open_github(shared.home, note=lambda _text: None)

    assert (api.url, site) == ("https://api.github.com", "https://github.com/acme/shop")


def test_outside_of_a_job_no_review_is_believed(
    elsewhere: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever deploys at a laptop can set every variable, and serve every answer."""
    url, asked = elsewhere
    for name, value in {
        "GITHUB_API_URL": url,
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_RUN_ID": "42",
        "GITHUB_TOKEN": "ghs_of_a_person",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    source = GithubSource(GithubApproval(expires=Duration(60)), environment="production")

    assert source.find(PLAN) == () and asked == []
    assert "GITHUB_ACTIONS" in source.how(PLAN)
