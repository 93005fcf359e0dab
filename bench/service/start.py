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
    starts = [_once(threads) for _ in range(size.starts)]
    figures = [
        Figure("start", name, median(start[name] for start in starts), "s")
        for name in ("gateway", "ready", "first image")
    ]
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
