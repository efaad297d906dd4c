"""One comment on a pull request, written anew with every push, through GitHub's API.

https://docs.github.com/rest/issues/comments
"""

import os
from pathlib import Path
from typing import Any

import requests

from .. import files, web
from ..connections import Session
from ..errors import ConfigError, Unreachable
from ..secret import Secret, redact

MARKER = "<!-- windlass check -->"  # hidden; how our comment is found again
WITHIN = 30.0  # seconds, per request
A_PAGE = 100  # comments; the most there can be
LONGEST = 65_536 - len(MARKER) - 1  # characters, of what GitHub takes as a comment
NEEDED = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN")


def comment(number: int, text: str) -> str:
    """Write the comment of a pull request, in the place of the one before, and return its URL.

    Only a bot's comment that begins with the marker counts as the one before.

    Raises:
        ConfigError: this is no job of GitHub's, or has no token.
        Unreachable: the API gave no answer, or refused; says which permission it takes.

    """
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"no pull request can be reached: {', '.join(missing)} not set",
            next_step="run it in a GitHub workflow job, with GITHUB_TOKEN: ${{ github.token }}",
        )
    body = {"body": f"{MARKER}\n{text}"}
    before = _before(number)
    if before is None:
        comment = _ask("POST", f"issues/{number}/comments", body)
    else:
        comment = _ask("PATCH", f"issues/comments/{before}", body)
    return str(comment["html_url"])


def read_text(file: Path) -> str:
    """Return the text of a comment, from a file that a pull request's own code may have written.

    Raises:
        ConfigError: it is no regular file, too long for a comment, or no UTF-8.

    """
    try:
        # LONGEST is of characters, of which UTF-8 has up to four bytes each.
        text = files.read(file, at_most=LONGEST * 4, links=False).decode("utf-8")
    except UnicodeDecodeError:
        raise _unreadable(file, "it is no UTF-8") from None
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from None
    if len(text) > LONGEST:
        raise _unreadable(file, f"a comment has at most {LONGEST} characters")
    return text


def _unreadable(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{file} cannot be read: {why}", next_step="write it: invoke check --out check.md"
    )


def _before(number: int) -> int | None:
    page = 1
    while True:
        comments = _ask("GET", f"issues/{number}/comments?per_page={A_PAGE}&page={page}")
        for comment in comments:
            ours = (comment.get("body") or "").startswith(MARKER)
            if ours and (comment.get("user") or {}).get("type") == "Bot":
                return int(comment["id"])
        if len(comments) < A_PAGE:
            return None
        page += 1


def _ask(method: str, path: str, body: dict[str, str] | None = None) -> Any:  # noqa: ANN401  # JSON
    token = Secret(os.environ["GITHUB_TOKEN"])
    base = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}"
    headers = {
        "Authorization": f"Bearer {token.reveal()}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    try:
        with Session() as session:
            answer = web.fetch(
                session, method, f"{base}/{path}", within=WITHIN, json=body, headers=headers
            )
        document = answer.json() if answer.code < 300 else None
    except (requests.RequestException, web.BadAnswer) as error:
        raise _unreachable(method, path, redact(str(error))) from error
    if document is None:
        raise _unreachable(method, path, f"status {answer.code}: {redact(answer.text)[:200]}")
    return document


def _unreachable(method: str, path: str, message: str) -> Unreachable:
    return Unreachable(
        f"GitHub's API did not take {method} {path.partition('?')[0]}: {message}",
        state="the check itself is done; its result is in the log and in the file",
        next_step="give the job permissions: pull-requests: write; of a fork it cannot have it",
    )
