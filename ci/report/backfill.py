"""Backfills as text. Pure."""

from ..backfill.progress import BackfillState, span

NEXT = {
    "waiting": "invoke backfill.run --env {env} runs it",
    "running": "invoke backfill.run --env {env} goes on, where nobody runs it",
    "paused": "invoke backfill.resume --env {env} lets it go on",
    "cancelled": "invoke backfill.resume --env {env} --name {name} takes it up again",
}


def backfills_text(environment: str, states: tuple[BackfillState, ...], *, holder: str = "") -> str:
    """Return a line for each backfill, and under a job that is not done what may be done.

    Args:
        environment: its name.
        states: the backfills.
        holder: who holds the deployment lock; empty: nobody.

    """
    lines = [line for state in states for line in _lines(environment, state)]
    if not states:
        lines = [f"{environment}: no backfill"]
    if holder:
        lines.append(f"the deployment lock is held by {holder}")
    return "\n".join(lines)


def open_lines(environment: str, states: tuple[BackfillState, ...]) -> str:
    """Return the lines of those that are open; empty where none is."""
    opened = (state for state in states if state.is_open)
    return "\n".join(line for state in opened for line in _lines(environment, state))


def backfills_exit(states: tuple[BackfillState, ...]) -> int:
    """Return 0 where none is open, 1 where one is."""
    return int(any(state.is_open for state in states))


def _lines(environment: str, state: BackfillState) -> list[str]:
    lines = [str(state)]
    if state.state == "running" and state.seconds > 0:
        rate = state.rows_visited / state.seconds
        left = max(0, state.rows_expected - state.rows_visited)
        lines.append(
            f"  {rate:,.0f} rows/s in its batches of {state.batch_rows:,}, "
            f"about {span(left / rate) if rate else '?'} left"
        )
    if state.rows_set_aside:
        lines.append("  the rows set aside, and why: select * from windlass.backfill_row")
    follows = NEXT.get(state.state, "")
    if state.job and follows:
        lines.append(f"  {follows.format(env=environment, name=state.migration)}")
    return lines
