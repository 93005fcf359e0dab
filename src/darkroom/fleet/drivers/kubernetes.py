"""Workers that are pods: a Deployment for each pool, which this scales and Kubernetes fills.

                  a node has room, images are pulled      its probe succeeds        it is deleted
    scale ──▶ Pending ─────────────────────────▶ starting ───────────▶ ready ───────────▶ leaving ──▶ gone

The Deployment carries the label `darkroom.dev/pool: NAME`, and so do its pods; the pod's name is the worker's id. Who
leaves first is told by the annotation `controller.kubernetes.io/pod-deletion-cost`; pods that are not ready leave
before it counts. Pods outlive their driver.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ...config import Settings
from ...errors import DriverUnavailable, InvariantBroken
from ..nouns import Member, Phase, Pool
from .kubernetes_access import Access, find_access
from .kubernetes_api import PAUSES_S, Api, Conflict, NotThere

POOL_LABEL = "darkroom.dev/pool"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
LOWEST_COST = -(2**31)  # of the annotation; the lowest leaves first
ENDED = ("Succeeded", "Failed")
SETTLE_S = 1.0
LOOK_S = 0.05


class KubernetesDriver:
    """Needs get, list and patch on deployments, deployments/scale and pods; `access` None: as the process finds it.

    Raises `DriverUnavailable` where the API server does not answer or refuses.
    """

    def __init__(self, settings: Settings, access: Access | None = None) -> None:
        if settings.fleet is None:
            raise InvariantBroken("there is no fleet to drive: the settings have no [fleet]")
        access = access or find_access(os.environ)
        self._namespace = settings.fleet.kubernetes_namespace or access.namespace
        self._api = Api(access)

    def members(self) -> Sequence[Member]:
        """The pods with a pool's label that have not ended."""
        return [_member(pod) for pod in self._pods(POOL_LABEL)]

    def scale(self, pool: Pool, workers: int, leaving: Sequence[str] = ()) -> None:
        """See `Driver`. Repeated where somebody else changes the Deployment meanwhile."""
        path = self._deployment(pool)
        for pause_s in PAUSES_S:
            try:
                self._scale(path, pool, workers, leaving)
                return self._wait_for_pods(pool, workers)
            except Conflict:
                time.sleep(pause_s)
            except NotThere as error:
                raise DriverUnavailable(f"the Deployment of pool {pool.name} was deleted just now") from error
        raise DriverUnavailable(f"the Deployment of pool {pool.name} changes again and again while it is scaled")

    def close(self) -> None:
        """Let go of the API server; the pods stay."""
        self._api.close()

    def _scale(self, path: str, pool: Pool, workers: int, leaving: Sequence[str]) -> None:
        scale = self._api.get(f"{path}/scale")
        there = int(scale["spec"].get("replicas", 0))
        if there == workers:
            return
        if there > workers:
            self._say_who_leaves(pool, leaving, there - workers)
        said = {"resourceVersion": scale["metadata"]["resourceVersion"]}
        self._api.patch(f"{path}/scale", {"metadata": said, "spec": {"replicas": workers}})

    def _say_who_leaves(self, pool: Pool, leaving: Sequence[str], count: int) -> None:
        """Give the first of these the lowest costs, in their order, and take back what was said of others."""
        noted = {pod["metadata"]["name"]: _cost_of(pod) for pod in self._staying(pool)}
        first = [name for name in leaving if name in noted][:count]
        costs = {name: str(LOWEST_COST + place) for place, name in enumerate(first)}
        for name, cost in noted.items():
            if cost != costs.get(name):
                self._note_cost(name, costs.get(name))

    def _wait_for_pods(self, pool: Pool, workers: int) -> None:
        """Until Kubernetes has made or deleted them, which takes a moment; a quota may keep it from making them."""
        until = time.monotonic() + SETTLE_S
        while len(self._staying(pool)) != workers and time.monotonic() < until:
            time.sleep(LOOK_S)

    def _staying(self, pool: Pool) -> list[dict[str, Any]]:
        return [pod for pod in self._pods(f"{POOL_LABEL}={pool.name}") if _phase(pod) != Phase.LEAVING]

    def _note_cost(self, pod: str, cost: str | None) -> None:
        try:
            body = {"metadata": {"annotations": {DELETION_COST: cost}}}
            self._api.patch(f"/api/v1/namespaces/{self._namespace}/pods/{pod}", body)
        except NotThere:
            return  # it has left by itself

    def _deployment(self, pool: Pool) -> str:
        """Its path; raises `DriverUnavailable` unless exactly one carries the pool's label."""
        path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments"
        names = [str(each["metadata"]["name"]) for each in self._list(path, f"{POOL_LABEL}={pool.name}")]
        if len(names) != 1:
            found = ", ".join(names) if names else "none"
            raise DriverUnavailable(
                f"one Deployment in namespace {self._namespace} must carry {POOL_LABEL}={pool.name}; found: {found}"
            )
        return f"{path}/{names[0]}"

    def _pods(self, selector: str) -> list[dict[str, Any]]:
        pods = self._list(f"/api/v1/namespaces/{self._namespace}/pods", selector)
        return [pod for pod in pods if pod.get("status", {}).get("phase") not in ENDED]

    def _list(self, path: str, selector: str) -> list[dict[str, Any]]:
        try:
            return self._api.get_all(path, selector)
        except NotThere as error:
            raise DriverUnavailable(f"what answers has no {path}: is it a Kubernetes API server?") from error


def _member(pod: Mapping[str, Any]) -> Member:
    meta = pod["metadata"]
    since = datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
    return Member(meta["name"], meta["labels"][POOL_LABEL], _phase(pod), since)


def _cost_of(pod: Mapping[str, Any]) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(DELETION_COST)


def _phase(pod: Mapping[str, Any]) -> Phase:
    if "deletionTimestamp" in pod["metadata"]:
        return Phase.LEAVING
    conditions = pod.get("status", {}).get("conditions") or ()
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return Phase.READY if is_ready else Phase.STARTING
