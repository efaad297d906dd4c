"""What `init` writes into another repository, and what is left to do by hand on GitHub."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from . import git
from .config import load
from .errors import ConfigError, WindlassError
from .github.oidc import subjects, trust_policy
from .github.remote import find_remote, open_github, parse_remote
from .github.settings import ENVIRONMENT, WantedEnvironment, wanted_environments

TEMPLATES = Path(__file__).parent / "templates"
WORKFLOWS = Path(".github") / "workflows"
TASKS = """\
\"\"\"The tasks of Windlass, for this repository.\"\"\"

from pgwindlass.tasks import ns

__all__ = ["ns"]
"""
IGNORED = """\
# The embedded databases stay here; signatures may be committed.
*
!.gitignore
!approvals/
!approvals/**
"""
SIGNING = """\
before production, whose backups are signed:
  ssh-keygen -t ed25519 -N '' -C production -f backup-key
  echo "production $(cat backup-key.pub)" >> .github/backup-signers   # to be committed
  the text of backup-key is BACKUP_SIGNING_KEY, a secret of what deploys; then remove the file"""
NOT_OURS = {"node_modules", "venv", "site-packages", "build", "dist"}
DEEPEST = 3  # directories below the root in which a project's files are looked for
USUAL = ("migrations", "db/migrations", "database/migrations", "sql/migrations")
SOURCE = re.compile(r"(?P<name>[^/@\s]+/[^/@\s]+)@(?P<ref>\S+)")


@dataclass(frozen=True, kw_only=True)
class Migrations:
    """The migrations that were found: their engine, where they are, and the file that says so."""

    engine: str
    directory: str
    ini: str = ""
    found: str = ""

    @property
    def place(self) -> str:
        """Where they are, or what says so."""
        return self.ini or self.directory

    @property
    def lines(self) -> str:
        """The keys of deploy.yml's section."""
        where = f"ini: {self.ini}" if self.ini else f"directory: {self.directory}"
        return f"  engine: {self.engine}\n  {where}"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What could be found out about a repository without asking a person.

    `repository` is OWNER/NAME, empty where git has no remote on a server; `subjects` begin the
    `sub` of a workflow's identity; `there` are the environments that exist on GitHub, None where
    that could not be asked.
    """

    project: str
    branch: str
    migrations: Migrations
    repository: str = ""
    site: str = ""
    private: bool | None = None
    there: frozenset[str] | None = None
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Initialised:
    """What `init` wrote, what it found, and what GitHub and AWS need for it."""

    written: tuple[str, ...]
    found: Repository
    environments: tuple[WantedEnvironment, ...]
    trust: dict[str, dict[str, Any]]  # the trust policy of an AWS role, by environment


def init(
    root: Path, *, github: bool, source: str = "", force: bool, note: Callable[[str], None]
) -> Initialised:
    """Write what a repository needs, and return what was written and found.

    Args:
        root: the repository, or the directory of one project in it.
        github: with the workflows too.
        source: OWNER/NAME@REF of Windlass, for the workflows; empty: what this one is from.
        force: write over files that are there.
        note: is told what GitHub did not answer.

    Raises:
        ConfigError: a file exists already, or what is deployed or installed cannot be told.

    """
    repository = inspect_repository(root, note=note)
    source = (source or installed()) if github else ""
    written = write(root, files(repository, github=github, source=source), force=force)
    needed = environments(root)
    return Initialised(
        written=tuple(map(str, written)),
        found=repository,
        environments=needed,
        trust={
            environment.name: trust_policy(repository.subjects, environment.name)
            for environment in needed
        },
    )


def inspect_repository(root: Path, *, note: Callable[[str], None]) -> Repository:
    """Return what the files, git and, with a token, GitHub's API say about the repository.

    `note` is told what GitHub did not answer: nothing depends on it.

    Raises:
        ConfigError: there are migrations of several tools, or several projects of one.

    """
    remote = find_remote(root)
    name = remote.name.split("/")[1] if remote else root.resolve().name
    project = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "project"
    plain = Repository(
        project=project,
        branch=_branch(root),
        migrations=find_migrations(root),
        repository=remote.name if remote else "",
        site=remote.site if remote else "",
        subjects=(f"repo:{remote.name}",) if remote else (),
    )
    try:
        api, site = open_github(root, note=note)
    except ConfigError:  # no token, or no repository there yet
        return plain
    try:
        answer = api.get(permission="metadata: read")
        environments = api.all("environments", "environments", permission=ENVIRONMENT)
    except WindlassError as error:
        note(f"GitHub was not asked: {error.what}")
        return plain
    return Repository(
        project=project,
        branch=answer["default_branch"],
        migrations=plain.migrations,
        repository=answer["full_name"],
        site=site,
        private=answer["private"],
        there=frozenset(environment["name"] for environment in environments),
        subjects=subjects(answer),
    )


def _branch(root: Path) -> str:
    """Return the default branch: the remote's, as git knows it, else the one checked out."""
    for arguments in (
        ("symbolic-ref", "--short", "refs/remotes/origin/HEAD"),
        ("symbolic-ref", "--short", "HEAD"),
    ):
        branch = git.read_or_none(root, *arguments)
        if branch is not None:
            return branch.removeprefix("origin/")
    return "main"


def find_migrations(root: Path) -> Migrations:
    """Return the migrations of the project at `root`, by its files; plain SQL where it has none.

    Raises:
        ConfigError: there are several, and which of them is deployed cannot be seen.

    """
    files = list(_files(root, root))
    candidates = [
        Migrations(engine="alembic", directory="", ini=str(file), found=str(file))
        for file in files
        if file.name == "alembic.ini"
    ]
    candidates += [
        Migrations(engine="prisma", directory=str(file.parent / "migrations"), found=str(file))
        for file in files
        if file.name == "schema.prisma"
    ]
    if len(candidates) > 1:
        names = " and ".join(candidate.found for candidate in candidates)
        raise ConfigError(
            f"{names}: which of them is deployed?",
            next_step="run init in the directory of one; several are several deploy.yml",
        )
    if candidates:
        return candidates[0]
    directory = next((d for d in USUAL if any((root / d).glob("*.sql"))), USUAL[0])
    return Migrations(engine="sql", directory=directory)


def _files(root: Path, directory: Path) -> Iterable[Path]:
    """Yield files below a directory, relative to `root`, without what was installed there."""
    depth = len(directory.relative_to(root).parts)
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name in NOT_OURS or path.is_symlink():
            continue
        if path.is_file():
            yield path.relative_to(root)
        elif path.is_dir() and depth < DEEPEST and not (path / "pyvenv.cfg").exists():
            yield from _files(root, path)


def installed() -> str:
    """Return where this Windlass is from, as OWNER/NAME@REF; empty where that cannot be told.

    https://packaging.python.org/specifications/direct-url
    """
    try:
        text = distribution("pgwindlass").read_text("direct_url.json")
    except PackageNotFoundError:
        return ""
    source = json.loads(text or "{}")
    url = str(source.get("url", ""))
    if "vcs_info" in source:
        remote = parse_remote(url)
        return f"{remote.name}@{source['vcs_info']['commit_id']}" if remote else ""
    directory = Path(unquote(urlsplit(url).path))
    remote = find_remote(directory) if url.startswith("file:") else None
    if remote is None:
        return ""
    head = git.read_or_none(directory, "rev-parse", "HEAD")
    return f"{remote.name}@{head}" if head else ""


def files(
    repository: Repository, *, github: bool, source: str = "", templates: Path = TEMPLATES
) -> dict[Path, str]:
    """Return what `init` writes: the text of each file by its path.

    Args:
        found: the repository.
        github: with the workflows too.
        source: OWNER/NAME@REF of Windlass, which the workflows install.
        templates: where deploy.yml and github/*.yml are.

    Raises:
        ConfigError: workflows are asked for, and where Windlass is from cannot be told.

    """
    deploy = (TEMPLATES / "deploy.yml").read_text(encoding="utf-8")
    deploy = deploy.replace("{project}", repository.project)
    texts = {
        Path("tasks.py"): TASKS,
        Path("deploy.yml"): deploy.replace("{migrations}", repository.migrations.lines),
        Path(".windlass") / ".gitignore": IGNORED,
    }
    if not repository.migrations.found:  # nothing is there yet: a directory of SQL files begins
        texts[Path(repository.migrations.directory) / ".gitkeep"] = ""
    if github:
        texts |= _workflows(repository, source, templates / "github")
    return texts


def _workflows(repository: Repository, source: str, templates: Path) -> dict[Path, str]:
    match = SOURCE.fullmatch(source)
    if match is None:
        problem = f'"{source}" is no OWNER/NAME@REF' if source else "cannot be told from here"
        raise ConfigError(
            f"where the workflows shall install Windlass from: {problem}",
            next_step="--windlass OWNER/NAME@REF, such as a tag or, better, a commit",
        )
    texts = sorted(templates.glob("*.yml"))
    if not texts:
        raise ConfigError(
            f"this installation has no workflows in {templates}",
            next_step="install Windlass again, from a whole checkout",
        )
    filled = {"{windlass}": match["name"], "{ref}": match["ref"]}
    workflows = {}
    for file in texts:
        text = file.read_text(encoding="utf-8")
        for placeholder, value in filled.items():
            text = text.replace(placeholder, value)
        branches = f"branches: [{repository.branch}]"
        workflows[WORKFLOWS / file.name] = text.replace("branches: [main]", branches)
    return workflows


def write(root: Path, texts: dict[Path, str], *, force: bool) -> tuple[Path, ...]:
    """Write the files and return their paths; with `force` over what is there.

    A `.gitkeep` or `.gitignore` that is there stays in any case.

    Raises:
        ConfigError: one exists already; nothing was written.

    """
    existing = [path for path in texts if (root / path).exists()]
    kept = [path for path in existing if path.name in (".gitkeep", ".gitignore")]
    others = [path for path in existing if path not in kept]
    if others and not force:
        raise ConfigError(
            f"{', '.join(map(str, others))} would be overwritten",
            state="nothing was written",
            next_step="move them away, or write over them: invoke init --force",
        )
    written = tuple(path for path in texts if path not in kept)
    for path in written:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(texts[path], encoding="utf-8")
    return written


def environments(root: Path) -> tuple[WantedEnvironment, ...]:
    """Return the environments on GitHub that the deploy.yml at `root` needs."""
    return wanted_environments(load(root / "deploy.yml"))


def init_text(done: Initialised, *, github: bool) -> str:
    """Return what was written, and what comes next."""
    migrations = done.found.migrations
    lines = [f"wrote {path}" for path in done.written]
    lines.append(f"{done.found.project}: engine {migrations.engine}, {migrations.place}")
    lines.append("next: invoke create --name NAME, then invoke deploy --env dev")
    lines.append(SIGNING)
    if github:
        lines.append(by_hand(done.found, done.environments))
    return "\n".join(lines)


def by_hand(repository: Repository, needed: tuple[WantedEnvironment, ...]) -> str:
    """Return what is left to set on GitHub and at AWS, each part with its page."""
    site = repository.site or "https://github.com/OWNER/NAME"
    names = [environment.name for environment in needed]
    existing = sorted(repository.there & set(names)) if repository.there is not None else []
    guarded = [environment.name for environment in needed if environment.guarded]
    reviewed = [environment for environment in needed if environment.reviewed]
    lines = [
        "by hand; invoke doctor --github checks all but the last:",
        f"  environments {', '.join(names)}: {site}/settings/environments",
        *([f"    already exist: {', '.join(existing)}"] if existing else []),
    ]
    lines += [
        f"  {name}: required reviewers, prevent self-review, no bypass by administrators"
        for name in (environment.name for environment in reviewed)
    ]
    if reviewed and repository.private is not False:
        lines.append(
            "    a private repository has reviewers only with GitHub Enterprise; else use "
            "signatures:\n    approval: {from: ssh, signers: .github/approvers}"
        )
    lines.append(f"  {', '.join(guarded)}: deployment branches: {repository.branch} alone")
    lines += [
        f"  {environment.name}: secrets or variables {', '.join(environment.names)}"
        for environment in needed
        if environment.names
    ]
    lines.append(f"  workflow permissions: read: {site}/settings/actions")
    role = (reviewed or needed)[-1].name
    policy = json.dumps(trust_policy(repository.subjects, role), indent=2)
    lines += [
        "  with S3, an AWS role for each environment, which its jobs alone may take; of "
        f"{role} with this trust policy:",
        *(f"    {line}" for line in policy.splitlines()),
    ]
    return "\n".join(lines)
