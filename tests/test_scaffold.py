"""`init` in the repositories of others: what it finds out, writes, and never writes over."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pgwindlass import scaffold
from pgwindlass.config import load
from pgwindlass.errors import ConfigError
from pgwindlass.github.oidc import trust_policy
from pgwindlass.policy import steps_for
from tests.fix_github import Github, variables
from tests.kit import WINDLASS, Ran
from tests.test_githubsettings import SITE, well_set

SOURCE = "acme/windlass@0123456789abcdef"
OURS = ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_SERVER_URL")
WRITTEN = [".windlass/.gitignore", "deploy.yml", "migrations/.gitkeep", "tasks.py"]
TEMPLATE = """\
name: deploy
on:
  push:
    branches: [main]
jobs:
  production:
    uses: {windlass}/.github/workflows/deploy.yml@{ref} # ${{ github.ref }}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of somebody's, with a remote on GitHub and no token at hand."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "work"
    subprocess.run(["git", "init", "--quiet", "-b", "trunk", home], check=True)
    remote("git@github.com:acme/shop.git", home)
    return home


def remote(url: str, at: Path) -> None:
    subprocess.run(
        ["git", "-C", at, "remote", "remove", "origin"], check=False, capture_output=True
    )
    subprocess.run(["git", "-C", at, "remote", "add", "origin", url], check=True)


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    (folder / "github").mkdir(parents=True)
    (folder / "github" / "deploy.yml").write_text(TEMPLATE)
    return folder


def ran(root: Path, *argv: str) -> Ran:
    program = [str(WINDLASS)] if argv[0] != "invoke" else [sys.executable, "-m"]
    done = subprocess.run(
        [*program, *argv],
        cwd=root,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def tree(root: Path) -> list[str]:
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts[:-1])
    return sorted(str(path.relative_to(root)) for path in files)


def look(root: Path) -> scaffold.Repository:
    return scaffold.inspect_repository(root, note=lambda _text: None)


def test_a_fresh_repository_deploys_to_its_own_dev_database(root: Path) -> None:
    first = ran(root, "init", "--json")
    assert (first.code, first.err) == (0, "")
    assert tree(root) == sorted(json.loads(first.out)["written"]) == WRITTEN
    assert json.loads(first.out)["found"]["migrations"]["engine"] == "sql"

    assert ran(root, "create", "--name", "create_orders").code == 0
    (script,) = (root / "migrations").glob("*_create_orders.sql")
    table = "create table orders (id int primary key);"
    script.write_text(script.read_text().replace("COMMIT;", f"{table}\nCOMMIT;"))
    # As its user does: tasks.py, and Invoke's own program.
    done = ran(root, "invoke", "deploy", "--env", "dev")

    assert done.code == 0, done.err
    assert "1 applied" in done.err
    shown = subprocess.run(
        ["git", "-C", root, "status", "--porcelain", "-uall"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "embedded" not in shown
    signature = ["git", "-C", str(root), "check-ignore", ".windlass/approvals/a.approval"]
    assert subprocess.run(signature, check=False).returncode == 1
    shutil.rmtree(root / ".windlass" / "embedded")


def test_what_is_there_is_named_and_stays(root: Path) -> None:
    (root / "tasks.py").write_text("mine")
    (root / "deploy.yml").write_text("mine too")

    refused = ran(root, "init")

    assert refused.code == 2
    assert refused.error() == [
        "✗ tasks.py, deploy.yml would be overwritten",
        "  state: nothing was written",
        "  next:  move them away, or write over them: invoke init --force",
    ]
    assert tree(root) == ["deploy.yml", "tasks.py"]
    assert (root / "tasks.py").read_text() == "mine"

    made = scaffold.files(look(root), github=False)
    assert scaffold.write(root, made, force=True)
    assert "ns" in (root / "tasks.py").read_text()


def test_what_somebody_ignores_and_keeps_is_left_alone_even_by_force(root: Path) -> None:
    (root / ".windlass").mkdir()
    (root / ".windlass" / ".gitignore").write_text("mine")

    scaffold.write(root, scaffold.files(look(root), github=False), force=True)

    assert (root / ".windlass" / ".gitignore").read_text() == "mine"


def test_every_environment_of_the_file_is_one_that_policy_takes(root: Path) -> None:
    scaffold.write(root, scaffold.files(look(root), github=False), force=False)
    written = load(root / "deploy.yml")
    values = dict.fromkeys(written.variables("production"), "http://x")

    assert written.names == ("dev", "uat", "production")
    for name in written.names:
        settings = written.environment(name, {**values, "UAT_DATABASE_URL": "postgresql://x"})
        assert steps_for(settings)
        assert settings.shared.project == "shop"


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ((), ("engine: sql", "directory: migrations")),
        (("db/migrations/20260101_000000_a.sql",), ("engine: sql", "directory: db/migrations")),
        (("alembic.ini",), ("engine: alembic", "ini: alembic.ini")),
        (("services/api/alembic.ini",), ("engine: alembic", "ini: services/api/alembic.ini")),
        (("prisma/schema.prisma",), ("engine: prisma", "directory: prisma/migrations")),
        (("api/prisma/schema.prisma",), ("engine: prisma", "directory: api/prisma/migrations")),
        (
            (
                "node_modules/x/prisma/schema.prisma",
                ".venv/lib/alembic.ini",
                "env/pyvenv.cfg",
                "env/alembic.ini",
            ),
            ("engine: sql", "directory: migrations"),
        ),
    ],
    ids=["nothing", "sql", "alembic", "alembic below", "prisma", "prisma below", "installed"],
)
def test_an_engine_is_known_by_its_files(
    root: Path, files: tuple[str, ...], lines: tuple[str, ...]
) -> None:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    found = look(root)
    made = scaffold.files(found, github=False)

    assert tuple(line.strip() for line in found.migrations.lines.splitlines()) == lines
    section = yaml.safe_load(made[Path("deploy.yml")])["migrations"]
    assert section == dict(line.split(": ") for line in lines)
    assert (Path("migrations/.gitkeep") in made) is (lines[1] == "directory: migrations")
    scaffold.write(root, made, force=False)
    assert load(root / "deploy.yml").shared({}).migrations.engine == section["engine"]


def test_two_projects_are_not_chosen_between(root: Path) -> None:
    for name in ("alembic.ini", "prisma/schema.prisma"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("")

    with pytest.raises(ConfigError, match=r"alembic.ini and prisma/schema.prisma: which of them"):
        look(root)


def test_name_and_branch_are_git_s_or_the_directory_s(root: Path, tmp_path: Path) -> None:
    found = look(root)
    assert (found.project, found.branch, found.repository) == ("shop", "trunk", "acme/shop")

    plain = tmp_path / "My shop (old)"
    plain.mkdir()
    found = look(plain)
    assert (found.project, found.branch, found.repository) == ("My-shop-old", "main", "")


def test_workflows_are_filled_in(root: Path, templates: Path) -> None:
    made = scaffold.files(look(root), github=True, source=SOURCE, templates=templates)

    workflow = made[Path(".github/workflows/deploy.yml")]
    assert "acme/windlass/.github/workflows/deploy.yml@0123456789abcdef #" in workflow
    assert "branches: [trunk]" in workflow
    assert "${{ github.ref }}" in workflow


@pytest.mark.parametrize("source", ["", "windlass", "acme/windlass", "acme/windlass@"])
def test_without_a_source_no_workflow_is_written(root: Path, templates: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="where the workflows shall install") as caught:
        scaffold.files(look(root), github=True, source=source, templates=templates)
    assert "--windlass OWNER/NAME@REF" in caught.value.next_step


@pytest.mark.parametrize(
    ("told", "source"),
    [
        (
            {
                "url": "https://github.com/acme/windlass.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc123"},
            },
            "acme/windlass@abc123",
        ),
        ({"url": "https://example.com/windlass.zip", "archive_info": {}}, ""),
        ({"url": "file://{home}", "dir_info": {"editable": True}}, "acme/windlass@{head}"),
        (None, ""),
    ],
    ids=["git", "archive", "checkout", "an index"],
)
def test_where_windlass_is_from_is_read_from_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, object] | None, source: str
) -> None:
    home = tmp_path / "checkout"
    subprocess.run(["git", "init", "--quiet", home], check=True)
    remote("https://github.com/acme/windlass.git", home)
    own = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(
        ["git", "-C", home, *own, "commit", "-q", "--allow-empty", "-m", "first"], check=True
    )
    head = subprocess.run(
        ["git", "-C", home, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    packages = tmp_path / "packages"
    information = packages / "pgwindlass-9.9.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pgwindlass\nVersion: 9.9\n")
    if told is not None:
        (information / "direct_url.json").write_text(json.dumps(told).replace("{home}", str(home)))
    monkeypatch.syspath_prepend(packages)

    assert scaffold.installed() == source.replace("{head}", head)


def test_an_installation_without_workflows_says_so(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no workflows in"):
        scaffold.files(look(root), github=True, source=SOURCE, templates=tmp_path)


def test_the_task_with_github_writes_every_template_there_is_and_says_the_rest(root: Path) -> None:
    shipped = sorted(path.name for path in (scaffold.TEMPLATES / "github").glob("*.yml"))

    done = ran(root, "init", "--github", "--windlass", SOURCE)

    if not shipped:
        assert (done.code, tree(root)) == (2, [])
        return
    assert done.code == 0, done.err
    assert tree(root) == sorted([*WRITTEN, *(f".github/workflows/{name}" for name in shipped)])
    assert "invoke doctor --github checks all but the last" in done.out
    for name in shipped:
        text = (root / ".github" / "workflows" / name).read_text()
        assert "{windlass}" not in text and "{ref}" not in text


def test_what_is_left_to_do_by_hand_is_listed_with_its_pages(root: Path) -> None:
    found = look(root)
    scaffold.write(root, scaffold.files(found, github=False), force=False)

    text = scaffold.by_hand(found, scaffold.environments(root))

    lines = text.splitlines()
    assert lines[:9] == [
        "by hand; invoke doctor --github checks all but the last:",
        "  environments dev, uat, uat-backup, production, production-plan, production-backup: "
        f"{SITE}/settings/environments",
        "  production: required reviewers, prevent self-review, no bypass by administrators",
        "    a private repository has reviewers only with GitHub Enterprise; else use signatures:",
        "    approval: {from: ssh, signers: .github/approvers}",
        "  uat, uat-backup, production, production-plan, production-backup: deployment branches: "
        "trunk alone",
        "  uat: secrets or variables UAT_DATABASE_URL",
        "  uat-backup: secrets or variables UAT_DATABASE_URL",
        "  production: secrets or variables PRODUCTION_DATABASE_URL, PRODUCTION_URL",
    ]
    assert f"  workflow permissions: read: {SITE}/settings/actions" in lines
    policy = json.loads(text[text.index("\n    {") :])
    assert policy == trust_policy(found.subjects, "production")
    condition = policy["Statement"][0]["Condition"]["StringEquals"]
    assert condition["token.actions.githubusercontent.com:sub"] == [
        "repo:acme/shop:environment:production"
    ]


@pytest.mark.parametrize(
    ("created", "subjects"),
    [
        ("2026-08-01", ("repo:acme@5/shop@9",)),
        ("2020-01-01", ("repo:acme/shop", "repo:acme@5/shop@9")),
    ],
)
def test_with_a_token_github_tells_the_rest(
    root: Path,
    github: Github,
    monkeypatch: pytest.MonkeyPatch,
    created: str,
    subjects: tuple[str, ...],
) -> None:
    for name, value in variables(github).items():
        monkeypatch.setenv(name, value)
    well_set(github)
    github.say(
        "",
        {
            "private": False,
            "default_branch": "main",
            "full_name": "acme/shop",
            "id": 9,
            "owner": {"id": 5, "login": "acme"},
            "created_at": f"{created}T00:00:00Z",
        },
    )
    github.say("/environments", {"total_count": 1, "environments": [{"name": "uat"}]})

    found = look(root)

    assert (found.branch, found.private, found.there) == ("main", False, frozenset({"uat"}))
    assert found.subjects == subjects
    scaffold.write(root, scaffold.files(found, github=False), force=False)
    text = scaffold.by_hand(found, scaffold.environments(root))
    assert "    already exist: uat" in text.splitlines()
    assert "GitHub Enterprise" not in text


def test_a_github_that_does_not_answer_is_told_and_changes_nothing(
    root: Path, github: Github, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(github).items():
        monkeypatch.setenv(name, value)
    notes: list[str] = []

    found = scaffold.inspect_repository(root, note=notes.append)

    assert found.branch == "trunk"
    assert notes[0].startswith("GitHub was not asked: GitHub's API gave no answer to acme/shop")
