"""Every error of the package is a value: it pickles and copies with all its fields."""

import copy
import importlib
import pickle
import pkgutil

import pytest

import pgwindlass
from pgwindlass.engines.alembic.pipe import ReportedError
from pgwindlass.errors import ChildFailed, Interrupted, Place, Terminated, WindlassError

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
