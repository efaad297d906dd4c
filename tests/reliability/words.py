"""Whether what a run says is so: each sentence of a failure against what is read afterwards.

A sentence that is not listed here is a problem of its own: no wording escapes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.kit import Ran
from tests.reliability.facts import Facts

NEVER = {
    "an error of Windlass itself": "blames Windlass for what is not its fault",
    "max() arg is an empty sequence": "shows an error of Python",
    "Traceback": "shows a traceback",
    "--env ENV": "names the environment ENV, which there is none of",
}


@dataclass(frozen=True)
class Told:
    """The three lines of an error."""

    what: str
    state: str
    next_step: str


@dataclass(frozen=True)
class Before:
    """What a claim is compared with: the state before the run and after it."""

    before: Facts
    after: Facts
    serves: bool  # whether the service answers well


Check = Callable[[re.Match[str], Before], str]


def told(ran: Ran) -> Told | None:
    """Return the error's three lines; None where there is none, or not three."""
    lines = ran.err.splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith("✗ ")]
    if not begins:
        return None
    error = lines[begins[-1] :]
    if len(error) != 3 or not (error[1].startswith("  state:") and error[2].startswith("  next:")):
        return None
    return Told(
        error[0].removeprefix("✗ "),
        error[1].removeprefix("  state:").strip(),
        error[2].removeprefix("  next:").strip(),
    )


def _always(_match: re.Match[str], _facts: Before) -> str:
    return ""


def _unchanged(_match: re.Match[str], facts: Before) -> str:
    if facts.before.same_database(facts.after):
        return ""
    return f"the history was {_list(facts.before.history)}, and is {_list(facts.after.history)}"


def _as_before(match: re.Match[str], facts: Before) -> str:
    return _unchanged(match, facts)


def _serves(_match: re.Match[str], facts: Before) -> str:
    return "" if facts.serves else "the service does not serve"


def _history_is(match: re.Match[str], facts: Before) -> str:
    names = re.findall(r"_(m\d)\b", match[0])
    wrong = [name for name in names if name not in facts.after.history]
    return f"{_list(wrong)} is not in the history" if wrong else ""


def _history_is_not(match: re.Match[str], facts: Before) -> str:
    names = re.findall(r"_(m\d)\b", match[0])
    wrong = [name for name in names if name in facts.after.history]
    return f"{_list(wrong)} is in the history" if wrong else ""


def _live_unchanged(match: re.Match[str], facts: Before) -> str:
    return _unchanged(match, facts)


def _no_new_database(_match: re.Match[str], facts: Before) -> str:
    new = facts.after.databases - facts.before.databases
    return f"there are new databases: {_list(sorted(new))}" if new else ""


def _no_backup(_match: re.Match[str], facts: Before) -> str:
    new = facts.after.backups - facts.before.backups
    return f"there is a new backup: {_list(sorted(new))}" if new else ""


def _holds(match: re.Match[str], facts: Before) -> str:
    name = match["database"]
    return "" if name in facts.after.databases else f"there is no database {name}"


def _in_the_journal(_match: re.Match[str], facts: Before) -> str:
    """Our deployment is in the journal, new or with another end than before."""
    new = set(facts.after.deployments) - set(facts.before.deployments)
    return "" if new else "the journal has nothing of this run"


def _backup_exists(match: re.Match[str], facts: Before) -> str:
    missing = set(re.findall(r"\d{8}T\d{6}Z-[0-9A-Z]{26}", match[0])) - facts.after.backups
    return f"there is no backup {_list(sorted(missing))}" if missing else ""


def _list(names: Sequence[str]) -> str:
    return " ".join(names) or "empty"


# A clause of a state, and what has to be so where it is said.
CLAIMS: tuple[tuple[str, Check], ...] = (
    (r"nothing was changed( now)?( in the database)?(, and nothing restarted)?", _unchanged),
    (r"nothing was contacted or changed", _unchanged),
    (r"no statement has run", _unchanged),
    (r"no migration (was run|ran)", _unchanged),
    (r"nothing was dumped or changed", _unchanged),
    (r"nothing was restored", _no_new_database),
    (r"nothing was removed", _always),
    (r"nothing was restarted", _always),
    (r"nothing was stored", _no_backup),
    (r"nothing was read or written", _always),
    (r"rolled back: the schema is as it was before", _as_before),
    (r"the service (was restarted and )?serves( again)?", _serves),
    (
        r"nothing was renamed: (?P<live>\w+) is as it was, (?P<database>\w+) holds the backup",
        _holds,
    ),
    (r"the database is unchanged", _unchanged),
    (r"no backup was kept: no manifest, no archive", _no_backup),
    (r"no database was created", _no_new_database),
    (r"the database (?P<database>\w+) is still there", _holds),
    (r"the database and the service may not fit each other: look now", _always),
    (r"nothing of this statement is left", _always),
    (r"the statements before it stay done and are recorded", _always),
    (r"this one is not", _always),
    (r"the journal could not be written", _always),
    (r"nothing was begun that the journal does not show", _always),
    (r"this statement did not run", _always),
    (r"this migration did not run", _always),
    (r"its transaction was rolled back", _always),
    (r"a transaction in progress was rolled back, unless its COMMIT had arrived", _always),
    (
        r"what is not recorded was rolled back, but for what cannot run in a transaction",
        _always,
    ),
    (r"the command was: .*", _always),
    (r"not known", _always),
    (r"the journal (shows what was begun|records what ran before|says how far)", _in_the_journal),
    (r"what ran before is in the journal", _in_the_journal),
    (r"the rollback is half done", _in_the_journal),
    (r"the service may be (partly )?down", _always),
    (r"\d+ tries within .*", _always),
    (r"the service answers, but not steadily or not fast enough", _always),
    (r"the copy is gone", _always),
    (r"nothing more was started", _always),
    (r"the object is not (stored|whole there, and is not used)", _always),
    (r"the file is not stored", _always),
    (r"the archive cannot be trusted", _always),
    (r"no more of it was read", _always),
)


def clauses(state: str) -> list[str]:
    """Return the single claims of a state."""
    parts = re.split(r";\s+|\.\s+| and (?=the service (?:was|serves))", state)
    return [part.strip(" .") for part in parts if part.strip(" .")]


def problems(ran: Ran, facts: Before) -> list[str]:
    """Return what a run that failed said that is not so, or that is not known here."""
    error = told(ran)
    if error is None:
        return [] if ran.code == 0 else [f"no error of three lines, exit {ran.code}"]
    text = f"{error.what}\n{error.state}\n{error.next_step}"
    wrong = [f"{why}: “{phrase}”" for phrase, why in NEVER.items() if phrase in text]
    parts = clauses(error.state)
    wrong += [f"said twice: “{part}”" for part in sorted(set(parts)) if parts.count(part) > 1]
    for part in dict.fromkeys(parts):
        wrong += _judged(part, facts)
    return wrong


def _judged(part: str, facts: Before) -> list[str]:
    for pattern, check in CLAIMS:
        match = re.fullmatch(pattern, part)
        if match is not None:
            why = check(match, facts)
            return [f"false: “{part}”: {why}"] if why else []
    return [f"a sentence that the matrix does not know: “{part}”"]


COMMAND = re.compile(
    r"(?:invoke|windlass) ([a-z.]+(?: --[a-z][\w-]*(?: [\w./:@-]*\w)?| [A-Z0-9]\w+)*)"
)
READS = frozenset({"status", "history", "doctor", "plan", "backup.list", "backup.verify"})


def named_command(next_step: str, again: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that leads on: that which is named, or else the same one."""
    for match in COMMAND.finditer(next_step):
        words = tuple(match[1].split())
        if words[0] not in READS and "--env" in words:
            return words
    return again
