"""The verb that lets an environment rest."""

from datetime import UTC, datetime

from ..errors import ConfigError
from .task import Answer, age_of, at_most_one, opened, verb


@verb(
    reason="why; it is recorded, and told to whoever is refused",
    for_="how long: 2h (default: until somebody resumes it)",
    until="when it ends, in UTC: 2026-12-24T08:00",
)
def pause(env: str = "", reason: str = "", for_: str = "", until: str = "") -> Answer:
    """Let nothing be deployed or corrected; rollback and restore stay possible."""
    from ..deployment import pause as pauses

    at_most_one(**{"for": for_, "until": until})
    within = age_of("--for", for_, example="2h") if for_ else None
    end = _moment(until) if until else None
    with opened(env, changes="pause") as work:
        record = pauses.pause(work, reason, within=within, until=end)
    return Answer(record, f"{env} is {record}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f'--until: "{text}" is no time', next_step="--until 2026-12-24T08:00, in UTC"
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
