"""A job's summary in Markdown: every page whole, and no text from outside that is Markdown."""

import re
from typing import Any

import pytest

from pgwindlass.errors import Interrupted, Place, Refused, RolledBack, StepFailed, WindlassError
from pgwindlass.model import Deployment, PullRequestCheck
from pgwindlass.report.check import check_markdown
from pgwindlass.report.markdown import ROWS, Page, Section, rendered
from pgwindlass.report.summary import (
    Run,
    backup_page,
    check_page,
    done_page,
    failure_page,
    finding_sections,
    lint_page,
    migration_sections,
    plan_page,
    proof_page,
    rehearsal_page,
    rehearsal_sections,
    run_page,
    sql_sections,
    text_page,
    timeline_sections,
)
from tests.unit import examples
from tests.unit.examples import (
    ORIGIN,
    A,
    B,
    about,
    backup,
    changed,
    checked,
    deployment,
    finding,
    migration,
    plan,
    proof,
    rehearsed,
    result,
    steps,
    table_size,
    traced,
)

pytestmark = pytest.mark.unit

FACTS = "|  |  |\n| --- | --- |\n"
LINT = "| level | where | what | rule |\n| --- | --- | --- | --- |\n"
FINDING = "| warning | `migrations/a.sql:3` | `writes` | `add-serial` |\n"
PENDING = (
    "| # | migration | what | phase | in a transaction | rollback |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)
ONE_MIGRATION = f"#### Pending migrations: 1\n\n{PENDING}| 1 | `{A}` | – | – | yes | a script |\n\n"


def text(page: Page) -> str:
    return rendered(page.sections)


def block(content: str) -> str:
    return f"```\n{content}\n```\n\n"


def test_the_migrations_of_a_plan_are_a_table() -> None:
    given = plan(
        migrations=(
            migration(A, title="orders"),
            migration(B, phase="after", transactional=False),
        )
    )

    assert rendered(migration_sections(given)) == (
        f"#### Pending migrations: 2\n\n{PENDING}"
        f"| 1 | `{A}` | `orders` | – | yes | a script |\n"
        f"| 2 | `{B}` | – | after the restart | no | a script |\n\n"
    )
    assert migration_sections(plan(direction="down"))[0].head.startswith(
        "#### Migrations to undo: 1\n"
    )
    assert migration_sections(plan(migrations=())) == ()
    assert (migration_sections(given)[0].noun, migration_sections(given)[0].elsewhere) == (
        "migrations",
        "`invoke plan` has them all",
    )


def test_findings_are_a_table() -> None:
    (section,) = finding_sections((finding(), finding(level="error", message="a|b")))

    assert rendered([section]) == (
        f"#### Lint: 2\n\n{LINT}{FINDING}"
        "| error | `migrations/a.sql:3` | <code>a&#124;b</code> | `add-serial` |\n\n"
    )
    assert (section.noun, section.elsewhere) == ("findings", "the log has them all")
    assert finding_sections(()) == ()


REHEARSAL = examples.rehearsal(
    rehearsed(traced(), lost=("2 rows of t",)), rehearsed(traced(), name=B)
)
REHEARSED = (
    "#### Rehearsal of plan `0123456789ab`\n\n"
    "On `PostgreSQL 16.14, embedded`, from backup `20261120T113000Z-d1` of 2026-11-20 11:30 UTC."
    "\n\n"
    "| migration | time | who waits, and how long | rewrite | full scan | WAL | rollback |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
    f"| `{A}` | `1.0 s` | `–` | `–` | `–` | `0 B` | `proven, 250 ms` |\n"
    f"| `{B}` | `1.0 s` | `–` | `–` | `–` | `0 B` | `proven, 250 ms` |\n\n"
)
NOTES = f"- `{A}: its rollback does not bring back: 2 rows of t`\n\n"
FORECAST = "`forecast: a deployment takes 16.0 s and the restart, a restore 20.0 s`\n\n"


def test_a_rehearsal_is_a_table_what_is_lost_and_the_forecast() -> None:
    sections = rehearsal_sections(REHEARSAL)

    assert rendered(sections) == REHEARSED + NOTES + FORECAST
    assert (sections[0].noun, sections[0].elsewhere) == (
        "migrations",
        "`invoke plan` has them all",
    )
    assert sections[1].noun == "notes"
    assert rehearsal_sections(None) == ()


def test_a_rehearsal_in_which_nothing_is_lost_has_no_notes() -> None:
    assert len(rehearsal_sections(examples.rehearsal(rehearsed(traced())))) == 2


def test_the_sql_of_each_migration_is_folded() -> None:
    given = plan(migrations=(migration("a< b"), migration(B)))

    (section,) = sql_sections(given, ("select 1;", "select 2;"))

    assert rendered([section]) == (
        "#### SQL\n\n"
        "<details><summary><code>a&#60;&#32;b</code></summary>\n\n"
        "```sql\nselect 1;\n```\n\n</details>\n\n"
        "<details><summary><code>20260802&#95;000000&#95;add&#95;total</code></summary>\n\n"
        "```sql\nselect 2;\n```\n\n</details>\n\n"
    )
    assert (section.noun, section.elsewhere) == ("migrations' SQL", "plan.json has it whole")
    assert sql_sections(plan(migrations=()), ()) == ()


def test_the_sql_of_every_migration_is_shown_where_there_is_room() -> None:
    names = tuple(f"m{at}" for at in range(ROWS + 5))

    shown = rendered(sql_sections(plan(migrations=tuple(map(migration, names))), names))

    assert shown.count("<details>") == ROWS + 5


def test_each_migration_needs_its_sql() -> None:
    with pytest.raises(ValueError, match="shorter"):
        sql_sections(plan(migrations=(migration(A), migration(B))), ("select 1;",))


def test_a_long_name_is_cut_and_shows_what_does_not_show() -> None:
    given = plan(migrations=(migration("\u202e\x07" + "x" * 400),))

    (section,) = sql_sections(given, ("",))

    assert f"<summary><code>&#60;U&#43;202E&#62;{'x' * 291}</code></summary>" in section.rows[0]


AT = 1795177815000  # NOW in milliseconds


def test_the_steps_are_a_gantt_and_a_table() -> None:
    given = (
        result("lock", seconds=0.0, detail="a|b"),
        result("migrate", "failed"),
        result("smoke", "skipped"),
        result("restart", "undone", undo=True),
    )

    assert rendered(timeline_sections(given)) == (
        "#### Timeline\n\n```mermaid\ngantt\n    dateFormat x\n    axisFormat %H:%M:%S\n"
        "    section steps\n"
        f"    lock, 0.0 s :done, {AT}, {AT + 1}\n"
        f"    migrate, 1.2 s :crit, {AT}, {AT + 1250}\n"
        f"    smoke, 1.2 s :{AT}, {AT + 1250}\n"
        f"    undo restart, 1.2 s :active, {AT}, {AT + 1250}\n"
        "```\n\n"
        "| step | outcome | what | time |\n| --- | --- | --- | --- |\n"
        "| lock | ok | <code>a&#124;b</code> | 0.0 s |\n"
        "| migrate | failed | `2 migrations` | 1.2 s |\n"
        "| smoke | skipped | `2 migrations` | 1.2 s |\n"
        "| undo restart | undone | `2 migrations` | 1.2 s |\n\n"
    )
    assert [section.noun for section in timeline_sections(given)] == ["steps", "steps"]
    assert timeline_sections(()) == ()


def test_the_page_of_a_plan_without_more() -> None:
    given = plan()

    page = plan_page(given, ("select 1;",), "")

    assert text(page) == (
        f"### Plan `{given.digest[:12]}`\n\n"
        f"{block(f'uat · shop · plan {given.digest[:12]} · 1 pending migration')}"
        f"Next:\n\n{block('invoke deploy --env uat --plan FILE')}"
        f"{FACTS}"
        f"| digest | `{given.digest}` |\n"
        "| database | `shop` |\n"
        "| system | `7301` |\n"
        "| PostgreSQL | `16` |\n"
        "| engine | `sql, 1` |\n"
        "| steps | `lock, migrate` |\n"
        "| history | `0 applied` |\n\n"
        f"{ONE_MIGRATION}"
        f"{rendered(sql_sections(given, ('select 1;',)))}"
    )
    assert page.outputs == {
        "digest": given.digest,
        "digest12": given.digest[:12],
        "migrations": "1",
        "pending": "true",
    }
    assert page.annotations == ()


def test_the_page_of_a_plan_with_all_that_is_known() -> None:
    bare = plan(history=((A, None),), migrations=(), steps=steps("lock"))
    given = changed(
        bare,
        about=about(
            origin=ORIGIN,
            backup_to="s3://b/p",
            models="models: 2 differ",
            tables=(table_size(rows=1234), table_size("public.u", rows=-1), table_size("v", 0)),
            findings=(finding(),),
            rehearsal=changed(REHEARSAL, plan_digest=bare.digest),
        ),
    )

    page = plan_page(given, (), "back")

    shown = text(page)
    assert shown.partition("| engine ")[0].endswith(
        "| PostgreSQL | `16` |\n| host | `db.example.com` |\n"
    )
    assert shown.partition("| engine ")[2] == (
        "| `sql, 1` |\n"
        "| steps | `lock` |\n"
        "| history | `1 applied` |\n"
        "| backup to | `s3://b/p` |\n"
        "| models | `models: 2 differ` |\n"
        "| made by | `ann` |\n"
        f"| commit | `{ORIGIN.commit}` |\n\n"
        f"#### Lint: 1\n\n{LINT}{FINDING}\n"
        f"{REHEARSED.replace('0123456789ab', bare.digest[:12])}{NOTES}{FORECAST}"
        "#### Tables it touches\n\n"
        "| table | rows, about | size |\n| --- | --- | --- |\n"
        "| `public.t` | 1,234 | 2.5 MB |\n"
        "| `public.u` | not analysed | 2.5 MB |\n"
        "| `v` | 0 | 2.5 MB |\n\n"
    )
    assert page.outputs["pending"] == "false"
    assert page.outputs["migrations"] == "0"
    assert page.annotations == (("warning", "add-serial", "writes", "back/migrations/a.sql", 3),)


def test_the_tables_that_a_plan_touches_are_counted_as_tables() -> None:
    given = plan(about=about(tables=tuple(table_size(f"t{at}") for at in range(ROWS + 1))))

    assert "1 more tables left out here; the log has them." in text(plan_page(given, ("",), ""))


def a_run(**more: Any) -> Run:
    given: dict[str, Any] = {
        "environment": "uat",
        "deployment": "01D",
        "url": "https://api",
        "prefix": "back",
        "plan": plan(),
        "results": [result(), result("backup", evidence=(("backup", "B1"),))],
        "findings": [finding()],
    }
    return Run(**(given | more))


def test_a_run_knows_the_first_backup_that_a_step_has_taken() -> None:
    assert a_run().backup == "B1"
    assert a_run(results=[result(evidence=(("x", "y"),))]).backup == ""
    assert Run().outputs("refused") == {
        "status": "refused",
        "deployment": "",
        "backup": "",
        "url": "",
    }


def test_the_page_of_a_run_says_everything_that_is_known_of_it() -> None:
    run = a_run()
    assert run.plan is not None

    page = run_page(run, "T", "v", "invoke status", "failed")

    assert text(page) == (
        f"### T\n\n{block('v')}Next:\n\n{block('invoke status')}{FACTS}"
        "| environment | `uat` |\n"
        "| deployment | `01D` |\n"
        f"| plan | `{run.plan.digest[:12]}` |\n"
        "| backup | `B1` |\n"
        "| url | `https://api` |\n\n"
        f"{rendered(timeline_sections(run.results))}"
        f"#### Lint: 1\n\n{LINT}{FINDING}\n"
        f"{ONE_MIGRATION}"
    )
    assert page.outputs == {
        "status": "failed",
        "deployment": "01D",
        "backup": "B1",
        "url": "https://api",
    }
    assert page.annotations == (("warning", "add-serial", "writes", "back/migrations/a.sql", 3),)


def test_the_page_of_a_run_that_never_began() -> None:
    assert text(run_page(Run(), "T", "v", "", "failed")) == f"### T\n\n{block('v')}{FACTS}\n"


def test_the_rehearsal_of_its_plan_is_on_the_page_of_a_run() -> None:
    bare = plan()
    own = changed(REHEARSAL, plan_digest=bare.digest)
    run = a_run(plan=changed(bare, about=about(rehearsal=own)))

    assert text(run_page(run, "T", "v", "", "failed")).endswith(
        ONE_MIGRATION + rendered(rehearsal_sections(own))
    )


@pytest.mark.parametrize(
    ("done", "title", "next_step"),
    [
        (
            deployment(),
            "Deployed: uat",
            "to undo it: invoke rollback --env uat --deployment 01DEPLOY",
        ),
        (deployment(migrations=()), "Deployed: uat", ""),
        (deployment("rolled back", direction="down"), "Rolled back: uat", ""),
    ],
)
def test_the_page_of_what_went_well_says_how_to_undo_it(
    done: Deployment, title: str, next_step: str
) -> None:
    page = done_page(a_run(), done)

    assert re.match(rf"### {title}\n\n```\n(deployed|rolled back) in 12.0 s · record ", text(page))
    assert (f"Next:\n\n{block(next_step)}" in text(page)) is bool(next_step)
    assert ("Next:" in text(page)) is bool(next_step)
    assert page.outputs["status"] == str(done.status)


@pytest.mark.parametrize(
    ("kind", "status", "title"),
    [
        (StepFailed, "failed", "Failed"),
        (Refused, "refused", "Refused"),
        (RolledBack, "rolled back", "Rolled back"),
        (Interrupted, "interrupted", "Interrupted"),
    ],
)
def test_the_page_of_a_failure_says_how_it_ended(
    kind: type[WindlassError], status: str, title: str
) -> None:
    place = Place("m/a.sql", 7)
    error = kind("it broke", state="nothing was changed", next_step="mend it", place=place)

    page = failure_page(a_run(), error, lambda file: file == "m/a.sql")

    verdict = block("m/a.sql:7: it broke\nstate: nothing was changed")
    assert text(page).startswith(f"### {title}: uat\n\n{verdict}Next:\n\n{block('mend it')}")
    assert page.outputs["status"] == status
    assert page.annotations == (
        (
            "error",
            "Windlass",
            "m/a.sql:7: it broke\nnext: mend it",
            "back/m/a.sql",
            7,
        ),
        ("warning", "add-serial", "writes", "back/migrations/a.sql", 3),
    )


def test_a_failure_is_at_the_place_of_its_cause() -> None:
    error = RolledBack("undone", state="s", next_step="n")
    error.__cause__ = StepFailed("broke", state="s", next_step="n", place=Place("m/a.sql", 7))

    page = failure_page(a_run(), error, lambda _: True)

    assert page.annotations[0] == ("error", "Windlass", "undone\nnext: n", "back/m/a.sql", 7)


def test_a_failure_in_a_file_that_is_not_here_is_on_the_run() -> None:
    error = StepFailed("broke", state="s", next_step="n", place=Place("m/a.sql", 7))

    page = failure_page(a_run(), error, lambda file: file != "m/a.sql")

    assert page.annotations[0] == ("error", "Windlass", "m/a.sql:7: broke\nnext: n", "", 0)


def test_a_failure_before_an_environment_was_named() -> None:
    error = StepFailed("it broke", state="s", next_step="n")

    assert text(failure_page(Run(), error, lambda _: False)).startswith(
        "### Failed: no environment\n\n"
    )


def test_the_page_of_a_rehearsal_gives_its_digest() -> None:
    page = rehearsal_page(REHEARSAL)

    assert text(page) == REHEARSED + NOTES + FORECAST
    assert page.outputs == {"digest": REHEARSAL.plan_digest}


def test_the_page_of_lint_counts_its_findings() -> None:
    page = lint_page((finding(), finding()), "back")

    assert text(page) == f"#### Lint: 2\n\n{LINT}{FINDING}{FINDING}\n"
    assert page.outputs == {"findings": "2"}
    assert (
        page.annotations == (("warning", "add-serial", "writes", "back/migrations/a.sql", 3),) * 2
    )
    assert text(lint_page((), "")) == "#### Lint: no findings\n\n"


def test_the_page_of_a_check_is_the_comment() -> None:
    found = PullRequestCheck(
        base="main",
        commit="c",
        applied=1,
        server="s",
        problems=(),
        findings=(finding(),),
        migrations=(checked(),),
    )

    page = check_page(found, "back")

    assert text(page) == check_markdown(found)
    assert page.outputs == {}
    assert page.annotations == (("warning", "add-serial", "writes", "back/migrations/a.sql", 3),)


@pytest.mark.parametrize(
    ("given", "proven"), [(backup(), "nothing"), (backup(proof("restore")), "restore")]
)
def test_the_page_of_a_backup_says_how_to_restore_it(given: Any, proven: str) -> None:
    page = backup_page(given, "one line", "uat")

    assert text(page) == (
        f"### Backup of uat\n\n{block('one line')}"
        f"Next:\n\n{block('invoke restore --env uat --from 20261120T113000Z-d1')}{FACTS}"
        "| database | `shop` |\n"
        "| size | `1.2 MB` |\n"
        "| tables | `2` |\n"
        f"| proven by | `{proven}` |\n"
        "| taken | `2026-11-20 11:30:15 UTC, in 2.5 s` |\n\n"
    )
    assert page.outputs == {"backup": "20261120T113000Z-d1"}


def test_the_page_of_a_proof_says_what_was_proven() -> None:
    page = proof_page("B1", proof("restore", server="PostgreSQL 16"), "one line", "uat")

    assert text(page) == (
        f"### Proof of a backup of uat\n\n{block('one line')}{FACTS}"
        "| backup | `B1` |\n"
        "| level | `restore` |\n"
        "| restored into | `PostgreSQL 16` |\n"
        "| tables | `2` |\n"
        "| rows | `1,500` |\n"
        "| took | `3.0 s` |\n\n"
    )
    assert page.outputs == {"backup": "B1", "seconds": "3.0"}


def test_a_page_of_one_text() -> None:
    assert text_page("T", "one text", {"a": "b"}) == Page(
        (Section(f"### T\n\n{block('one text')}"),), {"a": "b"}
    )
    assert text_page("T", "x").outputs == {}


def test_the_last_count_of_lost_requests_is_a_fact_of_the_run() -> None:
    def counted(step: str, asked: str, lost: str) -> Any:  # a result
        numbers = (("requests_asked", asked), ("requests_lost", lost), ("longest_gap", "0.75"))
        return result(step, evidence=numbers)

    results = [counted("restart", "90", "2"), counted("smoke", "120", "15"), result("verify")]

    text = rendered(run_page(Run(results=results), "t", "v", "", "done").sections)

    assert "| requests lost in the restart | `15 of 120, the longest gap 0.75 s` |\n" in text
    assert "requests lost" not in rendered(run_page(Run(), "t", "v", "", "done").sections)
