"""A script is a regular file of the project, and no larger than the parser survives."""

from pathlib import Path

import pytest

from pgwindlass.errors import ConfigError
from pgwindlass.parser import file
from pgwindlass.parser.file import parse, read_script, require_one_way

pytestmark = pytest.mark.unit
SHOWN = Path("migrations/a.sql")


def refused(path: Path, *inside: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_script(path, SHOWN, *inside)

    assert caught.value.place is not None and caught.value.place.file == str(SHOWN)
    return caught.value


def test_the_text_of_a_script_has_line_feeds(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_bytes(b"\xef\xbb\xbfselect 1;\r\n")

    assert read_script(tmp_path / "a.sql", SHOWN) == "select 1;\n"
    assert read_script(tmp_path / "a.sql", SHOWN, tmp_path) == "select 1;\n"


def test_a_script_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_script(tmp_path / "a.sql", SHOWN) is None


def test_bytes_that_are_no_text_are_told_by_the_shown_path(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_bytes(b"select '\xff';")

    assert refused(tmp_path / "a.sql").what == f"{SHOWN}:1: not UTF-8: byte 0xff"


def test_a_directory_is_no_script(tmp_path: Path) -> None:
    (tmp_path / "a.sql").mkdir()

    error = refused(tmp_path / "a.sql")

    assert error.what.startswith(f"{SHOWN}: cannot be read: ")
    assert error.next_step == (
        "make it a file of the project; large data is loaded outside of migrations"
    )


def test_a_link_that_leads_nowhere_is_told_by_the_systems_word(tmp_path: Path) -> None:
    (tmp_path / "a.sql").symlink_to(tmp_path / "absent.sql")

    assert refused(tmp_path / "a.sql").what == f"{SHOWN}: cannot be read: No such file or directory"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sql").symlink_to(tmp_path / "b.sql")
    (tmp_path / "b.sql").symlink_to(tmp_path / "a.sql")

    assert "cannot be read: " in refused(tmp_path / "a.sql").what
    assert "cannot be read: " in refused(tmp_path / "a.sql", tmp_path).what


def test_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "outside.sql").write_text("select 1;\n")
    (project / "a.sql").symlink_to(tmp_path / "outside.sql")

    assert "cannot be read: " in refused(project / "a.sql", project).what
    assert read_script(project / "a.sql", SHOWN, tmp_path) == "select 1;\n"


def test_a_script_may_be_as_large_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LARGEST", 10)
    (tmp_path / "a.sql").write_text("select 12;")
    (tmp_path / "b.sql").write_text("select 123;")

    assert read_script(tmp_path / "a.sql", SHOWN) == "select 12;"
    assert "cannot be read: " in refused(tmp_path / "b.sql").what


@pytest.mark.parametrize("key", ["lock_timeout", "statement_timeout"])
def test_a_timeout_is_as_long_as_a_server_can_wait(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(SHOWN, f"-- windlass: {key}=25d\nselect 1;")

    assert caught.value.what == f"{SHOWN}: {key}=25d is longer than the server can wait"
    assert caught.value.next_step == f"24d at most: -- windlass: {key}=2s"
    parse(SHOWN, f"-- windlass: {key}=24d\nselect 1;")


def test_a_directive_in_the_first_line_is_in_the_head() -> None:
    assert parse(SHOWN, "-- windlass: phase=after\nselect 1;").phase == "after"
    with pytest.raises(ConfigError, match="2: this directive is for the whole file"):
        parse(SHOWN, "select 1\n-- windlass: phase=after\n+ 1;")


def test_a_one_way_file_with_a_rollback_script_is_refused() -> None:
    one_way = parse(SHOWN, "-- windlass: irreversible an enum\nselect 1;")

    with pytest.raises(ConfigError) as caught:
        require_one_way(one_way, "select 0;")

    assert caught.value.what == (
        f"{SHOWN}: says that it is irreversible, and has a rollback script"
    )
    assert caught.value.next_step == "remove the script, or the directive"
    require_one_way(one_way, None)
    require_one_way(parse(SHOWN, "select 1;"), "select 0;")


def test_a_file_that_does_not_say_so_is_not_irreversible() -> None:
    assert parse(SHOWN, "select 1;").irreversible == ""


def test_irreversible_needs_a_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(SHOWN, "-- windlass: phase=after\n-- windlass: irreversible\nselect 1;")

    assert caught.value.what == f"{SHOWN}:2: irreversible has no reason"
    assert caught.value.next_step == (
        "write why nothing can undo it: -- windlass: irreversible REASON"
    )


def test_directives_below_irreversible_are_read() -> None:
    text = "-- windlass: irreversible an enum\n-- windlass: phase=after\nselect 1;"

    assert (parse(SHOWN, text).irreversible, parse(SHOWN, text).phase) == ("an enum", "after")
