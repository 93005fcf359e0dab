"""The nouns of scaling: what is seen, what is wanted, and who carries it out.

    observe(Store, Driver) -> Observation -> Policy -> Plan -> Driver.scale

A policy is pure: its clock is `Observation.now`. A driver knows processes, not jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    """Of a member: `starting` until it has told the store that it is ready, `leaving` once it was asked to drain."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"


@dataclass(frozen=True)
class Pool:
    """Workers that are alike: where they run, what they serve and what one costs.

    `models` empty: all. `ready_s`: from being asked for until it serves, provisioning and loading included.
    """

    name: str
    device: str = "cpu"
    is_spot: bool = False
    price_per_hour_usd: float = 0.0
    models: tuple[str, ...] = ()
    min_workers: int = 0
    max_workers: int = 1
    ready_s: float = 20.0
    environment: Mapping[str, str] = field(default_factory=dict)

    def serves(self, model: str) -> bool:
        """Whether its workers may run that model's jobs."""
        return not self.models or model in self.models


@dataclass(frozen=True)
class Waiting:
    """Queued jobs of one model and priority: `work_s` device seconds predicted for all, `oldest_at` when queued.

    `deadlines`: of those that have one, the moment and the work due by then, earliest first.
    """

    model: str
    priority: int
    jobs: int
    work_s: float
    oldest_at: float
    deadlines: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Member:
    """A worker that a driver started; `name` is its id in the store, `since` when it was asked for."""

    name: str
    pool: str
    phase: Phase
    since: float


@dataclass(frozen=True)
class Seen:
    """A member and what the store knows of it: models loaded, jobs in flight, its busy share.

    `ahead_s`: work left of what is in flight, in device seconds as `Waiting.work_s` has them.
    """

    member: Member
    loaded: tuple[str, ...] = ()
    in_flight: int = 0
    ahead_s: float = 0.0
    busy: float = 0.0


@dataclass(frozen=True)
class Observation:
    """All that a policy may look at. `arrivals`: device seconds of work accepted, by start of hour (unix time).

    Every amount of work is in device seconds as predicted when its job was accepted, never in a worker's own seconds.
    `speeds`: device seconds of work that a worker of a pool does in a second, by the pool's name, learned; 1 where
    nothing is said, above it where jobs share steps.
    """

    now: float
    pools: tuple[Pool, ...]
    waiting: tuple[Waiting, ...] = ()
    workers: tuple[Seen, ...] = ()
    arrivals: Mapping[float, float] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """How many workers a pool is to have, who leaves first where these are fewer, and why: sentences for the log."""

    workers: int
    leaving: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


Plan = Mapping[str, Target]  # by the pool's name; a pool that it leaves out stays as it is


class Policy(Protocol):
    """Decides; `[fleet] policy` names a built-in one or a user's own as `package.module:name`."""

    def __call__(self, seen: Observation) -> Plan: ...


class Driver(Protocol):
    """Carries out: starts workers and lets them go. One thread calls it. Raises `DriverUnavailable`."""

    def members(self) -> Sequence[Member]:
        """Those it has asked for and that are not gone, also from before its own start."""

    def scale(self, pool: Pool, workers: int, leaving: Sequence[str] = ()) -> None:
        """Have so many members that are not leaving; of those too many, `leaving` drain first, in that order.

        Asked again for what already holds, it does nothing.
        """

    def close(self) -> None:
        """Let go of what it holds; a local driver's workers drain, a cluster's live on."""
