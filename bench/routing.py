"""`python -m bench.routing`: loads and waits of many models on few workers, in a simulation; a table and JSON.

The clock is simulated, the store is real (SQLite): workers claim, tell what they have in memory and complete through
its verbs. A worker runs one job at a time and keeps its latest models, and their adapters with them. Idle workers hear
of a new job within milliseconds, in an order that is drawn, and look again every quarter of a second, as real ones do.
A job waits from its arrival until its first step: loads count. It is held against round robin and one queue for all.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import math
import random
import tempfile
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from darkroom.core import Lease, NewJob, WorkerReport
from darkroom.jobs.opening import open_store
from darkroom.jobs.routing import mark_of
from darkroom.jobs.store import HOLD_S, PATIENCE_S, Claimant, Limits, Store
from darkroom.traces import EXEC_SIGMA, MEDIAN_S, compressed, read_trace

from .engine.figure import percentile
from .engine.progress import say

START = 1e6  # of the simulated clock
POLL_S, WAKE_S = 0.25, 0.005  # an idle worker's looks; how soon one hears of a new job
LOADS = (0.5, 0.7, 0.9)
SWEEP = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
ADAPTED, ADAPTERS = 0.17, 5  # share of jobs with an adapter (GenTD26), and how many each model has
MEMORY = Path("/dev/shm")  # commits of which none needs to last
FOR_EVER_S = 1e9  # nobody dies here


@dataclass(frozen=True)
class Ask:
    """A job to come; `adapter` is the digest of one, "" for none."""

    number: int
    arrived: float
    exec_s: float
    model: str
    adapter: str = ""


@dataclass(frozen=True)
class Shop:
    """The workers: `kept` models in memory each, seconds of loading one, and of reading an adapter."""

    workers: int = 8
    kept: int = 2
    load_s: float = 8.0
    adapter_s: float = 1.0


@dataclass(eq=False)
class Worker:
    """`held`: models in memory, the latest used last, each with its adapters; `ring` says which look still counts."""

    number: int
    held: OrderedDict[str, set[str]] = field(default_factory=OrderedDict)
    is_busy: bool = False
    ring: int = 0

    @property
    def name(self) -> str:
        return f"worker-{self.number}"


class Line(Protocol):
    """Where jobs wait, and who gets which."""

    def put(self, ask: Ask, now: float) -> None:
        """A job has come."""

    def take(self, worker: Worker, now: float) -> Ask | None:
        """What an idle worker gets."""

    def tell(self, worker: Worker, now: float) -> None:
        """What it has in memory has changed."""

    def end(self, ask: Ask, now: float) -> None:
        """A job is done."""


class RoundRobin:
    """Job i to worker i modulo their number, first come first served there; with one worker's line, one for all."""

    def __init__(self, lines: int) -> None:
        self._lines: list[deque[Ask]] = [deque() for _ in range(lines)]

    def put(self, ask: Ask, now: float) -> None:
        self._lines[ask.number % len(self._lines)].append(ask)

    def take(self, worker: Worker, now: float) -> Ask | None:
        line = self._lines[worker.number % len(self._lines)]
        return line.popleft() if line else None

    def tell(self, worker: Worker, now: float) -> None:
        pass

    def end(self, ask: Ask, now: float) -> None:
        pass


class Claims:
    """The store: whoever is idle claims."""

    def __init__(self, store: Store, asks: Sequence[Ask]) -> None:
        self._store, self._asks = store, asks
        self._models = tuple(sorted({ask.model for ask in asks}))
        self._leases: dict[int, Lease] = {}

    def put(self, ask: Ask, now: float) -> None:
        given = {"adapter_digests": {"style": ask.adapter}} if ask.adapter else {}
        new = NewJob(str(ask.number), "all", ask.model, "text-to-image", given, cost_s=ask.exec_s)
        [answer] = self._store.insert([new], now)
        assert not isinstance(answer, Exception), answer

    def take(self, worker: Worker, now: float) -> Ask | None:
        jobs = self._store.claim(Claimant(worker.name, self._models, tuple(worker.held)), 1, now)
        if not jobs:
            return None
        ask = self._asks[int(jobs[0].id)]
        self._leases[ask.number] = Lease(jobs[0].id, jobs[0].fence)
        return ask

    def tell(self, worker: Worker, now: float) -> None:
        facts = {"adapters": {model: sorted(map(mark_of, held)) for model, held in worker.held.items()}}
        report = WorkerReport(worker.name, "ready", now, self._models, tuple(worker.held), facts=facts)
        self._store.heartbeat(report, [], now)

    def end(self, ask: Ask, now: float) -> None:
        self._store.complete(self._leases.pop(ask.number), [], {}, now)


@dataclass
class Outcome:
    """What a run came to; seconds."""

    waits: list[float] = field(default_factory=list)
    loads: int = 0
    reads: int = 0
    brought_s: float = 0.0
    busy_s: float = 0.0


class Run:
    """One policy over one trace."""

    def __init__(self, asks: Sequence[Ask], shop: Shop, line: Line, seed: int = 0) -> None:
        self._shop, self._line, self._rng = shop, line, random.Random(f"routing {seed}")
        self._workers = [Worker(number) for number in range(shop.workers)]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order, self._waiting = count(), 0
        self.outcome = Outcome()
        for ask in asks:
            self._at(ask.arrived, self._arrive, ask)

    def to_the_end(self) -> Outcome:
        """Until all jobs are done."""
        while self._events:
            self._now, _, what, whom = heapq.heappop(self._events)
            what(*whom)
        assert self._waiting == 0
        return self.outcome

    def _at(self, at: float, what: Callable[..., None], *whom: Any) -> None:
        heapq.heappush(self._events, (at, next(self._order), what, whom))

    def _arrive(self, ask: Ask) -> None:
        self._line.put(ask, START + self._now)
        self._waiting += 1
        for worker in self._workers:
            if not worker.is_busy:
                self._look_in(self._rng.uniform(0.0, WAKE_S), worker)

    def _look_in(self, seconds: float, worker: Worker) -> None:
        worker.ring += 1
        self._at(self._now + seconds, self._look, worker, worker.ring)

    def _look(self, worker: Worker, ring: int) -> None:
        if worker.is_busy or ring != worker.ring or not self._waiting:
            return
        ask = self._line.take(worker, START + self._now)
        if ask is None:
            self._look_in(POLL_S, worker)
        else:
            self._waiting -= 1
            self._begin(worker, ask)

    def _begin(self, worker: Worker, ask: Ask) -> None:
        worker.is_busy = True
        load_s = self._make_room(worker, ask.model)
        is_read = bool(ask.adapter) and (load_s > 0 or ask.adapter not in worker.held[ask.model])
        brought_s = load_s + is_read * self._shop.adapter_s
        self.outcome.reads += is_read
        self.outcome.brought_s += brought_s
        self.outcome.busy_s += brought_s + ask.exec_s
        self.outcome.waits.append(self._now + brought_s - ask.arrived)
        self._at(self._now + brought_s, self._have, worker, ask)
        self._at(self._now + brought_s + ask.exec_s, self._end, worker, ask)

    def _make_room(self, worker: Worker, model: str) -> float:
        """Seconds until the model is in memory; the least recently used leaves for it."""
        if model in worker.held:
            worker.held.move_to_end(model)
            return 0.0
        self.outcome.loads += 1
        if len(worker.held) == self._shop.kept:
            worker.held.popitem(last=False)
            self._line.tell(worker, START + self._now)
        return self._shop.load_s

    def _have(self, worker: Worker, ask: Ask) -> None:
        before = {model: set(adapters) for model, adapters in worker.held.items()}
        adapters = worker.held.setdefault(ask.model, set())
        adapters |= {ask.adapter} - {""}
        if worker.held != before:
            self._line.tell(worker, START + self._now)

    def _end(self, worker: Worker, ask: Ask) -> None:
        self._line.end(ask, START + self._now)
        worker.is_busy = False
        self._look_in(0.0, worker)


def draw(jobs: int, models: int, load: float, shop: Shop, seed: int) -> list[Ask]:
    """Poisson arrivals, models by Zipf's law, seconds as in GenTD26; `load` counts no loading."""
    rng = random.Random(f"routing {seed} {models}")
    gap_s = MEDIAN_S * math.exp(EXEC_SIGMA**2 / 2) / (load * shop.workers)
    at, found = 0.0, []
    for number in range(jobs):
        at += rng.expovariate(1.0) * gap_s
        model = _zipf(rng, "model", models)
        found.append(Ask(number, at, rng.lognormvariate(math.log(MEDIAN_S), EXEC_SIGMA), model, _adapter(rng, model)))
    return found


def read(path: Path, load: float, shop: Shop, seed: int) -> list[Ask]:
    """A trace's requests, closer together or further apart until they are that load; adapters are drawn."""
    rng = random.Random(f"routing {seed}")
    requests = read_trace(path)
    span_s = requests[-1].arrival_s - requests[0].arrival_s
    factor = load * shop.workers * span_s / sum(request.exec_s for request in requests)
    near = enumerate(compressed(requests, factor))
    return [Ask(number, one.arrival_s, one.exec_s, one.model, _adapter(rng, one.model)) for number, one in near]


def _zipf(rng: random.Random, kind: str, most: int) -> str:
    [place] = rng.choices(range(most), [1 / (place + 1) for place in range(most)])
    return f"{kind}-{place}"


def _adapter(rng: random.Random, model: str) -> str:
    name = f"{model}/{_zipf(rng, 'adapter', ADAPTERS)}"
    return hashlib.sha256(name.encode()).hexdigest() if rng.random() < ADAPTED else ""


@contextmanager
def claims(asks: Sequence[Ask], hold_s: float = HOLD_S, patience_s: float = PATIENCE_S) -> Iterator[Claims]:
    """An empty store."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        limits = Limits(lease_s=FOR_EVER_S, hold_s=hold_s, patience_s=patience_s)
        with closing(open_store(f"sqlite:///{folder}/jobs.sqlite3", limits)) as store:
            yield Claims(store, asks)


@dataclass(frozen=True)
class Row:
    """A line of the table; seconds, `brought` is the share of busy time that went into loads."""

    load: float
    policy: str
    jobs: int
    loads: int
    reads: int
    brought: float
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float


def row(load: float, policy: str, outcome: Outcome) -> Row:
    """A run in figures."""
    waits, brought = outcome.waits, outcome.brought_s / outcome.busy_s
    tails = [percentile(waits, share) for share in (0.5, 0.95, 0.99)]
    return Row(load, policy, len(waits), outcome.loads, outcome.reads, brought, sum(waits) / len(waits), *tails)


def compare(
    asks: Sequence[Ask], shop: Shop, load: float, holds: Sequence[float], patience_s: float, seed: int
) -> list[Row]:
    """Every policy over the same jobs."""
    lines = {"round robin": shop.workers, "one queue": 1}
    rows = [row(load, name, Run(asks, shop, RoundRobin(count), seed).to_the_end()) for name, count in lines.items()]
    for hold_s in holds:
        with claims(asks, hold_s, patience_s) as line:
            rows.append(row(load, f"darkroom, held {hold_s:g} s", Run(asks, shop, line, seed).to_the_end()))
        say(f"load {load:g}, held {hold_s:g} s")
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| load | policy | loads | adapters read | loading | wait mean, p50, p95, p99 |",
        "|---|---|---|---|---|---|",
    ]
    for one in rows:
        waits = ", ".join(f"{seconds:.1f}" for seconds in (one.mean_s, one.p50_s, one.p95_s, one.p99_s))
        cells = (f"{one.load:g}", one.policy, f"{one.loads:,}", f"{one.reads:,}", f"{one.brought:.1%}", f"{waits} s")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=main.__doc__)
    parser.add_argument("--jobs", type=int, default=3000, help="drawn for each load")
    parser.add_argument("--models", type=int, default=24, help="drawn by Zipf's law")
    parser.add_argument("--workers", type=int, default=Shop.workers)
    parser.add_argument("--kept", type=int, default=Shop.kept, help="models in a worker's memory")
    parser.add_argument("--load-s", type=float, default=Shop.load_s, help="seconds of loading a model")
    parser.add_argument("--trace", type=Path, help="a CSV as for `darkroom fleet simulate`, in place of drawn jobs")
    parser.add_argument("--sweep", action="store_true", help="also other times for which a young job is held")
    parser.add_argument("--patience-s", type=float, default=PATIENCE_S, help="after which a job goes by rank alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/bench-routing.json"))
    asked = parser.parse_args()
    shop = Shop(asked.workers, asked.kept, asked.load_s)
    holds, rows = SWEEP if asked.sweep else (0.0, HOLD_S), list[Row]()
    for load in LOADS:
        if asked.trace:
            asks = read(asked.trace, load, shop, asked.seed)
        else:
            asks = draw(asked.jobs, asked.models, load, shop, asked.seed)
        rows += compare(asks, shop, load, holds, asked.patience_s, asked.seed)
    print(table(rows))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    said = {"asked": {name: str(value) for name, value in vars(asked).items()}, "rows": [asdict(one) for one in rows]}
    asked.out.write_text(json.dumps(said, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
