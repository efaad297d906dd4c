"""Asks the service what its users would, with a deadline, until it answers right in a row."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from . import web
from .config.secretplaces import without_userinfo
from .config.sections import Json, SmokeCheck, SmokeConfig
from .connections import Session
from .errors import StepFailed
from .secret import redact

SHOWN = 300  # characters of a body, or of one value in it, in an error
LATE, NO_ANSWER = "late", "not answered"  # how a request was lost
OK = 200
SHORTEST = 0.05  # seconds a request is given even where the deadline is nearly over


@dataclass(frozen=True, slots=True)
class SmokeReport:
    """Checks that all held. `slowest` is in seconds; `attempts` counts rounds, failed ones too."""

    checks: int
    slowest: float
    attempts: int


@dataclass(frozen=True, slots=True)
class _WrongAnswer:
    """What was wrong with one answer."""

    check: SmokeCheck
    url: str
    problem: str
    body: str = ""
    cut: bool = False  # our deadline ended the request, which says little of the service


def run_checks(smoke: SmokeConfig, *, progress: Callable[[int, int], None]) -> SmokeReport:
    """Run every check in rounds until `successes` rounds in a row were right.

    A wrong answer starts the count anew, until the deadline is over: a service that comes up
    refuses its first requests. `progress` is called with (rounds right in a row, rounds asked for).

    Raises:
        StepFailed: the deadline is over; it shows the request, the answer and what was expected.
            At once where a header cannot be sent at all.

    """
    deadline = time.monotonic() + smoke.deadline.seconds
    in_a_row, attempts, slowest = 0, 0, 0.0
    last: _WrongAnswer | None = None
    while True:
        attempts += 1
        wrong, seconds = _round(smoke, deadline)
        if wrong is None:
            in_a_row, slowest = in_a_row + 1, max(slowest, seconds)
            progress(in_a_row, smoke.successes)
            if in_a_row >= smoke.successes:
                return SmokeReport(len(smoke.checks), slowest, attempts)
        else:
            in_a_row, slowest = 0, 0.0
            last = last if wrong.cut and last else wrong
        if time.monotonic() + smoke.pause.seconds >= deadline:
            raise _failure(smoke, last, attempts, in_a_row)
        time.sleep(smoke.pause.seconds)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one round of all checks gave; `problem` is empty where every answer was right."""

    problem: str
    slowest: float  # seconds
    checks: int
    cut: bool = False  # our deadline ended a request, which says little of the service


def ask_once(smoke: SmokeConfig, *, within: float) -> Answers:
    """Ask everything once, in at most `within` seconds.

    Raises:
        StepFailed: a header cannot be sent at all.

    """
    wrong, slowest = _round(smoke, time.monotonic() + within)
    problem = _described(wrong) if wrong is not None else ""
    return Answers(problem, slowest, len(smoke.checks), wrong is not None and wrong.cut)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: its status, or how it was lost. Nothing else is kept."""

    code: int = 0  # 0: no answer
    lost: str = ""
    unsendable: bool = False


class Sender:
    """Sends one check's request as the smoke tests do, from several threads, and counts alone."""

    def __init__(self, base_url: str, check: SmokeCheck) -> None:
        self._url, self._check = _url(base_url, check), check
        self._lock = threading.Lock()
        self._free: list[Session] = []

    def ask(self, within: float) -> Outcome:
        """Send it on a connection of its own and return what became of it in `within` seconds."""
        session = self._session()
        try:
            code = _send(session, self._check, self._url, within).code
        except (requests.exceptions.InvalidHeader, UnicodeEncodeError):
            return Outcome(unsendable=True)
        except web.BadAnswer:  # it did answer
            return Outcome(code=OK)
        except requests.Timeout:
            return Outcome(lost=LATE)
        except requests.RequestException:
            return Outcome(lost=NO_ANSWER)
        finally:
            session.cookies.clear()  # the next one is another visitor's
            with self._lock:
                self._free.append(session)
        return Outcome(code=code)

    def _session(self) -> Session:
        """Return a session that nobody uses: to make one for TLS reads all the authorities."""
        with self._lock:
            if self._free:
                return self._free.pop()
        session = Session()
        session.headers["Connection"] = "close"
        return session


def _described(wrong: _WrongAnswer) -> str:
    body = f"; the body: {' '.join(wrong.body.split())}" if wrong.body else ""
    return redact(f"{wrong.check.method} {wrong.url}: {wrong.problem}{body}")


def _round(smoke: SmokeConfig, deadline: float) -> tuple[_WrongAnswer | None, float]:
    """Ask everything once; return the first wrong answer, and the seconds of the slowest."""
    slowest = 0.0
    with Session() as session:
        for check in smoke.checks:
            wrong, seconds = _ask(session, smoke.base_url, check, deadline)
            if wrong is not None:
                return wrong, slowest
            slowest = max(slowest, seconds)
    return None, slowest


def _ask(
    session: Session, base_url: str, check: SmokeCheck, deadline: float
) -> tuple[_WrongAnswer | None, float]:
    url = _url(base_url, check)
    shown = without_userinfo(url)
    began = time.monotonic()
    try:
        answer = _send(session, check, url, max(SHORTEST, deadline - began))
    except (requests.exceptions.InvalidHeader, UnicodeEncodeError):
        # `from None`: the library quotes the value, escaped, so that `redact` would not know it.
        raise StepFailed(
            f"{check.method} {shown}: a header cannot be sent: it begins with a space, or has a "
            "line break or a character outside Latin-1",
            state="this request was not sent",
            next_step="mend the check's bearer or headers; a line break after a token is common",
        ) from None
    except web.BadAnswer as error:
        return _WrongAnswer(check, shown, str(error)), 0.0
    except requests.RequestException as error:
        problem = f"no answer: {type(error).__name__}: {_reason(error)}"
        return _WrongAnswer(check, shown, problem, cut=time.monotonic() >= deadline), 0.0
    seconds = time.monotonic() - began
    problem = _answer_difference(check, answer, seconds)
    return (_WrongAnswer(check, shown, problem, _cut(answer.text)) if problem else None), seconds


def _url(base_url: str, check: SmokeCheck) -> str:
    return base_url.rstrip("/") + "/" + check.path.lstrip("/")


def _send(session: Session, check: SmokeCheck, url: str, within_seconds: float) -> web.Answer:
    """Send one request; requests.Timeout where the answer is not whole in time."""
    headers = {name: value.reveal() for name, value in check.headers.items()}
    if check.bearer is not None:
        headers["Authorization"] = f"Bearer {check.bearer.reveal()}"
    in_url = requests.utils.get_auth_from_url(url)
    request: dict[str, Any] = {"headers": headers, "json": check.json}
    if any(in_url) and check.bearer is None:
        request["auth"] = in_url
    return web.fetch(
        session,
        check.method,
        url,
        within=within_seconds,
        **request,
    )


def _cut(text: str) -> str:
    """Return the beginning; redacted before the cut, which could leave half a secret."""
    return redact(text)[:SHOWN]


def _reason(error: BaseException) -> str:
    """Return the innermost reason: requests wraps the system's message three times."""
    while error.__context__ is not None:
        error = error.__context__
    return without_userinfo(str(error))


def _answer_difference(check: SmokeCheck, answer: web.Answer, seconds: float) -> str:
    expect = check.expect
    if answer.code != expect.status:
        location = _cut(without_userinfo(answer.headers.get("Location", "")))
        where = f" to {location}" if location else ""
        return f"status {answer.code}{where}, expected {expect.status}"
    for name, value in expect.headers.items():
        if answer.headers.get(name) != value:
            return f'header {name} is "{_cut(str(answer.headers.get(name)))}", expected "{value}"'
    if expect.within is not None and seconds > expect.within.seconds:
        return f"answered in {seconds * 1000:.0f} ms, expected within {expect.within}"
    if expect.json is None:
        return ""
    try:
        document = answer.json()
    except web.BadAnswer as error:
        return str(error)
    return subset_difference(expect.json, document)


def subset_difference(expected: Json, actual: Json, at: str = "$") -> str:
    """Say where `actual` lacks what is expected; empty where it lacks nothing.

    A mapping may have more keys than the expected ones; a list must be as long, and match
    element by element.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            if key not in actual:
                return f"{at}.{key} is missing"
            if wrong := subset_difference(value, actual[key], f"{at}.{key}"):
                return wrong
        return ""
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for number, (wanted, other) in enumerate(zip(expected, actual, strict=True)):
            if wrong := subset_difference(wanted, other, f"{at}[{number}]"):
                return wrong
        return ""
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return "" if same else f"{at} is {_shown(actual)}, expected {_shown(expected)}"


def _shown(value: Json) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _failure(
    smoke: SmokeConfig, wrong: _WrongAnswer | None, attempts: int, in_a_row: int
) -> StepFailed:
    if wrong is None:
        return StepFailed(
            f"only {in_a_row} of {smoke.successes} rounds in a row were right within "
            f"{smoke.deadline}",
            state="the service answers, but not steadily or not fast enough",
            next_step="raise smoke.deadline, or find out why the service is unsteady",
        )
    return StepFailed(
        _described(wrong),
        state=f"{attempts} tries within {smoke.deadline}",
        next_step="look at the service's log, and at the request by hand (curl -i)",
    )
