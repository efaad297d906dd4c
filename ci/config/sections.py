"""The sections of `deploy.yml`: every key, its type and its default. Pure."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ..model import ProofLevel, StepName, Tier
from ..secret import OptionalSecret, Secret
from .address import read_address
from .duration import Duration, _span
from .members import Member, members

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


Json = str | int | float | bool | None | list[Any] | dict[str, Any]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section of `deploy.yml`."""


class MigrationsConfig(Options, frozen=True, kw_only=True):
    """Where the migrations are and what runs them."""

    engine: Literal["sql", "prisma", "alembic"] = "sql"
    directory: str = ""  # empty: migrations, or prisma/migrations; alembic.ini says where it is
    out_of_order: Literal["refuse", "allow"] = "refuse"
    search_path: tuple[str, ...] = ("public",)  # of every migration; env.py has its own
    ini: str = ""  # alembic.ini; where the tool runs
    python: str = ""  # with Alembic; empty: of .venv or venv there, or at deploy.yml, or our own
    url_variable: str = ""  # where env.py looks for the database; empty: DATABASE_URL
    environment: tuple[str, ...] = ()  # names of further variables that the project's Python gets
    several_heads: Literal["refuse", "allow"] = "refuse"
    owners: tuple[str, ...] = ()  # roles besides the deployer whose history tables are believed

    def __post_init__(self) -> None:
        alembic = {name: getattr(self, name) for name in ("ini", "python", "url_variable")}
        if self.engine == "alembic":
            self._check_environment()
            if self.directory:
                raise ValueError("alembic.ini sets the directory; ini names that file")
            usual = {"ini": "alembic.ini", "python": "", "url_variable": "DATABASE_URL"}
            for name, value in alembic.items():
                msgspec.structs.force_setattr(self, name, value or usual[name])
            msgspec.structs.force_setattr(self, "directory", str(Path(self.ini).parent))
            return
        for name, value in alembic.items():
            if value:
                raise ValueError(f"{name} is for engine: alembic; the engine is {self.engine}")
        if self.environment:
            raise ValueError(f"environment is for engine: alembic; the engine is {self.engine}")
        if not self.directory:
            usual_directory = {"sql": "migrations", "prisma": "prisma/migrations"}[self.engine]
            msgspec.structs.force_setattr(self, "directory", usual_directory)

    def _check_environment(self) -> None:
        for name in self.environment:
            if not VARIABLE.fullmatch(name):
                raise ValueError(f'environment: "{name}" is no name of a variable')
            if name == (self.url_variable or "DATABASE_URL"):
                raise ValueError(f"environment: {name} is url_variable, which has no other value")


class KeepConfig(Options, frozen=True, kw_only=True):
    """Which verified backups stay: the newest of so many days, weeks, months; any rule of these."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    days: int = 0  # every one that is younger

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        for name, value in values.items():
            if value < 0:
                raise ValueError(f"{name} is {value}; expected 0 or more")
        if not any(values.values()):
            raise ValueError("keep is empty; expected one of " + ", ".join(values))


class EncryptConfig(Options, frozen=True, kw_only=True):
    """Encrypt every object before it leaves this machine, in the age format."""

    recipients: tuple[str, ...]  # public keys: age1…
    identity: OptionalSecret | None = None  # the private key, to verify and restore

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("recipients is empty; expected at least one public key, age1…")


class ObjectLockConfig(Options, frozen=True, kw_only=True):
    """How long no one may delete a backup; the bucket must have object lock enabled."""

    mode: Literal["governance", "compliance"] = "governance"
    retain: Duration = _span("30d")


class S3Config(Options, frozen=True, kw_only=True):
    """What the store is asked to do with each object; empty: what the bucket says."""

    storage_class: str = ""  # of the archives: STANDARD_IA, GLACIER_IR
    encryption: Literal["", "AES256", "aws:kms"] = ""
    kms_key: str = ""
    tags: dict[str, str] = {}
    object_lock: ObjectLockConfig | None = None

    def __post_init__(self) -> None:
        if self.kms_key and self.encryption != "aws:kms":
            raise ValueError("kms_key needs encryption: aws:kms")


SandboxSetting = Literal["auto", "required", "off"]


SHORTEST_STANDSTILL = 10.0  # seconds: a question to the server takes up to 5


class BackupsConfig(Options, frozen=True, kw_only=True):
    """Where backups go: s3://BUCKET/PREFIX or file:///PATH; how they are taken, and which stay."""

    to: str
    endpoint: str = ""  # of an S3-compatible store; empty: AWS
    s3: S3Config = S3Config()
    jobs: int | None = None  # pg_dump processes at once; None: by the database's size and our cores
    image: str = ""  # container image with the client tools, such as postgres:{major}
    globals: bool = True  # roles and tablespaces beside the dump, without passwords
    encrypt: EncryptConfig | None = None
    keep: KeepConfig | None = None  # None: nothing is ever pruned
    drill: Duration | None = None  # how old the last drill may be; None: what the tier says
    throwaway: Secret | None = None  # server to restore into for a proof; None: one of our own
    sandbox: SandboxSetting = "auto"  # of a server of our own; auto: where the machine has one
    no_progress: Duration = _span("2m")  # of a dump or a restore: no byte moves, no session works

    def __post_init__(self) -> None:
        if self.no_progress.seconds < SHORTEST_STANDSTILL:
            raise ValueError(
                f"no_progress is {self.no_progress}; expected {SHORTEST_STANDSTILL:.0f}s or more"
            )
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs is {self.jobs}; expected 1 or more")
        if self.sandbox == "required" and self.throwaway is not None:
            raise ValueError(
                "sandbox: required is for a server of our own, and throwaway names another"
            )
        if self.s3 != S3Config() and not self.to.startswith("s3://"):
            raise ValueError("s3 is for a store s3://BUCKET/PREFIX")


class SigningConfig(Options, frozen=True, kw_only=True):
    """Sign what is written beside the backups, and take only what verifies."""

    signers: str  # whose signature counts: an allowed-signers file of ssh-keygen's
    key: OptionalSecret | None = None  # the private key, whole; without: nothing is signed here
    key_file: str = ""  # a private key's file, or a public one whose private half an agent holds

    def __post_init__(self) -> None:
        if not self.signers:
            raise ValueError("signers is empty; expected a file, such as .github/backup-signers")
        if self.text and self.key_file:
            raise ValueError("key and key_file are both set; expected one of them")

    @property
    def text(self) -> str:
        """The private key, where it came as text; it goes into a private file and nowhere else."""
        return self.key.reveal().strip() if self.key is not None else ""


LONGEST_BATCH = 60.0  # seconds; the rows of a batch stay locked as long
LONGEST_TIMEOUT = 2**31 / 1000 - 1  # seconds: the server counts milliseconds in 32 bits


class LockConfig(Options, frozen=True, kw_only=True):
    """How long a statement may wait for a table, how long we try again, how long it may run."""

    timeout: tuple[Duration, ...] = msgspec.field(
        default_factory=lambda: tuple(Duration(s) for s in (0.2, 0.5, 1.0, 2.0))
    )
    wait: Duration = _span("5m")
    statement_timeout: Duration = _span("1h")  # of a statement in a transaction
    concurrently: Duration = _span("6h")  # of a CONCURRENTLY statement, which blocks no session

    def __post_init__(self) -> None:
        if not self.timeout:
            raise ValueError("timeout is empty; expected at least one duration, such as [200ms]")
        spans = [rung.seconds for rung in self.timeout]
        if min(spans) <= 0 or spans != sorted(spans):
            raise ValueError("timeout must ascend from above 0, such as [200ms, 500ms, 1s]")
        for name in ("statement_timeout", "concurrently"):
            if not 0 < getattr(self, name).seconds <= LONGEST_TIMEOUT:
                raise ValueError(f"{name} must be above 0, and 24d at most: the server's limit")
        # With both alike the statement's is first, and a wait for a table is not tried again.
        if spans[-1] >= self.statement_timeout.seconds:
            raise ValueError("every timeout must be shorter than statement_timeout")


class BackfillConfig(Options, frozen=True, kw_only=True):
    """How long a batch of a backfill takes, and whom it must not leave behind."""

    batch: Duration = _span("500ms")  # that a batch should take; its rows are locked as long
    replica_lag: Duration = _span("10s")  # of a replica, above which the next batch waits
    wal_backlog: int = 1024  # megabytes that a replica or the archive may lack
    wait: Duration = _span("1h")  # for them, or for who paused it, before the run gives up

    def __post_init__(self) -> None:
        if not 0 < self.batch.seconds <= LONGEST_BATCH:
            raise ValueError("batch must be above 0, and 60s at most: its rows are locked as long")
        if self.wal_backlog < 1:
            raise ValueError("wal_backlog must be 1 or more: megabytes")


class Expect(Options, frozen=True, kw_only=True):
    """What an answer must be. `json` is a subset: it may have other keys too."""

    status: int = 200
    headers: dict[str, str] = {}
    json: Json = None
    within: Duration | None = None


class SmokeCheck(Options, frozen=True, kw_only=True):
    """One request; exactly one of the methods names its path."""

    get: str = ""
    post: str = ""
    put: str = ""
    patch: str = ""
    delete: str = ""
    head: str = ""
    headers: dict[str, Secret] = {}
    bearer: Secret | None = None
    json: Json = None
    expect: Expect = Expect()

    def __post_init__(self) -> None:
        if len(self._methods()) != 1:
            raise ValueError("a check needs exactly one of get, post, put, patch, delete, head")

    def _methods(self) -> list[str]:
        return [m for m in ("get", "post", "put", "patch", "delete", "head") if getattr(self, m)]

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return self._methods()[0].upper()

    @property
    def path(self) -> str:
        """The path, as written."""
        return str(getattr(self, self._methods()[0]))


class OldServiceConfig(Options, frozen=True, kw_only=True):
    """The version that serves now: a commit, an image, or a command; `run` is the new one's."""

    commit: str = ""  # empty, without image and run: the one that was deployed last
    image: str = ""  # of docker; `serving`: that of the container which `restart` names
    run: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.commit and self.image:
            raise ValueError("commit and image are both set; expected one of them")
        if self.image.startswith("-"):
            raise ValueError(f'image: "{self.image}" is no name of an image')


class HotTable(Options, frozen=True, kw_only=True):
    """A table of whose every lock a migration's file must speak, and for how long it may wait."""

    table: str  # with its schema; without: in public
    waits: Duration = _span("2s")  # how long it may be held up, over all tries of a migration

    def __post_init__(self) -> None:
        if not self.table:
            raise ValueError("table is empty; expected a table, such as shop.orders")
        if self.waits.seconds <= 0:
            raise ValueError("waits must be above 0, such as 2s")


class ServiceConfig(Options, frozen=True, kw_only=True):
    """The service on the copy, the version that serves now and the new one, asked the same."""

    run: tuple[str, ...]  # starts it in the foreground; {port} in a word is its port
    variable: str = "DATABASE_URL"  # the only address it gets is the copy's
    port: str = "PORT"  # the variable with the port it shall listen on, of 127.0.0.1
    old: OldServiceConfig = OldServiceConfig()
    checks: tuple[SmokeCheck, ...] = ()  # empty: the environment's, without those with a secret
    deadline: Duration = _span("30s")  # until every check holds, its start included

    def __post_init__(self) -> None:
        if not self.run:
            raise ValueError("run is empty; expected a program and its arguments")
        for name in (self.variable, self.port):
            if not VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable")


class RehearsalConfig(Options, frozen=True, kw_only=True):
    """On what copy a plan is rehearsed, and what it may do to it."""

    backup_age: Duration = _span("24h")  # an older backup is no picture of today: one is taken
    mask: str = ""  # SQL file that runs on the copy straight after the restore
    blocks_at_most: Duration = _span("2s")  # how long a lock may hold an application up
    service: ServiceConfig | None = None  # None: the service is not tried on the copy


class ApprovalBase(Options, frozen=True, kw_only=True):
    """Base of every source of approvals."""

    # Whether GitHub's required reviewers have to be set, where a workflow deploys.
    reviewed: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ()  # the keys that name a file which decides


class TerminalApproval(ApprovalBase, frozen=True, kw_only=True, tag="terminal", tag_field="from"):
    """The approver types the environment's name at a terminal, with the digest on screen."""

    expires: Duration = _span("24h")


class GithubApproval(ApprovalBase, frozen=True, kw_only=True, tag="github", tag_field="from"):
    """A required reviewer of the GitHub environment of the same name approves the run."""

    expires: Duration = _span("24h")
    self_approval: bool = False
    comment: Literal["any", "digest"] = "any"  # digest: its first 12 digits must be in it


class SshApproval(ApprovalBase, frozen=True, kw_only=True, tag="ssh", tag_field="from"):
    """Approvers sign the plan with their own SSH keys; `invoke approve` writes the signature."""

    reviewed: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ("signers", "revoked")
    signers: str  # who may approve: an allowed-signers file of ssh-keygen's, beside deploy.yml
    revoked: str = ""  # keys that count no more: a list of public keys, or a KRL
    required: int = 1  # different approvers
    expires: Duration = _span("24h")
    not_by_author: bool = False  # the commit's author does not count; the deployer never does
    directory: str = ".windlass/approvals"  # where the signatures lie
    branch: str = "windlass-approvals"  # of git's remote origin, where they are pushed

    def __post_init__(self) -> None:
        if self.required < 1:
            raise ValueError(f"required is {self.required}; expected 1 or more")


ApprovalConfig = TerminalApproval | GithubApproval | SshApproval


def approval_of(written: object) -> type[ApprovalBase]:
    """Return the kind of an approval as deploy.yml has it; the base where it names none."""
    source = written.get("from") if isinstance(written, dict) else None
    kinds: tuple[type[ApprovalBase], ...] = get_args(ApprovalConfig)
    return next((kind for kind in kinds if kind.__struct_config__.tag == source), ApprovalBase)


class Restart(Options, frozen=True, kw_only=True):
    """Base of every restart.

    `environment`: the names of variables that its programs get besides those of its kind. Of our
    other variables they see nothing. `lost_at_most`: requests; None: any number.
    """

    files: ClassVar[tuple[str, ...]] = ()  # the keys that name a file which decides
    commands: ClassVar[tuple[str, ...]] = ()  # the keys that hold a command
    printing: ClassVar[tuple[str, ...]] = ()  # those of a command that only prints
    environment: tuple[str, ...] = ()
    lost_at_most: int | None = None

    @property
    def docker_host(self) -> str:
        """The Docker that has the service's images; empty: docker's own choice, or none."""
        return ""

    def __post_init__(self) -> None:
        if self.lost_at_most is not None and self.lost_at_most < 0:
            raise ValueError(f"lost_at_most is {self.lost_at_most}; expected 0 or more")
        for name in self.environment:
            if not VARIABLE.fullmatch(name):
                raise ValueError(
                    f"environment: {name!r} is no variable's name; its value is not written here"
                )


class RollingRestart(Restart, frozen=True, kw_only=True):
    """Base of a restart of one process, or of several members in order, `batch` at a time.

    `smoke` is where each member answers its smoke tests; empty: `smoke.base_url` after each batch.
    """

    noun: ClassVar[str]  # of a part
    host: str = ""
    hosts: tuple[str, ...] = ()
    batch: int = 1
    smoke: str | tuple[str, ...] = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """What is a member of its own on each host; empty: a host is one."""
        raise NotImplementedError

    @property
    def rolls(self) -> bool:
        """Whether it has members that are restarted one after the other."""
        return bool(self.hosts or self.parts)

    @property
    def members(self) -> tuple[Member, ...]:
        """The members in order; none where it does not roll."""
        if not self.rolls:
            return ()
        return members(self.hosts or (self.host,), self.parts, self.smoke, noun=self.noun)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = getattr(self, self.noun)
        if bool(whole) == bool(self.parts):
            how = "both set" if whole else "both missing"
            raise ValueError(f"{self.noun} and {self.noun}s are {how}; expected one of them")
        if self.host.startswith("-"):
            raise ValueError(f'host: "{self.host}" is no name of a host')
        if self.host and self.hosts:
            raise ValueError("host and hosts are both set; expected one of them")
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}; expected 1 or more")
        if not self.rolls and (self.smoke or self.batch > 1):
            raise ValueError(f"smoke and batch are for several members: hosts, or {self.noun}s")
        self.members  # noqa: B018  # raises where they do not fit


class SystemdRestart(RollingRestart, frozen=True, kw_only=True, tag="systemd", tag_field="with"):
    """One unit or several; `user` for the caller's own manager, `host` over ssh."""

    noun: ClassVar[str] = "unit"
    unit: str | tuple[str, ...] = ""  # a list is restarted together
    units: tuple[str, ...] = ()  # each a member, restarted one after the other
    user: bool = False
    settle: Duration = _span("5s")
    within: Duration = _span("120s")

    @property
    def parts(self) -> tuple[str, ...]:
        """The units that are members."""
        return self.units

    @property
    def together(self) -> tuple[str, ...]:
        """The units that are restarted together, also where one was written without a list."""
        return (self.unit,) if isinstance(self.unit, str) else self.unit

    def of(self, member: Member) -> "SystemdRestart":
        """Return the restart of one member alone."""
        unit = member.part or self.unit
        return msgspec.structs.replace(
            self, unit=unit, units=(), host=member.host, hosts=(), batch=1, smoke=""
        )


class DockerRestart(RollingRestart, frozen=True, kw_only=True, tag="docker", tag_field="with"):
    """A container by name, or several; `host` is a DOCKER_HOST, empty: docker's own choice."""

    noun: ClassVar[str] = "container"
    container: str = ""
    containers: tuple[str, ...] = ()  # each a member, restarted one after the other
    settle: Duration = _span("5s")
    within: Duration = _span("120s")

    @property
    def parts(self) -> tuple[str, ...]:
        """The containers that are members."""
        return self.containers

    @property
    def docker_host(self) -> str:
        """The Docker that has the service's images; empty: docker's own choice."""
        return self.host or next(iter(self.hosts), "")

    def of(self, member: Member) -> "DockerRestart":
        """Return the restart of one member alone."""
        container = member.part or self.container
        return msgspec.structs.replace(
            self, container=container, containers=(), host=member.host, hosts=(), batch=1, smoke=""
        )


class ComposeRestart(Restart, frozen=True, kw_only=True, tag="compose", tag_field="with"):
    """A service of a compose file; the plugin or docker-compose, whichever is there."""

    files: ClassVar[tuple[str, ...]] = ("file",)
    service: str
    file: str = "docker-compose.yml"
    project_name: str = ""
    host: str = ""
    settle: Duration = _span("5s")
    within: Duration = _span("120s")

    @property
    def docker_host(self) -> str:
        """The Docker that has the service's images; empty: docker's own choice."""
        return self.host


class KubectlRestart(Restart, frozen=True, kw_only=True, tag="kubectl", tag_field="with"):
    """A Kubernetes Deployment."""

    deployment: str
    namespace: str = "default"
    context: str = ""
    settle: Duration = _span("5s")
    within: Duration = _span("5m")


class CommandRestart(Restart, frozen=True, kw_only=True, tag="command", tag_field="with"):
    """Any program; `identity` prints what must differ after a restart (a pid, a start time)."""

    commands: ClassVar[tuple[str, ...]] = ("run",)
    printing: ClassVar[tuple[str, ...]] = ("identity",)
    run: tuple[str, ...]
    identity: tuple[str, ...]
    settle: Duration = _span("5s")
    within: Duration = _span("120s")


class SupervisorRestart(Restart, frozen=True, kw_only=True, tag="supervisor", tag_field="with"):
    """A program under supervisor, as `supervisorctl` takes it: `api`, or a whole group, `api:*`."""

    files: ClassVar[tuple[str, ...]] = ("config",)
    program: str
    config: str = ""  # supervisord's file; empty: where supervisorctl itself looks
    settle: Duration = _span("5s")
    within: Duration = _span("120s")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.program.strip():
            raise ValueError("program is empty; expected a name, such as api or api:*")


RestartConfig = (
    SystemdRestart
    | DockerRestart
    | ComposeRestart
    | KubectlRestart
    | CommandRestart
    | SupervisorRestart
)


class SmokeConfig(Options, frozen=True, kw_only=True):
    """Requests that the service must answer after a restart."""

    base_url: str
    checks: tuple[SmokeCheck, ...]
    deadline: Duration = _span("60s")  # for all checks, the service's start included
    successes: int = 3  # in a row, of every check: one lucky answer says little
    pause: Duration = _span("500ms")  # between two tries

    def __post_init__(self) -> None:
        if not self.checks:
            raise ValueError("checks is empty; expected at least one, such as {get: /health}")
        if self.successes < 1:
            raise ValueError("successes must be at least 1")


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
CLOCK = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun) )?([01]\d|2[0-3]):([0-5]\d)")


class FreezeWindow(Options, frozen=True, kw_only=True):
    """When nothing is deployed: between two moments, or every week.

    Two dates (`2026-12-20` or `2026-12-20T16:00`) are one window. Two times of day (`16:00`) begin
    a window on each of `weekdays`, every day without any; `until` may name a day: `mon 08:00`.
    """

    begins: str = msgspec.field(name="from")
    until: str
    weekdays: tuple[Weekday, ...] = ()
    timezone: str = "UTC"
    reason: str = ""

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f'timezone: this machine knows no "{self.timezone}"') from None
        if self.weekly:
            begins = CLOCK.fullmatch(self.begins)
            if begins is None or begins[1] or CLOCK.fullmatch(self.until) is None:
                raise ValueError(
                    'from and until of a weekly window are times such as "16:00"; until may name '
                    'its day: "mon 08:00"'
                )
            return
        if self.moment(self.begins) >= self.moment(self.until):
            raise ValueError("until must be later than from")

    @property
    def weekly(self) -> bool:
        """Whether it comes again every week."""
        return bool(self.weekdays or CLOCK.fullmatch(self.begins))

    def moment(self, text: str) -> datetime:
        """Return a date, or a date and time, in the window's zone; ValueError where it is none."""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f'"{text}" is no date; expected one such as 2026-12-20 or 2026-12-20T16:00'
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(self.timezone))


NoticeOn = Literal["started", "waiting", "done", "failed", "paused"]


class NoticeConfig(Options, frozen=True, kw_only=True):
    """Who is told by HTTP what becomes of a deployment. The URL is a secret: it lets anybody post.

    `secret` signs the plain JSON; Slack takes no signature.
    """

    url: OptionalSecret  # empty: nobody is told, such as in a job that is not given it
    format: Literal["json", "slack"] = "json"
    on: tuple[NoticeOn, ...] = get_args(NoticeOn)
    secret: OptionalSecret | None = None
    within: Duration = _span("5s")

    def __post_init__(self) -> None:
        if self.url.reveal() and not self.url.reveal().startswith(("https://", "http://")):
            raise ValueError("url is no http:// or https:// address")


StepSetting = Literal["required", "optional", "off"]


class Environment(Options, frozen=True, kw_only=True):
    """One environment, with variables expanded and defaults filled in."""

    tier: Tier
    database: Secret  # a libpq URL, or `embedded`
    addresses: tuple[str, ...] = ()  # names of one server, HOST:PORT/DATABASE; empty: any, as it is
    restart: RestartConfig | None = None
    smoke: SmokeConfig | None = None
    approval: ApprovalConfig | None = None
    signing: SigningConfig | None = None  # None: what lies in the store is taken as it is
    lock: LockConfig = msgspec.field(default_factory=LockConfig)
    backfill: BackfillConfig = msgspec.field(default_factory=BackfillConfig)
    proof: ProofLevel | None = None  # of a deployment's backup; None: what the tier insists on
    on_failure: Literal["stop", "rollback", "rollback-even-if-lossy"] | None = None  # tier's
    steps: dict[StepName, StepSetting] = {}  # stricter than the tier; laxer is refused
    freeze: tuple[FreezeWindow, ...] = ()
    notices: tuple[NoticeConfig, ...] = ()
    restore_to: tuple[str, ...] = ()  # HOST or HOST:PORT; other servers that a restore may go to

    def __post_init__(self) -> None:
        for address in self.restore_to:
            read_address(address)


class Shared(Options, frozen=True, kw_only=True):
    """What all environments have in common."""

    project: str
    migrations: MigrationsConfig = MigrationsConfig()
    backups: BackupsConfig | None = None
    rehearsal: RehearsalConfig = msgspec.field(default_factory=RehearsalConfig)
    hot_tables: tuple[HotTable, ...] = ()


class DeployFile(Options, frozen=True, kw_only=True):
    """The whole of `deploy.yml`, as its JSON Schema describes it."""

    project: str
    environments: dict[str, Environment]
    migrations: MigrationsConfig = MigrationsConfig()
    backups: BackupsConfig | None = None
    rehearsal: RehearsalConfig = msgspec.field(default_factory=RehearsalConfig)
    hot_tables: tuple[HotTable, ...] = ()
