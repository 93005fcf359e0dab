"""What a client sees while jobs run: how late events arrive, and how far off the promised time is."""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import datetime
from statistics import median
from typing import Any

import httpx
from websockets.asyncio.client import connect

from bench.engine.figure import Figure, percentile

from .size import Size

PACE = 0.7  # of what the service can do at once


async def _submit(client: httpx.AsyncClient, number: int, steps: int) -> dict[str, Any]:
    asked = {"prompt": f"a calm sea, number {number}", "num_inference_steps": steps, "seed": number}
    answer = await client.post("/v1/jobs", json={"input": asked})
    answer.raise_for_status()
    said: dict[str, Any] = answer.json()
    return said


async def _watch(job: dict[str, Any], delays: list[float]) -> float:
    """Note how late each step was heard of; the time of the end."""
    async with connect(job["links"]["ws"]) as socket:
        began = time.time()
        async for text in socket:
            event = json.loads(text)
            at = datetime.fromisoformat(event["at"]).timestamp()
            if event["type"] == "progress" and at > began:  # what was before it listened is the past, not late
                delays.append((time.time() - at) * 1000)
    return time.time()


def measure_events(url: str, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """From a step's end in the worker to the client's socket, with many jobs watched at once."""
    delays: list[float] = []

    async def run() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            jobs = [await _submit(client, number, 3 * size.steps) for number in range(size.watched)]
            await asyncio.gather(*(_watch(job, delays) for job in jobs))

    asyncio.run(run())
    figures = [
        Figure("events", "from a step to the client, p50", median(delays), "ms"),
        Figure("events", "from a step to the client, p99", percentile(delays, 0.99), "ms", 100.0, is_more_better=False),
    ]
    return figures, {"delays_ms": delays}


def measure_eta(url: str, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Promised against true seconds from submission to end, on a steady load of mixed steps."""
    promised: list[tuple[float, float]] = []

    async def one(client: httpx.AsyncClient, number: int, steps: int) -> None:
        began = time.time()
        job = await _submit(client, number, steps)
        ended = await _watch(job, [])
        if job["eta_s"] is not None:
            promised.append((job["eta_s"], ended - began))

    async def run() -> None:
        chance = random.Random(0)
        lengths = [chance.choice((1, 2, 3)) * size.steps for _ in range(size.steady)]
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            began = time.time()
            await asyncio.gather(*(one(client, -k - 1 + 10**6, lengths[k]) for k in range(min(8, size.steady))))
            pause_s = (time.time() - began) / min(8, size.steady) / PACE
            promised.clear()
            tasks = []
            for number, steps in enumerate(lengths):
                tasks.append(asyncio.create_task(one(client, 2 * 10**6 + number, steps)))
                await asyncio.sleep(chance.expovariate(1 / pause_s))
            await asyncio.gather(*tasks)

    asyncio.run(run())
    errors = [abs(said - true) / true for said, true in promised[len(promised) // 4 :]]
    error = median(errors) if errors else float("nan")
    figure = Figure("eta", "median error on a steady load", error, "%", 0.25, is_more_better=False)
    return [figure], {"promised_and_true_s": promised}
