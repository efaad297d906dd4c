"""The variables of a request are gone with the next one."""

import os

import pytest

from pgwindlass.engines.alembic.child import isolation
from pgwindlass.engines.alembic.child.isolation import set_variables

pytestmark = pytest.mark.unit


def test_variables_are_put_back_before_those_of_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolation, "BEFORE", {})
    monkeypatch.setenv("WAS_SET", "before")
    monkeypatch.delenv("WAS_NOT_SET", raising=False)

    set_variables({"WAS_SET": "1", "WAS_NOT_SET": "1"})
    assert (os.environ["WAS_SET"], os.environ["WAS_NOT_SET"]) == ("1", "1")

    set_variables({"WAS_SET": "2"})
    assert (os.environ["WAS_SET"], os.environ.get("WAS_NOT_SET")) == ("2", None)

    set_variables({})
    assert (os.environ["WAS_SET"], os.environ.get("WAS_NOT_SET")) == ("before", None)
