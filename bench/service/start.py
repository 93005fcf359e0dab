"""From `darkroom serve` to the first image, in parts."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import httpx

from bench.engine.figure import Figure

from . import box
from .size import Size

ASKED = {"input": {"prompt": "first light", "preset": "fast", "seed": 1}}


def measure(size: Size, threads: int) -> tuple[list[Figure], dict[str, Any]]:
    """Medians of a few starts; the page cache is warm after the first."""
    return figures_of([_once(threads) for _ in range(size.starts)])


def figures_of(starts: list[dict[str, float]]) -> tuple[list[Figure], dict[str, Any]]:
    """The parts one after another, and the whole."""
    parts = [
        {
            "until the gateway answers": start["gateway"],
            "then until a worker is ready": start["ready"] - start["gateway"],
            "then until the first image": start["first image"] - start["ready"],
            "in all": start["first image"],
        }
        for start in starts
    ]
    figures = [Figure("start", name, median(part[name] for part in parts), "s") for name in parts[0]]
    return figures, {"starts": starts}


def _once(threads: int) -> dict[str, float]:
    port = box.free_port()
    url = f"http://127.0.0.1:{port}"
    with box.folder() as home:
        began = time.perf_counter()
        with box.process(box.darkroom("serve", "--port", str(port)), home, threads):
            box.wait_until(lambda: box.answers(f"{url}/healthz"))
            gateway_s = time.perf_counter() - began
            box.wait_until(lambda: box.answers(f"{url}/readyz"))
            ready_s = time.perf_counter() - began
            httpx.post(f"{url}/v1/jobs", json=ASKED, headers={"Prefer": "wait=120"}, timeout=150).raise_for_status()
            return {"gateway": gateway_s, "ready": ready_s, "first image": time.perf_counter() - began}
