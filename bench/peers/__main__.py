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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import judged, muse, report
from .cells import Found, OtherCounts, Shelf, order
from .conditions import conditions, processor
from .environments import ENVIRONMENTS, HERE
from .exports import EXPORTS, MEASURED
from .page import page
from .run import FAULTS, Measurement, OutOfTime, capacity_of, drift, installed, typical
from .serving import Ground
from .size import QUICK, WORKLOADS, Size, once
from .systems import DARKROOM, PEERS, SYSTEMS, WINDOWED, Batch, System
from .tuning import tries_of

EXPORTED, MUSE = "exports", "muse"


def main(arguments: Sequence[str]) -> int:
    """Measure what is left, print, write; 1 where time ran out or a system that was asked for is missing."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no server is left behind
    size = QUICK if asked.quick else Size()
    size = replace(size, threads=asked.threads)
    folder = (asked.out or Path("out/peers") / ("quick" if asked.quick else "full")).absolute()
    systems = [system for system in SYSTEMS if system.name in asked.systems.split(",")]
    exports = EXPORTS if EXPORTED in asked.only.split(",") and DARKROOM in systems else ()
    if asked.only == EXPORTED and not exports:
        print(
            "exports run with what is best for Darkroom: leave --systems out, or name darkroom in it", file=sys.stderr
        )
        return 2
    try:
        shelf = Shelf(folder, size, None if asked.table else conditions(), may_mix=asked.other_revision)
    except OtherCounts as error:
        print(error, file=sys.stderr)
        return 2
    try:
        is_whole = asked.table or _measured(asked, size, shelf, systems, exports)
    except FAULTS as error:
        print(f"plain diffusers, which all are held against, cannot be measured: {error}", file=sys.stderr)
        return 2
    command = shlex.join(["python", "-m", "bench.peers", *arguments])
    tables, rows, about = _results(shelf, size, systems, exports, command)
    for each in tables:
        print(f"{each.text()}\n")
    (folder / "peers.md").write_text("\n".join([*about, "", *(each.markdown() for each in tables)]), encoding="utf-8")
    names = {system.name: system.said for system in (*systems, *exports)}
    drawn = [row for row in rows if row.system in {system.name for system in systems}]
    (folder / "peers.html").write_text(page(about, tables, drawn, names), encoding="utf-8")
    print(f"written: {folder / 'peers.md'}, {folder / 'peers.html'}")
    if not is_whole:
        print("the minutes are over: the same command goes on", file=sys.stderr)
    missing = [names[row.system] for row in rows if row.failure is not None]
    if missing:
        print(f"not measured, or not wholly: {', '.join(missing)}", file=sys.stderr)
    return int(not is_whole or bool(missing))


def _measured(
    asked: argparse.Namespace, size: Size, shelf: Shelf, systems: Sequence[System], exports: Sequence[System]
) -> bool:
    """Whether all of it is."""
    ground = Ground(shelf.folder, ENVIRONMENTS, size.warm)
    parts = asked.only.split(",")
    has_muse = MUSE in parts and DARKROOM in systems
    absent = installed([WINDOWED, *systems, *exports], ground)  # before the clock starts
    measurement = Measurement(size, shelf, ground, time.monotonic() + asked.minutes * 60, absent)
    try:
        measurement.run(systems, [name for name in WORKLOADS if name in parts], has_muse=has_muse)
        if has_muse:
            measurement.crowds()
        if exports:
            measurement.size = once(size)
            measurement.run(exports, MEASURED, has_muse=False)
    except OutOfTime:
        return False
    return True


def _results(
    shelf: Shelf, size: Size, systems: Sequence[System], exports: Sequence[System], command: str
) -> tuple[list[report.Table], list[judged.Row], list[str]]:
    """What is there by now."""
    kept = shelf.read("alone")
    if kept is None:
        return [], [], []
    alone = typical(kept["repeats"][0])
    every = [*systems, *exports]
    cells = [*order(size, [system.name for system in systems])]
    cells += order(once(size), [system.name for system in exports], MEASURED)
    found = [each for cell in cells if (each := shelf.found(cell))]
    rows = [
        judged.row_of(system.name, here, alone)
        for system in every
        if (here := [each for each in found if each.cell.system == system.name])
    ]
    names = {system.name: system.said for system in every}
    # W6 alone has the largest batch, whatever the sweep says.
    swept_for = sorted(found, key=lambda each: each.cell.workload != "W6")
    batches = {each.cell.system: str(Batch(**said)) for each in swept_for if (said := each.about.get("batch"))}
    capacity = capacity_of("W2", alone)
    others = {system.name for system in PEERS}
    peers = [row for row in rows if row.system in others]
    broken = {each.cell.system for each in found if each.cell.workload == "W2" and each.failure is not None}
    peers = [row for row in peers if row.system not in broken and row.goodput is not None]
    whole = {row.system for row in peers}
    missing = [system.said for system in PEERS if system.name not in whole]
    ours = next((row for row in rows if row.system == DARKROOM.name), None)
    tables = [report.systems_table(rows, names, batches, capacity), report.ladder_table(rows, names)]
    if ours is not None and (reached := judged.targets(ours, peers, missing)):
        tables.insert(0, report.targets_table(reached))
    swept = {system.said: tries for system in systems if (tries := tries_of(system.name, shelf))}
    if swept:
        tables.append(report.tuning_table(swept))
    told = {each.said: said for each in muse.settings(size) if (said := shelf.read(each.name))}
    crowds = {setting: said for setting, said in told.items() if muse.is_measured(said)}
    if crowds:
        tables.append(report.crowd_table(crowds))
    days = sorted({each.about.get("began_at", "")[:10] for each in found})
    about = [f"`{command}`, {', '.join(days)}.", "", *_about(size, every, found, capacity), *_alone_said(kept)]
    lost = [f"Darkroom with {setting}: {said['failure']}" for setting, said in told.items() if setting not in crowds]
    return tables, rows, [*about, *report.failures(found, names), *lost]


def _alone_said(kept: Mapping[str, Any]) -> Iterator[str]:
    sums = {threads: sum(typical(each).values()) for threads, each in kept["tried"].items()}
    tried = ", ".join(f"{seconds:.2f} s with {threads}" for threads, seconds in sums.items())
    yield f"Plain diffusers alone, a request of each kind: threads, {tried}; held against all: {kept['threads']}."
    for number, change in enumerate(drift(kept["repeats"])):
        yield f"Measured again at repeat {number + 2}, that took {change:+.1%}."


def _about(size: Size, systems: Sequence[System], found: Sequence[Found], capacity: float) -> Iterator[str]:
    own = {each.cell.system: said for each in found if (said := each.about.get("server"))}
    versions = dict.fromkeys(f"{each.package} {_version(each)}" for each in systems if each is not DARKROOM)
    revisions = sorted({each.about.get("revision", "") for each in found})
    yield f"Darkroom at {', '.join(revisions)}; {', '.join([*versions, *dict.fromkeys(own.values())])}."
    yield (
        f"Python {platform.python_version()}, torch {version('torch')}, diffusers {version('diffusers')}, "
        f"{processor()}, {os.cpu_count()} cores, {size.threads} for each system, "
        f"serial capacity {capacity:.3f} requests a second of W2."
    )


def _version(system: System) -> str:
    """As it is pinned."""
    lines = (HERE / f"requirements-{system.environment}.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("#")[0].strip().split("==", 1) for line in lines if "==" in line)
    return pinned[system.package]


def _parser() -> argparse.ArgumentParser:
    every = ",".join(system.name for system in SYSTEMS)
    parts = ",".join((*WORKLOADS, MUSE, EXPORTED))
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Darkroom and other servers.")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it runs, not how fast")
    parser.add_argument("--only", default=parts, help=f"workloads, of {parts}")
    parser.add_argument("--systems", default=every, help=f"of {every}")
    parser.add_argument(
        "--threads", type=int, default=Size.threads, help="cores: torch threads of all instances of a server"
    )
    parser.add_argument("--minutes", type=float, default=90.0, help="begin nothing later; the same command goes on")
    parser.add_argument("--other-revision", action="store_true", help="go on in a folder of another Darkroom")
    parser.add_argument("--out", type=Path, help="folder; out/peers/full or out/peers/quick unless said")
    parser.add_argument("--table", action="store_true", help="measure nothing: the tables of what is there")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
