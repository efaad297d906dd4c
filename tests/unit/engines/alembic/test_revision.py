"""What the text of a revision says without being run."""

from pathlib import Path

import pytest

from pgwindlass.engines.alembic.revision import read_downgrade, read_head, scoped, words_in_strings
from pgwindlass.errors import ConfigError, Place
from pgwindlass.parser.file import Allowed
from pgwindlass.parser.once import Parser

pytestmark = pytest.mark.unit

PATH = Path("versions/a1.py")
UP = "def upgrade():\n    op.add_column('t', c)\n\n\n"


def test_a_head_without_directives_says_nothing() -> None:
    found = read_head(PATH, f'"""Add a column."""\n\n{UP}', Parser())

    assert found.path == PATH
    assert (found.phase, found.transactional) == ("before", True)
    assert (found.statements, found.allowed) == ((), ())


def test_directives_stand_in_lines_of_their_own() -> None:
    source = (
        '"""Doc."""\n'
        "# windlass: phase=after\n"
        "  #  windlass: allow truncate it is a cache\n"
        "x = 1  # windlass: lock_timeout=1s\n"
    )

    found = read_head(PATH, source, Parser())

    assert found.phase == "after"
    assert found.lock_timeout is None
    assert found.allowed == (Allowed("truncate", "it is a cache", 3, 0),)


def test_a_directive_may_take_the_revision_out_of_its_transaction() -> None:
    assert not read_head(PATH, "# windlass: transaction=off\n", Parser()).transactional


def test_a_revision_with_an_autocommit_block_runs_outside_a_transaction() -> None:
    source = f"{UP}with op.get_context().autocommit_block():\n    pass\n"

    assert not read_head(PATH, source, Parser()).transactional


def test_an_unknown_directive_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        read_head(PATH, "import x\n\n# windlass: phase=later\n", Parser())

    assert caught.value.what == 'versions/a1.py:3: unknown directive "phase=later"'


@pytest.mark.parametrize(
    "down",
    [
        "def downgrade():\n    op.drop_column('t', 'c')",
        "def downgrade() -> None:\n    if True:\n        pass",
    ],
)
def test_a_downgrade_that_does_something_is_its_text(down: str) -> None:
    assert read_downgrade(PATH, f"{UP}{down}\n\n\nx = 1\n") == down


@pytest.mark.parametrize(
    "down",
    [
        "",
        "def downgrade():\n    pass\n",
        "def downgrade():\n    ...\n",
        'def downgrade():\n    """Nothing."""\n',
        "def downgrade():\n    raise NotImplementedError\n",
        "class A:\n    def downgrade(self):\n        op.drop()\n",
    ],
)
def test_a_downgrade_that_does_nothing_is_none(down: str) -> None:
    assert read_downgrade(PATH, UP + down) is None


@pytest.mark.parametrize("up", ["", "def upgrade():\n    pass\n\n\n"])
def test_what_changes_nothing_needs_nothing_to_undo_it(up: str) -> None:
    assert read_downgrade(PATH, f"{up}def downgrade():\n    pass\n") == (
        "def downgrade():\n    pass"
    )


def test_a_call_is_no_empty_body() -> None:
    down = "def downgrade():\n    op.drop()\n    pass"

    assert read_downgrade(PATH, UP + down) == down


def test_what_is_no_python_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        read_downgrade(PATH, "x = 1\ndef upgrade(:\n    pass\n")

    assert caught.value.what == "versions/a1.py:2: invalid syntax"
    assert caught.value.next_step == "mend the revision"


def test_what_python_gives_no_line_of_is_refused_with_its_file() -> None:
    with pytest.raises(ConfigError) as caught:
        read_downgrade(PATH, "x = 1\0")

    assert caught.value.place == Place("versions/a1.py")


def test_the_words_of_every_string_are_found() -> None:
    source = "a = 'alter table t_1 add c$2'\nb = f'x {y} z'\nc = 7, b'bytes'\n"

    assert words_in_strings(source) == {"alter", "table", "t_1", "add", "c$2", "x", "z"}


SOURCE = (
    "# windlass: allow a whole file\n"  # 1
    "def upgrade():\n"  # 2
    "    # windlass: allow b one statement\n"  # 3
    "    op.execute('x')\n"  # 4
    "    # windlass: allow c two statements\n"  # 5
    "    op.create_table('y')\n"  # 6
)


@pytest.mark.parametrize(
    ("line", "statements"), [(1, [0]), (3, [1]), (5, [9, 12]), (6, []), (7, [])]
)
def test_an_allowance_is_for_what_the_next_line_was_rendered_to(
    line: int, statements: list[int]
) -> None:
    given = (Allowed("r", "why", line, 0),)

    found = scoped(given, SOURCE, {1: 4, 9: 6, 12: 6})

    assert found == tuple(Allowed("r", "why", line, statement) for statement in statements)


def test_in_a_revision_without_functions_an_allowance_is_for_nothing_below_it() -> None:
    given = (Allowed("r", "why", 1, 0), Allowed("s", "why", 2, 0))

    assert scoped(given, "x = 1\n", {}) == ()
    assert scoped(given, "x = 1\n", {5: 1}) == ()
    assert scoped(given, "x = 1\n", {5: 2}) == (Allowed("r", "why", 1, 5),)
