"""Workers that are processes of this machine, forked from one that has imported what they need.

                  its process runs      the store says it is ready       SIGTERM
    scale ──▶ asked for ───▶ starting ───────────────▶ ready ───────────────▶ leaving ──▶ gone
                                '───────────────── dies: its jobs are released at once ────▶ gone

They end with their driver: each holds a pipe of it, and drains when that closes. A new driver therefore knows nobody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from ...config import Settings
from ...errors import DriverUnavailable, StoreUnavailable
from ...jobs.store import Store
from ..devices import CUDA_DEVICES, accelerators, share
from ..forkserver import Asked, ForkServer
from ..nouns import Member, Phase, Pool
from ..releasing import Releasing
from ..supervisor import BACKOFF_S, PARENT_PIPE, POLL_S, STOP_MARGIN_S
from . import pool_environment, worker_name

log = logging.getLogger(__name__)

FORK_SERVER = (sys.executable, "-m", "darkroom", "fork-server")
SINCE_MARGIN_S = 60.0  # a store may keep its own time
PHASES = {"ready": Phase.READY, "draining": Phase.LEAVING, "stopped": Phase.LEAVING}


@dataclass
class Process:
    """A worker; `process` is None until it has been forked, `kill_at` until it was asked to drain."""

    name: str
    pool: str
    since: float
    device: str | None
    phase: Phase = Phase.STARTING
    process: psutil.Process | None = None
    kill_at: float | None = None

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended; one that nobody has waited for yet has ended too."""
        if self.process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            return not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE
        return True

    def send(self, signalled: Callable[[psutil.Process], None]) -> None:
        """Signal it, if it is there."""
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                signalled(self.process)


@dataclass(frozen=True)
class Fault:
    """Why a pool's fork-server has ended, how often in a row, and when another may be tried (monotonic seconds)."""

    error: DriverUnavailable
    count: int
    retry_at: float

    @classmethod
    def after(cls, before: Fault | None, error: DriverUnavailable) -> Fault:
        """The next one in a row: what fails reads as much code as what works, and must not do it all the time."""
        count = 1 if before is None else before.count + 1
        return cls(error, count, time.monotonic() + BACKOFF_S[min(count, len(BACKOFF_S) - 1)])


class LocalDriver:
    """Owns its workers: `close` drains them.

    `arguments` are for each worker and for the fork-server (`--model NAME`), which is the program `fork_server`.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        arguments: Sequence[str] = (),
        *,
        fork_server: Sequence[str] = FORK_SERVER,
    ) -> None:
        self._settings, self._store, self._program = settings, store, fork_server
        config = [] if settings.config_file is None else ["--config", str(settings.config_file)]
        self._shared = [*config, *arguments]
        self._stop_s = settings.serve.drain_s + STOP_MARGIN_S
        self._releasing = Releasing(store, log.warning)
        self._servers: dict[str, ForkServer] = {}
        self._faults: dict[str, Fault] = {}
        self._processes: dict[str, Process] = {}
        self._pipe = os.pipe()
        if not hasattr(os, "fork"):
            raise DriverUnavailable("workers are forked on POSIX alone: this system starts them by `darkroom worker`")

    def members(self) -> Sequence[Member]:
        """Those that it started and that have not ended."""
        self._tend()
        self._learn_phases()
        return [Member(each.name, each.pool, each.phase, each.since) for each in self._processes.values()]

    def scale(self, pool: Pool, workers: int, leaving: Sequence[str] = ()) -> None:
        """See `Driver`. Asked for none, it still prepares: the first worker is then ready as soon as a further one."""
        self._tend()
        staying = [each for each in self._processes.values() if each.pool == pool.name and each.phase != Phase.LEAVING]
        for each in by_leaving(staying, leaving)[: max(0, len(staying) - workers)]:
            self._drain(each)
        server = self._server_of(pool)
        for _ in range(workers - len(staying)):
            self._start(server, pool)

    def close(self) -> None:
        """Drain all workers side by side, and kill those that do not end in time."""
        for name in {each.pool for each in self._processes.values() if each.process is None}:
            if name in self._servers:
                self._take(self._servers.pop(name).close())
            self._drop({name})
        for each in self._processes.values():
            self._drain(each)
        while self._processes:
            with contextlib.suppress(DriverUnavailable):
                self._tend()
            time.sleep(POLL_S)
        while self._servers:  # last: they wait for those that they forked
            self._servers.popitem()[1].close()
        for end in self._pipe:
            with contextlib.suppress(OSError):
                os.close(end)

    def _start(self, server: ForkServer, pool: Pool) -> None:
        name, devices = worker_name(pool), accelerators(pool.environment.get(CUDA_DEVICES))
        places = ["--store", self._settings.store_url, "--storage", self._settings.storage_url]
        arguments = ["worker", "--id", name, *places, *self._shared, PARENT_PIPE, str(self._pipe[0])]
        taken = Counter(each.device for each in self._processes.values())
        device = min(devices, key=lambda each: taken[each], default=None)  # the one with the fewest workers
        environment = share(self._most_workers, len(devices)) | ({} if device is None else {CUDA_DEVICES: device})
        server.ask(Asked(name, arguments, environment))
        self._processes[name] = Process(name, pool.name, time.time(), device)

    @property
    def _most_workers(self) -> int:
        """That there may be here at once."""
        pools = {} if self._settings.fleet is None else self._settings.fleet.pools
        return max(1, sum(pool.max_workers for pool in pools.values()))

    def _server_of(self, pool: Pool) -> ForkServer:
        """That of the pool: libraries read some of its environment as they are imported."""
        fault = self._faults.get(pool.name)
        if fault is not None and time.monotonic() < fault.retry_at:
            raise fault.error
        if pool.name not in self._servers:
            command = [*self._program, *self._shared]
            self._servers[pool.name] = ForkServer(command, pool_environment(pool), self._pipe[:1])
        return self._servers[pool.name]

    def _drain(self, each: Process) -> None:
        if each.kill_at is None:
            each.phase, each.kill_at = Phase.LEAVING, time.monotonic() + self._stop_s
            each.send(psutil.Process.terminate)

    def _tend(self) -> None:
        """Note who has begun and who has ended; raises `DriverUnavailable` where no more can begin."""
        self._releasing.tend()
        broken = self._hear()
        for each in [each for each in self._processes.values() if each.is_gone]:
            self._bury(each)
        for each in self._processes.values():
            if each.kill_at is not None and time.monotonic() >= each.kill_at:
                log.warning("%s did not end within %g s and is killed", each.name, self._stop_s)
                each.send(psutil.Process.kill)
        if broken is not None:
            raise broken

    def _hear(self) -> DriverUnavailable | None:
        broken = None
        for name, server in list(self._servers.items()):
            try:
                self._take(server.answers())
            except DriverUnavailable as error:
                broken = error
                del self._servers[name]
                self._take(server.close())
                self._drop({name})
                self._faults[name] = Fault.after(self._faults.get(name), error)
        return broken

    def _take(self, pids: dict[str, int]) -> None:
        """These have been forked."""
        for name, pid in pids.items():
            each = self._processes[name]
            self._faults.pop(each.pool, None)
            try:
                each.process = psutil.Process(pid)
            except psutil.NoSuchProcess:
                self._bury(each)
            if each.phase == Phase.LEAVING:  # it was asked before it was there
                each.send(psutil.Process.terminate)

    def _drop(self, pools: set[str]) -> None:
        """Those that were asked for, and never will be."""
        for each in list(self._processes.values()):
            if each.process is None and each.pool in pools:
                del self._processes[each.name]

    def _bury(self, each: Process) -> None:
        if each.phase != Phase.LEAVING:
            log.warning("%s has ended, and was not asked to", each.name)
        del self._processes[each.name]
        self._releasing.note_death(each.name, each.name)

    def _learn_phases(self) -> None:
        """What the workers told the store; while it is away, they are what they were."""
        oldest = min((each.since for each in self._processes.values()), default=None)
        if oldest is None:
            return
        with contextlib.suppress(StoreUnavailable):
            for report in self._store.workers(oldest - SINCE_MARGIN_S):
                each = self._processes.get(report.id)
                if each is not None and each.phase != Phase.LEAVING:
                    each.phase = PHASES.get(report.state, each.phase)


def by_leaving(staying: Sequence[Process], named: Sequence[str]) -> list[Process]:
    """Who leaves first: those named, in their order; then who serves nobody yet; then the youngest."""
    order = {name: place for place, name in enumerate(named)}
    rest = len(order)
    return sorted(staying, key=lambda each: (order.get(each.name, rest), each.phase != Phase.STARTING, -each.since))
