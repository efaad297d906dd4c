"""The matrix as data: verbs, the places where a run may be hit, the faults, what makes sense.

Nothing here runs anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.reliability.project import NAMES

Group = Literal["signal", "child", "server", "line", "standby", "store", "service", "clock"]


@dataclass(frozen=True)
class Place:
    """A place in a run: the row of a table. `pattern` is of what the run passes there."""

    name: str
    pattern: str
    number: int = 1
    child: bool = False  # a child runs there, which can be killed
    store: bool = False  # the store is asked behind it
    service: bool = False  # the service is asked behind it
    disk: bool = False  # the database needs more of its disk behind it
    server: bool = True  # the server is asked behind it
    telling: bool = False  # what takes long is played there too


@dataclass(frozen=True)
class Fault:
    """A fault: the column of a table."""

    name: str
    group: Group
    lasting: bool = False  # ends when the run has ended
    few: bool = False  # played at the telling places alone
    remote: bool = False  # the store is one that speaks S3
    every: bool = False  # played with verbs that are like another one too


@dataclass(frozen=True)
class Verb:
    """A command, what it begins from, and what has to stand when all is well."""

    name: str
    arguments: tuple[str, ...]
    stage: str
    files: tuple[int, ...]  # the migrations on disk
    ends: tuple[tuple[str, ...], ...]  # histories that are a good end
    places: tuple[Place, ...]
    on_failure: str = "stop"
    sick: bool = False  # the service fails its smoke test, until the first run has ended
    swaps: bool = False  # one database more is kept
    reads: bool = False  # changes nothing in the database
    makes: str = ""  # a database that is there in the end
    edited: int = 0  # a migration whose file was changed after it ran
    keep: int = 9  # backups that stay, by number
    like: str = ""  # the verb whose road it goes: most faults are played there
    then: tuple[str, ...] = ()  # what anybody runs next, where this one ended well
    approved: bool = False  # the environment asks for a signature, and the plan has one
    nameless: bool = False  # the database does not say whose it is
    engine: Literal["sql", "alembic"] = "sql"


@dataclass(frozen=True)
class Cell:
    """One verb, hit at one place by one fault."""

    verb: Verb
    place: Place
    fault: Fault
    reason: str = ""  # why it cannot be; empty: it is played

    @property
    def key(self) -> str:
        """The cell's name in a list: letters, digits and strokes."""
        return f"{self.verb.name}/{self.place.name}/{self.fault.name}".replace(" ", "-")


KILL = Fault("kill -9", "signal", every=True)
TERM = Fault("SIGTERM", "signal")
TWICE = Fault("SIGTERM twice", "signal", few=True)
CHILD = Fault("child killed", "child", every=True)
FAST = Fault("restart", "server")
IMMEDIATE = Fault("crash", "server", few=True)
TERMINATE = Fault("terminate", "server", every=True)
CUT = Fault("cut", "line")
HOLE = Fault("black hole", "line", few=True)
FULL_HOUSE = Fault("too many", "server")
READ_ONLY = Fault("read-only", "server", lasting=True)
DISK = Fault("disk full", "server", lasting=True)
FAILOVER = Fault("failover", "standby", few=True)
VANISHED = Fault("store gone", "store", lasting=True)
STORE_FULL = Fault("store full", "store", lasting=True)
STORE_REFUSES = Fault("store refuses", "store", lasting=True, remote=True)
STORE_SLOW = Fault("store slow", "store", lasting=True, remote=True)
STORE_CUT = Fault("store cuts", "store", remote=True)
STORE_CORRUPTS = Fault("store corrupts", "store", remote=True)
HANGING = Fault("hangs", "service", lasting=True)
FLAPPING = Fault("flaps", "service", lasting=True)
DEAD = Fault("dies", "service", lasting=True)
AHEAD = Fault("clock +1 h", "clock")
BEHIND = Fault("clock -1 h", "clock")

FAULTS = (
    KILL,
    TERM,
    TWICE,
    CHILD,
    FAST,
    IMMEDIATE,
    TERMINATE,
    CUT,
    HOLE,
    FULL_HOUSE,
    READ_ONLY,
    DISK,
    FAILOVER,
    VANISHED,
    STORE_FULL,
    STORE_REFUSES,
    STORE_SLOW,
    STORE_CUT,
    STORE_CORRUPTS,
    HANGING,
    FLAPPING,
    DEAD,
    AHEAD,
    BEHIND,
)

BEGIN = Place("the lock is asked for", "before step lock")
OPENED = Place("the journal is open", "after sql insert into windlass.deployment")
DUMPING = Place("pg_dump runs", "^child .*pg_dump ", child=True, store=True)
MANIFEST = Place("the manifest is written", "before store write .*manifest.json", store=True)
PROVEN = Place("the backup is proven", "after step proof", store=True)
RESTARTING = Place("the restart command runs", "^child .*restart.py", child=True)
ASKING = Place("the smoke test begins", "after step smoke", service=True, server=False)
ASKED = Place("the smoke test has passed", "before end smoke", service=True)
ENDS = "before sql update windlass.deployment set finished_at = %s"
CLOSING = Place("the end is recorded", ENDS, telling=True)
BACKED_UP = (BEGIN, OPENED, DUMPING, MANIFEST, PROVEN)

FIRST_OPEN = Place(
    "the first migration is open", "after sql insert into counts .*'m3'", disk=True, telling=True
)

DEPLOY = Verb(
    name="deploy",
    arguments=("deploy", "--env", "uat"),
    stage="two",
    files=(1, 2, 3, 4, 5),
    ends=(("m1", "m2", "m3", "m4", "m5"),),
    places=(
        *BACKED_UP,
        FIRST_OPEN,
        Place("between two migrations", "before sql insert into counts .*'m4'", disk=True),
        Place("an index is built", "before sql create index concurrently", disk=True),
        RESTARTING,
        ASKING,
        ASKED,
        Place("a late migration is open", "after sql insert into counts .*'m5'", disk=True),
        Place("the end is verified", "after step verify"),
        CLOSING,
    ),
)
APPROVED = Verb(
    name="deploy --plan",
    arguments=("deploy", "--env", "uat", "--plan", "plan.json", "--yes"),
    stage="two",
    files=(1, 2, 3, 4, 5),
    ends=(("m1", "m2", "m3", "m4", "m5"),),
    like=DEPLOY.name,
    approved=True,
    places=(
        BEGIN,
        OPENED,
        Place("the approval is used", "after sql insert into windlass.approval"),
        DUMPING,
        FIRST_OPEN,
        Place("an index is built", "before sql create index concurrently", disk=True),
        RESTARTING,
        CLOSING,
    ),
)
ALEMBIC = Verb(
    name="deploy with Alembic",
    arguments=DEPLOY.arguments,
    stage="alembic",
    files=(1, 2, 3, 4),
    ends=(("m1", "m2", "m3", "m4"),),
    like=DEPLOY.name,
    engine="alembic",
    places=(
        Place("what Alembic says is read", "^child .*alembic/child/__main__.py", child=True),
        Place(
            "the approved child begins", "^child .*alembic/child/__main__.py", number=2, child=True
        ),
        Place("a revision begins", "^child .* alembic begins", child=True),
        Place("a revision is open", "^child .* alembic statement insert into counts", child=True),
        Place("between two revisions", "^child .* alembic begins", number=2, child=True),
        CLOSING,
    ),
)
BACK = Verb(
    name="automatic rollback",
    arguments=("deploy", "--env", "uat"),
    stage="two",
    files=(1, 2, 3, 4, 5),
    ends=(("m1", "m2", "m3", "m4", "m5"), ("m1", "m2")),
    on_failure="rollback-even-if-lossy",
    sick=True,
    places=(
        Place("the way back begins", "before step undo"),
        Place("the index is undone", "before sql drop index concurrently"),
        Place("between two undos", "before sql drop table t3", disk=True, telling=True),
        Place("the last undo is open", "after sql update counts .*'m3'", disk=True),
        Place("the restart command runs again", "^child .*restart.py", number=2, child=True),
        Place("the smoke test begins again", "after step smoke", number=2, service=True),
        CLOSING,
    ),
)


def _rollback(name: str, *arguments: str, left: tuple[str, ...], like: str = "") -> Verb:
    return Verb(
        name=name,
        arguments=("rollback", "--env", "uat", *arguments),
        stage="five",
        files=(1, 2, 3, 4, 5),
        ends=(left,),
        like=like,
        places=(
            *BACKED_UP,
            Place(
                "the first undo is open", "after sql update counts .*'m5'", disk=True, telling=True
            ),
            Place("between two undos", "before sql drop index concurrently"),
            Place("the last undo is open", "after sql update counts .*'m4'", disk=True),
            RESTARTING,
            ASKING,
            CLOSING,
        ),
    )


STEPS = _rollback("rollback --steps", "--steps", "2", left=("m1", "m2", "m3"))
TO = _rollback("rollback --to", "--to", NAMES[2], left=("m1", "m2", "m3"), like=STEPS.name)
BY_DEPLOYMENT = _rollback(
    "rollback --deployment", "--deployment", "LAST", left=("m1", "m2"), like=STEPS.name
)
MIGRATE = Verb(
    name="migrate --steps",
    arguments=("migrate", "--env", "uat", "--steps", "2"),
    stage="two",
    files=(1, 2, 3, 4, 5, 6),
    ends=(("m1", "m2", "m3", "m4"),),
    places=(
        *BACKED_UP,
        FIRST_OPEN,
        Place("between two migrations", "before sql insert into counts .*'m4'", disk=True),
        Place("the second migration is open", "after sql insert into counts .*'m4'", disk=True),
        CLOSING,
    ),
)
RESTORE = Verb(
    name="restore",
    arguments=("restore", "--env", "uat"),
    stage="five",
    files=(1, 2, 3, 4, 5),
    ends=(("m1", "m2", "m3", "m4", "m5"),),
    swaps=True,
    places=(
        Place("the restore begins", "before step backup", store=True),
        Place("the new database is made", "before sql create database"),
        Place("the new database is there", "after sql create database", store=True, telling=True),
        Place("pg_restore runs", "^child .*pg_restore .*--exit-on-error", child=True, store=True),
        Place("it is recorded inside", "before sql insert into windlass.correction"),
        Place("the swap is sent", "^before sql set local lock_timeout", telling=True),
        Place("the sessions are ended", "^before sql select pg_catalog.pg_terminate_backend"),
        Place("the swap is done", "^after sql set local lock_timeout", telling=True),
    ),
)
INTO = Verb(
    name="restore --into",
    arguments=("restore", "--env", "uat", "--into", "shop_beside"),
    makes="shop_beside",
    stage="five",
    files=(1, 2, 3, 4, 5),
    ends=(("m1", "m2", "m3", "m4", "m5"),),
    places=(
        Place("the restore begins", "before step backup", store=True),
        Place("the new database is there", "after sql create database", store=True, telling=True),
        Place("pg_restore runs", "^child .*pg_restore .*--exit-on-error", child=True, store=True),
    ),
)
BACKUP = Verb(
    name="backup",
    arguments=("backup", "--env", "uat"),
    stage="two",
    files=(1, 2),
    ends=(("m1", "m2"),),
    reads=True,
    places=(
        Place("the backup begins", "before step backup", store=True),
        DUMPING,
        MANIFEST,
        Place("the backup is proven", "before store write .*proof", store=True),
    ),
)
PRUNE = Verb(
    name="backup.prune",
    arguments=("backup.prune", "--env", "uat"),
    stage="many",
    keep=1,
    files=(1, 2),
    ends=(("m1", "m2"),),
    reads=True,
    places=(
        Place("the backups are listed", "^before sql", store=True),
        Place("the first object is removed", "before store delete", store=True),
        Place("a backup is half removed", "after store delete .*manifest", store=True),
    ),
)
REHEARSE = Verb(
    name="rehearse",
    arguments=("rehearse", "--env", "uat"),
    stage="two",
    files=(1, 2, 3, 4, 5),
    ends=(("m1", "m2"),),
    reads=True,
    places=(
        Place("the rehearsal begins", "before step rehearsal", store=True),
        Place("the throwaway server runs", "^child .*postgres .*-D", child=True, store=True),
        Place("a migration is tried", "before sql insert into counts .*'m3'"),
        Place("it is tried backwards", "before sql drop table t3"),
    ),
)


def _correction(  # what differs between them
    name: str,
    *arguments: str,
    stage: str,
    end: tuple[str, ...],
    edited: int = 0,
    like: str = "",
    nameless: bool = False,
) -> Verb:
    return Verb(
        name=name,
        arguments=(name.split()[0], "--env", "uat", *arguments, "--reason", "by-hand"),
        nameless=nameless,
        stage=stage,
        files=(1, 2, 3),
        ends=(end,),
        edited=edited,
        like=like,
        then=("backup", "--env", "uat"),
        places=(
            Place("the correction begins", "pg_try_advisory_lock"),
            Place("the lock is held", "after sql select pg_catalog.pg_try_advisory_lock"),
            Place("it is recorded", "before sql insert into windlass.correction", telling=True),
            Place("its record is open", "after sql insert into windlass.correction"),
        ),
    )


M2, M3 = NAMES[1], NAMES[2]
STAMP = _correction("stamp", "--name", M3, stage="two", end=("m1", "m2", "m3"))
UNSTAMP = _correction("unstamp", "--name", M2, stage="two", end=("m1",), like="stamp")
REPAIR = _correction("repair", "--name", M2, stage="two", end=("m1", "m2"), edited=2, like="stamp")
BASELINE = _correction(
    "baseline", "--name", ",".join(NAMES[:3]), stage="empty", end=("m1", "m2", "m3")
)

ADOPT = _correction(
    "identity --adopt", "--adopt", stage="two", end=("m1", "m2"), nameless=True, like="stamp"
)

VERBS = (
    DEPLOY,
    APPROVED,
    ALEMBIC,
    BACK,
    STEPS,
    TO,
    BY_DEPLOYMENT,
    MIGRATE,
    RESTORE,
    INTO,
    BACKUP,
    PRUNE,
    REHEARSE,
    STAMP,
    UNSTAMP,
    REPAIR,
    BASELINE,
    ADOPT,
)


# Not impossible, and not played: said so in the page.
NOT_PLAYED = "played at other places, or with a verb that goes the same road"


def why_not(verb: Verb, place: Place, fault: Fault) -> str:
    """Return why a fault cannot hit a verb there; empty where it can."""
    asks_server = fault.group in ("server", "line", "standby")
    answered = "passed" in place.name
    reasons = (
        (fault is CHILD and not place.child, "no child runs there"),
        (fault.group == "store" and not place.store, "the store is not asked there"),
        (fault.group == "service" and not place.service, "the service is not asked there"),
        (fault is DEAD and not answered, "it has not answered yet"),
        (fault in (HANGING, FLAPPING) and answered, "it has answered already"),
        (fault is DISK and not place.disk, "the database writes nothing large there"),
        (asks_server and not place.server, "the server is not asked there"),
        (fault.group == "clock" and place is not verb.places[0], "a clock is wrong from the start"),
        (fault.few and not place.telling, NOT_PLAYED),
        (bool(verb.like) and not fault.every, NOT_PLAYED),
    )
    return next((reason for applies, reason in reasons if applies), "")


def cells() -> Iterator[Cell]:
    """Yield every cell, those that cannot be with their reason."""
    for verb in VERBS:
        for place in verb.places:
            for fault in FAULTS:
                yield Cell(verb, place, fault, why_not(verb, place, fault))


def played() -> list[Cell]:
    """Return the cells that can be."""
    return [cell for cell in cells() if not cell.reason]
