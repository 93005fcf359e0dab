"""The loop that scales: look, decide, carry out, tell; one of several processes leads, the others wait for its end.

    lead --yes--> observe --> policy --> plan --> driver.scale, pool by pool --> note for gateways
      '---no---> nothing                             '--- before each: does it lead still? ---'

What fails is logged by its name and told in the note; the loop goes on. A policy that raises, or whose answer is no
plan, changes nothing: what it last decided holds, and workers that died are replaced.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import DarkroomError, DriverUnavailable, Unavailable
from ..fleet_settings import FleetSettings
from ..jobs.store import Store
from .nouns import Observation, Phase, Plan, Policy, Pool, Target
from .observing import Observer
from .told import FleetNote, Learned, PoolNote, read_note, write_note

log = logging.getLogger(__name__)

LEAST_PAUSE_S = 0.5  # between two looks, however loudly the bell rings
AWAKE_SHARE = 0.25  # of `look_s`: the same while there is somebody in another pool
SLICE_S = 0.5  # how late an end is noticed while it waits for work
LEAD_LOOKS, LEAST_LEAD_S = 3, 15.0  # how long it leads with one look
FAILED_PAUSE_S = 1.0  # at least, after a turn that failed
MOST_BACKOFF_S = 300.0
HASTY_ENDS = 3  # looks in a row that saw workers of a pool end before they were ready: then the next ones wait


class NoPlan(ValueError):
    """A policy failed, or its answer is no plan."""


class Deposed(Exception):
    """Another may lead by now."""


@dataclass
class Hold:
    """Workers of a pool that end before they are ready: seen by how many looks, and until when none is started."""

    ends: int = 0
    until: float = 0.0

    def add(self, ends: int, now: float, pause_s: float) -> None:
        """So many more; those that end together have one cause and count once."""
        self.ends += min(1, ends)
        if ends and self.ends >= HASTY_ENDS:
            self.until = now + min(MOST_BACKOFF_S, pause_s * 2 ** min(20, self.ends - HASTY_ENDS))


class Scaler:
    """Scales the pools of one fleet; `who` is its name among others that may lead. Its methods belong to one thread."""

    def __init__(
        self,
        settings: FleetSettings,
        observer: Observer,
        policy: Policy,
        *,
        who: str,
    ) -> None:
        self._settings, self._policy, self._who, self._observer = settings, policy, who, observer
        self._store, self._driver = observer.store, observer.driver
        self._notes = {pool.name: _note_of(pool) for pool in observer.pools}
        self._targets: dict[str, Target] = {}
        self._holds: dict[str, Hold] = {}
        self._unready: dict[str, str] = {}  # the pools of members that were starting at the last look, by name
        self._fault, self._strays, self._ahead_s = "", Counter[str](), 0.0
        self.is_leader = False

    @property
    def is_asleep(self) -> bool:
        """Whether some pool has nobody: then the first job must not wait for the next look."""
        return self.is_leader and any(not note.members for note in self._notes.values())

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody at all."""
        return not any(note.members for note in self._notes.values())

    def turn(self, now: float) -> None:
        """Look once and do what follows, if this one leads; raises what keeps it from looking."""
        self._ahead_s = now - time.monotonic()
        if self._lead(now):
            with contextlib.suppress(Deposed):
                self._scale(now)

    def _scale(self, now: float) -> None:
        fault = ""
        try:
            seen = self._observer.look(now)
        except DriverUnavailable as error:
            self._tell(now, _said(error))
            raise
        self._heed_ends(seen)
        try:
            self._targets |= self._planned(seen)
        except NoPlan as error:
            fault = str(error)
        fault = self._carry_out(seen) or fault
        self._note_members(seen)
        self._tell(now, fault)

    def resign(self, now: float) -> None:
        """Let another lead at once."""
        if self.is_leader:
            self.is_leader = False
            self._store.lead_fleet(self._who, now, 0.0)

    def _lead(self, now: float) -> bool:
        """Lead from now on, or go on; who begins to lead begins with what the one before has learned."""
        was_leader, self.is_leader = self.is_leader, False
        if self._may_lead(now):
            if not was_leader:
                self._observer = replace(self._observer, learned=_known(self._store))
                self._targets, self._unready = {}, {}
                self._holds = {name: Hold() for name in self._notes}
                log.info("fleet_led", extra={"who": self._who, "pools": list(self._notes)})
            self.is_leader = True
        return self.is_leader

    def _may_lead(self, now: float) -> bool:
        return self._store.lead_fleet(self._who, now, max(LEAST_LEAD_S, LEAD_LOOKS * self._settings.look_s))

    def _still_lead(self) -> None:
        """Raise `Deposed` where another took over: a slow driver may outlast this one's time."""
        if not self._lead(self._ahead_s + time.monotonic()):
            log.warning("another leads the fleet: this turn ends", extra={"who": self._who})
            raise Deposed

    def _heed_ends(self, seen: Observation) -> None:
        """Notice workers that ended before they were ready; one that became ready since the last look ends the row."""
        there = {worker.member.name: worker.member for worker in seen.workers}
        for name, hold in self._holds.items():
            mine = [member for member, pool in self._unready.items() if pool == name]
            hold.add(sum(member not in there for member in mine), seen.now, self._settings.look_s)
            if any(member in there and there[member].phase is Phase.READY for member in mine):
                hold.ends, hold.until = 0, 0.0

    def _planned(self, seen: Observation) -> dict[str, Target]:
        """The policy's plan within the pools' bounds; raises `NoPlan`."""
        try:
            plan = self._policy(seen)
        except Exception as error:  # budget: a user's own policy may raise anything, and workers must not pay for it
            log.exception("the policy %s failed", self._settings.policy)
            raise NoPlan(f"the policy {self._settings.policy} raised {type(error).__name__}") from error
        return check_plan(plan, seen.pools)

    def _carry_out(self, seen: Observation) -> str:
        """Have the driver do it, pool by pool; what went wrong, "" where nothing did."""
        faults = self._dismiss_strays(seen)
        for pool in seen.pools:
            target = self._targets.get(pool.name)
            if target is None:
                continue
            target, fault = self._held_back(pool, target, seen)
            faults += [fault] if fault else []
            self._log_change(pool, target, seen)
            faults += self._have(pool, target)
        return "; ".join(dict.fromkeys(faults))

    def _have(self, pool: Pool, target: Target) -> list[str]:
        """What went wrong."""
        self._still_lead()
        try:
            self._driver.scale(pool, target.workers, target.leaving)
        except DriverUnavailable as error:
            return [_said(error)]
        return []

    def _dismiss_strays(self, seen: Observation) -> list[str]:
        """Workers of pools that the settings no longer name leave; a Deployment is somebody's own to scale down."""
        staying = [worker.member for worker in seen.workers if worker.member.phase is not Phase.LEAVING]
        strays = Counter(member.pool for member in staying if member.pool not in self._notes)
        if strays.keys() - self._strays.keys():
            log.warning("fleet_strays", extra={"pools": sorted(strays), "driver": self._settings.driver})
        self._strays = strays
        if self._settings.driver == "kubernetes":
            return []
        return [fault for name in sorted(strays) for fault in self._have(Pool(name, max_workers=0), Target(0))]

    def _held_back(self, pool: Pool, target: Target, seen: Observation) -> tuple[Target, str]:
        """No more than there are while the pool's workers end before they are ready."""
        hold = self._holds[pool.name]
        there = count(seen, pool, Phase.STARTING, Phase.READY)
        if seen.now >= hold.until or target.workers <= there:
            return target, ""
        fault = f"{hold.ends} workers of {pool.name} ended before they were ready: their logs say why"
        return replace(target, workers=there, leaving=(), reasons=(fault,)), fault

    def _log_change(self, pool: Pool, target: Target, seen: Observation) -> None:
        before = self._notes[pool.name]
        if before.wanted != target.workers:
            facts = {"pool": pool.name, "workers": target.workers, "before": before.wanted}
            phases = {phase.value: count(seen, pool, phase) for phase in Phase}
            log.info("fleet_planned", extra={**facts, **phases, "reasons": list(target.reasons)})
            before = replace(before, decided_at=seen.now)
        self._notes[pool.name] = replace(before, wanted=target.workers, reasons=target.reasons, ready_s=pool.ready_s)

    def _note_members(self, seen: Observation) -> None:
        """Those that were seen, and those that were just asked for: they may be gone before the next look."""
        there = [worker.member for worker in seen.workers]
        with contextlib.suppress(DriverUnavailable):  # told of already, or at the next look
            known = {member.name for member in there}
            there += [member for member in self._driver.members() if member.name not in known]
        for name, note in self._notes.items():
            self._notes[name] = replace(note, members=tuple(member for member in there if member.pool == name))
        self._unready = {
            member.name: member.pool
            for member in there
            if member.phase is Phase.STARTING and not self._shrinks(member.pool, seen)
        }

    def _shrinks(self, pool: str, seen: Observation) -> bool:
        """Whether some of its workers were asked to leave just now: who ends next was asked to."""
        target = self._targets.get(pool)
        return target is not None and any(
            each.name == pool and target.workers < count(seen, each, Phase.STARTING, Phase.READY) for each in seen.pools
        )

    def _tell(self, now: float, fault: str) -> None:
        """Publish."""
        self._still_lead()
        if fault != self._fault:
            log.warning("fleet_fault", extra={"fault": fault or "over"})
            self._fault = fault
        said = self._settings
        notes = tuple(self._notes.values())
        learned = self._observer.learned
        remote = tuple(sorted(self._observer.remote))
        note = FleetNote(
            now, said.driver, said.policy, said.look_s, notes, fault, learned, remote, self._strays.total()
        )
        self._store.note_fleet(write_note(note))


class Loop:
    """Takes the scaler's turns until it is asked to stop; `clock` gives seconds since the epoch."""

    def __init__(self, scaler: Scaler, store: Store, look_s: float, clock: Callable[[], float] = time.time) -> None:
        self._scaler, self._store, self._look_s, self._clock = scaler, store, look_s, clock
        self._stopping = threading.Event()

    def ask_stop(self) -> None:
        """Have `run` return; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Look every `look_s`, at once where work comes to a pool that sleeps; until asked to stop."""
        self._hears_work(0.0)  # from here on nothing that comes between a look and a wait is missed
        while not self._stopping.is_set():
            began = time.monotonic()
            is_well = self._take_turn()
            self._rest(began, is_well)
        try:
            self._scaler.resign(self._clock())
        except Unavailable as error:
            log.warning("another leads when this one's time is over: %s", error)

    def _take_turn(self) -> bool:
        try:
            self._scaler.turn(self._clock())
            return True
        except DarkroomError as error:
            log.warning("fleet_failed", extra={"code": error.code, "said": error.message})
        except Exception:  # budget: the process's outermost loop: one fault must not end all scaling for good
            log.exception("a turn of the fleet failed")
        return False

    def _rest(self, began: float, is_well: bool) -> None:
        until = began + (self._look_s if is_well else max(FAILED_PAUSE_S, self._look_s))
        self._stopping.wait(self._least_pause_s())
        while not self._stopping.is_set() and (left_s := until - time.monotonic()) > 0:
            if not (is_well and self._scaler.is_asleep):
                self._stopping.wait(left_s)
            elif self._hears_work(min(left_s, SLICE_S)):
                return

    def _least_pause_s(self) -> float:
        """Where others work, the bell rings all the time, and mostly for them."""
        least_s = LEAST_PAUSE_S if self._scaler.is_empty else max(LEAST_PAUSE_S, AWAKE_SHARE * self._look_s)
        return min(least_s, self._look_s)

    def _hears_work(self, wait_s: float) -> bool:
        """Wait for the bell; whether it rang before the time was over."""
        began = time.monotonic()
        try:
            self._store.wait_for_work(wait_s)
        except Unavailable:
            self._stopping.wait(wait_s)
            return False
        return time.monotonic() - began < wait_s * 0.9


def check_plan(plan: Plan, pools: Sequence[Pool]) -> dict[str, Target]:
    """The plan with every target within its pool's bounds; raises `NoPlan` where it is none."""
    known = {pool.name: pool for pool in pools}
    if not isinstance(plan, Mapping):
        raise NoPlan(f"the policy answered {type(plan).__name__}, not a mapping of pools to targets")
    for name, target in plan.items():
        if name not in known:
            raise NoPlan(f"the policy speaks of the pool {name!r}, which is not one of {', '.join(known)}")
        if not isinstance(target, Target) or type(target.workers) is not int or target.workers < 0:
            raise NoPlan(f"the policy's answer for the pool {name!r} is no Target with a number of workers")
        for field in ("leaving", "reasons"):
            if not _is_strings(getattr(target, field)):
                raise NoPlan(f"the policy's answer for the pool {name!r}: {field} is no tuple of strings")
    return {name: _bounded(target, known[name]) for name, target in plan.items()}


def count(seen: Observation, pool: Pool, *phases: Phase) -> int:
    """How many workers of the pool are in one of these phases."""
    return sum(worker.member.pool == pool.name and worker.member.phase in phases for worker in seen.workers)


def _said(error: DarkroomError) -> str:
    return f"{error.code}: {error.message}"


def _is_strings(said: object) -> bool:
    return isinstance(said, tuple | list) and all(isinstance(each, str) for each in said)


def _bounded(target: Target, pool: Pool) -> Target:
    target = replace(target, leaving=tuple(target.leaving), reasons=tuple(target.reasons))
    workers = min(pool.max_workers, max(pool.min_workers, target.workers))
    if workers == target.workers:
        return target
    said = f"the policy asked for {target.workers}; the pool has {pool.min_workers} to {pool.max_workers}"
    return replace(target, workers=workers, reasons=(*target.reasons, said))


def _note_of(pool: Pool) -> PoolNote:
    return PoolNote(
        name=pool.name,
        device=pool.device,
        is_spot=pool.is_spot,
        price_per_hour_usd=pool.price_per_hour_usd,
        models=pool.models,
        min_workers=pool.min_workers,
        max_workers=pool.max_workers,
        ready_s=pool.ready_s,
    )


def _known(store: Store) -> Learned:
    """What the one before has learned."""
    note = read_note(store.fleet_note())
    return Learned() if note is None else note.learned
