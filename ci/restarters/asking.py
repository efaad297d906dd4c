"""How long a restarter waits for an answer, and what gives it longer."""

from ..config.sections import RestartConfig
from ..errors import ChildFailed, Late

ASKED_WITHIN = 30.0  # seconds for a question, which only reads


def asked_within(config: RestartConfig) -> float:
    """Return how many seconds a question has: no more than the whole restart."""
    return max(1.0, min(ASKED_WITHIN, config.within.seconds))


def next_step(error: ChildFailed, command: str) -> str:
    """Return the command to run by hand; behind it the key that gives longer, where that helps."""
    if not isinstance(error, Late):
        return command
    return (
        f"{command}; where it only takes long: restart.within in deploy.yml, of which one question "
        f"has {ASKED_WITHIN:g} s at most"
    )
