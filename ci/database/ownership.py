"""Which tables of ours are believed: by their kind, what they carry, and who owns them. Pure."""

from dataclasses import dataclass

KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
    "S": "a sequence",
    "c": "a type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was seen of a table of ours, or of the schema of ours."""

    schema: str  # empty for the schema itself
    name: str
    kind: str  # as pg_class.relkind; n for the schema
    owner: str
    superuser: bool  # whether the owner is one
    ours: bool  # whether the owner is who asks
    login: bool  # whether the owner may log in
    member: bool  # whether who asks is a member of the owner
    logins: tuple[str, ...]  # those who may log in as a member of the owner; no superusers
    carries: tuple[str, ...]  # what runs code, or changes what is read

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else f"the schema {self.name}"


def reason(looked: Looked, user: str, owners: tuple[str, ...] | None) -> str:
    """Say why it is not believed; empty where it is. Pure.

    Args:
        looked: what was seen.
        user: who asks.
        owners: the other roles that are trusted by name; None: everybody is.

    """
    if looked.kind in KINDS:
        return f"{looked} is {KINDS[looked.kind]}, not a table of its own"
    if looked.carries:
        return f"{looked} carries {looked.carries[0]}, which would run or act as {user}"
    if owners is None or looked.superuser or looked.ours or looked.owner in owners:
        return ""
    if looked.member and not looked.login and set(looked.logins) <= {user, *owners}:
        return ""
    return f"{looked} belongs to {looked.owner}, neither to {user} nor to a role trusted by name"


def remedy(looked: Looked, user: str) -> str:
    """Return what to do about one that is not believed."""
    if looked.kind in KINDS or looked.carries:
        return f"find out who made it so; remove that, or rename it: \\d {looked} in psql shows it"
    what = f"table {looked}" if looked.schema else f"schema {looked.name}"
    return (
        f"find out who made it: rename it where it is not yours; alter {what} owner to {user}, or "
        f"migrations: {{owners: [{looked.owner}]}} in deploy.yml, where it is"
    )
