"""Documents as the unit tests need them: each with every required field, and what a test names."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pgwindlass.backup.retention import Backup
from pgwindlass.config import Config, Settings
from pgwindlass.config.yamlfile import YamlFile
from pgwindlass.lint.rule import Remark
from pgwindlass.model import (
    About,
    Applied,
    Approval,
    Checked,
    CorrectionOrder,
    Deployment,
    Facts,
    Finding,
    Manifest,
    Migration,
    Origin,
    Outcome,
    Part,
    Plan,
    PlannedStep,
    Proof,
    Rehearsal,
    Rehearsed,
    Status,
    StepName,
    StepResult,
    TableSize,
    Target,
    Traced,
)

NOW = datetime(2026, 11, 20, 12, 30, 15, tzinfo=UTC)
A = "20260801_000000_create_orders"
B = "20260802_000000_add_total"
C = "20260803_000000_drop_note"
TARGET = Target(system_identifier="7301", database="shop", server_version=160014)
ORIGIN = Origin(deployer="ann", host="ci-7", commit="c0ffee" + "0" * 34, ci_run=None)

# Every section that a tier may ask for.
WHOLE: dict[str, Any] = {
    "database": "embedded",
    "restart": {"with": "docker", "container": "api"},
    "smoke": {"base_url": "http://api", "checks": [{"get": "/health"}]},
    "approval": {"from": "terminal"},
    "signing": {"signers": "backup-signers"},
}
TIERS = {"dev": "development", "uat": "acceptance", "production": "production"}


def settings(
    name: str = "uat",
    *,
    shared: dict[str, Any] | None = None,
    lines: dict[tuple[str | int, ...], int] | None = None,
    variables: dict[str, str] | None = None,
    **own: Any,
) -> Settings:
    """Return an environment of deploy.yml with every section; None takes a key out.

    `lines` gives the lines of its keys, ("steps", "lock"): 7; all others are in line 1.
    """
    environment = {"tier": TIERS[name]} | WHOLE | own
    top = {"project": "shop", "backups": {"to": "file:///backups"}} | (shared or {})
    data = _given(top) | {"environments": {name: _given(environment)}}
    places = {("environments", name, *path): line for path, line in (lines or {}).items()}
    file = YamlFile(Path("/srv/shop/deploy.yml"), data, places)
    return Config(file).environment(name, variables or {})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def migration(name: str = A, sql: str = "select 1;", **more: Any) -> Migration:
    """Return a migration; its checksum says its text."""
    given: dict[str, Any] = {
        "name": name,
        "sql": sql,
        "checksum": f"sha256:{sql}",
        "rollback": "select 0;",
    }
    return Migration(**(given | more))


def applied(name: str = A, sql: str = "select 1;", at: datetime | None = NOW) -> Applied:
    """Return the row of a migration that ran with this text."""
    return Applied(name=name, checksum=f"sha256:{sql}", applied_at=at)


def facts(**more: Any) -> Facts:
    """Return what is known of an empty database."""
    given: dict[str, Any] = {"target": TARGET, "history": (), "schema_fingerprint": "f1"}
    return Facts(**(given | more))


def steps(*names: str) -> tuple[PlannedStep, ...]:
    """Return planned steps, all of them required."""
    return tuple(PlannedStep(name=StepName(name), required=True) for name in names)


def plan(**more: Any) -> Plan:
    """Return a plan of one migration in UAT."""
    given: dict[str, Any] = {
        "project": "shop",
        "environment": "uat",
        "tier": "acceptance",
        "direction": "up",
        "engine": "sql",
        "engine_version": "1",
        "target": TARGET,
        "history": (),
        "schema_fingerprint": "f1",
        "migrations": (migration(),),
        "steps": steps("lock", "migrate"),
        "policy": (),
    }
    return Plan(**(given | more))


def correction(*changes: str, **more: Any) -> CorrectionOrder:
    """Return what a stamp would do, with some fields of another value."""
    return CorrectionOrder(
        **{
            "verb": "stamp",
            "arguments": (("name", "a"), ("reason", "by hand")),
            "changes": changes or ("record a: pending → sha256:1",),
        }
        | more
    )


def approval(of: Plan, **more: Any) -> Approval:
    """Return ann's approval of a plan, given now and good until 13:30:15."""
    given: dict[str, Any] = {
        "plan_digest": of.digest,
        "approver": "ann",
        "source": "ssh",
        "granted_at": NOW,
        "expires_at": NOW.replace(hour=13),
        "nonce": "n1",
    }
    return Approval(**(given | more))


def finding(**more: Any) -> Finding:
    """Return a warning of lint about a statement that rewrites table t."""
    given: dict[str, Any] = {
        "level": "warning",
        "rule": "add-serial",
        "file": "migrations/a.sql",
        "line": 3,
        "message": "writes",
        "statement": 2,
        "table": "t",
        "does": "rewrite",
    }
    return Finding(**(given | more))


def traced(**more: Any) -> Traced:
    """Return a statement that took one second and did nothing."""
    given: dict[str, Any] = {
        "where": "migrations/a.sql:2",
        "sql": "select 1",
        "seconds": 1.0,
        "locks": (),
        "index_locks": (),
        "rewrites": (),
        "indexes": (),
        "scans": (),
        "rows_changed": 0,
        "wal": 0,
    }
    return Traced(**(given | more))


def rehearsed(*statements: Traced, **more: Any) -> Rehearsed:
    """Return a migration of these statements, in a transaction, with nothing between them."""
    given: dict[str, Any] = {
        "name": A,
        "transactional": True,
        "seconds": sum(statement.seconds for statement in statements),
        "statements": statements,
        "growth": 0,
        "rolled_back": True,
        "rollback_seconds": 0.25,
    }
    return Rehearsed(**(given | more))


def rehearsal(*migrations: Rehearsed, **more: Any) -> Rehearsal:
    """Return a rehearsal whose backup took 10 s, its proof 4 s and its restore 20 s."""
    given: dict[str, Any] = {
        "plan_digest": "0123456789abcdef" * 4,
        "backup": "20261120T113000Z-d1",
        "backup_taken_at": NOW.replace(hour=11),
        "server": "PostgreSQL 16.14, embedded",
        "at": NOW,
        "backup_seconds": 10.0,
        "proof_seconds": 4.0,
        "restore_seconds": 20.0,
        "migrations": migrations,
    }
    return Rehearsal(**(given | more))


def about(**more: Any) -> About:
    """Return what a reader should know of a plan: nothing but who made it, when, for what host."""
    given: dict[str, Any] = {
        "made_at": NOW,
        "origin": ORIGIN,
        "tables": (),
        "findings": (),
        "host": "db.example.com",
        "backup_to": "",
    }
    return About(**(given | more))


def table_size(name: str = "public.t", rows: int = 7, size: int = 2_500_000) -> TableSize:
    """Return the size of a table."""
    return TableSize(name=name, rows=rows, size=size)


def result(step: str = "migrate", outcome: str = "ok", **more: Any) -> StepResult:
    """Return the line of a step that took 1.25 s."""
    given: dict[str, Any] = {
        "step": StepName(step),
        "outcome": Outcome(outcome),
        "detail": "2 migrations",
        "started_at": NOW,
        "seconds": 1.25,
    }
    return StepResult(**(given | more))


def deployment(status: str = "deployed", **more: Any) -> Deployment:
    """Return the record of a deployment that took 12 s."""
    given: dict[str, Any] = {
        "id": "01DEPLOY",
        "project": "shop",
        "environment": "uat",
        "direction": "up",
        "plan_digest": "d" * 64,
        "origin": ORIGIN,
        "status": Status(status),
        "started_at": NOW,
        "finished_at": NOW.replace(second=27),
        "migrations": (A, B),
    }
    return Deployment(**(given | more))


def proof(level: str = "rows", **more: Any) -> Proof:
    """Return what was proven of a backup of two tables in 3 s."""
    given: dict[str, Any] = {"level": level, "at": NOW, "seconds": 3.0, "tables": 2, "rows": 1500}
    return Proof(**(given | more))


def manifest(**more: Any) -> Manifest:
    """Return the manifest of a backup of two tables in one archive."""
    given: dict[str, Any] = {
        "key": "uat/shop/20261120T113000Z-d1/",
        "environment": "uat",
        "database": "shop",
        "system_identifier": "7301",
        "deployment": "d1",
        "taken_at": NOW.replace(hour=11),
        "seconds": 2.5,
        "server_version": 160014,
        "client_version": "16.14",
        "parts": (Part(key="dump.pgc", size=1_234_567, sha256="0" * 64),),
        "row_counts": (("public.orders", 1000), ("public.users", 500)),
        "applied": (A,),
        "restore_command": "pg_restore",
    }
    return Manifest(**(given | more))


def backup(*proofs: Proof, **more: Any) -> Backup:
    """Return a backup with these proofs."""
    return Backup(manifest=manifest(**more), proofs=proofs)


def checked(**more: Any) -> Checked:
    """Return a new migration that went up, down and up."""
    given: dict[str, Any] = {
        "name": A,
        "title": "",
        "phase": "before",
        "transactional": True,
        "rollback": True,
        "seconds": 0.25,
        "problem": "",
        "sql": "create table orders ();",
    }
    return Checked(**(given | more))


class Words:
    """What an engine says of a migration, in words that no engine has."""

    def no_file(self, name: str) -> str:
        """Return what it says where there is no file."""
        return f"no file of {name}"

    def failed(self, name: str) -> str:
        """Return what it says where the tool itself failed."""
        return f"failed: {name}"

    def rollback_script(self, name: str) -> str:
        """Return where the rollback script would be."""
        return f"the rollback of {name}"


def told(remarks: Iterable[Remark]) -> list[tuple[str, ...]]:
    """Return of each remark of the lint its rule's level and id, its message and its effect."""
    return [(each.rule.level, each.rule.id, each.message, each.does) for each in remarks]


def changed(document: Any, **fields: Any) -> Any:
    """Return the document with other values in some fields."""
    return msgspec.structs.replace(document, **fields)
