"""The documents the phases hand to each other, as they are written down."""

import hashlib
import shlex
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec

Tier = Literal["development", "acceptance", "production"]
Phase = Literal["before", "after"]
Direction = Literal["up", "down"]


class StepName(StrEnum):
    """The steps of a deployment, in the order and the words of the policy table."""

    PREFLIGHT = "preflight"
    LINT = "lint"
    REHEARSAL = "rehearsal"
    APPROVAL = "approval"
    LOCK = "lock"
    BACKUP = "backup"
    PROOF = "proof"
    MIGRATE = "migrate"
    RESTART = "restart"
    SMOKE = "smoke"
    MIGRATE_AFTER = "migrate-after"
    VERIFY = "verify"


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that is stored, sent or hashed."""

    def canonical(self) -> bytes:
        """Return the one JSON encoding of this document: sorted keys, no spaces, UTF-8."""
        return msgspec.json.encode(self, order="sorted")


class Migration(Document, frozen=True, kw_only=True):
    """One migration as the engine finds it on disk; texts have LF line ends and no BOM."""

    name: str
    checksum: str  # "sha256:" and 64 hex digits, of `sql`
    sql: str
    phase: Phase = "before"
    transactional: bool = True
    rollback: str | None = None
    verify: str | None = None
    backfill: str | None = None  # what runs in batches behind it, where that has a file of its own
    title: str = ""  # what it does, where its name does not say it
    after: tuple[str, ...] | None = None  # what it builds on; None: on the one before it
    irreversible: str = ""  # why nothing can undo it, as its file declares; empty: it does not


class Applied(Document, frozen=True, kw_only=True):
    """One row of the history table.

    `checksum` is None where a person or another tool wrote the row, `applied_at` where the tool
    does not keep it.
    """

    name: str
    checksum: str | None
    applied_at: datetime | None


class Partial(Document, frozen=True, kw_only=True):
    """A migration, run or undone statement by statement, that was cut off half way."""

    name: str
    direction: Direction
    statements_done: int
    statements: int

    def __str__(self) -> str:
        """Return how far it came; a tool of its own says no more than that it began."""
        if not self.statements:
            return "begun, and cut off; what it committed stays"
        return f"statement {self.statements_done} of {self.statements} done"


class Failed(Document, frozen=True, kw_only=True):
    """A migration of a tool that records its beginning: begun, not ended, not resolved."""

    name: str
    started_at: datetime
    said: str  # its error, as the tool wrote it; may be empty


class Unrecorded(Document, frozen=True, kw_only=True):
    """A migration that is not recorded as applied, and whose objects already exist."""

    migration: str
    objects: tuple[str, ...]  # that exist, for people: "column Item.last_error"
    fails: bool  # without IF NOT EXISTS: its file cannot run
    verdict: Literal["alike", "different", "unknown"] = "unknown"
    says: tuple[str, ...] = ()  # how they differ from what it would create, or why it is not known


class Target(Document, frozen=True, kw_only=True):
    """Which database this is. Clones share the identifier; the name tells them apart."""

    system_identifier: str
    database: str
    server_version: int  # as server_version_num: 160014
    address: str = ""  # as we reach it, HOST:PORT/DATABASE; a physical copy has another


class Facts(Document, frozen=True, kw_only=True):
    """What the live database is right now; read-only."""

    target: Target
    history: tuple[Applied, ...]
    schema_fingerprint: str
    schema: tuple[str, ...] = ()  # the lines whose hash is the fingerprint
    partials: tuple[Partial, ...] = ()
    failed: tuple[Failed, ...] = ()
    leftovers: tuple[str, ...] = ()  # invalid indexes and the like that already exist


class PlannedStep(Document, frozen=True, kw_only=True):
    """One step of a plan, and whether the environment insists on it."""

    name: StepName
    required: bool


FindingLevel = Literal["note", "warning", "unknown", "error"]
Effect = Literal["", "scan", "rewrite", "rows"]


class Finding(Document, frozen=True, kw_only=True):
    """Something in a migration's text that a person should know before it runs."""

    level: FindingLevel  # "unknown": its text does not say what it does
    rule: str
    file: str
    line: int
    message: str
    statement: int = 0  # the line where its statement begins; 0: the file as a whole
    table: str = ""  # without its schema
    does: Effect = ""  # to every row of the table, while others wait
    number: int = 0  # of the statement in its file, from 1; 0: the file as a whole
    relation: str = ""  # schema.name of the table it locks or works on; empty: it is not known
    size: int = -1  # bytes of all that it works on, with indexes; -1: not known
    rows: int = -1  # of that, an estimate
    counted: str = ""  # why it is counted and not listed; empty: it is listed
    instead: str = ""  # SQL to write instead, files apart by comments; empty: none is known

    @property
    def headline(self) -> str:
        """Level, message and rule: "error: TRUNCATE deletes every row … [truncate]"."""
        return f"{self.level}: {self.message} [{self.rule}]"

    def __str__(self) -> str:
        """Return it as a compiler would."""
        return f"{self.file}:{self.line}: {self.headline}"


class Checked(Document, frozen=True, kw_only=True):
    """What came of a new migration on the base's schema: run, undone, run again."""

    name: str
    title: str  # what it does, where its name does not say it
    phase: Phase
    transactional: bool
    rollback: bool  # whether it has a script; without one it was run once
    seconds: float  # of all three
    problem: str  # empty: none
    sql: str  # as it would be sent
    untried: str = ""  # why it could not be tried: it needs more rights than an owner's
    irreversible: str = ""  # why it has no rollback, as its file declares


class PullRequestCheck(Document, frozen=True, kw_only=True):
    """What is to say of a change's migrations before it is merged."""

    base: str  # as it was named
    commit: str  # that it names
    applied: int  # migrations of the base that were run first
    server: str  # where, for people
    problems: tuple[str, ...]  # of their order
    findings: tuple[Finding, ...]  # of lint, in the new ones
    migrations: tuple[Checked, ...]  # the new ones, in running order

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against a merge; lint's warnings do not."""
        errors = any(finding.level == "error" for finding in self.findings)
        return not (
            self.problems or errors or any(migration.problem for migration in self.migrations)
        )


class TableSize(Document, frozen=True, kw_only=True):
    """How large a table is, by the server's statistics."""

    name: str  # schema.name
    rows: int  # an estimate; -1 where it was never analysed
    size: int  # bytes, with indexes


class Origin(Document, frozen=True, kw_only=True):
    """Who started a deployment, and from where."""

    deployer: str
    host: str
    commit: str | None
    ci_run: str | None  # URL


class Sources(Document, frozen=True, kw_only=True):
    """What a plan is made of beside its migrations. Files are named from deploy.yml's directory."""

    commit: str = ""  # that is checked out; empty: no checkout
    changed: tuple[str, ...] = ()  # on disk, not as the commit has it
    files: tuple[tuple[str, str], ...] = ()  # (name, "sha256:" and 64 hex digits), by name


class About(Document, frozen=True, kw_only=True):
    """What a plan's reader should know, and what does not decide what will happen."""

    made_at: datetime
    origin: Origin
    tables: tuple[TableSize, ...]  # that the migrations touch
    findings: tuple[Finding, ...]
    host: str  # of the database
    backup_to: str  # empty: there are no backups
    models: str = ""  # how the tool's models differ from the database, where it has models
    rehearsal: "Rehearsal | None" = None  # None: this plan was not rehearsed when it was made
    notes: tuple[str, ...] = ()  # of a correction or a rollback: what else to know, a line each


class Loss(Document, frozen=True, kw_only=True):
    """What a rollback does not bring back, or may not, of what stood before the migration."""

    migration: str
    what: str  # for people: "column public.users.name, of 1,500 rows"
    table: str = ""  # "schema.name", where the backup has its rows
    backup: str = ""  # the one from before the migration; empty: there is none
    known: bool = True  # else it is not known whether it is lost


class CorrectionOrder(Document, frozen=True, kw_only=True):
    """What a task beside the deployments would do: stamp, restore, backup.prune and the like."""

    verb: str  # the task's name
    arguments: tuple[tuple[str, str], ...]  # (flag, value) by name; an empty value is a bare flag
    changes: tuple[str, ...]  # computed: everything that it would change, a line each

    def command(self, environment: str) -> str:
        """Return the task as it is typed."""
        flags = (f"--{name}={value}" if value else f"--{name}" for name, value in self.arguments)
        return shlex.join(("invoke", self.verb, "--env", environment, *flags))


class Plan(Document, frozen=True, kw_only=True):
    """Exactly what a deployment would do. Two plans with one digest do the same thing.

    `policy` holds every setting of the environment that decides what happens, as
    (dotted key, JSON value), with variables unexpanded, so that it holds no secret.
    """

    format: Literal[1] = 1
    project: str
    environment: str
    tier: Tier
    direction: Direction
    engine: str
    engine_version: str
    target: Target
    history: tuple[tuple[str, str | None], ...]  # (name, checksum), by name
    schema_fingerprint: str
    partials: tuple[Partial, ...] = ()
    leftovers: tuple[str, ...] = ()
    migrations: tuple[Migration, ...]  # in running order; to be undone where direction is down
    steps: tuple[PlannedStep, ...]
    policy: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...] = ()  # (name, mark of its value), of those in `policy`
    sources: Sources = Sources()
    losses: tuple[Loss, ...] = ()  # of a rollback: what it does not bring back
    schema: tuple[str, ...] = ()  # the lines whose hash is the fingerprint; not in the digest
    about: About | None = None  # not in the digest
    correction: CorrectionOrder | None = None  # what it does instead of a deployment

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical encoding of `deciding`, as 64 hex digits."""
        return hashlib.sha256(self.deciding().canonical()).hexdigest()

    def deciding(self) -> "Plan":
        """Return the part that decides what will happen."""
        return msgspec.structs.replace(self, schema=(), about=None)

    @property
    def rehearsal(self) -> "Rehearsal | None":
        """The rehearsal in `about`; one of another plan counts as none."""
        rehearsal = self.about.rehearsal if self.about is not None else None
        return rehearsal if rehearsal is not None and rehearsal.plan_digest == self.digest else None

    @property
    def command(self) -> str:
        """The task that makes this plan, as it is typed."""
        if self.correction is not None:
            return self.correction.command(self.environment)
        return f"invoke plan --env {self.environment}"

    def has(self, step: StepName) -> bool:
        """Tell whether the step is part of this plan."""
        return any(planned.name is step for planned in self.steps)


class Intent(Document, frozen=True, kw_only=True):
    """What must be true when a unit of work is done, so that any other run can go on with it.

    A unit is a deployment, a migration or a rollback. It may take several runs: one that was
    killed is carried on by the next, which takes the intent over.
    """

    verb: str  # deploy, migrate, rollback
    arguments: tuple[tuple[str, str], ...] = ()  # (flag, value) as typed; empty: a bare flag
    direction: Direction
    migrations: tuple[str, ...]  # all that the unit applies, or undoes, in running order
    steps: tuple[StepName, ...]
    before: tuple[str, ...]  # applied when the unit began
    schema_fingerprint: str  # the schema's when the unit began
    leftovers: tuple[str, ...] = ()  # invalid indexes and the like that stood then
    plan_digest: str  # of the plan that was approved
    approvals: tuple[tuple[str, str], ...] = ()  # the evidence of the step approval
    back: str = ""  # why what it did is taken back; empty: it goes forward
    lost: tuple[str, ...] = ()  # what taking it back does not bring back, decided before
    ended: str = ""  # what took its place; empty: nothing

    def command(self, environment: str) -> str:
        """Return the task as it was typed."""
        words = [word for name, value in self.arguments for word in (f"--{name}", value) if word]
        return shlex.join(("invoke", self.verb, "--env", environment, *words))

    @property
    def nonces(self) -> tuple[str, ...]:
        """The nonces of its approvals; empty where a person typed it at a terminal."""
        return tuple(value for name, value in self.approvals if name == "nonce")


class Approval(Document, frozen=True, kw_only=True):
    """A person's yes to one plan digest, for a while, and for one deployment.

    `nonce` tells it from every other; only one that this run itself asked for needs none.
    """

    plan_digest: str
    approver: str
    source: str
    granted_at: datetime
    expires_at: datetime
    comment: str = ""
    nonce: str = ""
    asked_here: bool = False  # a person gave it to this run alone, which asked
    problem: str = ""  # why it does not count, found where it was read; empty: nothing was


class SpentApproval(Document, frozen=True, kw_only=True):
    """An approval that a deployment has used up, as the store keeps it."""

    nonce: str
    approver: str
    deployment: str
    at: datetime


class ApprovalStatement(Document, frozen=True, kw_only=True):
    """What an approver signs: this plan, in this environment, until then."""

    format: Literal[1] = 1
    environment: str
    plan_digest: str
    nonce: str
    granted_at: datetime
    expires_at: datetime
    comment: str = ""


class Signed(Document, frozen=True, kw_only=True):
    """A statement as it was signed, byte for byte, and its signature, as ssh-keygen writes it."""

    statement: str
    signature: str


DocumentKind = Literal["manifest", "pruned", "proof", "rehearsal", "events"]


class Binding(Document, frozen=True, kw_only=True):
    """What a signature in the store says besides the document: what it is, and whose it is."""

    format: Literal[1] = 1
    kind: DocumentKind
    project: str
    environment: str
    key: str  # where it lies in the store
    at: datetime


class Sealed(Document, frozen=True, kw_only=True):
    """A document in the store and its signature, which is of `binding`, a line end, `document`."""

    binding: str  # a Binding, as JSON on one line
    document: str  # byte for byte as it was signed
    signature: str  # as ssh-keygen writes it

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is of."""
        return f"{self.binding}\n{self.document}".encode()


Holds = Literal["all", "schema", "data", "globals"]
ProofLevel = Literal["checksum", "rows", "restore"]
LEVELS: tuple[ProofLevel, ...] = ("checksum", "rows", "restore")  # from the least to the most


class Traced(Document, frozen=True, kw_only=True):
    """What one statement did to a copy, beyond its words. Relations are "schema.name"."""

    where: str  # file and line
    sql: str  # on one line, its beginning
    seconds: float
    locks: tuple[tuple[str, str], ...]  # (table that was there before, strongest new mode)
    index_locks: tuple[tuple[str, str], ...]  # likewise of indexes
    rewrites: tuple[str, ...]  # tables whose every row was written anew, or emptied
    indexes: tuple[str, ...]  # built, or built anew
    scans: tuple[tuple[str, int], ...]  # (table, rows read by full scans)
    rows_changed: int
    wal: int  # bytes of write-ahead log
    # (table, rows changed or locked, so that their writers wait; of how many, by its statistics)
    rows_locked: tuple[tuple[str, int, int], ...] = ()
    # (table, mode, seconds), of locks that were given back before the statement was over
    passing: tuple[tuple[str, str, float], ...] = ()
    roots: tuple[tuple[str, str], ...] = ()  # (partition that it locked, its partitioned table)
    until_end: float | None = None  # seconds from its beginning to its migration's commit
    scans_seen: bool = True  # outside a transaction no counter shows them
    batches: int = 0  # in which it ran, each as long as `seconds` at most; 0: as one statement


class Rehearsed(Document, frozen=True, kw_only=True):
    """One migration on the copy: applied, undone where it can be, applied again."""

    name: str
    transactional: bool  # else each lock ends with its statement
    seconds: float
    statements: tuple[Traced, ...]
    growth: int  # bytes by which the database grew
    rolled_back: bool  # and the schema was as before
    not_rolled_back: str = ""  # why not
    not_rehearsed: str = ""  # why it could not be run at all: a right that the copy's role lacks
    rollback_seconds: float = 0.0
    lost: tuple[str, ...] = ()  # existed before the migration, and not after its rollback
    more: tuple[str, ...] = ()  # those of `lost` of a table that has more rows: nothing went
    dropped: tuple[str, ...] = ()  # existed after the migration, and not after its rollback
    proven_with: tuple[str, ...] = ()  # others, without whose rollback its own gives nothing back
    together: int = 0  # statements in one transaction before those in batches, which are not in it


Moment = Literal["before", "migrated", "finished", "rolled back"]


class ServiceTrial(Document, frozen=True, kw_only=True):
    """One version of the service on the copy, asked what the smoke tests ask."""

    version: Literal["old", "new"]  # the one that serves now, and the one that would
    name: str  # "commit 1f2e3d4c5b6a", "image shop:7", "serve.sh of this checkout"
    moment: Moment  # nothing ran yet; those before the restart ran; all ran; all were undone
    checks: int = 0  # that held
    ready: float = 0.0  # seconds until it answered right
    slowest: float = 0.0  # seconds of the slowest answer
    not_tried: str = ""  # why it was not


class TableActivity(Document, frozen=True, kw_only=True):
    """How busy a table is on the live server, a minute. Named "schema.name"."""

    relation: str
    traffic: float  # scans, and rows changed
    calls: float | None = None  # of the statements that name it; None: not known
    measured: bool = False  # during the rehearsal; else an average since the counters began
    shared: bool = False  # a statement that names no schema is counted for each of that name


class Rehearsal(Document, frozen=True, kw_only=True):
    """A plan on a copy of the data. Bound to the plan's digest; lies beside the backup."""

    format: Literal[1] = 1
    plan_digest: str
    backup: str
    backup_taken_at: datetime
    server: str
    at: datetime
    backup_seconds: float
    proof_seconds: float  # 0.0 where it was not read back
    restore_seconds: float
    migrations: tuple[Rehearsed, ...]
    leftovers: tuple[str, ...] = ()  # invalid indexes and the like, which were not there before
    service: tuple[ServiceTrial, ...] = ()  # in the order in which they ran
    activity: tuple[TableActivity, ...] = ()  # of the tables that anybody waits for
    not_seen: tuple[str, ...] = ()  # why some of it is not known

    @property
    def seconds(self) -> float:
        """How long the migrations took on the copy."""
        return sum(migration.seconds for migration in self.migrations)


class Part(Document, frozen=True, kw_only=True):
    """One stored object of a backup. Size and hash are of the bytes as they are stored."""

    key: str
    size: int  # bytes
    sha256: str
    holds: Holds = "all"
    every: int = 0  # bytes between two checkpoints; 0: there are none
    checkpoints: tuple[str, ...] = ()  # SHA-256 of the first `every`, twice `every`, … bytes


class Manifest(Document, frozen=True, kw_only=True):
    """A backup exists once this document does; it is written last."""

    format: Literal[1] = 1
    key: str  # <environment>/<database>/<UTC time>-<deployment>/
    environment: str
    database: str
    system_identifier: str
    deployment: str
    taken_at: datetime
    seconds: float
    server_version: int
    client_version: str
    commit: str | None = None
    snapshot_lsn: str = ""  # how far the write-ahead log had come, as the server prints it
    database_size: int = 0  # bytes, as pg_database_size
    encoding: str = ""
    compression: str = ""  # the value of pg_dump's --compress
    encrypted_for: tuple[str, ...] = ()  # age recipients; empty: not encrypted
    extensions: tuple[tuple[str, str], ...] = ()  # (name, version)
    roles: tuple[str, ...] = ()  # that own something in it, or were granted something
    owners: tuple[str, ...] = ()  # those of them that own something; (): not known
    schema_fingerprint: str = ""  # as a plan's; "": not known, of a manifest written before
    toc_entries: int = 0  # of all archives together; 0: not counted, in one archive
    parts: tuple[Part, ...]
    row_counts: tuple[tuple[str, int], ...]  # ("schema.table", rows), exact, in the dump's snapshot
    applied: tuple[str, ...]  # migration names, newest last
    restore_command: str

    @property
    def id(self) -> str:
        """The last element of the key: what `--from` and `backup.verify` take."""
        return self.key.rstrip("/").rsplit("/", 1)[-1]

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical encoding, which the journal keeps; 64 hex digits."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all parts together."""
        return sum(part.size for part in self.parts)

    @property
    def archives(self) -> tuple[Part, ...]:
        """The parts that pg_restore reads."""
        return tuple(part for part in self.parts if part.holds != "globals")


class Proof(Document, frozen=True, kw_only=True):
    """What was proven of a backup, when, and how long it took. Lies beside the manifest."""

    level: ProofLevel
    at: datetime
    seconds: float
    tables: int  # 0 where only the checksum was compared
    rows: int
    server: str = ""  # what it was restored into, where it was


class Pin(Document, frozen=True, kw_only=True):
    """Why a backup is kept whatever the retention says. Lies beside the manifest."""

    reason: str
    by: str
    at: datetime


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNDONE = "undone"


Evidence = tuple[tuple[str, str], ...]


class StepResult(Document, frozen=True, kw_only=True):
    """One line of the journal."""

    step: StepName
    outcome: Outcome
    detail: str
    started_at: datetime
    seconds: float
    evidence: Evidence = ()
    undo: bool = False  # the step's undo ran, not the step

    def get(self, name: str) -> str | None:
        """Return one piece of evidence, such as what served before a restart."""
        return dict(self.evidence).get(name)


class Status(StrEnum):
    """How a deployment ended; derived from its results, never guessed."""

    RUNNING = "running"
    DEPLOYED = "deployed"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    ROLLBACK_FAILED = "rollback failed"
    INTERRUPTED = "interrupted"


class Correction(Document, frozen=True, kw_only=True):
    """One change of the history that no migration made: who, why, from what to what."""

    verb: str  # stamp, unstamp, baseline, repair, restore, backup.prune, backup.keep, identity
    migration: str  # or what else it is of: database, a database's name, a backup's id
    before: str  # a checksum, or "pending", or how far a part of it came
    after: str
    reason: str
    origin: Origin
    at: datetime
    plan_digest: str = ""  # empty: of a version that made no plan
    approvers: tuple[str, ...] = ()  # empty: the environment asks for no approval


class DatabaseIdentity(Document, frozen=True, kw_only=True):
    """What a database says it is: the environment that was deployed to it."""

    project: str
    environment: str
    tier: Tier

    def __str__(self) -> str:
        return f"{self.environment} ({self.tier}) of {self.project}"


class Deployment(Document, frozen=True, kw_only=True):
    """The record of one run of one plan."""

    id: str
    project: str
    environment: str
    direction: Direction
    plan_digest: str
    origin: Origin
    status: Status
    started_at: datetime  # the runner's clock
    recorded_at: datetime | None = None  # the database's clock; None: of a version without events
    finished_at: datetime | None = None
    error: str | None = None
    backup: str | None = None
    migrations: tuple[str, ...] = ()
    break_glass: str | None = None
    continues: str = ""  # the deployment that this one carries on; empty: none
    results: tuple[StepResult, ...] = ()


class Event(Document, frozen=True, kw_only=True):
    """One event of an environment's chain; its hash is over the one before it and its content."""

    number: int  # from 1, without a gap
    at: datetime  # the server's clock
    kind: str
    deployment: str  # or the id of the run that was refused, corrected or restored
    record: dict[str, Any]  # JSON
    previous: str  # the hash of the event before it; empty: it is the first
    hash: str  # SHA-256, 64 hex digits


class StoredEvents(Document, frozen=True, kw_only=True):
    """Consecutive events, as the store mirrors them beside the backups."""

    format: Literal[1] = 1
    database: str
    events: tuple[Event, ...]


class Pause(Document, frozen=True, kw_only=True):
    """That an environment rests: who said so, since when, why, and until when (None: for good)."""

    by: str
    since: datetime
    reason: str
    until: datetime | None = None

    def __str__(self) -> str:
        end = f", until {self.until:%Y-%m-%d %H:%M} UTC" if self.until is not None else ""
        return f"paused by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC{end}: {self.reason}"


class Notice(Document, frozen=True, kw_only=True):
    """What others are told of a deployment, of a task beside the deployments, or of a pause."""

    format: Literal[1] = 1
    event: Literal["started", "waiting", "done", "failed", "paused"]
    text: str  # for people
    project: str
    environment: str
    tier: Tier
    deployment: str  # its id
    plan_digest: str  # empty: of no plan
    direction: Direction
    migrations: tuple[str, ...]
    at: datetime
    by: str
    commit: str  # empty: no checkout
    ci_run: str  # URL; empty: not in CI
    state: str = ""  # of what failed
    next_step: str = ""
    task: str = ""  # deploy, rollback, restore, backup, stamp and the like; empty: of a pause


class PreflightCheck(msgspec.Struct, frozen=True):
    """One thing looked at. `problem` is empty where it is well; else how to fix it."""

    name: str
    found: str
    problem: str = ""
