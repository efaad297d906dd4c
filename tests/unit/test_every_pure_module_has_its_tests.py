"""Every pure module has a test file of its name, and every file here is marked as a unit test."""

from pathlib import Path

import pytest

from tests.unit.pure import file_of_tests, pure_modules

pytestmark = pytest.mark.unit

HERE = Path(__file__).parent


@pytest.mark.parametrize("module", pure_modules(), ids=str)
def test_a_pure_module_has_a_test_file_of_its_name(module: Path) -> None:
    assert (HERE / file_of_tests(module)).is_file()


@pytest.mark.parametrize("file", sorted(HERE.rglob("test_*.py")), ids=lambda file: file.name)
def test_a_test_file_is_marked_as_one_that_needs_no_part(file: Path) -> None:
    assert "\npytestmark = pytest.mark.unit\n" in file.read_text()
