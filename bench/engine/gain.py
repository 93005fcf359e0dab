"""The mixed load, together against one after another, and what of the curve's promise was kept; the overhead in it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from darkroom.engine.engine import Engine

from . import ideal
from .curve import BareDenoiser, Curve
from .figure import Figure
from .model import Model, stopwatch, submit
from .progress import say
from .size import Size
from .workload import Request, mixed

SHARE_FLOOR, SHARE_AIM = 0.85, 0.95
OUTSIDE_FLOOR, OUTSIDE_AIM = 0.08, 0.03


@dataclass(frozen=True)
class PlainPass:
    """All requests one after another: seconds in all, and by heavy method."""

    total_s: float
    parts_s: dict[str, float]
    calls: dict[str, int]

    @property
    def rest_s(self) -> float:
        return self.parts_s["encode"] + self.parts_s["decode"]


@dataclass(frozen=True)
class EnginePass:
    """All requests at once: seconds until the last, and what the engine's counters say of them."""

    total_s: float
    busy_s: float
    outside_s: float
    ticks: int
    modules: dict[str, dict[str, float]]

    @property
    def outside_share(self) -> float:
        return self.outside_s / self.busy_s

    @property
    def mean_rows(self) -> float:
        return self.modules["unet"]["rows"] / max(1, self.modules["unet"]["batches"])


@dataclass
class Pair:
    """One A B pair and the curve measured around it."""

    plain: PlainPass
    engine: EnginePass
    curve: dict[int, float]
    steps: list[int]
    ideal_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.ideal_s = ideal.denoise_s(self.steps, self.curve) + self.plain.rest_s

    @property
    def ratio(self) -> float:
        return self.plain.total_s / self.engine.total_s

    @property
    def possible_ratio(self) -> float:
        return self.plain.total_s / self.ideal_s

    @property
    def share(self) -> float:
        return (self.plain.total_s - self.engine.total_s) / (self.plain.total_s - self.ideal_s)

    @property
    def pace(self) -> float:
        """Seconds of a two-row forward inside plain diffusers against the curve's: far from 1, they do not compare."""
        return self.plain.parts_s["denoise"] / self.plain.calls["denoise"] / self.curve[2]


def measure(model: Model, served: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """`served` is the same model loaded a second time, so that the engine's hooks are not in plain diffusers' way."""
    bare = BareDenoiser(model, [rows for rows in size.curve_rows if rows > 1])
    bare.round()
    with served.serve() as engine:
        cold = run_engine(engine, mixed(size.requests, size.steps, 0))
        say(f"gain: the engine's first load took {cold.total_s:.1f} s")
        pairs = [_pair(model, engine, bare, size, turn) for turn in range(1, size.pairs + 1)]
    return figures(pairs, cold), {"definition": ideal.DEFINITION, "pairs": [_detail(pair) for pair in pairs]}


def run_plain(model: Model, requests: list[Request]) -> PlainPass:
    """Plain diffusers, one after another."""
    with stopwatch(model) as watch:
        started = time.perf_counter()
        for request in requests:
            model.run(request)
        total = time.perf_counter() - started
    return PlainPass(total, dict(watch.seconds), dict(watch.calls))


def run_engine(engine: Engine, requests: list[Request]) -> EnginePass:
    """All at once, until the last is done."""
    before, started = engine.stats(), time.perf_counter()
    for handle in [submit(engine, request) for request in requests]:
        handle.result()
    total, after = time.perf_counter() - started, engine.stats()
    outside, busy = after["outside_s"] - before["outside_s"], after["busy_s"] - before["busy_s"]
    return EnginePass(total, busy, outside, after["ticks"] - before["ticks"], _modules(before, after))


def _pair(model: Model, engine: Engine, bare: BareDenoiser, size: Size, turn: int) -> Pair:
    requests, curve = mixed(size.requests, size.steps, turn), Curve()
    curve.add(bare.round())
    if turn % 2:
        plain = run_plain(model, requests)
        curve.add(bare.round())
        together = run_engine(engine, requests)
    else:
        together = run_engine(engine, requests)
        curve.add(bare.round())
        plain = run_plain(model, requests)
    curve.add(bare.round())
    pair = Pair(plain, together, curve.medians(), [request.steps for request in requests])
    told = f"plain {plain.total_s:.1f} s, engine {together.total_s:.1f} s, share {pair.share:.2f}"
    say(f"gain {turn}/{size.pairs}: {told}")
    return pair


def figures(pairs: list[Pair], cold: EnginePass) -> list[Figure]:
    """Medians over the pairs."""
    outside = median(pair.engine.outside_share for pair in pairs)
    allowed = median(pair.possible_ratio for pair in pairs)
    share = median(pair.share for pair in pairs)
    return [
        Figure("gain", "plain, one after another", median(p.plain.total_s for p in pairs), "s"),
        Figure("gain", "engine, all at once", median(p.engine.total_s for p in pairs), "s"),
        Figure("gain", "engine, its first load ever", cold.total_s, "s"),
        Figure("gain", "ideal by the curve", median(p.ideal_s for p in pairs), "s"),
        Figure("gain", "plain ratio: times faster than one after another", median(p.ratio for p in pairs), "x"),
        Figure("gain", "ratio that the curve allows", allowed, "x"),
        Figure("gain", "share of the gain that the curve allows", share, "%", SHARE_FLOOR, SHARE_AIM),
        Figure("gain", "rows of the engine's mean denoiser forward", median(p.engine.mean_rows for p in pairs), "rows"),
        Figure("gain", "check: two rows in plain diffusers against the curve", median(p.pace for p in pairs), "x"),
        Figure("overhead", "time outside forwards", outside, "%", OUTSIDE_FLOOR, OUTSIDE_AIM, False),
    ]


def _modules(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What each hooked method did between two readings of the counters."""
    done = {}
    for name, now in after["modules"].items():
        then = before["modules"].get(name, {})
        done[name] = {k: now[k] - then.get(k, 0) for k in ("calls", "batches", "rows", "seconds")}
    return done


def _detail(pair: Pair) -> dict[str, Any]:
    derived = {name: getattr(pair, name) for name in ("ratio", "possible_ratio", "share", "pace")}
    return asdict(pair) | derived | {"outside_share": pair.engine.outside_share}
