"""`python -m bench.service`: a table, JSON and Markdown of the service's figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.engine import report
from bench.engine.figure import Figure

from . import box, live, start, submissions, together
from .size import PARTS, QUICK, Size


def main(arguments: list[str]) -> int:
    """Measure, print, write; 1 with `--gate` where a floor was not reached."""
    asked = _parser().parse_args(arguments)
    size = QUICK if asked.quick else Size()
    if asked.pairs:
        size = replace(size, pairs=asked.pairs)
    figures, found = measure(asked.only.split(","), size, asked.threads)
    command = shlex.join(["python", "-m", "bench.service", *arguments])
    by_threads = {asked.threads: figures}
    about = f"Python {platform.python_version()}, torch {version('torch')}, {os.cpu_count()} cores."
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"command": command, "size": asdict(size), "measured": found}, indent=1))
    asked.out.with_suffix(".md").write_text(report.markdown(by_threads, command, about), encoding="utf-8")
    print(report.table(by_threads))
    missed = report.missed(by_threads)
    print(f"\nfloors not reached: {'; '.join(missed) or 'none'}\nwritten: {asked.out}")
    return int(asked.gate and bool(missed))


def measure(parts: list[str], size: Size, threads: int) -> tuple[list[Figure], dict[str, Any]]:
    """All figures of these parts, and what they were made of."""
    figures: list[Figure] = []
    found: dict[str, Any] = {}

    def take(part: str, measured: tuple[list[Figure], dict[str, Any]]) -> None:
        print(f"{part}: done", file=sys.stderr)
        figures.extend(measured[0])
        found[part] = measured[1]

    if "submissions" in parts:
        take("submissions", submissions.measure(size))
    if {"latency", "events", "eta", "throughput"} & set(parts):
        with box.folder() as home, box.service(home, threads) as url:
            if {"latency", "throughput"} & set(parts):
                bare = together.Bare(threads)
                if "latency" in parts:
                    take("latency", together.measure_latency(url, bare, size))
                if "throughput" in parts:
                    take("throughput", together.measure_throughput(url, bare, size))
                bare.engine.close()
            if "events" in parts:
                take("events", live.measure_events(url, size))
            if "eta" in parts:
                take("eta", live.measure_eta(url, size))
    if "start" in parts:
        take("start", start.measure(size, threads))
    return figures, found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.service", description="The service's figures.")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it runs, not how fast")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument("--threads", type=int, default=2, help="torch threads of the worker and of the bare engine")
    parser.add_argument("--pairs", type=int, help="interleaved pairs")
    parser.add_argument("--out", type=Path, default=Path("out/bench-service.json"), help="JSON; Markdown beside it")
    parser.add_argument("--gate", action="store_true", help="exit code 1 where a floor is not reached")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
