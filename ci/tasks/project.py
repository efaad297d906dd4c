"""The verbs of a project, before anything is deployed: written, checked, set up. No logic."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from .. import config
from ..errors import ConfigError
from ..model import Finding
from ..report import deployment, format, runner, summary
from .task import Answer, at_most_one, deploy_file, opened, verb

if TYPE_CHECKING:
    from ..model import PreflightCheck

LINT_PAGE = Path(__file__).parent.parent / "docs" / "lint.md"  # in a checkout of Windlass


@verb(
    env="an environment whose pending migrations are read, with what stands there (default: all)",
    sarif="write the findings to this file as SARIF 2.1.0, for code scanning",
)
def lint(
    c: Context, env: str = "", sarif: str = "", *, json: bool = False, debug: bool = False
) -> tuple[object, str, int]:
    """Show what is dangerous in the migrations, by file and line; exits 1 on errors."""
    from ..deployment import one_step
    from ..engines import open_engine
    from ..lint import severity

    if env:
        with opened(env) as work:
            found = one_step.lint(work)
    else:
        file = deploy_file()
        engine = open_engine(config.load(file).migrations(), file.resolve().parent)
        found = severity.graded(engine.files.lint(engine.files.list(), None), (), None)
    root = deploy_file().resolve().parent
    if sarif:
        _write_sarif(Path(sarif), found, root)
    runner.tell(lambda _: summary.lint_page(found, runner.prefix(root)))
    text = "\n".join(str(finding) for finding in found) or "no findings"
    return found, text, int(bool(severity.errors(found)))


def _write_sarif(file: Path, found: tuple[Finding, ...], root: Path) -> None:
    from ..report import sarif

    sources = {
        name: (root / name).read_text(encoding="utf-8", errors="replace")
        for name in {finding.file for finding in found}
        if (root / name).is_file()
    }
    text = sarif.document(found, sources, prefix=runner.prefix(root), page=runner.blob(LINT_PAGE))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror}", next_step="name another file: --sarif"
        ) from None


@verb(
    base="the commit this is merged into, in git's words (default: origin/main)",
    out="write the result to this file, in Markdown, for a comment",
)
def check(
    c: Context,
    base: str = "origin/main",
    out: str = "",
    *,
    json: bool = False,
    debug: bool = False,
) -> tuple[object, str, int]:
    """Try the migrations that the base has not, on its schema: up, down and up again."""
    from ..rehearsal import pull_request
    from ..report import check as check_report

    file = deploy_file()
    loaded, root = config.load(file), file.resolve().parent
    found = pull_request.check(root, loaded.migrations(), base, server=loaded.throwaway())
    if out:
        Path(out).write_text(check_report.check_markdown(found), encoding="utf-8")
    runner.tell(lambda _: summary.check_page(found, runner.prefix(root)))
    return found, check_report.check_text(found), int(not found.passed)


@verb(
    file="the text, in Markdown; invoke check --out writes one (required)",
    pull="the number of the pull request (required)",
)
def comment(
    c: Context, file: str = "", pull: int = 0, *, json: bool = False, debug: bool = False
) -> Answer:
    """Write the one comment of a pull request, in the place of the one before."""
    from ..github import pullrequest

    if not file or pull < 1:
        raise ConfigError(
            "comment needs a file and a pull request", next_step="--file check.md --pull 17"
        )
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read: {error}", next_step="write it: invoke check --out check.md"
        ) from None
    url = pullrequest.comment(pull, text)
    return {"url": url}, url


@verb(
    name="what it does, in lower case: add_user_preferences; of Alembic the message",
    autogenerate="from the models, as they differ from the database of --env (Alembic)",
    merge="of all heads (Alembic)",
    env="whose database the models are compared with",
)
def create(
    c: Context,
    name: str = "",
    env: str = "",
    *,
    autogenerate: bool = False,
    merge: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Write a new migration, its rollback and its verify script."""
    from ..engines import open_engine

    at_most_one(autogenerate=autogenerate, merge=merge)
    if autogenerate:
        with opened(env) as work:
            paths = work.engine.create(name, compared=work.database)
    else:
        file = deploy_file()
        engine = open_engine(config.load(file).migrations(), file.resolve().parent)
        paths = engine.create(name, merge=merge)
    made = [str(path) for path in paths]
    return {"created": made}, "\n".join(made)


@verb(
    env="an environment of deploy.yml; with --github one of them alone (default there: all)",
    github="check the settings on GitHub instead: environments, reviewers, branches, secrets",
)
def doctor(
    c: Context, env: str = "", *, github: bool = False, json: bool = False, debug: bool = False
) -> tuple[object, str, int]:
    """Check everything a deployment will need, and say how to mend what is missing."""
    from .. import policy
    from ..deployment import preflight

    if github:
        found = _on_github(env)
    else:
        with opened(env) as work:
            found = preflight.look(policy.steps_for(work.settings), work)
    return found, deployment.checks_text(found), int(any(check.problem for check in found))


@verb(
    windlass="what the workflows install, OWNER/NAME@REF (default: what this is installed from)",
    github="with the workflows of GitHub Actions, and what is to be set there by hand",
    force="write over the files that are there (default: refuse)",
)
def init(
    c: Context,
    windlass: str = "",
    *,
    github: bool = False,
    force: bool = False,
    json: bool = False,
    debug: bool = False,
) -> Answer:
    """Write tasks.py, deploy.yml and the workflows into this repository; asks nothing."""
    from .. import scaffold

    root = Path.cwd()
    found = scaffold.look(root, note=_tell)
    source = (windlass or scaffold.installed()) if github else ""
    made = scaffold.write(root, scaffold.files(found, github=github, source=source), force=force)
    needed = scaffold.environments(root)
    lines = [f"wrote {path}" for path in made]
    lines.append(f"{found.project}: engine {found.migrations.engine}, {found.migrations.place}")
    lines.append("next: invoke create --name NAME, then invoke deploy --env dev")
    if github:
        lines.append(scaffold.by_hand(found, needed))
    policies = {one.name: scaffold.trust_policy(found, one.name) for one in needed}
    document = {
        "written": [str(path) for path in made],
        "found": found,
        "environments": needed,
        "trust": policies,
    }
    return document, "\n".join(lines)


def _tell(text: str) -> None:
    sys.stderr.write(f"    {text}\n")


def _on_github(env: str) -> "tuple[PreflightCheck, ...]":
    from ..github import settings
    from ..github.remote import open_github

    file = deploy_file()
    loaded = config.load(file)
    if env:
        loaded.require(env)
    api, site = open_github(file.resolve().parent, note=_tell)
    return settings.look(api, site, settings.wanted(loaded, env))


@verb()
def schema(c: Context, *, json: bool = False, debug: bool = False) -> Answer:
    """Print the JSON Schema of deploy.yml, for editors."""
    found = config.schema()
    return found, format.as_json(found)
