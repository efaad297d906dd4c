"""The workflows against who writes a pull request, an artifact, or another action's release.

Each check looks at all of this repository's workflows, its set-up, and what `init --github` writes.
Each is shown to find what it is for, in a workflow where that was planted.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgwindlass.errors import ConfigError
from pgwindlass.github.pullrequest import LONGEST, read_text
from tests.kit import WINDLASS
from tests.workflows import SETUP, TEMPLATES, TOKEN, WORKFLOWS, read, serving

pytestmark = pytest.mark.attack

FILES = [*sorted(WORKFLOWS.glob("*.yml")), *sorted(TEMPLATES.glob("*.yml")), SETUP]
PINNED = re.compile(r"(\$/|\./)\S+|[\w.-]+/[\w./-]+@[0-9a-f]{40}|acme/windlass/\S+@v1")
# Texts that somebody without any right here may choose.
FOREIGN = re.compile(r"github\.(event\.\S*(title|body|message|name|label|ref|email)|head_ref)\b")
Jobs = Iterator[tuple[str, dict[str, Any]]]


def jobs(text: dict[str, Any]) -> Jobs:
    """Yield each job; of an action, the one job that its steps are."""
    yield from (text["jobs"].items() if "jobs" in text else [("action", text["runs"])])


def steps(text: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for _, job in jobs(text):
        yield from job.get("steps", [])


def uses(step: dict[str, Any], action: str) -> bool:
    return str(step.get("uses", "")).startswith(f"{action}@")


def by_pull_request(text: dict[str, Any]) -> bool:
    on = text.get("on", {})
    return "pull_request" in ([on] if isinstance(on, str) else on)


def expression_in_a_script(text: dict[str, Any]) -> Iterator[str]:
    yield from (step["run"] for step in steps(text) if "${{" in step.get("run", ""))
    yield from (
        str(step["with"]["script"]) for step in steps(text) if "script" in step.get("with", {})
    )


def unpinned_action(text: dict[str, Any]) -> Iterator[str]:
    called = [job["uses"] for _, job in jobs(text) if "uses" in job]
    for name in [*called, *(step["uses"] for step in steps(text) if "uses" in step)]:
        if not PINNED.fullmatch(name):
            yield name


def permission_by_default(text: dict[str, Any]) -> Iterator[str]:
    if "jobs" in text and text.get("permissions") != {}:
        yield "top level"
    yield from (name for name, job in text.get("jobs", {}).items() if "permissions" not in job)


def trigger_with_rights_for_a_fork(text: dict[str, Any]) -> Iterator[str]:
    on = text.get("on", {})
    for name in ("pull_request_target", "workflow_run", "issue_comment", "discussion"):
        if name in ([on] if isinstance(on, str) else on):
            yield name


def secret_beside_foreign_code(text: dict[str, Any]) -> Iterator[str]:
    """A job that checks out a pull request has no secret, no environment, and may only read."""
    if not by_pull_request(text):
        return
    for name, job in text["jobs"].items():
        if not any(uses(step, "actions/checkout") for step in job.get("steps", [])):
            continue
        if set(job["permissions"].items()) - {("contents", "read")} or "environment" in job:
            yield name
        if re.search(r"\b(secrets|vars|github\.token)\b", yaml.safe_dump(job)):
            yield name


def foreign_code_beside_a_right_to_write(text: dict[str, Any]) -> Iterator[str]:
    """What may write on a pull request checks nothing out; its set-up is what a caller pinned."""
    if not by_pull_request(text):
        return
    for name, job in text["jobs"].items():
        if "write" not in job["permissions"].values():
            continue
        if any(uses(step, "actions/checkout") for step in job.get("steps", [])):
            yield name
        own = any(
            str(step.get("uses", "")).startswith(("$/", "./")) for step in job.get("steps", [])
        )
        if own and "inputs.runner &&" not in str(job.get("if")):
            yield name


def artifact_that_is_trusted(text: dict[str, Any]) -> Iterator[str]:
    """One that is kept for ever, damaged without an error, or unpacked over what is there."""
    for step in steps(text):
        given = step.get("with", {})
        if uses(step, "actions/upload-artifact") and not 0 < given.get("retention-days", 0) <= 90:
            yield given["name"]
        if uses(step, "actions/download-artifact"):
            if given.get("digest-mismatch") != "error" or "name" not in given:
                yield given.get("name", "all of them")
            if by_pull_request(text) and not given.get("path"):
                yield given["name"]


def credentials_in_the_checkout(text: dict[str, Any]) -> Iterator[str]:
    for step in steps(text):
        if uses(step, "actions/checkout") and step["with"]["persist-credentials"] is not False:
            yield step["uses"]


def account_in_the_log(text: dict[str, Any]) -> Iterator[str]:
    found = list(steps(text))
    for at, step in enumerate(found):
        if uses(step, "aws-actions/configure-aws-credentials"):
            masked = any("/mask" in before.get("run", "") for before in found[:at])
            if not masked or step["with"].get("mask-aws-account-id") is not True:
                yield step["name"]
        role = step.get("with", {}).get("aws-role", "")
        if role and "secrets.AWS_ROLE" not in role:
            yield role


def run_without_a_name(text: dict[str, Any]) -> Iterator[str]:
    """A run's name says which commit and which environment, and nothing that a stranger chose."""
    if "jobs" not in text:
        return
    name = text.get("run-name", "")
    if "sha }}" not in name or FOREIGN.search(name):
        yield name or "no name"
    declared = str(text["on"])
    if "'environment'" in declared and "inputs.environment" not in name:
        yield name


def all_secrets_handed_on(text: dict[str, Any]) -> Iterator[str]:
    yield from (name for name, job in jobs(text) if job.get("secrets") == "inherit")


def foreign_text_in_an_environment_name(text: dict[str, Any]) -> Iterator[str]:
    """An environment and a runner are not chosen by what a stranger writes."""
    for job in text.get("jobs", {}).values():
        for key in ("environment", "runs-on", "container"):
            if FOREIGN.search(str(job.get(key, ""))):
                yield str(job[key])


Check = Callable[[dict[str, Any]], Iterator[str]]
CHECKS: list[tuple[Check, str]] = [
    (expression_in_a_script, "{jobs: {a: {steps: [{run: 'echo ${{ github.event.title }}'}]}}}"),
    (expression_in_a_script, "{jobs: {a: {steps: [{with: {script: x}}]}}}"),
    (unpinned_action, "{jobs: {a: {steps: [{uses: actions/checkout@v7}]}}}"),
    (unpinned_action, "{jobs: {a: {uses: acme/other/.github/workflows/x.yml@main}}}"),
    (permission_by_default, "{jobs: {a: {permissions: {}}}}"),
    (permission_by_default, "{permissions: {}, jobs: {a: {}}}"),
    (trigger_with_rights_for_a_fork, "{'on': pull_request_target}"),
    (trigger_with_rights_for_a_fork, "{'on': {workflow_run: {}}}"),
    (
        secret_beside_foreign_code,
        "{'on': pull_request, jobs: {a: {permissions: {contents: read}, steps: "
        "[{uses: actions/checkout@x, env: {A: '${{ secrets.A }}'}}]}}}",
    ),
    (
        secret_beside_foreign_code,
        "{'on': [pull_request], jobs: {a: {permissions: {id-token: write}, "
        "steps: [{uses: actions/checkout@x}]}}}",
    ),
    (
        foreign_code_beside_a_right_to_write,
        "{'on': pull_request, jobs: {a: {permissions: {pull-requests: write}, steps: "
        "[{uses: actions/checkout@x}]}}}",
    ),
    (
        foreign_code_beside_a_right_to_write,
        "{'on': pull_request, jobs: {a: {permissions: {pull-requests: write}, steps: "
        "[{uses: $/.github/actions/setup}]}}}",
    ),
    (
        artifact_that_is_trusted,
        "{jobs: {a: {steps: [{uses: actions/upload-artifact@x, with: {name: n}}]}}}",
    ),
    (
        artifact_that_is_trusted,
        "{jobs: {a: {steps: [{uses: actions/download-artifact@x, with: {name: n}}]}}}",
    ),
    (
        artifact_that_is_trusted,
        "{'on': pull_request, jobs: {a: {steps: [{uses: actions/download-artifact@x, "
        "with: {name: n, digest-mismatch: error}}]}}}",
    ),
    (
        credentials_in_the_checkout,
        "{jobs: {a: {steps: [{uses: actions/checkout@x, with: {persist-credentials: true}}]}}}",
    ),
    (
        account_in_the_log,
        "{jobs: {a: {steps: [{name: n, uses: aws-actions/configure-aws-credentials@x, with: "
        "{mask-aws-account-id: true}}]}}}",
    ),
    (account_in_the_log, "{jobs: {a: {steps: [{with: {aws-role: '${{ vars.AWS_ROLE }}'}}]}}}"),
    (run_without_a_name, "{'on': push, jobs: {}}"),
    (
        run_without_a_name,
        "{'on': push, run-name: '${{ github.sha }} ${{ github.event.head_commit.message }}', "
        "jobs: {}}",
    ),
    (run_without_a_name, "{'on': {x: {environment: 1}}, run-name: '${{ github.sha }}', jobs: {}}"),
    (all_secrets_handed_on, "{jobs: {a: {secrets: inherit}}}"),
    (
        foreign_text_in_an_environment_name,
        "{jobs: {a: {environment: '${{ github.head_ref }}'}}}",
    ),
]


@pytest.mark.parametrize(("check", "planted"), CHECKS, ids=lambda v: getattr(v, "__name__", ""))
def test_no_workflow_has_what_the_check_finds(check: Check, planted: str) -> None:
    assert list(check(yaml.safe_load(planted))) != []
    assert {path.name: found for path in FILES if (found := list(check(read(path))))} == {}


def linked(file: Path) -> None:
    (file.parent / "secret").write_text("ghs_secret")
    file.symlink_to(file.parent / "secret")


TEXTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("a link to a file of the runner", linked, "symbolic link"),
    ("a pipe that nobody writes", os.mkfifo, "no regular file"),
    ("a directory", Path.mkdir, "no regular file"),
    ("a device without an end", lambda file: file.symlink_to("/dev/zero"), "symbolic link"),
    ("more than GitHub takes", lambda f: f.write_text("x" * (LONGEST + 1)), "at most"),
    (
        "hundreds of megabytes",
        lambda f: os.truncate(os.open(f, os.O_CREAT | 2), 1 << 29),
        "at most",
    ),
    ("no UTF-8", lambda file: file.write_bytes(b"\xff\xfe"), "no UTF-8"),
    ("nothing", Path.absolute, "No such file"),
]


@pytest.mark.parametrize(("make", "said"), [t[1:] for t in TEXTS], ids=[t[0] for t in TEXTS])
def test_what_a_pull_request_hands_on_for_its_comment_is_data(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "check.md")

    with pytest.raises(ConfigError, match=said):
        read_text(tmp_path / "check.md")


def test_nothing_beside_the_text_in_the_artifact_is_run(tmp_path: Path) -> None:
    """In the directory of the job, too: an action that unpacks elsewhere is not all that holds."""
    here = tmp_path / "from-pull-request"
    here.mkdir()
    planted = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    for place in (here, tmp_path):
        for name in ("invoke", "tasks", "fabfile", "sitecustomize", "usercustomize", "psycopg"):
            (place / f"{name}.py").write_text(planted)
        (place / "requests").mkdir()
        (place / "requests" / "__init__.py").write_text(planted)
        (place / "invoke.yaml").write_text("run: {shell: /bin/false}\n")
        (place / "deploy.yml").write_text("project: [\n")
    (here / "check.md").write_text("fine\n::set-output name=digest::x\n")
    with serving() as (api, url):
        done = subprocess.run(
            [str(WINDLASS), "comment", "--file", "from-pull-request/check.md", "--pull", "17"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path / "home"),
                "GITHUB_API_URL": url,
                "GITHUB_REPOSITORY": "acme/shop",
                "GITHUB_TOKEN": TOKEN,
                "GITHUB_ACTIONS": "true",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert api.comments[0]["body"].endswith("::set-output name=digest::x\n")
    assert "::set-output" not in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


ROLES = [
    ("arn:aws:iam::123456789012:role/deploy", "::add-mask::123456789012\n"),
    ("arn:aws-us-gov:iam::123456789012:role/a/b@c", "::add-mask::123456789012\n"),
    ("arn:aws:iam::123456789012:role/x\n::set-env name=PATH::/tmp", ""),
    ("\n::error::x\narn:aws:iam::123456789012:role/x", ""),
    ("arn:aws:iam::$(id):role/x", ""),
    ("arn:aws:iam::12345678901:role/x", ""),
    ("deploy", ""),
]


@pytest.mark.parametrize(("role", "printed"), ROLES, ids=range(len(ROLES)))
def test_the_account_is_masked_and_a_role_that_is_none_prints_nothing(
    role: str, printed: str
) -> None:
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, str(SETUP.parent / "mask")],
        env={"AWS_ROLE": role},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == (printed, 0 if printed else 2)
    assert "::" not in done.stderr.replace("arn:aws:iam::ACCOUNT", "")
