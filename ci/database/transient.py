"""Which failures pass by themselves: a restart, a failover, a moment without a free place. Pure.

Not an authentication, an unknown database, a refused right: those stay, and are told at once.
"""

from typing import Literal

# What a new connection is answered with, as PQping tells it: accepts, rejects, no answer.
Answer = Literal["accepts", "rejects", "none"]

# Source: PostgreSQL's manual, appendix "Error Codes".
STATES = {
    "57P01": "the session was ended: the server is restarting, or somebody ended it",
    "57P02": "the server is restarting after a crash",
    "57P03": "the server is starting or stopping",
    "25P03": "the session was ended, because its run stood still in a transaction",
    "53300": "the server has no free connection",
    "25006": "the server is read-only: a standby that is not promoted yet",
}
LOST = "the connection to the server was lost"
# libpq gives no SQLSTATE for a connection that is refused, and these words are the server's.
FULL = (
    "too many clients already",
    "too many connections for",
    "remaining connection slots are reserved",
    "no more connections allowed",  # PgBouncer's
)
# What clients in the C locale print; the server's own words follow its lc_messages.
CHILD = (
    "server closed the connection unexpectedly",
    "terminating connection due to",
    "the database system is ",
    "could not receive data from server",
    "could not send data to server",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    *FULL,
)


def reason(sqlstate: str | None, *, broken: bool) -> str:
    """Say what passes by itself in a failure of an open session; empty where nothing does.

    `broken`: the session cannot be used any more.
    """
    if sqlstate == "25006":  # a role or a migration may be read-only for good
        return STATES[sqlstate] if broken else ""
    if sqlstate in STATES:
        return STATES[sqlstate]
    if sqlstate is not None:
        return LOST if sqlstate.startswith("08") else ""
    return LOST if broken else ""


def refused(message: str, answer: Answer, sqlstate: str | None = None) -> str:
    """Say what passes by itself in a connection that was refused; empty where nothing does."""
    if sqlstate == "25006":  # we refused it: it was a standby's
        return STATES["25006"]
    if any(words in message for words in FULL):
        return STATES["53300"]
    if answer == "rejects":
        return STATES["57P03"]
    return "the server does not answer" if answer == "none" else ""


def is_full(why: str) -> bool:
    """Tell whether the server answers, and has no place for one more session."""
    return why == STATES["53300"]


def in_child(stderr: str) -> str:
    """Say what passes by itself in what a client of PostgreSQL has printed; empty: nothing."""
    if any(words in stderr for words in FULL):
        return STATES["53300"]
    return LOST if any(words in stderr for words in CHILD) else ""
