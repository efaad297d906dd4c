"""Whether what a run says is so: each sentence of a failure against what is read afterwards.

A sentence that is not listed here is a problem of its own: no wording escapes.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.kit import Ran
from tests.reliability.state import Facts

NEVER = {
    "an error of Windlass itself": "blames Windlass for what is not its fault",
    "max() arg is an empty sequence": "shows an error of Python",
    "Traceback": "shows a traceback",
    "--env ENV": "names the environment ENV, which there is none of",
}
ID = r"(?:\d{8}T\d{6}Z-)?[0-9A-HJKMNP-TV-Z]{26}"
NAMED = r"\d{8}_\d{6}_m\d"
NAMES = rf"(?P<names>{NAMED}(?:, {NAMED})*)"


@dataclass(frozen=True)
class Told:
    """The three lines of an error."""

    what: str
    state: str
    next_step: str


@dataclass(frozen=True)
class Before:
    """What a claim is compared with."""

    began: Facts  # before the first command of the cell
    before: Facts  # before this run
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
    """Nothing that the cell can read says whether it is so."""
    return ""


def _list(names: Iterable[str]) -> str:
    return " ".join(names) or "empty"


def _named(match: re.Match[str]) -> list[str]:
    return re.findall(r"_(m\d)\b", match["names"])


def _unchanged(_match: re.Match[str], facts: Before) -> str:
    if facts.before.same_database(facts.after):
        return ""
    return f"the history was {_list(facts.before.history)}, and is {_list(facts.after.history)}"


def _as_began(_match: re.Match[str], facts: Before) -> str:
    if facts.began.same_database(facts.after):
        return ""
    return f"the history was {_list(facts.began.history)}, and is {_list(facts.after.history)}"


def _history_as_began(_match: re.Match[str], facts: Before) -> str:
    was, now = facts.began.history, facts.after.history
    return "" if was == now else f"the history was {_list(was)}, and is {_list(now)}"


def _serves(_match: re.Match[str], facts: Before) -> str:
    return "" if facts.serves else "the service does not serve"


def _stand(match: re.Match[str], facts: Before) -> str:
    wrong = [name for name in _named(match) if name not in facts.after.history]
    return f"{_list(wrong)} is not in the history" if wrong else ""


def _do_not_stand(match: re.Match[str], facts: Before) -> str:
    wrong = [name for name in _named(match) if name in facts.after.history]
    return f"{_list(wrong)} is in the history" if wrong else ""


def _went(match: re.Match[str], facts: Before) -> str:
    name = f"m{match['number']}"
    return f"{name}, which made the table, stands" if name in facts.after.history else ""


def _runs(match: re.Match[str], facts: Before) -> str:
    return "" if match["instance"] == facts.after.identity else "another instance runs"


def _is_down(_match: re.Match[str], facts: Before) -> str:
    return "an instance runs" if facts.after.identity else ""


def _no_new_database(_match: re.Match[str], facts: Before) -> str:
    new = facts.after.databases - facts.before.databases
    return f"there are new databases: {_list(sorted(new))}" if new else ""


def _no_backup(_match: re.Match[str], facts: Before) -> str:
    new = facts.after.backups - facts.before.backups
    return f"there is a new backup: {_list(sorted(new))}" if new else ""


def _is_gone(match: re.Match[str], facts: Before) -> str:
    name = match["database"]
    return f"{name} is there" if name in facts.after.databases else ""


def _holds(match: re.Match[str], facts: Before) -> str:
    name = match["database"]
    there = name in facts.after.databases or name.startswith("windlass_copy_")
    return "" if there else f"there is no database {name}"


def _in_the_journal(_match: re.Match[str], facts: Before) -> str:
    """Our deployment is in the journal, new or with another end than before."""
    new = set(facts.after.deployments) - set(facts.before.deployments)
    return "" if new else "the journal has nothing of this run"


def _backups_exist(match: re.Match[str], facts: Before) -> str:
    missing = set(re.findall(ID, match[0])) - facts.after.backups
    return f"there is no backup {_list(sorted(missing))}" if missing else ""


def _of_all(match: re.Match[str], _facts: Before) -> str:
    return "" if int(match["lost"]) <= int(match["asked"]) else "more are lost than were asked"


# What may stand before a claim, and changes nothing of it.
PREFIXES = (
    rf"of {ID}, which is not finished: ",
    r"the rollback is not finished: ",
    r"last seen at \d\d:\d\d:\d\d UTC: ",
)
# A clause of a state, and what has to be so where it is said.
CLAIMS: tuple[tuple[str, Check], ...] = (
    (r"nothing was changed( now)?( in the database)?(, and nothing restarted)?", _unchanged),
    (r"this (run|command) changed nothing( in the database)?", _unchanged),
    (r"(the database|it) is unchanged", _unchanged),
    (r"no statement has run", _unchanged),
    (r"no migration (was run|ran)", _unchanged),
    (r"nothing was removed, the database is unchanged", _unchanged),
    (r"nothing was dumped", _always),
    (rf"\d+ of \d+ migrations stand: {NAMES}", _stand),
    (rf"all its migrations stand: {NAMES}", _stand),
    (rf"still applied: {NAMES}", _stand),
    (rf"not applied: {NAMES}", _do_not_stand),
    (rf"undone: {NAMES}", _do_not_stand),
    (rf"(?P<names>{NAMED}) does not stand", _do_not_stand),
    (rf"rolled back, applied before, and not now: {NAMES}", _do_not_stand),
    (r"none of (its )?\d+ migrations (stands|is undone)", _history_as_began),
    (r"none stands whole", _history_as_began),
    (r"no migration was to run", _always),
    (rf"{NAMED}: statement \d+ of \d+ done", _always),
    (r"what stands is not known: .*", _always),
    (r"command [\w .-]+ runs instance (?P<instance>\w+)", _runs),
    (r"command [\w .-]+ is down", _is_down),
    (r"which version serves is not known: .*", _always),
    (
        rf"backup {ID} has the values of before( it began)?(, {ID} those of before this run)?",
        _backups_exist,
    ),
    (r"nothing was rolled back, because the deployment lock was lost", _always),
    (r"rolled back: the schema is as it was before", _as_began),
    (r"rolled back: the history is as it was before, and the schema is not: .*", _history_as_began),
    (
        r"rolled back: the definitions are those of before, and not every value is",
        _history_as_began,
    ),
    (r"rolled back in part", _always),
    (r"rolled back, whether the schema is as it was is not known: .*", _always),
    (r"(nothing was rolled back|no migration was undone): .*", _always),
    (
        r"[\d,]+ rows of public\.t(?P<number>\d) go with what the migrations added",
        _went,
    ),
    (r"(whether )?undoing .* loses .*", _always),
    (r"the service runs: instance (?P<instance>\w+)", _runs),
    (r"the service is down", _is_down),
    (r"the service (was restarted and )?serves( again)?", _serves),
    (r"nothing was restored", _no_new_database),
    (r"nothing was restored: (?P<database>\w+) is empty", _holds),
    (r"\w+ holds (a part of the backup: drop it|what was restored)", _always),
    (r"whether \w+ holds a part of the backup is not known: .*", _always),
    (r"whether the live database \w+ is as before is not known: .*", _always),
    (r"no database was created", _no_new_database),
    (r"the database (?P<database>\w+) is still there", _holds),
    (r"nothing was renamed: \w+ is as it was, (?P<database>\w+) holds the backup", _holds),
    (
        r"nothing was renamed: \w+ is as it was, and the server that answers now has no "
        r"(?P<database>\w+)",
        _is_gone,
    ),
    (r"not known: the server does not say whether \w+ is \w+ now", _always),
    (r"no backup was kept: no manifest, no archive", _no_backup),
    (r"nothing was stored", _no_backup),
    (rf"whether backup {ID} exists is not known: .*", _always),
    (r"the store did not do it", _always),
    (r"the object is not (stored|whole there, and is not used)", _always),
    (r"the file is not stored", _always),
    (r"nothing was removed", _always),
    (r"\d+ of \d+ backups are removed(: .*)?", _always),
    (r"the next pruning finishes it", _always),
    (r"(not )?dropped: .*", _always),
    (r"nothing was restarted", _always),
    (r"what is recorded is as it was", _unchanged),
    (r"nothing was read or written", _always),
    (r"the journal (shows what was begun|records what ran before|says how far)", _in_the_journal),
    (r"what ran before is in the journal", _in_the_journal),
    (r"what this run did before is in the journal", _always),
    (r"the journal could not be written", _always),
    (r"the database (?P<database>\w+), made for it, is dropped again", _is_gone),
    (r"the database \w+ may still be there, half restored: the next restore drops it", _always),
    (r"not read: the run was stopped before it could look", _always),
    (r"not known: look before you start it again", _always),
    (r"nothing more was started", _always),
    (r"a standby that lacked the last transactions may have taken over", _always),
    (r"not known", _always),
    (r"not known, because the database did not answer", _always),
    (r"this (statement|migration) did not run", _always),
    (r"its transaction (was rolled back|may still commit)", _always),
    (r"a transaction in progress was rolled back, unless its COMMIT had arrived", _always),
    (r"what is not recorded was rolled back, but for what cannot run in a transaction", _always),
    (r"nothing of this statement is left", _always),
    (r"what it left is cleared away by the next deployment", _always),
    (
        r"what it left was not cleared away \(.*: an invalid index \w+ exists, and whether it is "
        r"the one this file builds could not be compared \(.*",
        _always,
    ),
    (r"\[\w{5}\]\)\)", _always),  # the end of that, behind the server's full stop
    (r"it may be half way, which the same command finishes", _always),
    (r"what ran before stands", _always),
    (r"the statements before it stay done and are recorded", _always),
    (r"this one is not", _always),
    (r"the database and the service may not fit each other: look now", _always),
    (r"the service may be (partly )?down", _always),
    (r"the service answers, but not steadily or not fast enough", _always),
    (r"\d+ tries within .*", _always),
    (r"since the restart began the service lost (?P<lost>\d+) of (?P<asked>\d+) .*", _of_all),
    (r"it did not answer before either", _always),
    (r"before this deployment the same tests held", _always),
    (r"it was failing already before this deployment: .*", _always),
    (r"first deployment: nothing was deployed here before.*", _always),
    (r"the command was: .*", _always),
    (r"the copy is gone", _always),
    (r"seen on (a|the) copy", _always),
    (r"the service was not touched", _always),
    (r"no (server was started|signature was judged)", _always),
    (r"what ran before stays done", _always),
    (
        r"the live database \w+ is unchanged: it has the history and the schema of before",
        _unchanged,
    ),
    (r"the restart had begun", _always),
    (r"nothing was changed: [\w.]+ only reads", _unchanged),
    (r"the archive cannot be trusted", _always),
    (r"no more of it was read", _always),
)


def clauses(state: str) -> list[str]:
    """Return the single claims of a state."""
    state = re.sub(r"rolled back; (applied before|whether)", r"rolled back, \1", state)
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
    known = "what stands is not known" not in error.state
    for part in dict.fromkeys(parts):
        wrong += _judged(part, facts, known=known)
    return wrong + _untold(error.state, facts)


def _judged(part: str, facts: Before, *, known: bool) -> list[str]:
    claim = part
    for prefix in PREFIXES:
        claim = re.sub(rf"^{prefix}", "", claim)
    for pattern, check in CLAIMS:
        match = re.fullmatch(pattern, claim)
        if match is not None:
            why = check(match, facts) if known or check not in (_stand, _do_not_stand) else ""
            return [f"false: “{part}”: {why}"] if why else []
    return [f"a sentence that the matrix does not know: “{part}”"]


def _untold(state: str, facts: Before) -> list[str]:
    """Return what a state does not say though it has to: that migrations were run, or undone."""
    was, now = set(facts.before.history), set(facts.after.history)
    if was == now or re.search(NAMED, state) or "rolled back" in state:
        return []
    if "known" in state or state.startswith("not read: "):
        return []
    return [
        f"does not tell that the history went from {_list(sorted(was))} to {_list(sorted(now))}"
    ]


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
