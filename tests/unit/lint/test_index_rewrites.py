"""What ci/lint/index_rewrites.py writes, of each dangerous form that it is for."""

import pytest

from tests.unit.lint.mended import answers, expected, of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("form", of("index_rewrites"))
def test_what_is_written_is_what_was_found_right(form: str) -> None:
    assert answers().get(form) == expected()[form]
