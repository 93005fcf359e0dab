"""Requests for a simulation: read from a CSV file, or drawn with the statistics of a published production trace.

GenTD26 is three weeks of a Stable Diffusion service: 26,823 requests, hours between nothing and nine times the mean,
arrivals within an hour about Poisson, 30 steps in 91 %, 1, 2, 4 and 8 images in 58, 8, 19 and 15 %, 86 base models of
which ten take 87 %, an adapter in 17 %, median 23 s and mean 29 s on a worker.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import BadInput
from .seasons import HOUR_S

START_S = 0.0
NEEDED = ("arrival_s", "exec_s")
DAY_SHAPE = (2.0, 2.4, 0.6, 0.9, 2.8, 2.9, 3.0, 3.3, 1.0, 1.0, 1.1, 0.6, 0.3, 0.3, 0.2, 0.1, *[0.05] * 6, 0.1, 0.5)
WEEKEND = 0.6
ROUGHNESS = 0.45  # of hours about their shape: of the logarithm
MEDIAN_S, EXEC_SIGMA = 23.0, 0.66
LOAD = 0.386  # workers busy on average


@dataclass(frozen=True)
class Request:
    """One job of a trace: `arrival_s` from its start, `exec_s` alone on a worker, `deadline_s` after its arrival."""

    arrival_s: float
    exec_s: float
    model: str = ""
    images: int = 1
    steps: int = 30
    tenant: str = ""
    priority: int = 0
    deadline_s: float | None = None


def read_trace(path: Path, field: str = "trace") -> list[Request]:
    """Requests in the order of arrival; those without seconds never ran and are left out. Raises `BadInput`.

    Columns: arrival_s, exec_s; where they are there model, images, steps, tenant, priority, deadline_s. Others are read
    over.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
            if missing:
                raise BadInput(f"{path} has no column {', '.join(missing)}", field=field)
            found = [request for line, row in enumerate(rows, 2) for request in _read(path, line, row, field)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {error}", field=field) from error
    if not found:
        raise BadInput(f"{path} has no request that ran", field=field)
    return sorted(found, key=lambda request: request.arrival_s)


def _read(path: Path, line: int, row: Mapping[str, str | None], field: str) -> Iterator[Request]:
    try:
        numbers = {name: _number(row, name) for name in ("arrival_s", "exec_s", "deadline_s")}
        counts = {name: int(_number(row, name) or default) for name, default in _COUNTS.items()}
    except ValueError as error:
        raise BadInput(f"{path}, line {line}: {error}", field=field) from error
    arrival_s, exec_s = numbers["arrival_s"], numbers["exec_s"]
    if arrival_s is not None and exec_s:
        model, tenant = row.get("model") or "", row.get("tenant") or ""
        yield Request(arrival_s, exec_s, model, tenant=tenant, deadline_s=numbers["deadline_s"], **counts)


_COUNTS = {"images": 1, "steps": 30, "priority": 0}


def _number(row: Mapping[str, str | None], name: str) -> float | None:
    said = row.get(name) or ""
    try:
        number = float(said) if said.strip() else None
    except ValueError:
        raise ValueError(f"{name} must be a number, not {said!r}") from None
    if number is not None and (not math.isfinite(number) or (name in ("arrival_s", "exec_s") and number < 0)):
        raise ValueError(f"{name} must be a number from 0, not {said!r}")
    return number


def compressed(requests: list[Request], factor: float) -> list[Request]:
    """The same requests in a `factor`th of the time: each takes as long as before, so the load is `factor` times it."""
    first = requests[0].arrival_s
    return [_at(request, (request.arrival_s - first) / factor) for request in requests]


def _at(request: Request, arrival_s: float) -> Request:
    r = request
    return Request(arrival_s, r.exec_s, r.model, r.images, r.steps, r.tenant, r.priority, r.deadline_s)


def synthetic(days: int = 14, load: float = LOAD, seed: int = 0) -> list[Request]:
    """Requests like those of GenTD26, over whole days; `load` is the mean of workers busy."""
    rng = random.Random(f"fleet {seed}")
    shape = [_shape(hour) * rng.lognormvariate(0.0, ROUGHNESS) for hour in range(days * 24)]
    mean_s = MEDIAN_S * math.exp(EXEC_SIGMA**2 / 2)
    per_hour = load * HOUR_S / mean_s * len(shape) / sum(shape)
    found = []
    for hour, height in enumerate(shape):
        at_s = hour * HOUR_S + _gap(rng, height * per_hour)
        while at_s < (hour + 1) * HOUR_S:
            found.append(_draw(rng, at_s))
            at_s += _gap(rng, height * per_hour)
    return found


def _shape(hour: int) -> float:
    return DAY_SHAPE[hour % 24] * (WEEKEND if hour // 24 % 7 >= 5 else 1.0)


def _gap(rng: random.Random, per_hour: float) -> float:
    return rng.expovariate(per_hour / HOUR_S)


def _draw(rng: random.Random, at_s: float) -> Request:
    [model] = rng.choices(range(86), [0.87 / (place + 1) / 2.929 for place in range(10)] + [0.13 / 76] * 76)
    [images] = rng.choices((1, 2, 4, 8), (58, 8, 19, 15))
    steps = 30 if rng.random() < 0.91 else rng.choice((20, 25, 40, 50))
    exec_s = rng.lognormvariate(math.log(MEDIAN_S), EXEC_SIGMA)
    return Request(at_s, exec_s, f"model-{model}", images, steps, f"tenant-{rng.randrange(400)}")
