"""Errors are values: place and step are fields, the words are put together in one place."""

import copy
import importlib
import pickle
import pkgutil

import pytest

import pgwindlass
from pgwindlass.engines.alembic.pipe import ReportedError
from pgwindlass.errors import (
    ChildFailed,
    ConfigError,
    Interrupted,
    Place,
    Refused,
    RolledBack,
    StepFailed,
    Terminated,
    WindlassError,
    changed,
    found_at,
)

PLACE = Place("db/1_a.sql", 3)


def every_exception() -> list[type[BaseException]]:
    """Return every exception class of the package, with all its modules imported."""
    for module in pkgutil.walk_packages(pgwindlass.__path__, "pgwindlass."):
        if not module.name.startswith(("pgwindlass.templates", "pgwindlass.engines.alembic.child")):
            importlib.import_module(module.name)
    kinds: list[type[BaseException]] = [BaseException]
    for kind in kinds:
        kinds += [below for below in kind.__subclasses__() if below not in kinds]
    return [kind for kind in kinds if kind.__module__.startswith("pgwindlass.")]


def an_error(kind: type[BaseException]) -> BaseException:
    """Return an error of a class, with everything that it can hold."""
    if kind is ReportedError:
        return ReportedError("ValueError", "no such tenant", None, str(PLACE))
    if not issubclass(kind, WindlassError):
        return kind("why")
    more: dict[str, object] = {}
    if issubclass(kind, ChildFailed):
        more = {"code": 3, "stderr": "gone"}
    if issubclass(kind, Interrupted):
        more = {"by_sigterm": True}
    error = kind("gone", state="s", next_step="n", place=PLACE, step="migrate", **more)
    error.add_note("and more")
    return error


@pytest.mark.parametrize("kind", every_exception(), ids=lambda kind: kind.__name__)
def test_an_error_pickles_and_copies_with_all_its_fields(kind: type[BaseException]) -> None:
    error = an_error(kind)

    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert twin is not error
        assert type(twin) is kind
        assert (twin.args, twin.__dict__, str(twin)) == (error.args, error.__dict__, str(error))


def test_every_error_of_the_tree_is_among_them() -> None:
    kinds = every_exception()

    assert {WindlassError, ChildFailed, Interrupted, Terminated, ReportedError} <= set(kinds)
    assert len(kinds) > 15


def test_what_is_step_place_and_message() -> None:
    error = StepFailed("no such table", state="s", next_step="n", place=PLACE, step="migrate")

    assert str(error) == error.what == "migrate: db/1_a.sql:3: no such table"
    assert error.message == "no such table"


def test_what_is_the_message_alone_where_nothing_else_is_known() -> None:
    assert str(Refused("no", next_step="n")) == "no"
    assert str(ConfigError("no", next_step="n", place=Place("deploy.yml"))) == "deploy.yml: no"


@pytest.mark.parametrize("place", [PLACE, Place("a:b.sql", 1), Place("prisma/lock.toml")], ids=str)
def test_a_place_is_read_as_it_is_written(place: Place) -> None:
    assert Place.parse(str(place)) == place


def test_a_changed_error_is_another_one_of_its_kind() -> None:
    error = ChildFailed("gone", state="s", next_step="n", code=3, stderr="why", place=PLACE)
    error.add_note("first")

    new = changed(error, state="t", step="backup")
    new.add_note("second")

    assert (type(new), new.code, new.stderr, new.place) == (ChildFailed, 3, "why", PLACE)
    assert (new.what, new.state, new.next_step) == ("backup: db/1_a.sql:3: gone", "t", "n")
    assert (error.what, error.state, error.__notes__) == ("db/1_a.sql:3: gone", "s", ["first"])
    assert new.__notes__ == ["first", "second"]
    assert changed(error, next_step="m").next_step == "m"


def test_the_place_is_that_of_the_error_else_of_what_it_was_raised_from() -> None:
    inner = ConfigError("no", next_step="n", place=PLACE)
    outer = StepFailed("the base does not run", state="s", next_step="n")
    outer.__cause__ = ValueError("between")
    outer.__cause__.__cause__ = inner
    own = RolledBack("gone", state="s", next_step="n", place=Place("x.sql", 1))
    own.__cause__ = inner

    assert found_at(outer) == PLACE
    assert found_at(own) == Place("x.sql", 1)
    assert found_at(ValueError("no")) is None
    assert found_at(StepFailed("x.sql:4: only in its text", state="s", next_step="n")) is None
