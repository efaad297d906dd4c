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
EARLIER = "deployment.kubernetes.io/revision-history"
HASH = "pod-template-hash"
APPS, CORE = "/apis/apps/v1/namespaces/default", "/api/v1/namespaces/default"
Json = dict[str, Any]


@dataclass
class Cluster:
    """What the server serves.

    `behaviour` is of every template but the first one: complete, stuck, exceeded (its progress
    deadline), crashing (its pods restart), dies (half a second after the rollout completed).
    As in a real cluster, the controller acts a moment after a change: until then the change has
    no revision, and `observedGeneration` is the old one.
    """

    behaviour: str = "complete"
    lag: float = 0.2  # seconds until the controller sees a change
    seconds: float = 0.3  # until a rollout completes
    ending: float = 0.0  # seconds that the old pods take to end: with `strategy: Recreate` the
    # controller numbers the new ReplicaSet only then, and has seen the change long before
    deployment: Json = field(default_factory=dict)
    replica_sets: list[Json] = field(default_factory=list)
    observed: int = 1  # generation that the controller has seen
    numbered: int = 1  # generation whose ReplicaSet has its number
    changed_at: float = 0.0
    denied: set[tuple[str, str]] = field(default_factory=set)  # verbs on resources
    version: int = 100
    crashes: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        labels = {"app": "api"}
        self.deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "api",
                "namespace": "default",
                "uid": "d-1",
                "generation": 1,
                "resourceVersion": "100",
                "annotations": {REVISION: "1"},
                "labels": labels,
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
        }
        self.replica_sets.append(self._replica_set("1"))

    def current(self) -> Json:
        """Return the Deployment with the status of this moment."""
        with self.lock:
            self._control()
            found = copy.deepcopy(self.deployment)
            found["status"] = self._status()
        return found

    def _status(self) -> Json:
        wanted, rolling = self.deployment["spec"]["replicas"], self._seconds_rolling()
        status: Json = {
            "observedGeneration": self.observed,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": wanted,
            "availableReplicas": wanted,
        }
        if self.observed < self.deployment["metadata"]["generation"]:
            return status  # of the rollout before: nobody has begun with the new one
        if self.sick and self.behaviour == "dies" and rolling > self.seconds + 0.5:
            return status | {"availableReplicas": 0, "unavailableReplicas": wanted}
        done = rolling > self.seconds + self._ends_after()
        if done and not (self.sick and self.behaviour in ("stuck", "exceeded")):
            return status
        if self.numbered < self.deployment["metadata"]["generation"]:  # the old pods end
            return status | {"updatedReplicas": 0, "availableReplicas": 0}
        status |= {"replicas": wanted + 1, "updatedReplicas": 1, "unavailableReplicas": 1}
        if self.sick and self.behaviour == "exceeded" and rolling > self.seconds:
            status["conditions"] = [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
            ]
        return status

    def _ends_after(self) -> float:
        recreates = self.deployment["spec"]["strategy"]["type"] == "Recreate"
        return self.ending if recreates else 0.0

    def _seconds_rolling(self) -> float:
        return time.monotonic() - self.changed_at - self.lag

    @property
    def sick(self) -> bool:
        """Whether the pods of this template have a fault."""
        template = self.deployment["spec"]["template"]
        return self.behaviour != "complete" and not _same(
            template, self.replica_sets[0]["spec"]["template"]
        )

    def patch(self, kind: str, body: Any) -> None:  # JSON
        """Apply a patch of the three kinds that kubectl sends."""
        with self.lock:
            self._control()
            before = copy.deepcopy(self.deployment["spec"])
            if kind == "application/json-patch+json":
                for operation in body:
                    self._replace(operation["path"], operation["value"])
            else:
                _merge(self.deployment, body)
            self.version += 1
            meta, spec = self.deployment["metadata"], self.deployment["spec"]
            meta["resourceVersion"] = str(self.version)
            if spec != before:
                meta["generation"] += 1
            if spec["template"] != before["template"]:
                self.changed_at = time.monotonic()

    def scale(self, replicas: int) -> None:
        """Change the number of pods, as an autoscaler does: a new generation, no new revision."""
        self.patch("application/merge-patch+json", {"spec": {"replicas": replicas}})

    def _control(self) -> None:
        """Do what the controller does with a change: number its ReplicaSet, an old one anew."""
        meta = self.deployment["metadata"]
        if self._seconds_rolling() < 0:
            return
        self.observed = meta["generation"]
        if self.numbered == meta["generation"] or self._seconds_rolling() < self._ends_after():
            return
        self.numbered = meta["generation"]
        template = self.deployment["spec"]["template"]
        newest = max(int(found["metadata"]["annotations"][REVISION]) for found in self.replica_sets)
        same = [r for r in self.replica_sets if _same(r["spec"]["template"], template)]
        revision = str(newest + 1)
        if not same:
            self.replica_sets.append(self._replica_set(revision))
        else:
            notes = same[0]["metadata"]["annotations"]
            if int(notes[REVISION]) == newest:
                return
            earlier = [e for e in notes.get(EARLIER, "").split(",") if e]
            notes[EARLIER] = ",".join([*earlier, notes[REVISION]])
            notes[REVISION] = revision
        meta["annotations"] = {**meta.get("annotations", {}), REVISION: revision}

    def _replace(self, path: str, value: Any) -> None:  # JSON
        target = self.deployment
        *parents, last = path.strip("/").split("/")
        for parent in parents:
            target = target[parent]
        target[last] = value

    def _replica_set(self, revision: str) -> Json:
        template = copy.deepcopy(self.deployment["spec"]["template"])
        template["metadata"].setdefault("labels", {})[HASH] = f"h{revision}"
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"api-h{revision}",
                "namespace": "default",
                "uid": f"r-{revision}",
                "labels": template["metadata"]["labels"],
                "annotations": {REVISION: revision},
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": "api",
                        "uid": "d-1",
                        "controller": True,
                    }
                ],
            },
            "spec": {
                "replicas": 2,
                "template": template,
                "selector": {"matchLabels": template["metadata"]["labels"]},
            },
            "status": {"replicas": 2},
        }

    def pods(self) -> list[Json]:
        """Return one pod; a crashing one restarts at every look."""
        sick = self.sick
        if sick and self.behaviour == "crashing":
            self.crashes += 1
        reason = "ImagePullBackOff" if self.behaviour == "stuck" else "CrashLoopBackOff"
        container: Json = {
            "name": "api",
            "ready": not sick,
            "restartCount": self.crashes,
            "state": {"waiting": {"reason": reason}} if sick else {"running": {}},
        }
        if sick and self.behaviour in ("crashing", "dies"):
            container["lastState"] = {"terminated": {"exitCode": 3}}
        revision = self.deployment["metadata"]["annotations"][REVISION]
        meta = {"name": f"api-h{revision}-x1", "namespace": "default", "labels": {"app": "api"}}
        status = {"containerStatuses": [container]}
        return [{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}]

    def events(self) -> list[Json]:
        """Return a warning about the pod, an older one, one about another pod, and no warning."""
        pod = self.pods()[0]["metadata"]["name"]
        said = [
            ("Failed", "manifest for api:2 not found", pod, "Warning", "2026-08-03T10:15:00Z"),
            ("BackOff", "back-off pulling", pod, "Warning", "2026-08-03T10:14:00Z"),
            ("Unhealthy", "not ours", "other-h1-x1", "Warning", "2026-08-03T10:16:00Z"),
            ("ScalingReplicaSet", "scaled up", "api", "Normal", "2026-08-03T10:17:00Z"),
        ]
        return [
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"e{number}"},
                "reason": reason,
                "message": message,
                "involvedObject": {"name": name},
                "type": kind,
                "lastTimestamp": at,
            }
            for number, (reason, message, name, kind, at) in enumerate(said)
        ]


def _same(one: Json, other: Json) -> bool:
    """Compare two templates as the controller does, without the label that it adds itself.

    Without nulls and empty objects too: kubectl writes them, and a real server drops them.
    """

    def plain(value: Any) -> Any:  # JSON
        if not isinstance(value, dict):
            return [plain(item) for item in value] if isinstance(value, list) else value
        found = {key: plain(item) for key, item in value.items() if key != HASH}
        return {key: item for key, item in found.items() if item not in (None, {})}

    return bool(plain(one) == plain(other))


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
            {
                "name": name,
                "singularName": name[:-1],
                "namespaced": True,
                "kind": kind,
                "verbs": ["get", "list", "watch", "patch"],
            }
            for name, kind in names.items()
        ],
    }


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


def _fields(raw: bytes) -> dict[int, bytes]:
    """Return the fields of a protobuf message, all of which are strings or messages."""
    fields, at = {}, 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(raw):
        tag, length = number(), number()
        assert tag & 7 == 2, f"wire type {tag & 7}"
        fields[tag >> 3] = raw[at : at + length]
        at += length
    return fields


def _asked(raw: bytes) -> tuple[str, str]:
    """Return the verb and the resource of a SelfSubjectAccessReview, sent as protobuf."""
    assert raw.startswith(b"k8s\0"), raw
    review = _fields(_fields(raw[4:])[2])
    attributes = _fields(_fields(review[2])[1])
    return attributes[2].decode(), attributes[5].decode()


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
            {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": reason,
                "message": message,
                "code": code,
            },
        )

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
            self._list("ReplicaSet", "apps/v1", self.cluster.replica_sets)
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
            {
                "kind": f"{kind}List",
                "apiVersion": version,
                "metadata": {"resourceVersion": "100"},
                "items": items,
            },
        )

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

    def do_POST(self) -> None:
        if not self._allowed():
            return
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if urlsplit(self.path).path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            self._refuse(404, "NotFound", "not found")
            return
        allowed = _asked(raw) not in self.cluster.denied
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        self._json(201, review | {"spec": {}, "status": {"allowed": allowed}})

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


@pytest.fixture(scope="session")
def kubernetes_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return a TLS context with a fresh certificate: kubectl sends no token without TLS."""
    assert shutil.which("openssl"), "no openssl here: apt-get install openssl"
    directory = tmp_path_factory.mktemp("kubernetes")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kubernetes_tls: ssl.SSLContext
) -> Iterator[Cluster]:
    """Serve a cluster with the Deployment `api`, and point the real kubectl at it."""
    assert shutil.which("kubectl"), "no kubectl here: apt-get install kubernetes-client"
    found = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = kubernetes_tls.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.daemon_threads = True
    server.cluster = found  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    write_kubeconfig(tmp_path, server.server_port, TOKEN)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("HOME", str(tmp_path))  # of kubectl's discovery cache
    yield found
    server.shutdown()
    server.server_close()


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
