"""GitHub's REST API, read with a token: waits out its limits, says which permission is missing.

https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import web
from ..errors import ConfigError, Unchanged, Unreachable
from ..secret import Secret, redact
from ..visible import in_one_line

if TYPE_CHECKING:
    from ..connections import Session

VERSION = "2022-11-28"  # of the API; GitHub keeps a version for two years after the next one
ALL_WITHIN = 60.0  # seconds for an answer, tries and redirects together
PATIENCE = 300.0  # seconds that one client waits for GitHub's rate limits, all waits together
RETRIES = 3  # after a connection error or one of these; 0, 0.6 and 1.2 s apart
AGAIN = (500, 502, 503, 504)
BACKOFF = 0.3
SECONDARY = 60.0  # seconds to wait at a secondary limit that does not say how long
_RUN = {  # what a runner sets, and what it may be
    "GITHUB_SERVER_URL": r"https?://[A-Za-z0-9.:_-]+(/[A-Za-z0-9._/-]*)?",
    "GITHUB_REPOSITORY": r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+",
    "GITHUB_RUN_ID": r"\d{1,20}",
    "GITHUB_RUN_ATTEMPT": r"\d{1,9}",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
REDUCED = Unchanged("without an answer nothing counts as approved")


class NotFound(Unreachable):
    """GitHub answered 404: there is no such thing, or this token may not know of it."""


class NotPermitted(Unreachable):
    """GitHub answered 403: the token lacks a permission, which the error names."""


@dataclass
class GithubApi:
    """Reads one repository. `note` is told what is waited for."""

    url: str
    repository: str
    token: Secret
    note: Callable[[str], None] = lambda _text: None
    patience: float = PATIENCE
    _open: "Session | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.repository):
            raise ConfigError(
                f'GITHUB_REPOSITORY is "{self.repository}"; expected OWNER/NAME',
                next_step="export GITHUB_REPOSITORY=OWNER/NAME, as the repository's address has it",
            )
        if not self.url.startswith(("https://", "http://")):
            raise ConfigError(f'GITHUB_API_URL is "{self.url}"; expected a URL', next_step=_WHERE)
        if self.url.startswith("http://") and os.environ.get("GITHUB_ACTIONS") != "true":
            raise ConfigError(
                "GITHUB_API_URL begins with http://; outside of a workflow a token is sent by "
                "https alone",
                next_step=_WHERE,
            )

    def get(self, path: str = "", *, permission: str) -> Any:  # noqa: ANN401  # JSON, checked after
        """Return the JSON at a path of the repository.

        Args:
            path: below /repos/OWNER/NAME; empty: the repository itself.
            permission: which one the token needs for it, as GitHub writes it: `actions: read`.

        Raises:
            NotFound: 404. NotPermitted: 403. Unreachable: anything else that is no answer.

        """
        return self._json(self._ask(self._address(path), path, permission), path)

    def _json(self, answer: web.Answer, path: str) -> Any:  # noqa: ANN401  # JSON, checked after
        try:
            return answer.json()
        except web.BadAnswer as error:
            raise self._no_answer(path, str(error), _WHERE) from error

    def all(self, path: str, key: str, *, permission: str) -> tuple[dict[str, Any], ...]:
        """Return what is under `key` on every page of a list; raises like `get`."""
        return tuple(self._pages(path, key, permission))

    def _pages(self, path: str, key: str, permission: str) -> Iterator[dict[str, Any]]:
        url = f"{self._address(path)}?per_page=30"
        while url:
            answer = self._ask(url, path, permission)
            document = self._json(answer, path)
            yield from document[key] if key else document
            url = answer.links.get("next", {}).get("url", "")
            if url and not url.startswith(f"{self.url.rstrip('/')}/"):
                raise self._no_answer(path, f"the next page is elsewhere: {url}", _WHERE)

    def _address(self, path: str) -> str:
        base = f"{self.url.rstrip('/')}/repos/{self.repository}"
        return f"{base}/{path}" if path else base

    def _session(self) -> "Session":
        from urllib3.util import Retry  # takes 0.1 s

        from ..connections import Session

        if self._open is None:
            # Retry-After is obeyed below, where the wait is told and has an end.
            retry = Retry(
                total=RETRIES,
                backoff_factor=BACKOFF,
                status_forcelist=AGAIN,
                allowed_methods=("GET",),
                raise_on_status=False,
                respect_retry_after_header=False,
            )
            self._open = Session(retry)
        return self._open

    def _ask(self, url: str, path: str, permission: str) -> web.Answer:
        import requests

        headers = {
            "Authorization": f"Bearer {self.token.reveal()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            "User-Agent": "windlass",
        }
        while True:
            try:
                answer = web.fetch(
                    self._session(), "GET", url, within=ALL_WITHIN, redirects=True, headers=headers
                )
            except (requests.RequestException, web.BadAnswer) as error:
                raise self._no_answer(path, redact(str(error)), _WHERE) from error
            pause = limited(answer.code, answer.headers, _message(answer), now=time.time())
            if pause is None:
                return self._answered(answer, path, permission)
            self._wait(pause, path)

    def _wait(self, pause: float, path: str) -> None:
        """Wait for a rate limit, and say so; raise where that would take too long."""
        if pause > self.patience:
            raise self._no_answer(
                path,
                f"its rate limit is used up for another {pause:.0f} s, longer than we wait",
                f"the same command in {pause / 60:.0f} minutes, or with another token",
            )
        self.patience -= pause
        self.note(f"GitHub's rate limit is used up; going on in {pause:.0f} s")
        time.sleep(pause)

    def _answered(self, answer: web.Answer, path: str, permission: str) -> web.Answer:
        code, message = answer.code, f"status {answer.code}: {_message(answer)}"
        accepted = answer.headers.get("X-Accepted-GitHub-Permissions", "").replace("=", ": ")
        give = (
            f"give the token {accepted or permission}: in a workflow, under the job's permissions"
        )
        if code == 401:
            raise self._no_answer(
                path,
                message,
                "set GITHUB_TOKEN to a token that is valid; in a job: ${{ github.token }}",
            )
        if code == 403:
            raise self._no_answer(path, message, give, kind=NotPermitted)
        if code == 404:
            raise self._no_answer(
                path,
                message,
                f"check whether {self.repository} is the repository; {give}",
                kind=NotFound,
            )
        if code in AGAIN:
            raise self._no_answer(
                path, message, f"the same command later; it was asked {RETRIES + 1} times"
            )
        if code != 200 or "json" not in answer.headers.get("Content-Type", ""):
            raise self._no_answer(path, message, _WHERE)
        return answer

    def _no_answer(
        self, path: str, message: str, next_step: str, *, kind: type[Unreachable] = Unreachable
    ) -> Unreachable:
        return kind(
            f"GitHub's API gave no answer to {path or self.repository}: {message}",
            state=REDUCED,
            next_step=next_step,
        )


_WHERE = "GITHUB_API_URL is https://api.github.com; on GitHub Enterprise Server https://HOST/api/v3"


def limited(code: int, headers: Any, message: str, *, now: float) -> float | None:  # noqa: ANN401  # any mapping, whatever its case
    """Return for how many seconds GitHub asks us to wait; None where it does not.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if code not in (403, 429):
        return None
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdigit():
        return float(after)
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdigit():
        return max(1.0, float(reset) - now + 1)
    return SECONDARY if code == 429 or "rate limit" in message.lower() else None


def _message(answer: web.Answer) -> str:
    """Return GitHub's message, or the beginning of another answer."""
    try:
        document = answer.json()
    except ValueError:
        return redact(answer.text[:200].strip())
    return redact(str(document.get("message", ""))[:200]) if isinstance(document, dict) else ""


def this_run() -> str | None:
    """Return the URL of the attempt of the workflow run that we are in; None outside of GitHub.

    Raises:
        ConfigError: it says that it is one, and a variable that each has is missing or malformed.

    """
    env = os.environ
    if env.get("GITHUB_ACTIONS") != "true":
        return None
    for name, expected in _RUN.items():
        if not re.fullmatch(expected, env.get(name, "1" if name == "GITHUB_RUN_ATTEMPT" else "")):
            raise ConfigError(
                f'GITHUB_ACTIONS is "true", and {name} is "{in_one_line(env.get(name, ""))[:80]}", '
                "which no runner sets",
                next_step="unset GITHUB_ACTIONS outside of a job of GitHub's",
            )
    run = (
        f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"
    )
    return f"{run}/attempts/{env.get('GITHUB_RUN_ATTEMPT', '1')}"
