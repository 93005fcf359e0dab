"""Accepted submissions a second: the control, SQLite and Redis in turn, from the same client."""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.engine.figure import Figure

from . import box
from .size import Size

BODY = json.dumps({"input": {"prompt": "a lighthouse in a storm", "num_inference_steps": 4, "seed": 7}}).encode()
HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
FLOORS = {"sqlite": 0.40, "redis": 0.50}


def measure(size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Each store's share of the control's rate."""
    with ExitStack() as stack:
        ports = {"control": _control(stack), "sqlite": stack.enter_context(box.gateway(_home(stack)))}
        redis_url = stack.enter_context(box.redis())
        if redis_url is not None:
            ports["redis"] = stack.enter_context(box.gateway(_home(stack), DARKROOM_STORE=redis_url))
        for port in ports.values():
            asyncio.run(rate(port, size.clients, size.submissions // 4))
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(size.pairs):
            for name, port in ports.items():
                rates[name].append(asyncio.run(rate(port, size.clients, size.submissions)))
    return figures_of(rates), {"rates": rates}


def figures_of(rates: dict[str, list[float]]) -> list[Figure]:
    """Absolutes and shares; a store that was not there has not reached its floor."""
    figures = [Figure("submissions", f"{name}, a second", median(values), "/s") for name, values in rates.items()]
    for name, floor in FLOORS.items():
        pairs = zip(rates[name], rates["control"], strict=True) if name in rates else ()
        share = median([mine / control for mine, control in pairs] or [math.nan])
        figures.append(Figure("submissions", f"{name} over the control", share, "%", floor))
    return figures


def _home(stack: ExitStack) -> Any:
    return stack.enter_context(box.folder())


def _control(stack: ExitStack) -> int:
    port = box.free_port()
    command = [sys.executable, "-m", "bench.service.control", str(port)]
    home = _home(stack)
    stack.enter_context(box.process(command, home, 1, PYTHONPATH=box.ROOT))
    box.wait_until(lambda: box.answers(f"http://127.0.0.1:{port}/healthz"))
    return port


async def rate(port: int, clients: int, count: int) -> float:
    """Accepted a second, from so many connections, each with one request at a time."""
    each = count // clients
    began = time.perf_counter()
    await asyncio.gather(*(_client(port, each) for _ in range(clients)))
    return clients * each / (time.perf_counter() - began)


async def _client(port: int, count: int) -> None:
    """Raw HTTP: a client library would take more of the machine than the server under measurement."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"not accepted: {head!r}")
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()
    await writer.wait_closed()
