"""The world of one environment, opened: what every step is given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from .. import policy
from ..approvals import ApprovalSource, open_approvals
from ..backup.signed import SignedStore
from ..backup.stream import Progress
from ..config import Settings
from ..config.sections import BackupsConfig
from ..database.connection import Database
from ..database.patience import Patience
from ..database.retry import Terms
from ..engines import Engine, open_engine
from ..errors import UNCHANGED, StepFailed
from ..model import Finding, StepName, StepResult
from ..postgres import embedded
from ..rehearsal import hot
from ..restarters import Restarter, open_restarter
from ..secret import Secret
from ..signing import Seal
from ..stores import Store, open_store
from .probing import Watch


class Reporter(Protocol):
    """Is told what happens while it happens."""

    def started(self, step: StepName, *, undo: bool = False) -> None:
        """A step begins."""
        ...

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Part of the running step is done; `total` is None where it is not known."""
        ...

    def item(self, step: StepName, what: str, detail: str, seconds: float) -> None:
        """One of several things of the running step is done."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know now."""
        ...

    def found(self, finding: Finding) -> None:
        """Lint found something in a migration."""
        ...

    def alarm(self, text: str) -> None:
        """Something that must not be overlooked: policy was set aside."""
        ...

    def finished(self, result: StepResult) -> None:
        """A step ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The world of one environment, opened. The plan says what to do with it."""

    settings: Settings
    deployment_id: str
    database: Database
    engine: Engine
    store: Store | None
    restarter: Restarter | None
    approvals: ApprovalSource | None
    reporter: Reporter
    guard: Callable[[], None] = lambda: None  # raises where the deployment lock is lost
    show_queries: bool = False
    approved: bool = False  # the gate let the plan through, and under the lock it is unchanged
    held: bool = False  # the deployment lock is ours
    chain: tuple[str, ...] = ()  # the runs of this unit of work before this one
    intended: str = ""  # the digest of the plan that the unit is of
    goes_back: bool = False  # the unit is taken back
    # What is applied as far as this run knows: a server that lacks one of it has lost something.
    standing: set[str] = field(default_factory=set, compare=False)
    watch: Watch = field(default_factory=Watch, compare=False)

    def terms(self) -> Terms:
        """Return on what terms a migration runs here."""
        return Terms(
            lock=self.settings.environment.lock,
            note=self.reporter.note,
            progress=self.reporter.progress,
            guard=self.guard,
            show_queries=self.show_queries,
            hot=hot.budgets(self.settings.shared.hot_tables),
            approved=self.approved,
            backfill=self.settings.environment.backfill,
        )


@contextmanager
def open_work(
    settings: Settings, *, deployment_id: str, reporter: Reporter, show_queries: bool = False
) -> Iterator[Work]:
    """Open every driver the environment names. The one place that builds the world.

    The embedded database runs as long as the block.
    """
    environment, shared = settings.environment, settings.shared

    def work(database: Database) -> Work:
        approval, restart = environment.approval, environment.restart
        return Work(
            settings=settings,
            deployment_id=deployment_id,
            database=database,
            engine=open_engine(
                shared.migrations,
                settings.root,
                server=shared.backups.throwaway if shared.backups else None,
            ),
            store=_store(settings, shared.backups, reporter) if shared.backups else None,
            restarter=open_restarter(restart) if restart else None,
            approvals=open_approvals(
                approval, environment=settings.name, root=settings.root, note=reporter.note
            )
            if approval
            else None,
            reporter=reporter,
            show_queries=show_queries,
        )

    def target(url: Secret) -> Database:
        return Database(
            url=url,
            deployment_id=deployment_id,
            owners=shared.migrations.owners,
            patience=Patience(wait=environment.lock.wait, note=reporter.note),
        )

    if environment.database.reveal() == "embedded":
        directory = settings.root / ".windlass" / "embedded" / settings.name
        with (
            embedded.running(directory) as url,
            target(url).keep_session() as database,
        ):
            yield work(database)
    else:
        url = environment.database
        with target(url).keep_session() as database:
            yield work(database)


def _store(settings: Settings, config: BackupsConfig, reporter: Reporter) -> Store:
    """Return the store; where the environment signs, one that judges what it reads."""
    store, signing = open_store(config), settings.environment.signing
    if signing is None:
        return store
    seal = Seal(
        signing, project=settings.shared.project, environment=settings.name, root=settings.root
    )
    return SignedStore(store, seal, reporter.alarm)


def store_of(work: Work) -> tuple[Store, BackupsConfig]:
    """Return the store and its section of deploy.yml; StepFailed where there is none.

    ConfigError where the tier takes signed backups alone, and no section says by whom.
    """
    policy.require_signing(work.settings)
    config = work.settings.shared.backups
    if work.store is None or config is None:
        raise StepFailed(
            "deploy.yml has no backups section",
            state=UNCHANGED,
            next_step="write backups: {to: s3://BUCKET/PREFIX}",
        )
    return work.store, config


def bytes_of(reporter: Reporter) -> Progress:
    """Return the progress of a stream of bytes."""
    return lambda done, total: reporter.progress(done, total, "bytes")
