"""Requests over time: read from a CSV file, or drawn with the statistics of a published production trace. The simulated
fleet serves them, and `darkroom bench` sends them.

GenTD26 is three weeks of a Stable Diffusion service: 26,823 requests, hours between nothing and nine times the mean,
arrivals within an hour about Poisson, 30 steps in 91 %, 1, 2, 4 and 8 images in 58, 8, 19 and 15 %, 86 base models of
which ten take 87 %, another model than the request before in 75 %, an adapter in 17 %, text-to-image 91 %,
image-to-image 8 %, median 23 s and mean 29 s on a worker.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from .errors import BadInput

HOUR_S = 3600.0
COLUMNS = (
    "arrival_s",
    "task",
    "status",
    "exec_s",
    "tenant",
    "prompt_chars",
    "negative_chars",
    "images",
    "steps",
    "model",
    "loras",
    "priority",
    "deadline_s",
)  # as GenTD26 is published, renamed; the last two are ours
TASKS = {"txt_2_img": "text-to-image", "img_2_img": "image-to-image", "inpainting": "inpaint"}
DAY_SHAPE = (2.0, 2.4, 0.6, 0.9, 2.8, 2.9, 3.0, 3.3, 1.0, 1.0, 1.1, 0.6, 0.3, 0.3, 0.2, 0.1, *[0.05] * 6, 0.1, 0.5)
WEEKEND = 0.6
ROUGHNESS = 0.45  # of hours about their shape: of the logarithm
MEDIAN_S, EXEC_SIGMA = 23.0, 0.66
LOAD = 0.386  # workers busy on average
SAME_MODEL = 0.13  # of requests that take the model of the one before, whatever is drawn
PROMPT_CHARS, PROMPT_SHAPE = 63.0, 1.8  # of a Weibull distribution: mean 56, median 51


@dataclass(frozen=True)
class Request:
    """One job of a trace: `arrival_s` from its start, `exec_s` alone on a worker, `deadline_s` after its arrival.

    `loras` and `prompt_chars` are counts, the latter None where it is not known. `task` is in our words.
    """

    arrival_s: float
    exec_s: float
    model: str = ""
    images: int = 1
    steps: int = 30
    tenant: str = ""
    priority: int = 0
    deadline_s: float | None = None
    task: str = "text-to-image"
    loras: int = 0
    prompt_chars: int | None = None
    negative_chars: int | None = None


def read_trace(path: Path, field: str = "trace", *, has_run: bool = True) -> list[Request]:
    """Requests in the order of arrival. With `has_run` those without seconds, which never ran, are left out; without,
    every arrival counts and its `exec_s` may be 0. A file whose name ends in .gz is unpacked. Raises `BadInput`.

    Columns: arrival_s, with `has_run` exec_s; where they are there model, images, steps, tenant, priority, deadline_s,
    task, loras, prompt_chars, negative_chars. Others are read over.
    """
    try:
        with _opened(path) as file:
            rows = csv.DictReader(file)
            needed = ("arrival_s", "exec_s") if has_run else ("arrival_s",)
            missing = [name for name in needed if name not in (rows.fieldnames or ())]
            if missing:
                raise BadInput(f"{path} has no column {', '.join(missing)}", field=field)
            read = [_read(path, line, row, field) for line, row in enumerate(rows, 2)]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {error}", field=field) from error
    found = [request for request in read if request is not None and (request.exec_s or not has_run)]
    if not found:
        raise BadInput(f"{path} has no request{' that ran' if has_run else ''}", field=field)
    return sorted(found, key=lambda request: request.arrival_s)


def write_trace(requests: Sequence[Request]) -> str:
    """The same requests as CSV text; each that ran has succeeded."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    tasks = {ours: theirs for theirs, ours in TASKS.items()}
    for r in requests:
        said = ("" if count is None else count for count in (r.prompt_chars, r.negative_chars))
        status, exec_s = ("succeed", _seconds(r.exec_s)) if r.exec_s else ("", "")
        deadline_s = "" if r.deadline_s is None else _seconds(r.deadline_s)
        first = (_seconds(r.arrival_s), tasks.get(r.task, r.task), status, exec_s, r.tenant)
        rows.writerow((*first, *said, r.images, r.steps, r.model, r.loras, r.priority, deadline_s))
    return file.getvalue()


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def _read(path: Path, line: int, row: Mapping[str, str | None], field: str) -> Request | None:
    try:
        numbers = {name: _number(row, name) for name in ("arrival_s", "exec_s", "deadline_s")}
        counts = {name: int(_number(row, name) or default) for name, default in _COUNTS.items()}
        chars = {name: _count(row, name) for name in ("prompt_chars", "negative_chars")}
    except ValueError as error:
        raise BadInput(f"{path}, line {line}: {error}", field=field) from error
    if numbers["arrival_s"] is None:
        return None
    return Request(
        arrival_s=numbers["arrival_s"],
        exec_s=numbers["exec_s"] or 0.0,
        model=row.get("model") or "",
        tenant=row.get("tenant") or "",
        deadline_s=numbers["deadline_s"],
        task=TASKS.get(row.get("task") or "txt_2_img", row.get("task") or ""),
        prompt_chars=chars["prompt_chars"],
        negative_chars=chars["negative_chars"],
        **counts,
    )


_COUNTS = {"images": 1, "steps": 30, "priority": 0, "loras": 0}


def _count(row: Mapping[str, str | None], name: str) -> int | None:
    number = _number(row, name)
    return None if number is None else int(number)


def _number(row: Mapping[str, str | None], name: str) -> float | None:
    said = row.get(name) or ""
    try:
        number = float(said) if said.strip() else None
    except ValueError:
        raise ValueError(f"{name} must be a number, not {said!r}") from None
    if number is not None and (not math.isfinite(number) or (name != "priority" and number < 0)):
        raise ValueError(f"{name} must be a number from 0, not {said!r}")
    return number


def compressed(requests: list[Request], factor: float) -> list[Request]:
    """The same requests in a `factor`th of the time: each takes as long as before, so the load is `factor` times it."""
    first = requests[0].arrival_s
    return [replace(request, arrival_s=(request.arrival_s - first) / factor) for request in requests]


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
    return _described(found, random.Random(f"about {seed}"))


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


def _described(requests: Sequence[Request], rng: random.Random) -> list[Request]:
    """The same requests at the same moments with what they ask for. Its draws are its own, so that what was drawn
    before does not depend on them."""
    found: list[Request] = []
    for request in requests:
        is_same = bool(found) and rng.random() < SAME_MODEL
        [task] = rng.choices(tuple(TASKS.values()), (91.1, 8.2, 0.7))
        [loras] = rng.choices((0, 1, 2, 3), (83.2, 15.7, 0.95, 0.15))
        prompt = 1 + int(rng.weibullvariate(PROMPT_CHARS, PROMPT_SHAPE))
        negative = 26 if rng.random() < 0.77 else None
        model = found[-1].model if is_same else request.model
        found.append(
            replace(request, model=model, task=task, loras=loras, prompt_chars=prompt, negative_chars=negative)
        )
    return found
