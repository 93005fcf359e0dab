"""`python -m bench.peers`: Darkroom and other servers on the same work; tables, JSON, Markdown and a page.

It goes on where it stopped: whatever is whole is kept in `--out`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from bench.service.box import ROOT

from . import judged, muse, report
from .cells import OtherCounts, Shelf, order
from .environments import HERE
from .page import page
from .run import FAULTS, Measurement, OutOfTime, capacity_of, typical
from .serving import Ground
from .size import QUICK, WORKLOADS, Size
from .systems import DARKROOM, SYSTEMS, Batch, System
from .tuning import tries_of

MUSE = "muse"


def main(arguments: Sequence[str]) -> int:
    """Measure what is left, print, write; 1 where time ran out before all was measured."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no server is left behind
    size = QUICK if asked.quick else Size()
    size = replace(size, threads=asked.threads)
    folder = (asked.out or Path("out/peers") / ("quick" if asked.quick else "full")).absolute()
    systems = [system for system in SYSTEMS if system.name in asked.systems.split(",")]
    try:
        shelf = Shelf(folder, size)
    except OtherCounts as error:
        print(error, file=sys.stderr)
        return 2
    try:
        is_whole = asked.table or _measured(asked, size, shelf, systems)
    except FAULTS as error:
        print(f"plain diffusers, which all are held against, cannot be measured: {error}", file=sys.stderr)
        return 2
    tables, rows, about = _results(shelf, size, systems, shlex.join(["python", "-m", "bench.peers", *arguments]))
    for each in tables:
        print(f"{each.text()}\n")
    (folder / "peers.md").write_text("\n".join([*about, "", *(each.markdown() for each in tables)]), encoding="utf-8")
    names = {system.name: system.said for system in systems}
    (folder / "peers.html").write_text(page(about, tables, rows, names), encoding="utf-8")
    print(f"written: {folder / 'peers.md'}, {folder / 'peers.html'}")
    if not is_whole:
        print("the minutes are over: the same command goes on", file=sys.stderr)
    return int(not is_whole)


def _measured(asked: argparse.Namespace, size: Size, shelf: Shelf, systems: Sequence[System]) -> bool:
    """Whether all of it is."""
    environments = Path(ROOT) / "out" / "peers" / "environments"
    ground = Ground(shelf.folder, environments, size.threads, size.warm)
    measurement = Measurement(size, shelf, ground, time.monotonic() + asked.minutes * 60)
    parts = asked.only.split(",")
    try:
        measurement.run(systems, [name for name in WORKLOADS if name in parts])
        if MUSE in parts and DARKROOM in systems:
            measurement.crowds()
    except OutOfTime:
        return False
    return True


def _results(
    shelf: Shelf, size: Size, systems: Sequence[System], command: str
) -> tuple[list[report.Table], list[judged.Row], list[str]]:
    """What is there by now."""
    kept = shelf.read("alone")
    if kept is None:
        return [], [], []
    alone = typical(kept)
    found = [each for cell in order(size, [system.name for system in systems]) if (each := shelf.found(cell))]
    rows = [
        judged.row_of(system.name, here, alone)
        for system in systems
        if (here := [each for each in found if each.cell.system == system.name])
    ]
    names = {system.name: system.said for system in systems}
    batches = {each.cell.system: str(Batch(**said)) for each in found if (said := each.about.get("batch"))}
    capacity = capacity_of("W2", alone)
    peers = [row for row in rows if row.system != DARKROOM.name]
    ours = next((row for row in rows if row.system == DARKROOM.name), None)
    tables = [report.systems_table(rows, names, batches, capacity), report.ladder_table(rows, names)]
    if ours is not None and (reached := judged.targets(ours, peers)):
        tables.insert(0, report.targets_table(reached))
    swept = {system.said: tries for system in systems if (tries := tries_of(system.name, shelf))}
    if swept:
        tables.append(report.tuning_table(swept))
    crowds = {each.said: said for each in muse.settings(size) if (said := shelf.read(each.name))}
    if crowds:
        tables.append(report.crowd_table(crowds))
    revisions = sorted({each.about.get("revision", "") for each in found})
    days = sorted({each.about.get("began_at", "")[:10] for each in found})
    about = [f"`{command}`, {', '.join(days)}.", "", *_about(size, systems, revisions, capacity)]
    return tables, rows, [*about, *report.failures(found, names)]


def _about(size: Size, systems: Sequence[System], revisions: Sequence[str], capacity: float) -> Iterator[str]:
    versions = ", ".join(f"{system.package} {_version(system)}" for system in systems if system is not DARKROOM)
    yield f"Darkroom at {', '.join(revisions)}; {versions}."
    yield (
        f"Python {platform.python_version()}, torch {version('torch')}, diffusers {version('diffusers')}, "
        f"{os.cpu_count()} cores, {size.threads} threads, serial capacity {capacity:.3f} requests a second of W2."
    )


def _version(system: System) -> str:
    """As it is pinned."""
    lines = (HERE / f"requirements-{system.environment}.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("#")[0].strip().split("==", 1) for line in lines if "==" in line)
    return pinned[system.package]


def _parser() -> argparse.ArgumentParser:
    every = ",".join(system.name for system in SYSTEMS)
    parts = ",".join((*WORKLOADS, MUSE))
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Darkroom and other servers.")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it runs, not how fast")
    parser.add_argument("--only", default=parts, help=f"workloads, of {parts}")
    parser.add_argument("--systems", default=every, help=f"of {every}")
    parser.add_argument("--threads", type=int, default=Size.threads, help="torch threads of every server")
    parser.add_argument("--minutes", type=float, default=90.0, help="begin nothing later; the same command goes on")
    parser.add_argument("--out", type=Path, help="folder; out/peers/full or out/peers/quick unless said")
    parser.add_argument("--table", action="store_true", help="measure nothing: the tables of what is there")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
