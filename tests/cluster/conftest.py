"""A real control plane: etcd, kube-apiserver, kube-controller-manager; `make cluster` runs it.

There is no kubelet: a thread marks the pods ready. Everything listens on free loopback ports.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fix_kubernetes import write_kubeconfig

Json = dict[str, Any]
PROGRAMS = os.environ.get("WINDLASS_CLUSTER", "")
collect_ignore_glob = [] if PROGRAMS else ["test_*.py"]
STARTS_WITHIN = 120.0  # seconds, on a busy machine


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class ControlPlane:
    """The cluster, as its administrator sees it, and the pods' stand-in for a kubelet.

    never_ready: images of which no pod becomes ready.
    """

    home: Path
    port: int
    token: str
    never_ready: set[str] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as the administrator."""
        argv = ["kubectl", f"--kubeconfig={self.home / 'kubeconfig'}", *arguments]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *documents: Json) -> None:
        """Apply documents."""
        listing = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "--filename=-", text=json.dumps(listing))

    def mark_pods_ready(self) -> None:
        """Do as a kubelet does with pods whose images can run; runs in a thread of its own."""
        while not self.stopped.wait(0.3):
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):  # a busy server
                for pod in json.loads(self.kubectl("get", "pods", "-A", "-o", "json"))["items"]:
                    self._mark(pod)

    def _mark(self, pod: Json) -> None:
        meta = pod["metadata"]
        where = (f"--namespace={meta['namespace']}", "pod", meta["name"])
        if "deletionTimestamp" in meta:
            self.kubectl("delete", *where, "--force", "--grace-period=0", "--ignore-not-found")
            return
        images = {container["image"] for container in pod["spec"]["containers"]}
        ready = any(c["type"] == "Ready" for c in pod["status"].get("conditions", []))
        if ready or images & self.never_ready:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": at}
        change = json.dumps({"status": {"phase": "Running", "conditions": [condition]}})
        self.kubectl("patch", *where, "--subresource=status", "--type=merge", f"--patch={change}")


def _start(home: Path, name: str, *argv: str) -> subprocess.Popen[bytes]:
    with (home / f"{name}.log").open("wb") as log:
        return subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)


def _api_server(home: Path, etcd: int, port: int, token: str) -> tuple[str, ...]:
    key = home / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (home / "tokens").write_text(f"{token},admin,admin,system:masters\n")
    return (
        f"{PROGRAMS}/kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={home / 'certificates'}",
        f"--token-auth-file={home / 'tokens'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        # Without a controller that makes the account's token, no pod could be made.
        "--disable-admission-plugins=ServiceAccount",
    )


def _until_ready(plane: ControlPlane, children: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):  # not yet
            plane.kubectl("get", "--raw=/readyz")
            return
        logs = "\n".join(path.read_text()[-2000:] for path in plane.home.glob("*.log"))
        assert all(child.poll() is None for child in children), logs
        assert time.monotonic() < deadline, logs
        time.sleep(0.5)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start the control plane, and end it by its own processes."""
    for program in ("etcd", "kubectl", "openssl", f"{PROGRAMS}/kube-apiserver"):
        assert shutil.which(program), f"no {program} here: tests/install-cluster"
    home = tmp_path_factory.mktemp("cluster")
    etcd, peer, port, token = free_port(), free_port(), free_port(), secrets.token_hex(16)
    write_kubeconfig(home, port, token)
    plane = ControlPlane(home, port, token)
    client = f"http://127.0.0.1:{etcd}"
    store = (
        "etcd",
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    )
    children = [_start(home, "etcd", *store)]
    try:
        children.append(_start(home, "api-server", *_api_server(home, etcd, port, token)))
        _until_ready(plane, children)
        controllers = (
            f"{PROGRAMS}/kube-controller-manager",
            f"--kubeconfig={home / 'kubeconfig'}",
            "--leader-elect=false",
            "--controllers=deployment-controller,replicaset-controller,statefulset-controller,"
            "daemonset-controller,garbage-collector-controller",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
        )
        children.append(_start(home, "controllers", *controllers))
        kubelet = threading.Thread(target=plane.mark_pods_ready, daemon=True)
        kubelet.start()
        yield plane
        plane.stopped.set()
        kubelet.join(60)
    finally:
        for child in reversed(children):
            child.terminate()
        for child in children:
            child.wait(30)
