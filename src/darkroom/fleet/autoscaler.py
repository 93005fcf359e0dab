"""How many workers each pool is to have: the policies `fixed`, `reactive` and `darkroom`, or somebody's own.

Pure but for what a policy remembers of its own answers: its clock is `Observation.now`, and it does no I/O. One that
begins anew, as a new leader's does, holds the workers that it finds for `idle_s`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..fleet_settings import FleetSettings
from ..wording import counted
from .memory import Load, Memory
from .nouns import Observation, Phase, Plan, Policy, Pool, Target
from .own_policy import import_policy
from .placing import Added, Laid, Piece, lay_packed, lay_waiting, pieces_of
from .seasons import Seasons
from .sorting import leaving_of, staying_in
from .timetable import Timetable

SPARE = 0.5  # workers beyond what is foreseen, in roots of it: square-root staffing (Halfin and Whitt 1981)
LITTLE = 0.05  # of a worker's time
FRESH_S = 60.0  # a forecast is good for so long


@dataclass(frozen=True)
class Wish:
    """So many workers, and a sentence that says for what."""

    workers: int
    reason: str


Wishes = Mapping[str, list[Wish]]  # by the pool's name


def open_policy(settings: FleetSettings) -> Policy:
    """The policy that `[fleet] policy` names. Raises `InvalidConfig` where it is nobody's or cannot be imported."""
    if ":" in settings.policy:
        return import_policy(settings.policy)
    if settings.policy == "fixed":
        return fixed
    return Reactive(settings) if settings.policy == "reactive" else Darkroom(settings)


def fixed(seen: Observation) -> Plan:
    """Every pool has its `max_workers`, always."""
    return {
        pool.name: _target(seen, pool, [Wish(pool.max_workers, "fixed: always max_workers")]) for pool in seen.pools
    }


class Reactive:
    """The policy `reactive`: target tracking, as usual autoscalers do it.

    So many workers that each has at most `wait_s` of work before it; fewer once fewer were enough for `idle_s`.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._wait_s, self._memory = settings.wait_s, Memory(settings.idle_s)

    def __call__(self, seen: Observation) -> Plan:
        """A target for every pool, the cheapest first."""
        plan, left = {}, {(group.model, group.priority): group.work_s for group in seen.waiting}
        for pool in sorted(seen.pools, key=lambda pool: cost_of_work(pool, seen)):
            served = {key: work_s for key, work_s in left.items() if pool.serves(key[0])}
            there, speed = staying_in(seen, pool), seen.speeds.get(pool.name, 1.0)
            work_s = sum(served.values()) + sum(worker.ahead_s for worker in there)
            needed = min(pool.max_workers, math.ceil(work_s / speed / self._wait_s))
            over = max(0.0, 1 - needed * speed * self._wait_s / work_s) if work_s else 0.0
            left |= {key: work_s * over for key, work_s in served.items()}
            said = f"{work_s:.0f} s of work, at most {self._wait_s:.0f} s before each worker: {needed}"
            wishes = [Wish(needed, said), *recalled(self._memory, seen, pool, needed)]
            plan[pool.name] = _target(seen, pool, wishes)
        return plan


class Darkroom:
    """The policy `darkroom`: work is laid on workers, and the cheapest ones are added that keep its promises.

    Ahead of time by what past weeks foresee and by time rules; spot workers for normal work, on demand for high
    priority and for deadlines that the loss of a spot worker would miss; fewer once fewer were enough for `idle_s`.
    """

    def __init__(self, settings: FleetSettings) -> None:
        self._wait_s, self._memory = settings.wait_s, Memory(settings.idle_s)
        self._loads = defaultdict[tuple[object, ...], Load](lambda: Load(settings.idle_s))
        self._timetable = Timetable(settings.rules, settings.time_zone)
        self._seasons: Seasons | None = None
        self._looked_at = -math.inf

    def __call__(self, seen: Observation) -> Plan:
        """A target for every pool."""
        pieces = pieces_of(seen, self._wait_s)
        laid, packed = lay_waiting(seen, pieces), lay_packed(seen, pieces, self._wait_s)
        wishes = {
            pool.name: [*self._for_work(seen, pool, laid, packed), *self._by_rules(seen, pool)] for pool in seen.pools
        }
        for pool, wish in [*self._used(seen), *self._foreseen(seen)]:
            wishes[pool.name].append(wish)
        return {pool.name: _target(seen, pool, wishes[pool.name]) for pool in seen.pools}

    def _for_work(self, seen: Observation, pool: Pool, laid: Laid, packed: Laid) -> Iterable[Wish]:
        """What the work needs, and what was needed within `idle_s`."""
        needed, added = packed.carriers(pool.name), laid.added_to(pool.name)
        if needed:
            yield Wish(needed, f"{counted(needed, 'worker')} can do the work that is there within its promises")
        if added:
            needed = max(needed, len(staying_in(seen, pool)) + len(added))
            yield Wish(needed, _why_added(seen, pool, added))
        yield from recalled(self._memory, seen, pool, needed)
        if laid.lost:
            models = sorted({piece.model for piece in laid.lost})
            yield Wish(needed, f"no pool serves {', '.join(models)}, or none that does has room: its jobs wait")

    def _used(self, seen: Observation) -> Iterable[tuple[Pool, Wish]]:
        """What a steady load has kept busy within `idle_s`, of like pools on the cheapest: a queue that is short for a
        moment says nothing of what comes next."""
        groups = defaultdict[tuple[object, ...], list[Pool]](list)
        for pool in sorted(seen.pools, key=lambda pool: cost_of_work(pool, seen)):
            groups[pool.models, pool.is_spot].append(pool)
        for key, pools in groups.items():
            there = [worker for pool in pools for worker in staying_in(seen, pool)]
            mean = self._loads[key].mean(seen.now, sum(worker.in_flight > 0 for worker in there))
            left = math.ceil(mean - LITTLE)
            for pool in pools:
                workers = min(left, len(staying_in(seen, pool)))
                left -= workers
                if workers:
                    yield pool, Wish(workers, f"{mean:.2f} workers were busy within idle_s, on average")

    def _by_rules(self, seen: Observation, pool: Pool) -> Iterable[Wish]:
        """By rules in force now, or by the time that a worker asked for now serves."""
        for rule in self._timetable.in_force(pool.name, seen.now, pool.ready_s):
            yield Wish(rule.workers, rule.reason)

    def _foreseen(self, seen: Observation) -> Iterable[tuple[Pool, Wish]]:
        """What is to come when a worker asked for now serves, on the cheapest pools; only where one that is asked for
        when a job comes would be too late for it. Arrivals do not say of which model they are: where pools differ,
        those that serve all models meet them."""
        is_one_set = len({frozenset(pool.models) for pool in seen.pools}) == 1
        fits = [pool for pool in seen.pools if is_one_set or not pool.models]
        met, pools = 0.0, [pool for pool in fits if pool.ready_s > self._wait_s]
        for pool in sorted(pools, key=lambda pool: cost_of_work(pool, seen)):
            speed = seen.speeds.get(pool.name, 1.0)
            load = self._seasons_now(seen).erlangs(seen.now + pool.ready_s) / speed - met
            workers = min(pool.max_workers, math.floor(load + SPARE * math.sqrt(load))) if load > 0 else 0
            if workers:
                met += workers
                yield pool, Wish(workers, f"past weeks foresee work for {load:.2f} workers in {pool.ready_s:.0f} s")

    def _seasons_now(self, seen: Observation) -> Seasons:
        if self._seasons is None or not 0 <= seen.now - self._looked_at < FRESH_S:
            self._seasons, self._looked_at = Seasons(seen.arrivals, seen.now), seen.now
        return self._seasons


def recalled(memory: Memory, seen: Observation, pool: Pool, needed: int) -> Iterable[Wish]:
    """The most that was needed lately, where that is more than now; who has just become ready counts too."""
    there = staying_in(seen, pool)
    ready = {w.member.name for w in there if w.member.phase is Phase.READY}
    fresh = memory.newly_ready(pool.name, ready, {w.member.name for w in there})
    held = min(needed + fresh, len(there)) if fresh else 0
    most = memory.most(pool.name, seen.now, max(needed, held), len(there))
    if most.workers > needed:
        needed_said = f"{counted(most.workers, 'worker')} {'was' if most.workers == 1 else 'were'} needed"
        yield Wish(most.workers, f"{needed_said} {seen.now - most.at:.0f} s ago, less than idle_s")


def cost_of_work(pool: Pool, seen: Observation) -> float:
    """US dollars an hour for what one worker at speed 1 does."""
    return pool.price_per_hour_usd / seen.speeds.get(pool.name, 1.0)


def _why_added(seen: Observation, pool: Pool, added: list[Added]) -> str:
    """The first of them says it for all."""
    first, there = added[0], len(staying_in(seen, pool))
    start = "never start" if first.start_s is None else f"start in {max(0.0, first.start_s):.0f} s"
    jobs, work_s = sum(group.jobs for group in seen.waiting), sum(group.work_s for group in seen.waiting)
    return (
        f"{work_s:.0f} s of work waits in {counted(jobs, 'job')}; with {counted(there, 'worker') if there else 'none'} "
        f"a job of {first.piece.model} would {start}, and it {_promised(first.piece)}: "
        f"{len(added)} more, ready in {pool.ready_s:.0f} s"
    )


def _promised(piece: Piece) -> str:
    if piece.due_s is not None:
        return f"is to end in {piece.due_s:.0f} s" if piece.due_s >= 0 else f"was to end {-piece.due_s:.0f} s ago"
    return f"may wait {piece.wait_s:.0f} s" if piece.wait_s >= 0 else f"has waited {-piece.wait_s:.0f} s too long"


def _target(seen: Observation, pool: Pool, wishes: list[Wish]) -> Target:
    """The largest wish within the pool's bounds; workers with jobs stay while that many are allowed."""
    there = staying_in(seen, pool)
    if pool.min_workers:
        wishes = [*wishes, Wish(pool.min_workers, f"min_workers keeps {pool.min_workers} warm")]
    wished = max((wish.workers for wish in wishes), default=0)
    busy = sum(worker.in_flight > 0 for worker in there)
    workers = min(pool.max_workers, max(wished, busy))
    reasons = tuple(dict.fromkeys(wish.reason for wish in wishes if wish.workers == wished))
    if busy > wished:
        reasons = (f"{counted(busy, 'worker')} {'is' if busy == 1 else 'are'} at work", *reasons)
    if wished > pool.max_workers:
        reasons = (*reasons, f"max_workers allows {pool.max_workers}")
    return Target(workers, leaving_of(there, len(there) - workers), reasons or ("no work, and none foreseen",))
