"""Carries a schema change, and the service that uses it, from a push to production.

`import pgwindlass` imports nothing else: each name is imported when it is first used. docs/api.md
shows them at work.
"""

from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .api import (
        deploy,
        grants,
        lift_pause,
        load,
        make_plan,
        open_environment,
        pause,
        restore,
        resume,
        rollback,
        run_backfills,
        status,
        take_backup,
        verify_history,
    )
    from .backfill.progress import BackfillState
    from .backup.retention import Backup
    from .config import Config, Settings
    from .deployment.chains import ChainReport
    from .deployment.proposals import PlanReport
    from .deployment.restores import RestoreReport
    from .deployment.rights import GrantsReport
    from .deployment.status import StatusReport
    from .deployment.work import Reporter, Work
    from .errors import (
        ConfigError,
        Interrupted,
        LockHeld,
        LockTimeout,
        NotApproved,
        PlanChanged,
        Refused,
        RolledBack,
        StepFailed,
        Unreachable,
        WindlassError,
    )
    from .model import Deployment, Pause, Plan
    from .report.silent import Silent

__all__ = [
    "BackfillState",
    "Backup",
    "ChainReport",
    "Config",
    "ConfigError",
    "Deployment",
    "GrantsReport",
    "Interrupted",
    "LockHeld",
    "LockTimeout",
    "NotApproved",
    "Pause",
    "Plan",
    "PlanChanged",
    "PlanReport",
    "Refused",
    "Reporter",
    "RestoreReport",
    "RolledBack",
    "Settings",
    "Silent",
    "StatusReport",
    "StepFailed",
    "Unreachable",
    "WindlassError",
    "Work",
    "__version__",
    "deploy",
    "grants",
    "lift_pause",
    "load",
    "make_plan",
    "open_environment",
    "pause",
    "restore",
    "resume",
    "rollback",
    "run_backfills",
    "status",
    "take_backup",
    "verify_history",
]

_MODULES = {
    "BackfillState": "backfill.progress",
    "Backup": "backup.retention",
    "ChainReport": "deployment.chains",
    "Config": "config",
    "Deployment": "model",
    "GrantsReport": "deployment.rights",
    "Pause": "model",
    "Plan": "model",
    "PlanReport": "deployment.proposals",
    "Reporter": "deployment.work",
    "RestoreReport": "deployment.restores",
    "Settings": "config",
    "Silent": "report.silent",
    "StatusReport": "deployment.status",
    "Work": "deployment.work",
}

if not TYPE_CHECKING:  # a type checker takes no name here that is not in the block above

    def __getattr__(name: str) -> object:
        """Import a public name: PEP 562."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = _MODULES.get(name, "api" if name[0].islower() else "errors")
        value = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names, imported or not."""
        return sorted({*globals(), *__all__})
