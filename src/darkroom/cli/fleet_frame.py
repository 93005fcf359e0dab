"""A frame of `darkroom fleet top`, made of what the API said: queue, workers, running jobs, failures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..client.nouns import Job, Worker
from ..wording import counted
from .fleet_cost import dollars, duration

GIB = 1024**3
WIDE = 110  # columns, from which on there is room for all that is known
BAR = 8  # characters
FULL, PARTS_OF_FULL = "█", " ▏▎▍▌▋▊▉"
BUSY, WARM = 0.8, 0.5  # shares: green, yellow
STATES = {"ready": "green", "starting": "yellow", "draining": "yellow", "stopped": "dim"}
MOST_ERRORS, HIGH = 5, 32  # failures shown, and lines from which on there is room for them
LATE_S = 15.0  # silence that is worth a look
HEAD, FEWEST_PARTS = 3, 3  # lines of the head; tables of a fleet without pools
LEAST_ROWS = 2  # of a table, however low the terminal is


@dataclass(frozen=True)
class Seen:
    """What a look at the service found; `fleet` is the JSON of `GET /v1/fleet`."""

    url: str
    fleet: Mapping[str, Any]
    workers: Sequence[Worker]
    running: Sequence[Job]
    at: float  # seconds since the epoch


@dataclass(frozen=True)
class Room:
    """The terminal: columns and lines."""

    width: int
    height: int

    @property
    def is_wide(self) -> bool:
        """Whether all columns fit."""
        return self.width >= WIDE

    @property
    def gap(self) -> int:
        """Columns between those of a table."""
        return 2 if self.is_wide else 1


def frame(seen: Seen, room: Room, fault: str | None = None) -> RenderableType:
    """What is drawn; `fault` says why the latest look found nothing."""
    parts = [_queue(seen.fleet["queue"]["by_model"]), *_pools(seen, room), _workers(seen, room), _jobs(seen, room)]
    most_errors = MOST_ERRORS if room.height >= HIGH else FEWEST_PARTS + 1 - len(parts)
    errors = seen.fleet["errors"][:most_errors]
    faults = [said for said in (fault, (seen.fleet.get("scaler") or {}).get("fault")) if said]
    # Head, and of each table a gap, a heading and what says that there is more; the tables share the rest.
    free = room.height - HEAD - 3 * len(parts) - (2 + len(errors) if errors else 0) - len(faults)
    drawn = [part.drawn(room, most) for part, most in zip(parts, _shared(free, parts), strict=True)]
    if errors:
        drawn.append(_errors(errors, seen, room).drawn(room, len(errors)))
    head: list[RenderableType] = [_head(seen, room)]
    head += [Text(said, style="bold red", no_wrap=True, overflow="ellipsis") for said in faults]
    return Group(*head, *(line for table in drawn for line in (Text(), table)))


def _shared(free: int, parts: Sequence[Part]) -> list[int]:
    """How many rows each table gets: what it has, as long as the lines last."""
    most = [min(LEAST_ROWS, len(part.rows)) for part in parts]
    left = free - sum(most)
    while left > 0 and (short := [number for number, part in enumerate(parts) if most[number] < len(part.rows)]):
        most[min(short, key=lambda number: most[number])] += 1
        left -= 1
    return most


# The head


def _head(seen: Seen, room: Room) -> RenderableType:
    queue, totals = seen.fleet["queue"], seen.fleet["totals"]
    there = [worker for worker in seen.workers if worker.state != "stopped"]
    ready = sum(worker.state == "ready" for worker in there)
    ages = f" (oldest {_age(queue['oldest_s'])})" if queue["oldest_s"] is not None else ""
    now = Text.assemble(
        (f"{ready}/{len(there)} ready", "" if ready else "bold red"),
        f"  {_busy(seen.workers):.0%} busy  {queue['running']} running",
        (f"  {queue['depth']} queued{ages}", "yellow" if queue["depth"] and not ready else ""),
        f"  {queue['scheduled']} scheduled" if queue["scheduled"] else "",
    )
    lately = Text.assemble(
        (f"last {_age(seen.fleet['window_s'])}: ", "dim"),
        f"{totals['succeeded']:,} done",
        (f", {totals['failed']:,} failed", "red" if totals["failed"] else ""),
        f"  {counted(totals['images'], 'image')}  p50 {_seconds(totals['p50_s'])}  p90 {_seconds(totals['p90_s'])}",
    )
    jobs = f"jobs {dollars(totals['cost_per_hour'])}/h"
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(Text.assemble(("darkroom fleet", "bold"), f"  {seen.url}"), time.strftime("%X", time.gmtime(seen.at)))
    grid.add_row(now, f"{'workers ' if room.is_wide else ''}{dollars(_per_hour(seen.workers))}/h")
    grid.add_row(lately, Text(jobs, style="dim"))
    return grid


def _busy(workers: Sequence[Worker]) -> float:
    shares = [_share(worker) for worker in workers if worker.state != "stopped"]
    return sum(shares) / len(shares) if shares else 0.0


def _share(worker: Worker) -> float:
    return min(1.0, max(0.0, float(worker.facts.get("busy_share") or 0.0)))


def _per_hour(workers: Iterable[Worker]) -> float:
    """What the workers that are there cost an hour."""
    there = (worker for worker in workers if worker.state != "stopped")
    return sum(float(worker.facts.get("price_per_hour_usd") or 0.0) for worker in there)


# The tables


@dataclass(frozen=True)
class Part:
    """A table of the frame; a column whose name begins with `>` is of numbers. `count` rows there are in all."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    count: int
    nothing: str

    def drawn(self, room: Room, most: int) -> RenderableType:
        """Its first rows; where there is no room, the last column alone is cut."""
        table = Table(box=None, padding=(0, room.gap, 0, 0), pad_edge=False, show_edge=False, header_style="bold cyan")
        shown = self.rows[:most]
        left = room.width
        for number, name in enumerate(self.columns):
            side: Literal["left", "right"] = "right" if name.startswith(">") else "left"
            wanted = max(len(name.lstrip(">")), *(len(row[number]) for row in shown), 0)
            width = wanted if number < len(self.columns) - 1 else max(1, min(left, wanted))
            table.add_column(name.lstrip(">"), justify=side, no_wrap=True, overflow="ellipsis", width=width)
            left -= width + room.gap
        for row in shown:
            table.add_row(*row)
        left_out = "" if self.count <= most else f"and {self.count - most} more"
        said = left_out if self.count else self.nothing
        return Group(table, Text(said, style="dim")) if said else table


def _queue(models: Sequence[Mapping[str, Any]]) -> Part:
    ranked = sorted(models, key=lambda model: (-model["queued"], -model["running"], model["model"]))
    rows = [
        [_cut(model["model"], 30).ljust(30), str(model["queued"]), str(model["running"]), _age(model["oldest_s"])]
        for model in ranked
    ]
    return Part(("QUEUE BY MODEL", ">queued", ">running", ">oldest waits"), rows, len(rows), "nothing waits or runs")


def _pools(seen: Seen, room: Room) -> list[Part]:
    """How many workers are wanted and there, and why; nothing where nobody scales the fleet."""
    rows = [_pool_cells(pool, room) for pool in seen.fleet.get("pools", ())]
    columns = (
        "POOL",
        ">wanted",
        ">ready",
        ">starting",
        ">next in",
        *(("device", ">$/h") if room.is_wide else ()),
        "why",
    )
    return [Part(columns, rows, len(rows), "")] if rows else []


def _pool_cells(pool: Mapping[str, Any], room: Room) -> Sequence[str | Text]:
    wanted, ready = pool["wanted"], pool["running"]
    style = "yellow" if wanted is not None and wanted != ready else ""
    device = [_cut(f"{pool['device']}{' spot' if pool['is_spot'] else ''}", 20), dollars(pool["price_per_hour_usd"])]
    return [
        _cut(pool["name"], 16),
        Text("–" if wanted is None else str(wanted), style=style),
        *(str(count) if count else "–" for count in (ready, pool["starting"])),
        _age(pool["next_ready_s"]),
        *(device if room.is_wide else []),
        "; ".join(pool["reasons"]) or "–",
    ]


def _workers(seen: Seen, room: Room) -> Part:
    wide = (">$/h", ">heard") if room.is_wide else ()
    ranked = sorted(seen.workers, key=lambda worker: (str(worker.facts.get("pool") or "~"), worker.id))
    rows = [_worker_cells(worker, seen, room) for worker in ranked]
    columns = ("WORKER", "pool", "device", "state", "busy", ">memory", ">jobs", *wide, "loaded")
    return Part(columns, rows, len(rows), "no worker is here")


def _worker_cells(worker: Worker, seen: Seen, room: Room) -> Sequence[str | Text]:
    facts, share = worker.facts, _share(worker)
    device = str(facts.get("device_name") or facts.get("device") or "–").removeprefix("NVIDIA ")
    cells: list[str | Text] = [
        _short(worker.id, 28 if room.is_wide else 16),
        _cut(str(facts.get("pool") or "–"), 16 if room.is_wide else 9),
        _cut(device, 20 if room.is_wide else 9),
        Text(worker.state, style=STATES.get(worker.state, "")),
        bar(share) if room.is_wide else Text(f"{share:4.0%}", style=colour_of(share)),
        _memory(facts.get("memory") or {}, places=1 if room.is_wide else 0),
        str(worker.in_flight),
    ]
    if room.is_wide:
        silent_s = seen.at - worker.at.timestamp() if worker.at else 0.0
        cells += [dollars(facts.get("price_per_hour_usd") or 0.0)]
        cells += [Text(_age(silent_s), style="red" if silent_s > LATE_S else "")]
    return [*cells, ", ".join(worker.loaded) or "–"]


def _memory(said: Mapping[str, Any], places: int) -> str:
    used, total = (float(said.get(name) or 0) / GIB for name in ("used_bytes", "total_bytes"))
    return f"{used:.{places}f}/{total:.0f}G" if total else "–"


def _jobs(seen: Seen, room: Room) -> Part:
    wide = ("tenant", "worker") if room.is_wide else ()
    ranked = sorted(seen.running, key=lambda job: (job.started_at or datetime.min.replace(tzinfo=UTC), job.id))
    rows = [_job_cells(job, seen, room) for job in ranked]
    count = max(len(rows), seen.fleet["queue"]["running"] if rows else 0)  # not all are asked for
    return Part(("RUNNING JOB", "progress", ">step", ">eta", ">so far", *wide, "model"), rows, count, "none")


def _job_cells(job: Job, seen: Seen, room: Room) -> Sequence[str | Text]:
    so_far = _age(seen.at - job.started_at.timestamp()) if job.started_at else "–"
    done = Text("cancelling", style="yellow") if job.is_cancelling else bar(job.progress, "cyan")
    wide = [_cut(job.tenant, 16), _short(job.worker or "–", 20)] if room.is_wide else []
    return [job.id, done, f"{job.step}/{job.steps}", _seconds(job.eta_s), so_far, *wide, job.model]


def _errors(errors: Sequence[Mapping[str, Any]], seen: Seen, room: Room) -> Part:
    rows = [_error_cells(each, seen, room) for each in errors]
    return Part(("FAILED JOB", ">ago", *(("model",) if room.is_wide else ()), "code", "why"), rows, len(rows), "none")


def _error_cells(error: Mapping[str, Any], seen: Seen, room: Room) -> Sequence[str | Text]:
    ago = _age(seen.at - datetime.fromisoformat(error["at"]).timestamp())
    model = [_cut(error["model"], 24)] if room.is_wide else []
    return [error["job_id"], ago, *model, Text(error["code"], style="red"), " ".join(error["message"].split())]


# Words


def bar(share: float, colour: str | None = None) -> Text:
    """A share as a bar of eighths and a figure."""
    eighths = round(min(1.0, max(0.0, share)) * BAR * 8)
    drawn = FULL * (eighths // 8) + (PARTS_OF_FULL[eighths % 8] if eighths % 8 else "")
    return Text.assemble((f"{drawn:<{BAR}}", colour or colour_of(share)), f"{share:5.0%}")


def colour_of(share: float) -> str:
    """Green where a device earns its price."""
    return "green" if share >= BUSY else "yellow" if share >= WARM else "dim"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _short(text: str, most: int) -> str:
    """At most so long; of ids the end tells more than the middle."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[-tail:]}" if tail else text[:most]


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
