"""The drivers of clusters: Kubernetes over a double of its API, Ray over a real cluster on loopback."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import psutil

from darkroom.fleet.drivers.kubernetes import KubernetesDriver
from darkroom.fleet.drivers.kubernetes_access import Access
from darkroom.fleet.drivers.ray import RayDriver
from darkroom.fleet.nouns import Driver
from tests.integration.kubernetes_api import Kubernetes, serving
from tests.integration.ray_cluster import on_loopback, ray_cluster
from tests.integration.service import free_port
from tests.missing import skip_or_fail

if TYPE_CHECKING:
    from .driver_kinds import Place

POOLS = 60  # more than the contract has tests
LIGHT_WORKER = """
import os, sys
from pathlib import Path
from tests.contract.light_worker import work
work([*sys.argv[2:], "--store", os.environ["DARKROOM_STORE"]], Path(sys.argv[1]))
"""


class KubernetesStage:
    """Pods that do nothing; they end when they are deleted, but not while they are held."""

    lives_on = True
    said_broken = "Kubernetes API server at .* does not answer"

    def __init__(self, at: Place, double: Kubernetes, url: str, stack: ExitStack) -> None:
        self._at, self._double, self._url, self._stack = at, double, url, stack

    def open(self) -> Driver:
        """One with the right token."""
        return self._opened(self._url)

    def open_broken(self) -> Driver:
        """Nobody listens there."""
        return self._opened(f"http://127.0.0.1:{free_port()}")

    def running(self) -> set[str]:
        """Pods whose container runs."""
        return self._double.running()

    def kill(self, name: str) -> None:
        """Its node is lost."""
        self._double.lose(name)

    def _opened(self, url: str) -> Driver:
        access = Access(url, self._double.namespace, fixed_token=self._double.token)
        driver = KubernetesDriver(self._at.settings, access)
        self._stack.callback(driver.close)
        return driver


class RayStage:
    """Light workers in real actors."""

    lives_on = True
    said_broken = "no Ray cluster answers"

    def __init__(self, at: Place, address: str, stack: ExitStack) -> None:
        self._at, self._address, self._stack = at, address, stack

    def open(self) -> Driver:
        """On the cluster."""
        return self._opened(self._address)

    def open_broken(self) -> Driver:
        """Nobody listens there."""
        return self._opened(f"127.0.0.1:{free_port()}")

    def running(self) -> set[str]:
        """What they told the store of themselves, of those whose process is there."""
        return set(self._pids())

    def kill(self, name: str) -> None:
        """The way of the out-of-memory killer."""
        os.kill(self._pids()[name], signal.SIGKILL)

    def _opened(self, address: str) -> Driver:
        settings = self._at.settings
        assert settings.fleet is not None
        fleet = settings.fleet.model_copy(update={"ray_address": address})
        program = ("-c", LIGHT_WORKER, str(self._at.hold))
        driver = RayDriver(settings.model_copy(update={"fleet": fleet}), self._at.store, program=program)
        self._stack.callback(driver.close)
        return driver

    def _pids(self) -> dict[str, int]:
        told = {report.id: int(report.facts["pid"]) for report in self._at.store.workers(0.0)}
        return {name: pid for name, pid in told.items() if psutil.pid_exists(pid)}


@contextmanager
def kubernetes(at: Place) -> Iterator[KubernetesStage]:
    """A Deployment for each pool of the contract."""
    double = Kubernetes(token="let-me-in", is_held=at.hold.exists)
    for number in range(POOLS):
        for name in (f"pool-{number}", f"pool-{number}-beside"):
            double.add_deployment(f"workers-{name}", name)
    with serving(double) as url, ExitStack() as stack:
        yield KubernetesStage(at, double, url, stack)


@contextmanager
def ray(at: Place) -> Iterator[RayStage]:
    """One node with room for every test's workers."""
    ray_missing()
    with on_loopback(), ray_cluster(at.settings.home / "ray.log", cpus=6) as cluster, ExitStack() as stack:
        yield RayStage(at, cluster.address, stack)


def ray_missing() -> None:
    """Skip, or fail, where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        skip_or_fail("the ray package is not installed")
