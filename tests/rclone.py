"""rclone's S3 server for benchmarks, with credentials for this process."""

import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RCLONE = str(Path(sysconfig.get_path("scripts")) / "rclone")
KEY = "windlass-benchmark"


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Run rclone's S3 server on loopback, its bucket in memory where there is a /dev/shm."""
    shm = Path("/dev/shm")
    base = tempfile.mkdtemp(prefix="wl-bench-", dir=shm if shm.is_dir() else home)
    (Path(base) / "bench").mkdir()
    secret = secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    os.environ |= {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }
    child = subprocess.Popen(
        [
            RCLONE,
            "serve",
            "s3",
            "--config=",
            f"--auth-key={KEY},{secret}",
            f"--addr=127.0.0.1:{port}",
            base,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(10)
        shutil.rmtree(base)
