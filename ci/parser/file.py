"""A migration file as text: header, statements with their lines, what may run in a transaction.

The dialect is what the server takes: psql's meta-commands, variables and inline COPY data are
refused, with the line.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..config.duration import Duration
from ..config.sections import LONGEST_TIMEOUT
from ..errors import ConfigError, Place
from ..model import Phase
from . import backfill, tree
from .backfill import Backfill
from .batched import refuse_beside, with_backfills
from .split import Statement, comments, split

DIRECTIVE = re.compile(r"^\s*--\s*windlass:\s*(.*)$")
ALLOW = re.compile(r"allow\s+([a-z-]+)\s*(.*)")
IRREVERSIBLE = re.compile(r"irreversible\b\s*(.*)")
SETTINGS = {
    "transaction": "off",
    "phase": "before|after",
    "lock_timeout": r"\S+",
    "statement_timeout": r"\S+",
}
LARGEST = 64 * 1024**2  # bytes of a script; parsing takes twenty times that
KNOWN_DIRECTIVES = (
    "transaction=off, phase=before, phase=after, lock_timeout=2s, statement_timeout=10m, "
    f"allow RULE REASON, irreversible REASON, {backfill.FORM}"
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A rule set aside, with a reason: for the statement below, or in the head for the file."""

    rule: str
    reason: str
    line: int
    statement: int  # the line where its statement begins; 0: the whole file

    def covers(self, rule: str, statement: int) -> bool:
        """Tell whether it sets this rule aside for a statement."""
        return self.rule == rule and self.statement in (0, statement)


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A parsed file. `statements` leaves out the outer BEGIN and COMMIT: the runner has its own."""

    path: Path
    text: str
    checksum: str
    phase: Phase
    transactional: bool
    allowed: tuple[Allowed, ...]
    statements: tuple[Statement, ...]
    begin: str = ""  # what the outer BEGIN asks for: ISOLATION LEVEL SERIALIZABLE
    lock_timeout: Duration | None = None  # of every statement of this file, instead of the ladder
    statement_timeout: Duration | None = None
    irreversible: str = ""  # why no script undoes it; empty: the file does not say so
    together: int = 0  # statements in one transaction, from the first, before those in batches

    def tables(self) -> frozenset[str]:
        """Return the tables and views that the file names, without their schemas."""
        names = (tree.tables(statement.kind, statement.node) for statement in self.statements)
        return frozenset().union(*names)

    @property
    def backfills(self) -> tuple[Statement, ...]:
        """The statements that run in batches: the last of the file, or anywhere between those of
        a file with transaction=off.
        """
        return tuple(statement for statement in self.statements if statement.backfill is not None)

    def functions(self) -> frozenset[str]:
        """Return the functions that the file calls, without their schemas."""
        calling = [s for s in self.statements if "(" in s.sql and s.kind != "insert_stmt"]
        return frozenset(name for s in calling for name in tree.functions(s.node))


def normalise(raw: bytes, path: Path) -> str:
    """Return the text with LF line ends and without byte-order mark; checksums are of this text.

    Raises:
        ConfigError: it is not UTF-8, or holds a NUL, which no statement can.

    """
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        before = raw[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        line = before.count(b"\n") + 1
        raise ConfigError(
            f"not UTF-8: byte 0x{raw[error.start]:02x}",
            place=Place(str(path), line),
            next_step="save the file as UTF-8",
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigError("holds a NUL byte", place=Place(str(path), line), next_step="remove it")
    return text


def read_script(path: Path, shown: Path, *inside: Path) -> str | None:
    """Return the normalised text of a script; None where there is none.

    Args:
        path: the file.
        shown: its path as messages name it.
        inside: directories; a symbolic link that leads out of all of them is refused.

    Raises:
        ConfigError: it cannot be read, is no regular file, is larger than LARGEST, leads elsewhere,
            or is no text.

    """
    try:
        if not (path.is_symlink() or path.exists()):
            return None
        raw = files.read(path, at_most=LARGEST, inside=inside)
    except (OSError, RuntimeError) as error:  # the latter: links in a circle
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(
            f"cannot be read: {reason}",
            place=Place(str(shown)),
            next_step="make it a file of the project; large data is loaded outside of migrations",
        ) from None
    return normalise(raw, shown)


def require_one_way(file: SqlFile, rollback: str | None) -> None:
    """Raise `ConfigError` where a file says that nothing undoes it, and a script does."""
    if file.irreversible and rollback is not None:
        raise ConfigError(
            "says that it is irreversible, and has a rollback script",
            place=Place(str(file.path)),
            next_step="remove the script, or the directive",
        )


def checksum_of(text: str) -> str:
    """Return the checksum of a normalised text, with the algorithm's name."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def parse(path: Path, text: str) -> SqlFile:
    """Return the parsed file.

    Raises:
        ConfigError: it is no SQL the server takes, or mixes what cannot run together; with line.

    """
    directives, allowances, asked = _directives(path, text)
    off = directives.get("transaction") == "off"
    parsed = with_backfills(path, split(path, text), asked)
    _refuse_late_directives(path, text, parsed)
    statements, begin = _unwrap(path, parsed, off=off)
    for statement in statements:
        _refuse_owned(path, statement)
    transactional = _transactional(path, statements, off=off)
    if not transactional and len(parsed) > len(statements):
        raise ConfigError(
            "BEGIN … COMMIT around a statement that cannot run in a transaction",
            place=Place(str(path), parsed[0].line),
            next_step="take the BEGIN and the COMMIT out",
        )
    return SqlFile(
        path=path,
        text=text,
        checksum=checksum_of(text),
        phase="after" if directives.get("phase") == "after" else "before",
        transactional=transactional,
        allowed=_scoped(allowances, parsed),
        statements=statements,
        begin=begin,
        irreversible=directives.get("irreversible", ""),
        together=0 if off else _before_batches(statements),
        **_timeouts(path, directives),
    )


def backfills_in(path: Path, text: str) -> tuple[Backfill, ...]:
    """Return what the directives of a text ask to run in batches; the text itself is not parsed.

    Raises:
        ConfigError: a directive is wrong.

    """
    asked = (backfill.read_directive(path, *each) for each in _find_directives(text))
    return tuple(each for each in asked if each is not None)


def _before_batches(statements: tuple[Statement, ...]) -> int:
    """Return how many statements are before the first that runs in batches; 0: none does."""
    numbers = (n for n, statement in enumerate(statements) if statement.backfill is not None)
    return next(numbers, 0)


def _find_directives(text: str) -> list[tuple[int, str]]:
    """Return line and words of every directive: in a comment of its own line, nowhere else."""
    if "windlass:" not in text:
        return []
    raw, directives = text.encode(), []
    for start, end in comments(text):
        match = DIRECTIVE.match(raw[start:end].decode())
        if match and not raw[raw.rfind(b"\n", 0, start) + 1 : start].strip():
            directives.append((raw[:start].count(b"\n") + 1, match[1].strip()))
    return directives


def _timeouts(path: Path, directives: dict[str, str]) -> dict[str, Duration]:
    timeouts: dict[str, Duration] = {}
    for key in ("lock_timeout", "statement_timeout"):
        if key not in directives:
            continue
        try:
            timeouts[key] = Duration.parse(directives[key])
        except ValueError as error:
            raise ConfigError(
                f"{key}: {error}", place=Place(str(path)), next_step=f"-- windlass: {key}=2s"
            ) from None
        if timeouts[key].seconds > LONGEST_TIMEOUT:
            raise ConfigError(
                f"{key}={directives[key]} is longer than the server can wait",
                place=Place(str(path)),
                next_step=f"24d at most: -- windlass: {key}=2s",
            )
        if timeouts[key].seconds <= 0:
            raise ConfigError(
                f"{key}={directives[key]} would wait for ever",
                place=Place(str(path)),
                next_step=f"give it an end: -- windlass: {key}=2s",
            )
    return timeouts


def _refuse_late_directives(path: Path, text: str, statements: tuple[Statement, ...]) -> None:
    """Refuse a directive that looks as if it were for one statement, and is for the whole file."""
    first = statements[0].line if statements else 0
    for number, directive in _find_directives(text):
        own = ALLOW.fullmatch(directive) or backfill.DIRECTIVE.fullmatch(directive)
        if first and number > first and not own:
            raise ConfigError(
                "this directive is for the whole file, and is below its first statement",
                place=Place(str(path), number),
                next_step="move it to the head of the file",
            )


def _scoped(
    allowances: tuple[tuple[int, str, str], ...], parsed: tuple[Statement, ...]
) -> tuple[Allowed, ...]:
    """Say for each allowance which statement it is for: the next below, in the head all."""
    first = parsed[0].line if parsed else 0
    return tuple(
        Allowed(
            rule,
            reason,
            line,
            0 if line < first else next((s.line for s in parsed if s.line > line), 0),
        )
        for line, rule, reason in allowances
    )


def _directives(
    path: Path, text: str
) -> tuple[dict[str, str], tuple[tuple[int, str, str], ...], tuple[Backfill, ...]]:
    directives: dict[str, str] = {}
    allowed: list[tuple[int, str, str]] = []
    backfills: list[Backfill] = []
    for number, directive in _find_directives(text):
        if allow := ALLOW.fullmatch(directive):
            if not allow[2]:
                raise ConfigError(
                    f"allow {allow[1]} has no reason",
                    place=Place(str(path), number),
                    next_step=f"write why: -- windlass: allow {allow[1]} REASON",
                )
            allowed.append((number, allow[1], allow[2]))
            continue
        if declared := IRREVERSIBLE.fullmatch(directive):
            if not declared[1]:
                raise ConfigError(
                    "irreversible has no reason",
                    place=Place(str(path), number),
                    next_step="write why nothing can undo it: -- windlass: irreversible REASON",
                )
            directives["irreversible"] = declared[1]
            continue
        if asked := backfill.read_directive(path, number, directive):
            backfills.append(asked)
            continue
        directives |= _settings(path, number, directive)
    return directives, tuple(allowed), tuple(backfills)


def _settings(path: Path, line: int, directive: str) -> dict[str, str]:
    """Return the settings of one directive: key=value, with blanks between them."""
    settings = {}
    for pair in directive.split():
        key, _, value = pair.partition("=")
        if key not in SETTINGS or not re.fullmatch(SETTINGS[key], value):
            raise ConfigError(
                f'unknown directive "{pair}"',
                place=Place(str(path), line),
                next_step=f"known are: {KNOWN_DIRECTIVES}",
            )
        settings[key] = value
    return settings


def _unwrap(
    path: Path, statements: tuple[Statement, ...], *, off: bool
) -> tuple[tuple[Statement, ...], str]:
    """Take the outer BEGIN … COMMIT off; return the rest and what that BEGIN asked for.

    Raises:
        ConfigError: a transaction command is anywhere else.

    """
    modes, parsed = "", statements
    first = tree.transaction(statements[0].kind, statements[0].node) if statements else ""
    if not off and first == "BEGIN" and len(statements) > 1:
        last = tree.transaction(statements[-1].kind, statements[-1].node)
        if last == "COMMIT":
            modes = _asked_of_begin(path, statements[0])
            statements = statements[1:-1]
    wrapped = len(statements) < len(parsed)
    commands = [s for s in statements if s.kind == "transaction_stmt"]
    if commands:
        _refuse_command(path, commands, opens=first == "BEGIN" and not wrapped)
    return statements, modes


def _refuse_command(path: Path, commands: list[Statement], *, opens: bool) -> None:
    """Refuse the command that does not belong; an opening BEGIN is blamed where it is alone."""
    alone = opens and len(commands) == 1
    blamed = commands[1] if opens and not alone else commands[0]
    word = re.split(r"[^a-z]", blamed.sql.lower(), maxsplit=1)[0].upper()
    problem = "BEGIN without a COMMIT at the end of" if alone else f"{word} in the middle of"
    raise ConfigError(
        f"{problem} the file; the script and its history row must commit together",
        place=Place(str(path), blamed.line),
        next_step="keep one BEGIN at the start and one COMMIT at the end, or none; "
        "split the file where two transactions are meant",
    )


def _asked_of_begin(path: Path, begin: Statement) -> str:
    """Return the transaction modes that the outer BEGIN asks for."""
    modes = tree.modes(begin.node)
    if "READ ONLY" in modes:
        raise ConfigError(
            "READ ONLY, and the history row must be written",
            place=Place(str(path), begin.line),
            next_step="take READ ONLY out",
        )
    return modes


def _refuse_owned(path: Path, statement: Statement) -> None:
    place, kind, node = Place(str(path), statement.line), statement.kind, statement.node
    setting = tree.owned_setting(kind, node, statement.sql)
    if setting:
        raise ConfigError(
            f"the file sets {setting}, which the runner owns",
            place=place,
            next_step="remove the line; lock: in deploy.yml sets how long a statement may wait, "
            "and -- windlass: lock_timeout=2s in the head of the file for this file alone",
        )
    if kind == "copy_stmt" and not node.filename:
        raise ConfigError(
            f"COPY … {'FROM stdin' if node.is_from else 'TO stdout'} does not run here",
            place=place,
            next_step="write INSERT statements" if node.is_from else "take the statement out",
        )
    if kind == "index_stmt" and node.concurrent and not node.idxname:
        raise ConfigError(
            "an index built concurrently needs a name: after a run that was cut off, the next one "
            "looks for it",
            place=place,
            next_step="write CREATE INDEX CONCURRENTLY name ON …",
        )


def _transactional(path: Path, statements: tuple[Statement, ...], *, off: bool) -> bool:
    if off:
        return False
    batches = [s for s in statements if s.backfill is not None]
    if batches:
        refuse_beside(path, statements, batches[0])
        return False
    outside = [s for s in statements if not s.transactional]
    rest = [s for s in statements if s.transactional and not tree.is_harmless(s.kind, s.node)]
    if outside and rest:
        raise ConfigError(
            "this statement cannot run in a transaction, and the file has another one that should "
            f"not be found half done (line {rest[0].line})",
            place=Place(str(path), outside[0].line),
            next_step="give it a migration of its own, or write -- windlass: transaction=off "
            "when every statement may be found half done",
        )
    return not outside
