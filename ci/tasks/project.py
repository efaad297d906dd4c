"""The verbs of a project, before anything is deployed: written, checked, set up. No logic."""

import sys
from pathlib import Path

from .. import config
from ..errors import ConfigError
from ..model import Finding
from ..report import deployment, format, runner, summary
from ..report.lint import lint_text
from ..secret import redact
from ..visible import visible
from .task import Answer, at_most_one, deploy_file, opened, project, verb

LINT_PAGE = Path(__file__).parent.parent / "docs" / "lint.md"  # in a checkout of Windlass


@verb(
    env="lint what is pending in this environment, with its tables' sizes (default: all)",
    sarif="write the findings to this file as SARIF 2.1.0, for code scanning",
    fix="write what it proposes in the place of the pending migrations of --env",
)
def lint(env: str = "", sarif: str = "", *, fix: bool = False) -> Answer:
    """Show what is dangerous in the migrations, by file and line; exits 1 on errors."""
    from ..deployment import one_step
    from ..deployment.project import lint_files
    from ..lint import severity

    if fix:
        return _fix(env)
    if env:
        with opened(env) as work:
            findings = one_step.lint_pending(work)
    else:
        findings = lint_files(project())
    counted, findings = severity.counted(findings), severity.listed(findings)
    root = deploy_file().resolve().parent
    if sarif:
        _write_sarif(Path(sarif), findings, root)
    runner.tell(lambda _: summary.lint_page(findings, runner.prefix(root)))
    text = lint_text(findings, counted)
    return Answer(findings, text, int(bool(severity.errors(findings))))


def _fix(env: str) -> Answer:
    from ..deployment import one_step

    if not env:
        raise ConfigError(
            "lint --fix needs an environment, which says what is pending there",
            next_step="name the first one that they are deployed to: invoke lint --fix --env NAME",
        )
    with opened(env) as work:
        written = [str(path) for path in one_step.fix_pending(work)]
    told = [f"wrote {path}" for path in written] or ["nothing to write"]
    return Answer({"written": written}, "\n".join([*told, f"next: invoke lint --env {env}"]))


def _write_sarif(file: Path, findings: tuple[Finding, ...], root: Path) -> None:
    from ..report import sarif

    sources = {
        name: (root / name).read_text(encoding="utf-8", errors="replace")
        for name in {finding.file for finding in findings}
        if (root / name).is_file()
    }
    page = runner.blob(LINT_PAGE)
    text = sarif.document(findings, sources, prefix=runner.prefix(root), page=page)
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
def check(base: str = "origin/main", out: str = "") -> Answer:
    """Try the migrations that the base has not, on its schema: up, down and up again."""
    from ..deployment.project import check_pull_request
    from ..report.check import check_markdown, check_text

    loaded = project()
    checked = check_pull_request(loaded, base)
    if out:
        Path(out).write_text(check_markdown(checked), encoding="utf-8")
    runner.tell(lambda _: summary.check_page(checked, runner.prefix(loaded.root)))
    return Answer(checked, check_text(checked), int(not checked.passed))


@verb(
    file="the text, in Markdown; invoke check --out writes one (required)",
    pull="the number of the pull request (required)",
)
def comment(file: str = "", pull: int = 0) -> Answer:
    """Write the one comment of a pull request, in the place of the one before."""
    from ..github import pullrequest

    if not file or pull < 1:
        raise ConfigError(
            "comment needs a file and a pull request", next_step="--file check.md --pull 17"
        )
    text = pullrequest.read_text(Path(file))
    url = pullrequest.comment(pull, text)
    return Answer({"url": url}, url)


@verb(
    name="what it does, in lower case: add_user_preferences; of Alembic the message",
    autogenerate="from the models, as they differ from the database of --env (Alembic)",
    merge="of all heads (Alembic)",
    env="whose database the models are compared with, or has the table of a recipe",
    recipe="add-not-null-column, change-type, rename-column, drop-column, add-foreign-key or "
    "split-table: the migrations of a change that old and new code survive together",
    table="of a recipe: orders, sales.orders",
    column="of a recipe; of split-table several: street,city",
    to="the new column, or the new table",
    type="of the new column, as SQL",
    value="an expression: what rows get that have none",
    using="change-type: the new value from the old column (default: a cast)",
    back="change-type: the old value from the new column (default: a cast)",
    references="add-foreign-key: TABLE or TABLE(COLUMN)",
    dry_run="prints a recipe's files, and writes none",
)
def create(  # a flag each
    name: str = "",
    env: str = "",
    recipe: str = "",
    table: str = "",
    column: str = "",
    to: str = "",
    type: str = "",  # the flag's name
    value: str = "",
    using: str = "",
    back: str = "",
    references: str = "",
    *,
    autogenerate: bool = False,
    merge: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Write a new migration, its rollback and its verify script; or those of a recipe."""
    from ..deployment.project import create_from_models, create_migration, create_recipe
    from ..recipes.order import Order

    at_most_one(autogenerate=autogenerate, merge=merge, recipe=bool(recipe))
    if recipe:
        order = Order(
            recipe=recipe,
            table=table,
            column=column,
            to=to,
            type=type,
            value=value,
            using=using,
            back=back,
            references=references,
        )
        order.require("table", "orders")
        with opened(env) as work:
            trios = create_recipe(work, order, dry_run=dry_run)
        created = [trio.name for trio in trios]
        texts = [f"{trio.sql}\n{trio.rollback}" for trio in trios]
        return Answer({"created": created}, "\n".join(texts if dry_run else created))
    if autogenerate:
        with opened(env) as work:
            paths = create_from_models(work, name)
    else:
        paths = create_migration(project(), name, merge=merge)
    created = [str(path) for path in paths]
    return Answer({"created": created}, "\n".join(created))


@verb(
    env="an environment of deploy.yml; with --github one of them alone (default there: all)",
    role="whose job: plan, backup, restore (default: migrate, all that a deployment needs)",
    github="check the settings on GitHub instead: environments, reviewers, branches, secrets",
)
def doctor(env: str = "", role: str = "", *, github: bool = False) -> Answer:
    """Check everything a deployment will need, and say how to fix what is missing."""
    from ..deployment import preflight
    from ..github import settings
    from ..plan.rights import job_of

    at_most_one(github=github, role=role)
    job = job_of(role or "migrate")
    if github:
        checks = settings.check_settings(project(), env, note=_tell)
    else:
        with opened(env) as work:
            checks = preflight.check_environment(work, job)
    code = int(any(check.problem for check in checks))
    return Answer(checks, deployment.checks_text(checks), code)


@verb(
    role="which, and their names: plan,backup=NAME (default: migrate, plan, backup and restore)",
    owner="the role that owns the tables (default: the owner of the database)",
)
def grants(env: str = "", role: str = "", owner: str = "") -> Answer:
    """Print the SQL that gives each role what it needs, and no more; changes nothing."""
    from ..deployment import rights
    from ..plan.grants import grants_text

    with opened(env) as work:
        report = rights.report_grants(work, role, owner)
    text = grants_text(report.grants, report.rights, report.notes)
    document = {"owner": report.owner, "notes": report.notes, "grants": report.grants}
    return Answer(document, text)


@verb(
    windlass="what the workflows install, OWNER/NAME@REF (default: what this is installed from)",
    github="with the workflows of GitHub Actions, and what is to be set there by hand",
    force="write over the files that are there (default: refuse)",
)
def init(windlass: str = "", *, github: bool = False, force: bool = False) -> Answer:
    """Write tasks.py, deploy.yml and the workflows into this repository; asks nothing."""
    from .. import scaffold

    written = scaffold.init(Path.cwd(), github=github, source=windlass, force=force, note=_tell)
    return Answer(written, scaffold.init_text(written, github=github))


def _tell(text: str) -> None:
    sys.stderr.write(visible(f"    {redact(text)}\n"))


@verb()
def schema() -> Answer:
    """Print the JSON Schema of deploy.yml, for editors."""
    document = config.json_schema()
    return Answer(document, format.as_json(document))
