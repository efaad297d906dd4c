"""A small Kubernetes API server for the real kubectl: no cluster can be had here.

It speaks the real protocol to the real client, keeps one Deployment with its ReplicaSets, pods and
events, and refuses what the real one refuses: a wrong token, an unknown name, another media type.
"""

import copy
import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

TOKEN = "kube-test-token"
REVISION = "deployment.kubernetes.io/revision"
APPS, CORE = "/apis/apps/v1/namespaces/default", "/api/v1/namespaces/default"
Json = dict[str, Any]


@dataclass
class Cluster:
    """What the server serves. `behaviour`: complete, stuck, exceeded, crashing."""

    behaviour: str = "complete"
    seconds: float = 0.3  # until a rollout completes
    deployment: Json = field(default_factory=dict)
    replica_sets: dict[str, Json] = field(default_factory=dict)  # by revision
    changed_at: float = 0.0
    version: int = 100
    crashes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        labels = {"app": "api"}
        self.deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "api", "namespace": "default", "uid": "d-1", "generation": 1,
                "resourceVersion": "100", "annotations": {REVISION: "1"}, "labels": labels,
            },
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "api", "image": "api:1"}]},
                },
                "strategy": {"type": "RollingUpdate"},
            },
            "status": {},
        }  # fmt: skip
        self._replica_set("1")

    def current(self) -> Json:
        """Return the Deployment with the status of this moment."""
        with self.lock:
            found = copy.deepcopy(self.deployment)
        found["status"] = self._status(found)
        return found

    def _status(self, found: Json) -> Json:
        wanted, generation = found["spec"]["replicas"], found["metadata"]["generation"]
        done = time.monotonic() - self.changed_at > self.seconds
        if generation == 1 or (self.behaviour in ("complete", "crashing") and done):
            return {
                "observedGeneration": generation, "replicas": wanted, "updatedReplicas": wanted,
                "readyReplicas": wanted, "availableReplicas": wanted,
            }  # fmt: skip
        status: Json = {
            "observedGeneration": generation, "replicas": wanted + 1, "updatedReplicas": 1,
            "readyReplicas": wanted, "availableReplicas": wanted, "unavailableReplicas": 1,
        }  # fmt: skip
        if self.behaviour == "exceeded" and done:
            status["conditions"] = [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
            ]
        return status

    def patch(self, kind: str, body: Any) -> None:  # JSON
        """Apply a patch of the three kinds that kubectl sends."""
        with self.lock:
            before = copy.deepcopy(self.deployment["spec"])
            if kind == "application/json-patch+json":
                for operation in body:
                    self._replace(operation["path"], operation["value"])
            else:
                _merge(self.deployment, body)
            self.version += 1
            meta = self.deployment["metadata"]
            meta["resourceVersion"] = str(self.version)
            if self.deployment["spec"] != before:
                meta["generation"] += 1
                self.changed_at = time.monotonic()
                revision = str(max(int(r) for r in self.replica_sets) + 1)
                meta["annotations"] = {**meta.get("annotations", {}), REVISION: revision}
                self._replica_set(revision)

    def _replace(self, path: str, value: Any) -> None:  # JSON
        target = self.deployment
        *parents, last = path.strip("/").split("/")
        for parent in parents:
            target = target[parent]
        target[last] = value

    def _replica_set(self, revision: str) -> None:
        template = copy.deepcopy(self.deployment["spec"]["template"])
        template["metadata"].setdefault("labels", {})["pod-template-hash"] = f"h{revision}"
        self.replica_sets[revision] = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"api-h{revision}", "namespace": "default", "uid": f"r-{revision}",
                "labels": template["metadata"]["labels"], "annotations": {REVISION: revision},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "d-1",
                     "controller": True}
                ],
            },
            "spec": {
                "replicas": 2, "template": template,
                "selector": {"matchLabels": template["metadata"]["labels"]},
            },
            "status": {"replicas": 2},
        }  # fmt: skip

    def pods(self) -> list[Json]:
        """Return one pod; a crashing one restarts at every look."""
        sick = self.behaviour != "complete" and self.deployment["metadata"]["generation"] > 1
        if self.behaviour == "crashing" and sick:
            self.crashes += 1
        reason = "ImagePullBackOff" if self.behaviour == "stuck" else "CrashLoopBackOff"
        state = {"waiting": {"reason": reason}} if sick else {"running": {}}
        return [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "api-h1-x1", "namespace": "default", "labels": {"app": "api"}},
                "status": {
                    "containerStatuses": [
                        {"name": "api", "ready": not sick, "restartCount": self.crashes,
                         "state": state}
                    ]
                },
            }
        ]  # fmt: skip

    def events(self) -> list[Json]:
        """Return the one event there is."""
        return [
            {
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1"},
                "reason": "Failed", "message": "manifest for api:2 not found",
                "lastTimestamp": "2026-08-03T10:15:00Z",
            }
        ]  # fmt: skip


def _merge(target: Json, change: Json) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = value


def _resources(group: str, names: dict[str, str]) -> Json:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group,
        "resources": [
            {"name": name, "singularName": name[:-1], "namespaced": True, "kind": kind,
             "verbs": ["get", "list", "watch", "patch"]}
            for name, kind in names.items()
        ],
    }  # fmt: skip


DISCOVERY: dict[str, Json] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
            }
        ],
    },
    "/api/v1": _resources("v1", {"pods": "Pod", "events": "Event"}),
    "/apis/apps/v1": _resources(
        "apps/v1", {"deployments": "Deployment", "replicasets": "ReplicaSet"}
    ),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def cluster(self) -> Cluster:
        found: Cluster = self.server.cluster  # type: ignore[attr-defined]
        return found

    def log_message(self, *_: object) -> None: ...

    def _json(self, code: int, body: Json) -> None:
        raw = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _refuse(self, code: int, reason: str, message: str) -> None:
        self._json(
            code,
            {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
             "message": message, "code": code},
        )  # fmt: skip

    def _allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._refuse(401, "Unauthorized", "Unauthorized")
        return False

    def do_GET(self) -> None:
        if not self._allowed():
            return
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path in DISCOVERY:
            self._json(200, DISCOVERY[parts.path])
        elif parts.path == f"{APPS}/deployments":
            self._deployments(query)
        elif parts.path == f"{APPS}/deployments/api":
            self._json(200, self.cluster.current())
        elif parts.path == f"{APPS}/replicasets":
            self._list("ReplicaSet", "apps/v1", list(self.cluster.replica_sets.values()))
        elif parts.path == f"{CORE}/pods":
            self._list("Pod", "v1", self.cluster.pods())
        elif parts.path == f"{CORE}/events":
            self._list("Event", "v1", self.cluster.events())
        else:
            name = parts.path.rsplit("/", 1)[-1]
            self._refuse(404, "NotFound", f'deployments.apps "{name}" not found')

    def _list(self, kind: str, version: str, items: list[Json]) -> None:
        self._json(
            200,
            {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "100"},
             "items": items},
        )  # fmt: skip

    def _deployments(self, query: dict[str, list[str]]) -> None:
        if query.get("watch") not in (["true"], ["1"]):
            self._list("Deployment", "apps/v1", [self.cluster.current()])
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for _ in range(100):
                event = {"type": "MODIFIED", "object": self.cluster.current()}
                self.wfile.write(json.dumps(event).encode() + b"\n")
                self.wfile.flush()
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return  # kubectl has seen enough, as it does with a real server
        finally:
            self.close_connection = True

    def do_PATCH(self) -> None:
        if not self._allowed():
            return
        kind = self.headers.get("Content-Type", "")
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if urlsplit(self.path).path != f"{APPS}/deployments/api":
            self._refuse(404, "NotFound", "not found")
        elif kind not in (
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ):
            self._refuse(415, "UnsupportedMediaType", f"the body is {kind}")
        else:
            self.cluster.patch(kind, body)
            self._json(200, self.cluster.current())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Serve a cluster with the Deployment `api`, and point the real kubectl at it."""
    assert shutil.which("kubectl"), "no kubectl here: apt-get install kubernetes-client"
    found = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = _tls(tmp_path).wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.daemon_threads = True
    server.cluster = found  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_kubeconfig(tmp_path, server.server_port, TOKEN)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("HOME", str(tmp_path))  # of kubectl's discovery cache
    yield found
    server.shutdown()
    server.server_close()


def _tls(directory: Path) -> ssl.SSLContext:
    """Return a TLS context with a fresh certificate: kubectl sends no token without TLS."""
    assert shutil.which("openssl"), "no openssl here: apt-get install openssl"
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def write_kubeconfig(directory: Path, port: int, token: str) -> None:
    """Write a kubeconfig for a server on a loopback port."""
    (directory / "kubeconfig").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {
                            "server": f"https://127.0.0.1:{port}",
                            "insecure-skip-tls-verify": True,
                        },
                    }
                ],
                "users": [{"name": "test", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }
        )
    )
