"""Which steps an environment runs, and what each tier insists on. Reading this is the policy."""

from collections.abc import Set
from datetime import timedelta
from enum import StrEnum

from .config import Settings
from .config.convert import VARIABLE
from .config.sections import StepSetting
from .errors import ConfigError, Laxer
from .model import LEVELS, Direction, PlannedStep, ProofLevel, StepName, Tier


class Level(StrEnum):
    """How much a tier insists on a step, from the least to the most."""

    NONE = "-"  # not run, unless the environment asks for it
    OPTIONAL = "optional"  # run where deploy.yml has what it needs; may be switched off
    DEFAULT = "default"  # run; may be switched off; may find that it cannot, and say so
    REQUIRED = "required"  # run; a skip for something missing is a failure


NONE, OPTIONAL, DEFAULT, REQUIRED = Level

TIERS: tuple[Tier, ...] = ("development", "acceptance", "production")

# The order of the rows is the order of a deployment.
TABLE: dict[StepName, tuple[Level, Level, Level]] = {
    #                        development  acceptance  production
    StepName.PREFLIGHT: (REQUIRED, REQUIRED, REQUIRED),
    StepName.LINT: (REQUIRED, REQUIRED, REQUIRED),
    StepName.REHEARSAL: (NONE, NONE, DEFAULT),
    StepName.APPROVAL: (NONE, NONE, REQUIRED),
    StepName.LOCK: (REQUIRED, REQUIRED, REQUIRED),
    StepName.BACKUP: (NONE, REQUIRED, REQUIRED),
    StepName.PROOF: (NONE, REQUIRED, REQUIRED),
    StepName.MIGRATE: (REQUIRED, REQUIRED, REQUIRED),
    StepName.RESTART: (OPTIONAL, OPTIONAL, REQUIRED),
    StepName.SMOKE: (OPTIONAL, OPTIONAL, REQUIRED),
    StepName.MIGRATE_AFTER: (REQUIRED, REQUIRED, REQUIRED),
    StepName.VERIFY: (REQUIRED, REQUIRED, REQUIRED),
}

# Lint findings of level "error" end the deployment, or are only shown.
LINT_STOPS: dict[Tier, bool] = {"development": False, "acceptance": True, "production": True}

# A statement whose work its text does not show must have been rehearsed.
UNKNOWN_STOPS: dict[Tier, bool] = {"development": False, "acceptance": False, "production": True}

# What is proven of a backup before the first statement runs, at the least.
PROOF: dict[Tier, ProofLevel] = {
    "development": "checksum",
    "acceptance": "checksum",
    "production": "rows",
}

# Whether manifests, proofs and rehearsals in the store must be signed, and unsigned ones count not.
SIGNED: dict[Tier, bool] = {"development": False, "acceptance": False, "production": True}

# How old the last drill may be before `status` and `doctor` warn; weekly, and a day to spare.
DRILL_DAYS: dict[Tier, int | None] = {"development": None, "acceptance": None, "production": 8}

# What happens when a step fails: stop, or roll back what loses nothing of before, else stop and say
# what to do. `rollback-even-if-lossy` is an environment's own choice, of values in the backup.
ON_FAILURE: dict[Tier, str] = {
    "development": "stop",
    "acceptance": "stop",
    "production": "rollback",
}

# A migration without a rollback script is refused.
ROLLBACK_ASKED_FOR: dict[Tier, bool] = {
    "development": False,
    "acceptance": True,
    "production": True,
}

# What `--break-glass` may leave out; never the backup.
BREAK_GLASS = frozenset({StepName.APPROVAL, StepName.REHEARSAL})

# What `migrate` leaves out: it changes the database alone.
SERVICE = frozenset({StepName.RESTART, StepName.SMOKE})

MAY_BE_LEFT_OUT = BREAK_GLASS | SERVICE

# A rollback undoes everything in the step migrate, and its scripts were rehearsed on the way up.
NOT_DOWNWARDS = frozenset({StepName.LINT, StepName.REHEARSAL, StepName.MIGRATE_AFTER})

# The section of deploy.yml that a step needs before it can run at all.
NEEDS: dict[StepName, str] = {
    StepName.APPROVAL: "approval",
    StepName.BACKUP: "backups",
    StepName.REHEARSAL: "backups",
    StepName.RESTART: "restart",
    StepName.SMOKE: "smoke",
}

# What a task beside the deployments needs of them, such as stamp or restore.
CORRECTION = frozenset({StepName.APPROVAL, StepName.LOCK})

_ASKED: dict[StepSetting, Level] = {"off": NONE, "optional": OPTIONAL, "required": REQUIRED}


def steps_for(
    settings: Settings,
    direction: Direction = "up",
    *,
    without: frozenset[StepName] = frozenset(),
) -> tuple[PlannedStep, ...]:
    """Return the steps of an environment, in order.

    `without` is what the caller leaves out: BREAK_GLASS, or the service for `migrate`. The lock,
    the backup and its proof cannot be left out.

    Raises:
        Laxer: the environment asks for less than its tier insists on.
        ConfigError: a step is required and `deploy.yml` lacks the section it needs.

    """
    proof(settings)
    require_written(settings)
    left_out = (without & MAY_BE_LEFT_OUT) | (NOT_DOWNWARDS if direction == "down" else set())
    return _planned(settings, left_out)


def steps_for_correction(settings: Settings) -> tuple[PlannedStep, ...]:
    """Return the steps of a task beside the deployments: the environment's approval, the lock.

    Raises:
        Laxer: the environment asks for less than its tier insists on.
        ConfigError: an approval is required and `deploy.yml` names no source of them.

    """
    return _planned(settings, frozenset(StepName) - CORRECTION)


def _planned(settings: Settings, left_out: Set[StepName]) -> tuple[PlannedStep, ...]:
    planned = []
    for name, row in TABLE.items():
        level = _level(settings, name, row[TIERS.index(settings.tier)])
        if level is NONE or name in left_out:
            continue
        if not _configured(settings, name):
            if level is OPTIONAL:
                continue
            raise _missing_section(settings, name)
        planned.append(PlannedStep(name=name, required=level is REQUIRED))
    require_signing(settings)
    return tuple(planned)


def require_signing(settings: Settings) -> None:
    """Raise where the tier takes signed backups alone, and the environment says no signers.

    Raises:
        ConfigError: the section signing is missing.

    """
    if not SIGNED[settings.tier] or settings.environment.signing is not None:
        return
    raise ConfigError(
        f"environments.{settings.name}.signing: missing; the {settings.tier} tier takes signed "
        "backups alone, because whoever can write the store could replace one",
        place=settings.where(),
        next_step=f"ssh-keygen -t ed25519 -N '' -C {settings.name} -f backup-key; write "
        '"signing: {signers: .github/backup-signers, key: ${BACKUP_SIGNING_KEY:-}}" there, the '
        f'line "{settings.name} ssh-ed25519 AAAA…" (of backup-key.pub) into that file, and export '
        "the text of backup-key as BACKUP_SIGNING_KEY",
    )


# How much of a second person an approval takes.
SOURCES: dict[str, int] = {"terminal": 0, "github": 1, "ssh": 1}


def require_written(settings: Settings) -> None:
    """Raise `Laxer` where a variable, which nobody reviews, decides who has to say yes.

    A variable may choose `approval.from`, if not weaker than its default; without a default it
    may not be the terminal.
    """
    written = settings.written["environment"]
    if _is_variable(written.get("tier")):
        raise _chosen_by_variable(settings, ("tier",), "the tier decides what is insisted on")
    approval = written.get("approval")
    if settings.tier == "development" or not isinstance(approval, dict):
        return
    for key, value in approval.items():
        if key != "from" and _is_variable(value):
            raise _chosen_by_variable(settings, ("approval", key), "it decides whose yes counts")
    source = str(approval.get("from", ""))
    if not _is_variable(source):
        return
    least = VARIABLE.sub(lambda match: match[2] or "", source)
    approval_config = settings.environment.approval
    chosen = str(approval_config.__struct_config__.tag) if approval_config else ""
    if SOURCES.get(chosen, 0) < SOURCES.get(least, 1):
        raise Laxer(
            f'environments.{settings.name}.approval.from: "{chosen}", by a variable, is laxer '
            f'than "{least or "github or ssh"}", which deploy.yml asks for without it',
            place=settings.where("approval", "from"),
            next_step=f"unset the variable in {source}; or have a commit write from: {chosen}",
        )


def _is_variable(value: object) -> bool:
    return isinstance(value, str) and VARIABLE.search(value) is not None


def _chosen_by_variable(settings: Settings, path: tuple[str, ...], why: str) -> Laxer:
    return Laxer(
        f"environments.{settings.name}.{'.'.join(path)}: a variable may not set it: {why}",
        place=settings.where(*path),
        next_step="write the value itself, so that a commit changes it",
    )


def rehearses(settings: Settings) -> bool:
    """Tell whether the environment rehearses its deployments."""
    return any(step.name is StepName.REHEARSAL for step in steps_for(settings))


def on_failure(settings: Settings) -> str:
    """Return "stop", "rollback" or "rollback-even-if-lossy".

    Raises:
        Laxer: the tier rolls back and the environment wants to stop.

    """
    asked, tier = settings.environment.on_failure, ON_FAILURE[settings.tier]
    if asked == "stop" and tier == "rollback":
        raise Laxer(
            f'environments.{settings.name}.on_failure: "stop" is laxer than the {settings.tier} '
            "tier, which rolls back",
            place=settings.where("on_failure"),
            next_step="remove the key, or write on_failure: rollback",
        )
    return asked or tier


def proof(settings: Settings) -> ProofLevel:
    """Return what must be proven of a deployment's backup.

    Raises:
        Laxer: the environment asks for less than its tier insists on.

    """
    asked, tier = settings.environment.proof, PROOF[settings.tier]
    if asked is not None and LEVELS.index(asked) < LEVELS.index(tier):
        raise Laxer(
            f'environments.{settings.name}.proof: "{asked}" is laxer than the {settings.tier} '
            f'tier, which asks for "{tier}"',
            place=settings.where("proof"),
            next_step="remove the key; an environment may be stricter than its tier, never laxer",
        )
    return asked or tier


def drill_age(settings: Settings) -> timedelta | None:
    """Return how old the last drill may be; None: none is asked for."""
    backups, days = settings.shared.backups, DRILL_DAYS[settings.tier]
    if backups is None:
        return None
    if backups.drill is not None:
        return timedelta(seconds=backups.drill.seconds)
    return timedelta(days=days) if days else None


def _level(settings: Settings, name: StepName, tier: Level) -> Level:
    setting = settings.environment.steps.get(name)
    if setting is None:
        return tier
    asked = _ASKED[setting]
    if tier is REQUIRED and asked is not REQUIRED:
        raise Laxer(
            f'environments.{settings.name}.steps.{name}: "{setting}" is laxer than the '
            f"{settings.tier} tier, which requires it",
            place=settings.where("steps", name),
            next_step="remove the key; an environment may be stricter than its tier, never laxer",
        )
    return asked


def _configured(settings: Settings, name: StepName) -> bool:
    section = NEEDS.get(name)
    if section == "backups":
        return settings.shared.backups is not None
    return section is None or getattr(settings.environment, section) is not None


def _missing_section(settings: Settings, name: StepName) -> ConfigError:
    section = NEEDS[name]
    above = "" if section == "backups" else f"environments.{settings.name}."
    return ConfigError(
        f"{above}{section}: missing; the step {name} is required in the {settings.tier} tier",
        place=settings.where(),
        next_step=f"write a {section} section; docs/configuration.md shows one of each kind",
    )
