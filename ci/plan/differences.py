"""How two plans differ, as texts. Pure."""

from ..model import Plan


def differences(approved: Plan, current: Plan) -> tuple[str, ...]:
    """Return, as texts, what differs between two plans; nothing where their digests are equal."""
    texts = [
        f"{words}: {_short(before)} then, {_short(now)} now"
        for words, before, now in (
            ("another environment", approved.environment, current.environment),
            ("another direction", approved.direction, current.direction),
            ("another engine", approved.engine, current.engine),
            ("another engine version", approved.engine_version, current.engine_version),
            ("other steps", _names(approved), _names(current)),
        )
        if before != now
    ]
    if approved.target != current.target:
        texts.append(f"another database: {_database(approved)} then, {_database(current)} now")
    texts += _correction(approved, current)
    texts += _history(approved, current) + _migrations(approved, current)
    texts += _settings(approved, current) + _sources(approved, current)
    if approved.partials != current.partials:
        texts.append("a migration was run, or undone, in part since")
    if approved.losses != current.losses:
        texts.append("what it would not bring back is something else now")
    if approved.schema_fingerprint != current.schema_fingerprint:
        texts += _schema(approved, current)
    if not texts and approved.digest != current.digest:
        texts.append("the plan was written in another form")
    return tuple(texts)


def _correction(approved: Plan, current: Plan) -> list[str]:
    """Say what a task beside the deployments was to do, and what it would do now."""
    before, now = approved.correction, current.correction
    if before == now:
        return []
    if before is None or now is None:
        return ["a deployment is no correction"]
    texts = [f"planned, and not done now: {line}" for line in before.changes]
    texts = [
        text for text, line in zip(texts, before.changes, strict=True) if line not in now.changes
    ]
    texts += [
        f"not planned, would be done now: {line}"
        for line in now.changes
        if line not in before.changes
    ]
    if (before.verb, before.arguments) != (now.verb, now.arguments):
        texts.append(f"{_short(before.command(''))} then, {_short(now.command(''))} now")
    return texts


def _schema(approved: Plan, current: Plan) -> list[str]:
    """Say what the schema gained and lost since; the columns of a new table go with it."""
    before, now = set(approved.schema), set(current.schema)
    if before == now:
        return ["the schema of the database was changed by somebody else"]
    gained = [f"the schema gained {line}" for line in sorted(now - before)]
    lost = [f"the schema lost {line}" for line in sorted(before - now)]
    return gained + lost


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _names(plan: Plan) -> str:
    return ", ".join(f"{s.name}{'' if s.required else '?'}" for s in plan.steps)


def _history(approved: Plan, current: Plan) -> list[str]:
    before, now = dict(approved.history), dict(current.history)
    return (
        [f"{name} appeared in the history" for name in now if name not in before]
        + [f"{name} disappeared from the history" for name in before if name not in now]
        + [f"{n}: checksum changed in the history" for n in now if now[n] != before.get(n, now[n])]
    )


def _migrations(approved: Plan, current: Plan) -> list[str]:
    before = {m.name: m for m in approved.migrations}
    now = {m.name: m for m in current.migrations}
    texts = [f"{name} is new among the migrations" for name in now if name not in before]
    texts += [f"{name} is no longer among the migrations" for name in before if name not in now]
    for name in before.keys() & now.keys():
        a, b = before[name], now[name]
        for what, changed in (
            ("was edited", a.sql != b.sql),
            ("has another rollback script", a.rollback != b.rollback),
            ("has another verify script", a.verify != b.verify),
            ("runs in another phase", a.phase != b.phase),
        ):
            texts += [f"{name} {what}"] if changed else []
    return texts


def _settings(approved: Plan, current: Plan) -> list[str]:
    before, now = dict(approved.policy), dict(current.policy)
    texts = [f"deploy.yml: {key} changed" for key in _changed(before, now)]
    values = _changed(dict(approved.variables), dict(current.variables))
    return texts + [f"the variable {name} has another value" for name in values]


def _changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]


def _database(plan: Plan) -> str:
    """Return which database it is; the server's number tells it from others of the name."""
    target = plan.target
    return (
        f"{target.database} at {target.address or 'an address not known'}, system "
        f"{target.system_identifier}, PostgreSQL {target.server_version}"
    )


def _sources(approved: Plan, current: Plan) -> list[str]:
    """Say which files and which commit are not those that were approved."""
    was, now = approved.sources, current.sources
    texts = []
    if was.commit != now.commit:
        names = [commit[:12] or "no checkout" for commit in (was.commit, now.commit)]
        texts.append(f"another commit: {names[0]} then, {names[1]} now")
    texts += [f"{name} is not as in the commit" for name in now.changed if name not in was.changed]
    texts += [f"{name} is as in the commit now" for name in was.changed if name not in now.changed]
    before, after = dict(was.files), dict(now.files)
    for name in _changed(before, after):
        verb = "is new" if name not in before else "is gone" if name not in after else "was edited"
        texts.append(f"the file {name} {verb}")
    return texts
