"""`python -m bench.engine`: a table, JSON and Markdown of the engine's figures.

Each thread count is measured in a process of its own with passive OpenMP waiting: spinning threads would take the
cores from those that work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import arrivals, ideal, report
from .figure import Figure
from .size import PARTS, QUICK, Size


def main(arguments: list[str]) -> int:
    """Measure, print, write; 1 with `--gate` where a floor was not reached."""
    asked = _parser().parse_args(arguments)
    parts, size = _parts(asked.only), _size(asked)
    found = [_measure(asked.model, threads, parts, size) for threads in asked.threads]
    figures = {one["threads"]: [Figure(**figure) for figure in one["figures"]] for one in found}
    command = shlex.join(["python", "-m", "bench.engine", *arguments])
    _write(asked.out, command, figures, found, size)
    print(report.table(figures))
    missed = report.missed(figures)
    print(f"\nfloors not reached: {'; '.join(missed) or 'none'}\nwritten: {asked.out}")
    return int(asked.gate and bool(missed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description="The engine's figures.")
    parser.add_argument("--quick", action="store_true", help="small counts: shows that it runs, not how fast")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch threads, one process each")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)} (overhead is in gain)")
    parser.add_argument("--pairs", type=int, help="interleaved pairs, and repeats of each open-loop load")
    parser.add_argument("--requests", type=int, help="requests of the mixed load")
    parser.add_argument("--arrivals", type=int, help="requests of an open-loop run")
    parser.add_argument("--loads", type=float, nargs="+", help="open loop, in parts of one-at-a-time capacity")
    parser.add_argument("--model", type=Path, default=Path("src/darkroom/models/bundled/landscapes"))
    parser.add_argument("--out", type=Path, default=Path("out/bench-engine.json"), help="JSON; Markdown goes beside it")
    parser.add_argument("--gate", action="store_true", help="exit code 1 where a floor is not reached")
    return parser


def _parts(only: str) -> list[str]:
    named = ["gain" if name == "overhead" else name for name in only.split(",")]
    unknown = set(named) - set(PARTS)
    if unknown:
        sys.exit(f"unknown parts {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return [part for part in PARTS if part in named]


def _size(asked: argparse.Namespace) -> Size:
    given = {name: getattr(asked, name) for name in ("pairs", "requests", "arrivals", "loads") if getattr(asked, name)}
    return Size.of(asdict(QUICK if asked.quick else Size()) | given)


def _measure(folder: Path, threads: int, parts: list[str], size: Size) -> dict[str, Any]:
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "found.json"
        order = {"folder": str(folder), "threads": threads, "parts": parts, "size": asdict(size), "out": str(out)}
        command = [sys.executable, "-m", "bench.engine.measure"]
        subprocess.run(command, env=environment, check=True, input=json.dumps(order), text=True)
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def _write(path: Path, command: str, figures: dict[int, list[Figure]], found: list[dict[str, Any]], size: Size) -> None:
    about = {
        "python": platform.python_version(),
        "torch": version("torch"),
        "diffusers": version("diffusers"),
        "cores": os.cpu_count(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"command": command, "about": about, "size": asdict(size), "measured": found}
    path.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    told = ", ".join(f"{name} {value}" for name, value in about.items())
    text = report.markdown(figures, command, f"{told}.\n\nGain: {ideal.DEFINITION}\n\nArrivals: {arrivals.ABOUT}")
    path.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
