"""Who would carry what waits: jobs are laid on workers, those there are and those to start; pure.

Bin packing in the order of claims, where a bin is full once the next job would start later than its promise: each job
goes to the fullest worker that still keeps it (best fit, Johnson 1974). Where none does a worker is added, in the
cheapest pool that does. Jobs count as done one after another; `speeds` say how much faster a worker is that batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..core import PRIORITY_STEPS, class_step
from .nouns import Observation, Phase, Pool, Seen, Waiting

ROUNDING_S = 1e-3  # of seconds since the epoch
PIECES = 400  # jobs that are laid one by one; of more, several make one piece
PATIENCE = {"low": 4.0, "normal": 1.0, "high": 0.5}  # parts of `wait_s` that a job of the class may wait
_PATIENCE = {step: PATIENCE[name] for name, step in PRIORITY_STEPS.items()}


@dataclass(frozen=True)
class Piece:
    """One job, or a few alike: `wait_s` it may still wait to start, or the seconds `due_s` by which it is to end."""

    model: str
    work_s: float
    wait_s: float
    age_s: float = 0.0
    due_s: float | None = None
    is_urgent: bool = False  # of high priority or with a deadline

    def starts_by(self, speed: float) -> float:
        """Seconds from now: the latest start that keeps the promise."""
        return self.wait_s if self.due_s is None else self.due_s - self.work_s / speed


@dataclass
class Slot:
    """A worker, in seconds from now: when it could start another piece. `name` None: one to be started."""

    pool: Pool
    speed: float
    free_s: float
    name: str | None = None
    carries: int = 0

    def put(self, piece: Piece) -> None:
        """Let it do that, too."""
        self.free_s += piece.work_s / self.speed
        self.carries += 1


@dataclass(frozen=True)
class Added:
    """Why a worker was added: the piece for which it was, and when that would have started without it."""

    pool: str
    piece: Piece
    start_s: float | None  # None: never


class Laid:
    """Pieces laid on workers; `added` says which workers were started for them, `lost` which pieces nobody serves."""

    def __init__(self, seen: Observation, slots: Sequence[Slot]) -> None:
        self.slots, self.added, self.lost = list(slots), list[Added](), list[Piece]()
        self._seen = seen
        there = Counter(slot.pool.name for slot in slots)
        self._room = {pool.name: pool.max_workers - there[pool.name] for pool in seen.pools}
        self._rescue_s = min((pool.ready_s for pool in seen.pools if not pool.is_spot), default=None)

    def added_to(self, pool: str) -> list[Added]:
        """Those started there."""
        return [added for added in self.added if added.pool == pool]

    def carriers(self, pool: str) -> int:
        """How many of its workers have anything to do."""
        return sum(slot.carries > 0 for slot in self.slots if slot.pool.name == pool)

    def lay(self, pieces: Iterable[Piece]) -> None:
        """Place each in turn."""
        for piece in pieces:
            slot = self._slot_for(piece)
            if slot is None:
                self.lost.append(piece)
            else:
                slot.put(piece)

    def lay_in_flight(self, worker: Seen, wait_s: float) -> None:
        """What it runs, on the fullest that would start it within `wait_s`: of its pool, or of a like one for less."""
        pools = [slot.pool for slot in self.slots if slot.name == worker.member.name]
        for _ in range(worker.in_flight):
            piece = Piece("", worker.ahead_s / worker.in_flight, wait_s)
            like = [slot for slot in self.slots for pool in pools if self._may_take_over(slot, pool)]
            if like:
                kept = [slot for slot in like if slot.free_s <= wait_s]
                (self._packed(kept) if kept else min(like, key=lambda slot: slot.free_s)).put(piece)

    def _may_take_over(self, slot: Slot, pool: Pool) -> bool:
        """Whether it is of that pool, or serves the same for less; nothing moves to spot: it may have reasons."""
        is_like = slot.pool.models in ((), pool.models) and slot.pool.is_spot <= pool.is_spot
        return slot.pool is pool or (is_like and self._cost(slot.pool) < self._cost(pool))

    def _slot_for(self, piece: Piece) -> Slot | None:
        there = [slot for slot in self.slots if slot.pool.serves(piece.model)]
        best = min(there, key=lambda slot: slot.free_s, default=None)
        kept = [slot for slot in there if self._keeps(slot.pool, slot.speed, slot.free_s, piece)]
        if kept:
            return self._packed(kept)
        pool = self._pool_for(piece, best)
        return best if pool is None else self._add(pool, piece, best)

    def _packed(self, kept: Sequence[Slot]) -> Slot:
        """The cheapest of those there are, the fullest first: what is left with nothing to carry can go."""
        return max(
            kept, key=lambda slot: (slot.name is not None, -self._cost(slot.pool), slot.carries > 0, slot.free_s)
        )

    def _keeps(self, pool: Pool, speed: float, free_s: float, piece: Piece) -> bool:
        """Whether it starts in time there, and, by a deadline, whether the loss of a spot worker could be made good."""
        late_s = piece.starts_by(speed)
        if pool.is_spot and piece.due_s is not None and self._rescue_s is not None:
            late_s -= self._rescue_s + piece.work_s
        return free_s <= late_s + ROUNDING_S

    def _pool_for(self, piece: Piece, best: Slot | None) -> Pool | None:
        """Where to start a worker for it; None where that helps nothing or nobody has room."""
        soon = float("inf") if best is None else best.free_s
        fits = [pool for pool in self._seen.pools if self._room.get(pool.name, 0) > 0 and pool.serves(piece.model)]
        late = [pool for pool in fits if soon > patient_s(pool, piece)]
        kept = [pool for pool in (late if piece.due_s is None else fits) if self._keeps_anew(pool, piece)]
        if kept:
            return min(kept, key=lambda pool: self._rank(pool, piece))
        first = (lambda pool: pool.ready_s) if piece.is_urgent else (lambda pool: self._rank(pool, piece)[-1])
        return min(late, key=first, default=None)

    def _keeps_anew(self, pool: Pool, piece: Piece) -> bool:
        return self._keeps(pool, self._speed(pool), pool.ready_s, piece)

    def _rank(self, pool: Pool, piece: Piece) -> tuple[bool, float]:
        """The cheapest work first; for high priority those on demand before it."""
        is_risky = piece.is_urgent and piece.due_s is None and pool.is_spot
        return is_risky, self._cost(pool)

    def _cost(self, pool: Pool) -> float:
        """US dollars an hour for what one worker at speed 1 does."""
        return pool.price_per_hour_usd / self._speed(pool)

    def _speed(self, pool: Pool) -> float:
        return self._seen.speeds.get(pool.name, 1.0)

    def _add(self, pool: Pool, piece: Piece, best: Slot | None) -> Slot:
        slot = Slot(pool, self._speed(pool), pool.ready_s)
        self.slots.append(slot)
        self._room[pool.name] -= 1
        self.added.append(Added(pool.name, piece, None if best is None else best.free_s))
        return slot


def patient_s(pool: Pool, piece: Piece) -> float:
    """A job that starts within so many seconds anyway would not gain enough by another worker of that pool."""
    return pool.ready_s + max(0.0, min(piece.wait_s, pool.ready_s)) / 2


def lay_waiting(seen: Observation, pieces: Sequence[Piece]) -> Laid:
    """What waits, on the workers as they are: whether the promises hold, and who is started where they do not."""
    laid = Laid(seen, slots_of(seen))
    laid.lay(pieces)
    return laid


def lay_packed(seen: Observation, pieces: Sequence[Piece], wait_s: float) -> Laid:
    """What waits and what runs, on as few workers as keep the promises, were all of them free now."""
    slots = slots_of(seen)
    for slot in slots:
        slot.free_s = 0.0
    laid = Laid(seen, slots)
    for worker in seen.workers:
        laid.lay_in_flight(worker, wait_s)
    laid.lay(pieces)
    return laid


def slots_of(seen: Observation) -> list[Slot]:
    """The workers that are there or on their way, as they are."""
    pools = {pool.name: pool for pool in seen.pools}
    staying = (w for w in seen.workers if w.member.phase is not Phase.LEAVING and w.member.pool in pools)
    return [
        Slot(pool, seen.speeds.get(pool.name, 1.0), free_s(worker, pool, seen), worker.member.name)
        for worker in staying
        for pool in [pools[worker.member.pool]]
    ]


def free_s(worker: Seen, pool: Pool, seen: Observation) -> float:
    """Seconds until it could start another job. One that is overdue is expected as late again as it is already."""
    if worker.member.phase is Phase.READY:
        return worker.ahead_s / seen.speeds.get(pool.name, 1.0)
    age_s = seen.now - worker.member.since
    return pool.ready_s - age_s if age_s <= pool.ready_s else age_s - pool.ready_s


def pieces_of(seen: Observation, wait_s: float) -> list[Piece]:
    """What waits, in the order of claims: higher classes first, in them what has a deadline, then the oldest."""
    if not seen.waiting:
        return []
    share = max(1.0, sum(group.jobs for group in seen.waiting) / PIECES)
    pieces = [
        (-class_step(group.priority), piece)
        for group in seen.waiting
        for piece in _of_group(group, seen.now, wait_s, share)
    ]
    pieces.sort(key=lambda each: (each[0], each[1].due_s is None, each[1].due_s or 0.0, -each[1].age_s))
    return [piece for _, piece in pieces]


def _of_group(group: Waiting, now: float, wait_s: float, share: float) -> Iterator[Piece]:
    """Those with deadlines one by one; of the others ages are spread evenly from the oldest's to nothing."""
    is_high, patience_s = group.priority > 0 and class_step(group.priority) > 0, wait_s * patience_of(group.priority)
    for due_at, work_s in group.deadlines:
        yield Piece(group.model, work_s, patience_s, due_s=due_at - now, is_urgent=True)
    jobs = group.jobs - len(group.deadlines)
    work_s = group.work_s - sum(work_s for _, work_s in group.deadlines)
    pieces = max(1, round(jobs / share)) if jobs > 0 else 0
    for number in range(pieces):
        age_s = max(0.0, now - group.oldest_at) * (1 - number / pieces)
        yield Piece(group.model, max(0.0, work_s) / pieces, patience_s - age_s, age_s, is_urgent=is_high)


def patience_of(priority: int) -> float:
    """The part of `wait_s` that a job of that priority may wait."""
    return _PATIENCE[class_step(priority)]
