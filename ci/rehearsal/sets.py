"""Migrations on a copy as a rollback takes them: all applied, all undone last first, all again.

A set may spread its rollback over several files: what counts is what the set gives back.
"""

from collections.abc import Sequence
from dataclasses import replace

from .copy import Attempt, Copy, Definitions
from .together import Set, judged


def attempt_set(
    copy: Copy, migrations: Set, before: Definitions, *, back: bool
) -> tuple[Attempt, ...]:
    """Run a set, undo it, compare at each step, run it again; one value for each that was begun.

    Nothing runs behind one that fails on its way up. Those before it are undone all the same,
    unless it left something.
    """
    states, attempts = [before], list[Attempt]()
    for migration in migrations:
        attempt = copy.attempt(migration, states[-1], back=back)
        attempts.append(attempt)
        if attempt.failed:
            break
        states.append(attempt.after)
    done = len(states) - 1
    if back and (done == len(attempts) or migrations[done].transactional):
        _back(copy, migrations[:done], attempts, states)
    return tuple(attempts)


def _back(
    copy: Copy, migrations: Set, attempts: list[Attempt], states: Sequence[Definitions]
) -> None:
    """Undo the last first, then run all again; the values are put in place."""
    for at in reversed(range(len(migrations))):
        attempts[at] = copy.attempt_back(migrations[at], attempts[at], states[at])
        if attempts[at].failed:
            return
    names = [migration.name for migration in migrations]
    differences = [attempts[at].differences for at in range(len(names))]
    for at, result in enumerate(judged(names, differences)):
        attempts[at] = replace(
            attempts[at], differences=result.differences, proven_with=result.proven_with
        )
    for at, migration in enumerate(migrations):
        attempts[at] = copy.attempt_again(migration, attempts[at], states[at])
        if attempts[at].failed:
            return
