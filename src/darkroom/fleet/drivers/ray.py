"""Workers that are actors of a Ray cluster: named, detached, placed by what they need.

                 a node has room      the store says it is ready       its pipe closes
    scale ──▶ asked for ──▶ starting ─────────────▶ ready ──────────────────▶ leaving ──▶ gone
                                '────────── its process or its node dies ───────────────────▶ gone; once it is silent
                                                                                              its jobs are released

They outlive their driver, and the next one finds them by name. The fleets of one cluster keep apart by namespace: those
who share a store are one fleet. Ray's library lives in a process beside this one (`ray_side.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ...config import Settings, gateway_key
from ...errors import DriverUnavailable, InvariantBroken, StoreUnavailable
from ...jobs.store import Store
from ...storage.link import is_gateway_url
from ..nouns import Member, Phase, Pool
from ..releasing import Orphans, Releasing
from ..supervisor import STOP_MARGIN_S
from . import pool_environment, worker_name
from .ray_actor import CONFIG_FILE, ActorName

log = logging.getLogger(__name__)

PROGRAM = ("-m", "darkroom")  # of the Python on the node
SIDE = "darkroom.fleet.drivers.ray_side"
THIS_MACHINES = "auto"
REACH_S = 3.0
JOIN_S = 30.0
ANSWER_S = 10.0
SINCE_MARGIN_S = 60.0  # a store may keep its own time
LOST_BEATS = 3  # one that is late, or lost, is nobody's death
BEAT_MARGIN_S = 1.0  # a heartbeat may come so much late
PHASES = {"ready": Phase.READY, "draining": Phase.LEAVING, "stopped": Phase.LEAVING}


class RayDriver:
    """Needs a node of the cluster on its own machine, as Ray's library does; `program` is what the workers run.

    Raises `DriverUnavailable` where Ray is not installed, and from its verbs where the cluster does not answer.
    """

    def __init__(self, settings: Settings, store: Store, *, program: Sequence[str] = PROGRAM) -> None:
        if settings.fleet is None:
            raise InvariantBroken("there is no fleet to drive: the settings have no [fleet]")
        if importlib.util.find_spec("ray") is None:
            raise DriverUnavailable("Ray is not installed; the extra brings it: pip install 'darkroom-server[ray]'")
        self._settings, self._store, self._program, self._fleet = settings, store, program, settings.fleet
        self._side: _Side | None = None
        self._orphans = Orphans(min(LOST_BEATS * settings.serve.heartbeat_s, settings.serve.lease_s) + BEAT_MARGIN_S)
        self._releasing = Releasing(store, log.warning)

    def members(self) -> Sequence[Member]:
        """Those whose actor is not gone, also where it waits for a node."""
        return self._with_phases(
            [_member(ActorName.read(name), leaves) for name, leaves in self._ask("members").items()]
        )

    def scale(self, pool: Pool, workers: int, leaving: Sequence[str] = ()) -> None:
        """See `Driver`. Who has no place yet leaves at once."""
        staying = [each for each in self.members() if each.pool == pool.name and each.phase != Phase.LEAVING]
        for _ in range(workers - len(staying)):
            self._start(pool)
        if too_many := by_leaving(staying, leaving)[: max(0, len(staying) - workers)]:
            self._ask("drain", names=[str(ActorName(each.pool, each.name, each.since)) for each in too_many])

    def close(self) -> None:
        """Let go of the cluster; the workers stay."""
        if self._side is not None:
            self._side.close()
            self._side = None

    def _start(self, pool: Pool) -> None:
        name = worker_name(pool)
        worker = {
            "arguments": [*self._program, "worker", "--id", name],
            "environment": self._environment(pool),
            "stop_s": self._settings.serve.drain_s + STOP_MARGIN_S,
        }
        resources = resources_of(pool, self._said_resources(pool))
        self._ask("start", name=str(ActorName(pool.name, name, time.time())), resources=resources, worker=worker)

    def _said_resources(self, pool: Pool) -> dict[str, float]:
        said = self._fleet.pools.get(pool.name)
        return said.ray_resources if said is not None else {}

    def _environment(self, pool: Pool) -> dict[str, str]:
        """In the environment nobody else on the node reads the store's password."""
        settings = self._settings
        said = {"DARKROOM_STORE": settings.store_url, "DARKROOM_STORAGE": settings.storage_url}
        said["DARKROOM_HOME"] = str(settings.home)
        if settings.config_file is not None:
            said[CONFIG_FILE] = str(settings.config_file)
        if is_gateway_url(settings.store_url) and (key := gateway_key(settings)):
            said["DARKROOM_API_KEY"] = key
        return {**said, **pool_environment(pool)}

    def _with_phases(self, members: list[Member]) -> list[Member]:
        """What the workers told the store, and who of them is dead; while it is away, only who leaves is known."""
        self._releasing.tend()
        there = {each.name: each.since for each in members}
        oldest = self._orphans.oldest(there)
        if oldest is None:
            return members
        try:
            told = {report.id: report for report in self._store.workers(oldest - SINCE_MARGIN_S)}
        except StoreUnavailable:
            self._orphans.lose_sight()  # who beat meanwhile could not be heard
            return members
        for name in self._orphans.look(there, told, time.monotonic()):
            log.warning("%s has ended without a word", name)
            self._releasing.note_death(name, name)
        return [_with_phase(each, told[each.name].state if each.name in told else "") for each in members]

    def _ask(self, verb: str, **said: Any) -> Any:
        """Of the process beside; one that fails is ended, and the next call has a new one."""
        if self._side is None:
            self._side = _Side(self._fleet.ray_address, namespace_of(self._settings.store_url))
        try:
            return self._side.ask(verb, **said)
        except DriverUnavailable:
            self.close()
            raise


class _Side:
    """The driver's end of the conversation; see ray_side.py."""

    def __init__(self, address: str | None, namespace: str) -> None:
        self._said = address or "this machine"
        if address is not None:
            _reach(address)
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", SIDE, str(theirs.fileno()), address or THIS_MACHINES, namespace]
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        try:
            self._hear(JOIN_S)
        except DriverUnavailable:
            self.close()
            raise

    def ask(self, verb: str, **said: Any) -> Any:
        """What the verb of `ray_side.Side` answers."""
        try:
            self._lines.write(json.dumps({"verb": verb, **said}) + "\n")
            self._lines.flush()
        except OSError as error:
            raise DriverUnavailable(f"the Ray cluster of {self._said} is gone") from error
        return self._hear(ANSWER_S)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._lines.close()
        self._socket.close()

    def _hear(self, timeout_s: float) -> Any:
        self._socket.settimeout(timeout_s)
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            said = f"the Ray cluster of {self._said} does not answer within {timeout_s:g} s"
            raise DriverUnavailable(said) from error
        except OSError as error:
            raise DriverUnavailable(f"the Ray cluster of {self._said} is gone") from error
        if not line:
            raise DriverUnavailable(f"the Ray cluster of {self._said} is gone, or has no node on this machine")
        answer = json.loads(line)
        if "fault" in answer:
            raise DriverUnavailable(f"the Ray cluster of {self._said} refuses: {answer['fault']}")
        return answer["answer"]


def by_leaving(staying: Sequence[Member], named: Sequence[str]) -> list[Member]:
    """Who leaves first: those named, in their order; then who serves nobody yet; then the youngest."""
    order = {name: place for place, name in enumerate(named)}
    return sorted(
        staying, key=lambda each: (order.get(each.name, len(order)), each.phase != Phase.STARTING, -each.since)
    )


def resources_of(pool: Pool, said: dict[str, float]) -> dict[str, float]:
    """What a worker takes of a node: what the pool's `ray_resources` say, else one CPU, and one GPU unless on `cpu`."""
    return said or ({"CPU": 1} if pool.device == "cpu" else {"CPU": 1, "GPU": 1})


def namespace_of(store_url: str) -> str:
    """The same for all who share a store; tells nothing of its password."""
    parts = urlsplit(store_url)
    place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return f"darkroom-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def _member(name: ActorName, is_leaving: bool) -> Member:
    return Member(name.worker, name.pool, Phase.LEAVING if is_leaving else Phase.STARTING, name.since)


def _with_phase(member: Member, state: str) -> Member:
    phase = member.phase if member.phase == Phase.LEAVING else PHASES.get(state, member.phase)
    return Member(member.name, member.pool, phase, member.since)


def _reach(address: str) -> None:
    """Raise where nobody listens: Ray's library would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, ValueError) as error:
        raise DriverUnavailable(f"no Ray cluster answers at {address}: {error}") from error
