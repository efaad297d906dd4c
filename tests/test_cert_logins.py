"""A server that lets nobody in but by a client's certificate: migrations, dumps and restores."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgwindlass.database.connection import Database
from pgwindlass.errors import Unreachable
from pgwindlass.secret import Secret
from tests.fix_own_server import OwnServer, own_server
from tests.kit import Project
from tests.npm_postgres import hand_over

A = "20260801_000000_a"
# The same one line for the database and for what a swap connects to.
HBA = """\
local all postgres trust
hostssl all all 127.0.0.1/32 cert
"""


def openssl(*arguments: str, cwd: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def certificate(directory: Path, name: str, common_name: str) -> None:
    """Make a key and a certificate of this name, signed by the authority of the directory."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        *("-subj", f"/CN={common_name}"),
        cwd=directory,
    )
    (directory / "names").write_text("subjectAltName = IP:127.0.0.1\n")
    openssl(
        *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2"),
        *("-CAcreateserial", "-extfile", "names", "-out", f"{name}.crt"),
        cwd=directory,
    )
    (directory / f"{name}.key").chmod(0o600)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        *("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt"),
        *("-days", "2", "-subj", "/CN=authority"),
        cwd=tmp_path,
    )
    for name, common_name in (("server", "127.0.0.1"), ("client", "deployer"), ("eve", "eve")):
        certificate(tmp_path, name, common_name)
    with own_server() as server:
        local = f"host={server.directory} port={server.port} user=postgres"
        with psycopg.connect(f"{local} dbname=postgres", autocommit=True) as admin:
            admin.execute("create role deployer login createdb")
            admin.execute("create database shop owner deployer")
        for name in ("ca.crt", "server.crt", "server.key"):
            (server.data / name).write_bytes((tmp_path / name).read_bytes())
            (server.data / name).chmod(0o600)
            hand_over(server.data / name)
        (server.data / "pg_hba.conf").write_text(HBA)
        server.settings = (
            *("ssl=on", "ssl_ca_file=ca.crt", "ssl_cert_file=server.crt"),
            "ssl_key_file=server.key",
        )
        server.restart("fast")
        yield server


def url(server: OwnServer, directory: Path, name: str) -> str:
    return (
        f"postgresql://deployer@127.0.0.1:{server.port}/shop?sslmode=verify-full"
        f"&sslrootcert={directory}/ca.crt&sslcert={directory}/{name}.crt"
        f"&sslkey={directory}/{name}.key"
    )


# What is wrong with the URL, and what is told to do.
WRONG = {
    "sslcert={0}/eve.crt&sslkey={0}/eve.key&sslrootcert={0}/ca.crt": "sslcert and sslkey",
    "sslrootcert={0}/ca.crt": "sslcert and sslkey",
    "sslcert={0}/client.crt&sslkey={0}/client.key&sslrootcert={0}/other.crt": "sslrootcert=FILE",
    "sslcert={0}/client.crt&sslkey={0}/client.key&sslrootcert={0}/absent.crt": "sslrootcert=FILE",
    "sslcert={0}/client.crt&sslkey={0}/open.key&sslrootcert={0}/ca.crt": "chmod 600",
    "sslcert={0}/client.crt&sslkey={0}/absent.key&sslrootcert={0}/ca.crt": "sslcert and sslkey",
}


def test_each_refusal_of_tls_says_what_it_is_about(server: OwnServer, tmp_path: Path) -> None:
    certificate(tmp_path, "open", "deployer")
    (tmp_path / "open.key").chmod(0o644)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    another = ("-keyout", "other.key", "-out", "other.crt", "-days", "2", "-subj", "/CN=another")
    openssl("req", "-x509", *key, *another, cwd=tmp_path)
    there = f"postgresql://deployer@127.0.0.1:{server.port}/shop"
    asked = {f"{there}?sslmode=verify-full&{m.format(tmp_path)}": r for m, r in WRONG.items()}
    good = f"sslcert={tmp_path}/client.crt&sslkey={tmp_path}/client.key"
    asked[f"{there}?sslmode=verify-full&sslrootcert={tmp_path}/ca.crt&host=localhost&{good}"] = (
        "name the server in the URL as its certificate does"
    )
    asked[f"{there}?sslmode=disable"] = "sslmode=require"

    for url, expected in asked.items():
        with (
            pytest.raises(Unreachable) as refused,
            Database(url=Secret(url)).connect("test"),
        ):
            raise AssertionError(url)

        assert expected in refused.value.next_step, (url, refused.value.what)


def test_all_that_connects_logs_in_by_the_certificate_and_with_anothers_nothing_does(
    server: OwnServer, tmp_path: Path
) -> None:
    eve = Project(tmp_path / "eve", url(server, tmp_path, "eve"))
    what, state, next_step = (refused := eve.run("status", "--env", "uat")).error()
    assert refused.code == 1
    assert "certificate authentication failed" in what
    assert state == "  state: nothing was changed"
    assert next_step.startswith("  next:  ")
    project = Project(tmp_path / "shop", url(server, tmp_path, "client"))
    project.migration(A, "create table a (i int); insert into a values (1);", "drop table a;")

    deploy = project.run("deploy", "--env", "uat")
    assert deploy.code == 0, deploy.err
    with psycopg.connect(project.url) as connection:
        connection.execute("delete from a")
    backup = project.json("backup.list", "--env", "uat")[0]["manifest"]["key"].split("/")[-2]
    restore = project.run("restore", "--env", "uat", "--from", backup, CONFIRM_RESTORE="yes")
    assert restore.code == 0, restore.err
    deployed = project.run("deploy", "--env", "uat")

    assert deployed.code == 0, deployed.err
    assert project.applied() == [A]
    assert project.run("history", "--env", "uat", "--verify").code == 0
