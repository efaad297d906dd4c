"""Which of our variables reach a child, by what it is for."""

import pytest

from pgwindlass import purposes
from pgwindlass.purposes import Purpose, passed

pytestmark = pytest.mark.unit

ALL = [value for value in vars(purposes).values() if isinstance(value, Purpose)]
OURS = ("PRODUCTION_DATABASE_URL", "DATABASE_URL", "AGE_IDENTITY", "WINDLASS_SECRET", "CI_TOKEN")


def test_what_is_not_named_does_not_pass() -> None:
    purpose = Purpose("x", frozenset({"A", "B_*"}))

    found = passed({"A": "1", "AB": "2", "B_": "3", "B_C": "4", "a": "5"}, purpose)

    assert found == {"A": "1", "B_": "3", "B_C": "4"}


@pytest.mark.parametrize("purpose", ALL, ids=lambda purpose: purpose.title)
def test_no_purpose_passes_what_is_ours(purpose: Purpose) -> None:
    assert passed(dict.fromkeys(OURS, "secret"), purpose) == {}


def test_a_throwaway_server_gets_nothing() -> None:
    assert passed({"PATH": "/bin", "HOME": "/root", "LC_ALL": "C"}, purposes.SERVER) == {}


def test_names_of_deploy_yml_are_added_for_this_child_alone() -> None:
    more = purposes.COMMAND.named(["API_HOST"])

    assert passed({"API_HOST": "h"}, more) == {"API_HOST": "h"}
    assert passed({"API_HOST": "h"}, purposes.COMMAND) == {}


@pytest.mark.parametrize(
    ("path", "left"), [(".:/bin", "/bin"), ("/a::/b", "/a:/b"), ("bin:../x:~/y", ""), ("", "")]
)
def test_of_path_only_absolute_directories_are_left(path: str, left: str) -> None:
    assert passed({"PATH": path}, purposes.TOOL) == {"PATH": left}
