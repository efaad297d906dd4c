"""The service on a copy: what it is asked, which address it gets, and what is said of it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

import msgspec

from ..config.duration import Duration
from ..config.sections import ServiceConfig, SmokeCheck, SmokeConfig
from ..model import Moment, ServiceTrial

PAUSE = Duration(0.1)
WHO = {"old": "the version that serves now", "new": "the new version"}
WHEN: dict[Moment, str] = {
    "before": "before any migration",
    "migrated": "after the migrations of before the restart",
    "finished": "after all migrations",
    "rolled back": "after their rollback",
}


@dataclass(frozen=True, slots=True)
class Old:
    """The version that serves now: where it comes from. Of the three one is set at most.

    absent: why there is none; empty: there is one.
    """

    commit: str = ""
    image: str = ""
    run: tuple[str, ...] = ()
    absent: str = ""

    @property
    def name(self) -> str:
        """Return what it is, for people."""
        if self.commit:
            return f"commit {self.commit[:12]}"
        if self.image:
            return f"image {self.image}"
        return "the command of rehearsal.service.old"


def checks_of(config: ServiceConfig, smoke: SmokeConfig | None) -> tuple[SmokeCheck, ...]:
    """Return what the service is asked on a copy.

    Of the environment's checks those without a header: a header may hold a secret, and what
    answers here is code that nobody approved.
    """
    if config.checks:
        return config.checks
    known = smoke.checks if smoke is not None else ()
    return tuple(check for check in known if check.bearer is None and not check.headers)


def asked_at(config: ServiceConfig, checks: tuple[SmokeCheck, ...], port: int) -> SmokeConfig:
    """Return the checks as requests to a port of this machine."""
    return SmokeConfig(
        base_url=f"http://127.0.0.1:{port}",
        checks=checks,
        deadline=config.deadline,
        successes=1,
        pause=PAUSE,
    )


def with_port(words: tuple[str, ...], port: int) -> tuple[str, ...]:
    """Return a command with the port in its words."""
    return tuple(word.replace("{port}", str(port)) for word in words)


def address(parameters: Mapping[str, str]) -> str:
    """Return the URL of a copy, of libpq's parameters those alone that say where and who."""
    user = quote(parameters.get("user", ""), safe="")
    password = quote(parameters.get("password", ""), safe="")
    login = f"{user}:{password}@" if password else f"{user}@"
    database = quote(parameters.get("dbname", ""), safe="")
    host, port = parameters.get("host", ""), parameters.get("port", "")
    if host.startswith("/"):
        where = urlencode({"host": host} | ({"port": port} if port else {}), safe="/")
        return f"postgresql://{login}/{database}?{where}"
    more = {key: parameters[key] for key in ("sslmode", "sslrootcert") if key in parameters}
    query = f"?{urlencode(more, safe='/')}" if more else ""
    return f"postgresql://{login}{host}{f':{port}' if port else ''}/{database}{query}"


def line(trial: ServiceTrial) -> str:
    """Return what an approver reads of one version at one moment."""
    what = f"{WHO[trial.version]} ({trial.name})" if trial.name else WHO[trial.version]
    if trial.not_tried:
        return f"service {WHEN[trial.moment]}: {what} was not tried: {trial.not_tried}"
    checks = "1 check" if trial.checks == 1 else f"{trial.checks} checks"
    return (
        f"service {WHEN[trial.moment]}: {what} serves: {checks}, ready in {trial.ready:.1f} s, "
        f"slowest {trial.slowest * 1000:.0f} ms"
    )


def refusal(version: Literal["old", "new"], name: str, moment: Moment, problem: str) -> str:
    """Return the first line of the error of a version that does not serve."""
    return f"{WHO[version]} ({name}) does not serve on the copy {WHEN[moment]}: {problem}"


def next_step(version: Literal["old", "new"], moment: Moment) -> str:
    """Return what helps where a version does not serve at a moment."""
    if moment == "before":
        return (
            "it does not serve on a copy at all: start it by hand as rehearsal.service says, and "
            "mend run, old or checks in deploy.yml"
        )
    if version == "new":
        return "mend the service or the migrations, and rehearse again"
    if moment == "rolled back":
        return "mend the rollback scripts: they do not give back what the old version needs"
    return (
        "let both versions work with the schema between them: first add, then deploy, then remove "
        "(-- windlass: phase=after, or a later deployment)"
    )


def replaced(trials: tuple[ServiceTrial, ...], trial: ServiceTrial) -> tuple[ServiceTrial, ...]:
    """Return the trials with one more, times rounded as they are recorded."""
    rounded = msgspec.structs.replace(
        trial, ready=round(trial.ready, 3), slowest=round(trial.slowest, 4)
    )
    return (*trials, rounded)
