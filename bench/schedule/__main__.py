"""`python -m bench.schedule`: deadlines kept and tails, policy against policy, in a simulation; a table and JSON."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.engine.figure import percentile
from bench.engine.progress import say

from . import loads, policies
from .device import BUNDLED, H200, Device
from .loads import Ask
from .simulate import simulate

SLOS = (1.2, 1.5, 2.0)
MOST_BACKLOG = 1.5  # past it latencies only tell how long the run was


@dataclass(frozen=True)
class Scene:
    """One workload on one device."""

    name: str
    kind: loads.Kind
    device: Device
    loads: tuple[float, ...]
    arrive: Callable[[loads.Kind, Device, float, int, int], list[Ask]] = loads.steady


@dataclass(frozen=True)
class Row:
    """What one policy came to under one load; latencies also in units of the request's seconds alone."""

    scene: str
    load: float
    policy: str
    kept: dict[float, float]
    p50_s: float | None
    p99_s: float | None
    p50_solo: float | None
    p99_solo: float | None


LOADS = (0.5, 0.9, 1.5, 2.5)
SCENES = [
    Scene("W2, H200 512x512", loads.mixed_steps(512, 1), H200, LOADS),
    Scene("W2, H200 1024x1024 (flat)", loads.mixed_steps(1024, 1), H200, LOADS),
    Scene("W2, bundled model", loads.mixed_steps(256, 2), BUNDLED, LOADS),
    Scene("W3, H200", loads.mixed_sizes, H200, LOADS),
    Scene("W4, H200, like GenTD26", loads.production, H200, (0.1, 0.3), loads.by_the_hour),
]


def main(arguments: list[str]) -> int:
    """Simulate, print, write; 1 with `--gate` where another policy keeps more deadlines."""
    parser = argparse.ArgumentParser(prog="python -m bench.schedule", description=__doc__)
    parser.add_argument("--count", type=int, default=600, help="requests of each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.0, help="forecasts are off by up to this part, each its own")
    parser.add_argument("--only", default="", help="scenes whose names hold this")
    parser.add_argument("--out", type=Path, default=Path("out/bench-schedule.json"))
    parser.add_argument("--gate", action="store_true", help="exit code 1 where another policy is ahead")
    asked = parser.parse_args(arguments)
    rows = [
        row for scene in SCENES if asked.only in scene.name for row in run(scene, asked.count, asked.seed, asked.noise)
    ]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "bench.schedule", *arguments])
    asked.out.write_text(json.dumps({"command": command, "rows": [asdict(row) for row in rows]}, indent=1), "utf-8")
    print(table(rows))
    behind = where_behind(rows)
    print(f"\nanother policy is ahead: {'; '.join(behind) or 'nowhere'}\nwritten: {asked.out}")
    return int(asked.gate and bool(behind))


def run(scene: Scene, count: int, seed: int, noise: float) -> list[Row]:
    """Every policy under every load, the same requests for each."""
    rows = []
    for load in scene.loads:
        asks = scene.arrive(scene.kind, scene.device, load, count, seed)
        for name in policies.POLICIES:
            rows.append(_row(scene, load, name, asks, noise))
            say(f"{scene.name}, load {load:g}, {name}")
    return rows


def _row(scene: Scene, load: float, name: str, asks: list[Ask], noise: float) -> Row:
    device, make = scene.device, policies.POLICIES[name]
    kept = {slo: len(simulate(asks, device, make(device), slo, noise).latency_s) / len(asks) for slo in SLOS}
    if load > MOST_BACKLOG:
        return Row(scene.name, load, name, kept, None, None, None, None)
    late_s = simulate(asks, device, make(device), None, noise).latency_s
    seconds = [late_s[ask.number] for ask in asks]
    solo = [late / ask.solo_s(device) for late, ask in zip(seconds, asks, strict=True)]
    tails = [percentile(values, share) for values in (seconds, solo) for share in (0.5, 0.99)]
    return Row(scene.name, load, name, kept, *tails)


def where_behind(rows: list[Row]) -> list[str]:
    """Loads and targets at which another policy keeps more deadlines than the engine's."""
    found = []
    for own in (row for row in rows if row.policy == "ours"):
        for other in (row for row in rows if (row.scene, row.load) == (own.scene, own.load)):
            found += [
                f"{own.scene}, load {own.load:g}, {slo:g}x: {other.policy}"
                for slo in SLOS
                if other.kept[slo] > own.kept[slo]
            ]
    return found


def table(rows: list[Row]) -> str:
    """Markdown."""
    head = [
        "workload",
        "load",
        "policy",
        *(f"within {slo:g}x" for slo in SLOS),
        "p50",
        "p99",
        "p50 / solo",
        "p99 / solo",
    ]
    lines = [head, ["---"] * len(head), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> list[str]:
    kept = [f"{row.kept[slo] * 100:.1f} %" for slo in SLOS]
    seconds = ["" if value is None else f"{value:.2f} s" for value in (row.p50_s, row.p99_s)]
    solo = ["" if value is None else f"{value:.2f}" for value in (row.p50_solo, row.p99_solo)]
    return [row.scene, f"{row.load:g}", row.policy, *kept, *seconds, *solo]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
