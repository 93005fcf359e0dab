"""A double of Kubernetes: an API server that is strict about what it is asked, and controllers that keep its pods.

Of the API it has what `darkroom.fleet.drivers.kubernetes` uses: lists of Deployments and pods by label, in pages; the
`scale` subresource; merge patches. Whatever else it is asked it refuses as a real one would: paths, methods, content
types, unknown fields, tokens, verbs that the Role lacks, a `resourceVersion` that is not the latest.

Its ReplicaSet controller ranks pods as k8s.io/kubernetes/pkg/controller `ActivePodsWithRanks` does: pending before
running, not ready before ready, the lower deletion cost, the younger. Its kubelet starts pods and ends those deleted.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

POOL_LABEL = "darkroom.dev/pool"
COST = "controller.kubernetes.io/pod-deletion-cost"
MERGES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
ROLE = frozenset(
    {("list", "deployments"), ("get", "deployments/scale"), ("patch", "deployments/scale"), ("list", "pods")}
    | {("patch", "pods")}
)
PATHS = {
    "pods": re.compile(r"/api/v1/namespaces/(?P<namespace>[a-z0-9-]+)/pods(/(?P<name>[a-z0-9.-]+))?"),
    "deployments": re.compile(
        r"/apis/apps/v1/namespaces/(?P<namespace>[a-z0-9-]+)/deployments(/(?P<name>[a-z0-9.-]+)(?P<scale>/scale)?)?"
    ),
}
SELECTOR = re.compile(r"(?P<key>[\w./-]+)(=(?P<value>[\w.-]+))?")
TURN_S = 0.01


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class Fault:
    """What the next `times` requests that match are answered."""

    code: int
    method: str
    path: str
    times: int = 1


@dataclass
class Kubernetes:
    """The cluster; all under one lock. `is_held`: deleted pods do not end yet; `start_s`: until a pod is ready."""

    token: str
    namespace: str = "studio"
    role: frozenset[tuple[str, str]] = ROLE
    start_s: float = 0.1
    is_held: Callable[[], bool] = lambda: False
    pages: int = 250  # at most so many objects in one answer
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    before_patch: Callable[[], None] = lambda: None
    quota: int = 1000
    version: int = 1
    lock: threading.RLock = field(default_factory=threading.RLock)

    def add_deployment(self, name: str, pool: str, replicas: int = 0) -> None:
        """A pool's Deployment."""
        with self.lock:
            self.deployments[name] = {
                "metadata": {"name": name, "labels": {POOL_LABEL: pool}, **self._made()},
                "spec": {"replicas": replicas},
            }

    def touch(self, name: str) -> None:
        """Somebody else changes it."""
        with self.lock:
            self.deployments[name]["metadata"]["resourceVersion"] = self._next_version()

    def lose(self, name: str) -> None:
        """A pod's node dies: the pod ends, and Kubernetes makes another in its place."""
        with self.lock:
            self.pods[name]["status"] = {"phase": "Failed", "reason": "NodeLost"}

    def running(self) -> set[str]:
        """Names of the pods whose container runs."""
        with self.lock:
            return {name for name, pod in self.pods.items() if pod["status"]["phase"] == "Running"}

    def make_pod(self, deployment: str) -> str:
        """One more of the Deployment's."""
        name = f"{deployment}-{secrets.token_hex(3)}"
        labels = dict(self.deployments[deployment]["metadata"]["labels"])
        said = {"name": name, "labels": labels, **self._made(), "owner": deployment, "born": time.monotonic()}
        self.pods[name] = {"metadata": said, "status": {"phase": "Pending"}}
        return name

    def turn(self) -> None:
        """What the controllers and the kubelets do in a moment."""
        with self.lock:
            for name in list(self.deployments):
                self._reconcile(name)
            for name, pod in list(self.pods.items()):
                self._tend(name, pod)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The API server; raises `Refused`."""
        url = urlsplit(target)
        said = _object(body) if body else None
        with self.lock:
            self.asked.append((method, target, said))
            self._check_token(headers)
            self._fail_if_asked(method, url.path)
            for resource, pattern in PATHS.items():
                if found := pattern.fullmatch(url.path):
                    return self._route(method, resource, found.groupdict(), parse_qs(url.query), headers, said)
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _route(
        self,
        method: str,
        resource: str,
        place: Mapping[str, str | None],
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        said: Any,
    ) -> dict[str, Any]:
        name, full = place["name"], resource + (place.get("scale") or "")
        verb = {"GET": "list" if name is None else "get", "PATCH": "patch"}.get(method)
        if verb is None or (verb == "patch" and name is None):
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if (verb, full) not in self.role or place["namespace"] != self.namespace:
            where = f'in API group "" in the namespace "{place["namespace"]}"'
            raise Refused(403, "Forbidden", f'User "fleet" cannot {verb} resource "{full}" {where}')
        objects = self.pods if resource == "pods" else self.deployments
        if name is None:
            return self._list(objects, query)
        if query:
            raise Refused(400, "BadRequest", f"unknown parameters {sorted(query)}")
        if verb == "patch":
            self.before_patch()
        if name not in objects:
            raise Refused(404, "NotFound", f'{resource} "{name}" not found')
        if verb == "patch":
            _check_patch(headers, said)
            (self._patch_scale if place.get("scale") else self._patch_pod)(objects[name], said)
        return _scale_of(objects[name]) if place.get("scale") else copy.deepcopy(objects[name])

    def _list(self, objects: Mapping[str, dict[str, Any]], query: Mapping[str, list[str]]) -> dict[str, Any]:
        if unknown := set(query) - {"labelSelector", "limit", "continue"}:
            raise Refused(400, "BadRequest", f"unknown parameters {sorted(unknown)}")
        selector = SELECTOR.fullmatch(query["labelSelector"][0])
        if selector is None:
            raise Refused(400, "BadRequest", "unable to parse requirement")
        key, value = selector["key"], selector["value"]
        found = [
            copy.deepcopy(each)
            for each in objects.values()
            if key in each["metadata"]["labels"] and value in (None, each["metadata"]["labels"][key])
        ]
        first, count = int(query.get("continue", ["0"])[0]), min(self.pages, int(query.get("limit", ["500"])[0]))
        more = {"continue": str(first + count)} if first + count < len(found) else {}
        return {"kind": "List", "metadata": more, "items": found[first : first + count]}

    def _patch_scale(self, deployment: dict[str, Any], said: Any) -> None:
        _check_fields(said, {"metadata": {"resourceVersion"}, "spec": {"replicas"}})
        version = said.get("metadata", {}).get("resourceVersion")
        if version not in (None, deployment["metadata"]["resourceVersion"]):
            name = deployment["metadata"]["name"]
            raise Refused(409, "Conflict", f'Operation cannot be fulfilled on deployments "{name}": modified')
        replicas = said["spec"]["replicas"]
        if not isinstance(replicas, int) or replicas < 0:
            raise Refused(422, "Invalid", "spec.replicas: must be greater than or equal to 0")
        deployment["spec"]["replicas"] = replicas
        deployment["metadata"]["resourceVersion"] = self._next_version()

    def _patch_pod(self, pod: dict[str, Any], said: Any) -> None:
        _check_fields(said, {"metadata": {"annotations"}})
        notes = pod["metadata"].setdefault("annotations", {})
        for key, value in said["metadata"]["annotations"].items():
            if value is None:
                notes.pop(key, None)
            elif not isinstance(value, str):
                raise Refused(400, "BadRequest", "json: cannot unmarshal number into Go struct field of type string")
            elif key == COST and not -(2**31) <= int(value) < 2**31:
                raise Refused(422, "Invalid", f"metadata.annotations[{COST}]: must be a 32bit integer")
            else:
                notes[key] = value

    def _reconcile(self, deployment: str) -> None:
        wanted = self.deployments[deployment]["spec"]["replicas"]
        own = [pod for pod in self.pods.values() if pod["metadata"]["owner"] == deployment and _is_active(pod)]
        for _ in range(min(wanted - len(own), self.quota - len(self.pods))):
            self.make_pod(deployment)
        for pod in sorted(own, key=_rank)[: max(0, len(own) - wanted)]:
            pod["metadata"]["deletionTimestamp"] = _now()
        if len(own) != wanted:
            self.touch(deployment)  # its status changes, and with it its version

    def _tend(self, name: str, pod: dict[str, Any]) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            if pod["status"]["phase"] != "Running" or not self.is_held():
                del self.pods[name]
            return
        age_s = time.monotonic() - pod["metadata"]["born"]
        if pod["status"]["phase"] == "Failed" or age_s < self.start_s / 2:
            return
        is_ready = "True" if age_s >= self.start_s else "False"
        pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": is_ready}]}

    def _check_token(self, headers: Mapping[str, str]) -> None:
        if headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")

    def _fail_if_asked(self, method: str, path: str) -> None:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.path in path:
                fault.times -= 1
                raise Refused(fault.code, "Fault", f"fault {fault.code}")

    def _made(self) -> dict[str, str]:
        return {"creationTimestamp": _now(), "resourceVersion": self._next_version()}

    def _next_version(self) -> str:
        self.version += 1
        return str(self.version)


@contextlib.contextmanager
def serving(kubernetes: Kubernetes, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The cluster's API server on loopback; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                code, answer = 200, kubernetes.answer(self.command, self.path, headers, body)
            except Refused as refused:
                said = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": str(refused)}
                code, answer = refused.code, {**said, "reason": refused.reason, "code": refused.code}
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    for method in ("GET", "PATCH", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    server, ended = ThreadingHTTPServer(("127.0.0.1", 0), Handler), threading.Event()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)

    def control() -> None:
        while not ended.wait(TURN_S):
            kubernetes.turn()

    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)), threading.Thread(target=control)]
    for thread in threads:
        thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()


def _is_active(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] not in ("Failed", "Succeeded")


def _rank(pod: Mapping[str, Any]) -> tuple[bool, bool, int, float]:
    is_ready = any(each["status"] == "True" for each in pod["status"].get("conditions", ()))
    cost = int(pod["metadata"].get("annotations", {}).get(COST, "0"))
    return (pod["status"]["phase"] == "Running", is_ready, cost, -pod["metadata"]["born"])


def _scale_of(deployment: Mapping[str, Any]) -> dict[str, Any]:
    meta = {key: deployment["metadata"][key] for key in ("name", "resourceVersion")}
    spec = {key: value for key, value in deployment["spec"].items() if value}  # Go leaves a zero out
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec}


def _check_patch(headers: Mapping[str, str], said: Any) -> None:
    kind = headers.get("content-type", "")
    if kind not in MERGES:
        raise Refused(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")
    if not isinstance(said, dict):
        raise Refused(400, "BadRequest", "a merge patch is an object")


def _check_fields(said: Mapping[str, Any], known: Mapping[str, set[str]]) -> None:
    for part, fields in said.items():
        if part not in known or set(fields) - known[part]:
            raise Refused(400, "BadRequest", f"strict decoding error: unknown field in {part!r}")


def _object(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise Refused(400, "BadRequest", "error decoding patch") from None


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
