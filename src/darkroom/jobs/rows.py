"""Between the nouns of core.py and the rows of SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ..core import (
    FINAL_STATES,
    Allowance,
    ApiKey,
    Artifact,
    Charge,
    Delivery,
    Event,
    Job,
    JobState,
    NewJob,
    WorkerReport,
    WorkerTime,
)
from ..errors import BadInput

Row = sqlite3.Row
PLAIN = ("id", "tenant", "model", "task", "priority", "cost_s", "steps", "max_attempts", "deadline_at", "run_at")
SAME = (*PLAIN, "webhook", "idempotency_key", "request_id", "key_id", "traceparent")
GIVEN = (*SAME, "input", "output", "metadata", "warnings", "webhook_events")
KEPT = ("rank", "step", "attempt", "fence", "worker", "lease_until")
ARTIFACT = tuple(Artifact.__dataclass_fields__)
TIME = tuple(name for name in WorkerTime.__dataclass_fields__ if name != "worker")
ENCODER = json.JSONEncoder(separators=(",", ":"))  # json.dumps would make one anew for each value
TIMES = (("created", "created_at"), ("scheduled", "scheduled_at"), ("queued", "queued_at"), ("started", "started_at"))


def dump(value: Any) -> str:
    """JSON as it is stored."""
    return ENCODER.encode(value)


def values_of_new(job: NewJob) -> dict[str, Any]:
    """The columns that a new job brings with it."""
    values = {name: getattr(job, name) for name in SAME}
    return values | {
        "share": job.cost_s / job.weight,
        "cost_usd": job.cost_usd,
        "webhook_events": ",".join(job.webhook_events),
        "input": dump(job.input),
        "output": dump(job.output),
        "metadata": dump(job.metadata),
        "warnings": dump(job.warnings),
    }


def job_of_new(job: NewJob, state: JobState, rank: float, times: Mapping[str, float]) -> Job:
    """The job that a new row holds, without reading it back."""
    fields: dict[str, Any] = {name: getattr(job, name) for name in GIVEN}
    return Job(
        **fields,
        state=state,
        rank=rank,
        step=0,
        attempt=0,
        fence=0,
        worker=None,
        lease_until=None,
        is_suspect=False,
        is_cancelling=False,
        times=times,
        outputs=(),
        metrics={},
        errors=(),
    )


def job_of(row: Row, outputs: Iterable[Artifact] = (), progress: Row | None = None) -> Job:
    """The job that a row holds; `progress` is of the claim that runs it, where the row is of a running job."""
    fields: dict[str, Any] = {name: row[name] for name in (*SAME, *KEPT)}
    if progress is not None and progress["fence"] == row["fence"]:
        fields |= {"step": progress["step"], "steps": progress["steps"]}
    return Job(
        **fields,
        state=JobState(row["state"]),
        input=json.loads(row["input"]),
        output=json.loads(row["output"]),
        metadata=json.loads(row["metadata"]),
        warnings=tuple(json.loads(row["warnings"])),
        webhook_events=words_of(row["webhook_events"]),
        is_suspect=bool(row["is_suspect"]),
        is_cancelling=bool(row["is_cancelling"]),
        times=_times(row),
        outputs=tuple(outputs),
        metrics=json.loads(row["metrics"]),
        errors=errors_of(row),
    )


def _times(row: Row) -> dict[str, float]:
    times = {word: row[column] for word, column in TIMES if row[column] is not None}
    if row["state"] in FINAL_STATES:
        times[row["state"]] = row["ended_at"]
    return times


def words_of(text: str) -> tuple[str, ...]:
    """Words that were joined by commas."""
    return tuple(text.split(",")) if text else ()


def errors_of(row: Row) -> tuple[dict[str, Any], ...]:
    """What went wrong so far."""
    return tuple(json.loads(row["errors"]))


def artifact_of(row: Row) -> Artifact:
    """The artifact that a row holds."""
    return Artifact(**{name: row[name] for name in ARTIFACT})


def values_of_key(key: ApiKey) -> dict[str, Any]:
    """The columns of an API key."""
    return vars(key) | {"roles": dump(key.roles), "allowance": dump(vars(key.allowance))}


def key_of(row: Row) -> ApiKey:
    """The API key that a row holds."""
    values = {name: row[name] for name in ApiKey.__dataclass_fields__}
    return made_key(values | {name: json.loads(values[name]) for name in ("roles", "allowance")})


def made_key(values: Mapping[str, Any]) -> ApiKey:
    """The API key of its fields as JSON has them."""
    rest = {"roles": tuple(values["roles"]), "allowance": Allowance(**values["allowance"])}
    return ApiKey(**dict(values) | rest)


def delivery_of(row: Row) -> Delivery:
    """The delivery that a row holds."""
    values = {name: row[name] for name in Delivery.__dataclass_fields__}
    return Delivery(**values | {"attempts": tuple(json.loads(row["attempts"]))})


def event_of(row: Row) -> Event:
    """The event that a row holds."""
    return Event(row["seq"], row["at"], row["type"], json.loads(row["data"]))


def output_data(artifact: Artifact) -> dict[str, Any]:
    """What an `output` event says."""
    shown = {name: getattr(artifact, name) for name in ("content_type", "width", "height", "seed")}
    shown |= {name: value for name in ("frames", "fps") if (value := getattr(artifact, name)) is not None}
    return {"artifact_id": artifact.id, **shown}


def progress_data(step: int, steps: int) -> dict[str, Any]:
    """What a `progress` event says."""
    return {"step": step, "steps": steps, "progress": min(1.0, step / steps) if steps else 0.0}


def dump_report(report: WorkerReport) -> str:
    """A worker's report as it is stored."""
    return dump(asdict(report))


def report_of(text: str) -> WorkerReport:
    """The report that was stored."""
    said = json.loads(text)
    return WorkerReport(**said | {name: tuple(said[name]) for name in ("models", "loaded")})


def times_of(report: WorkerReport) -> Iterator[WorkerTime]:
    """Where the worker says that its time went."""
    return (time_of(report.id, said) for said in report.facts.get("times", ()))


def time_of(worker: str, said: Mapping[str, Any]) -> WorkerTime:
    """The same of one day, as it was stored; what another release says beside it is passed over."""
    return WorkerTime(worker, **{name: said[name] for name in TIME if name in said})


def time_data(time: WorkerTime) -> dict[str, Any]:
    """What is stored of it, beside whose it is."""
    return {name: getattr(time, name) for name in TIME}


def charge_of(row: Row) -> Charge:
    """What a row says that jobs took."""
    same = {name: row[name] for name in ("day", "worker", "tenant", "model", "jobs", "images")}
    return Charge(**same, device_s=row["device"] / 1e9, cost_usd=row["usd"] / 1e9)


def write_cursor(row: Row) -> str:
    """The place of a row in the list; the next page begins after it."""
    return f"{float(row['created_at']).hex()}:{row['ins']}"


def read_cursor(cursor: str | None) -> tuple[float, int]:
    """The place that a cursor means; None is before the newest."""
    if cursor is None:
        return float("inf"), 0
    at, _, ins = cursor.partition(":")
    try:
        place = float.fromhex(at), int(ins)
    except (ValueError, OverflowError):
        place = float("nan"), 0
    # Only what `write_cursor` writes: other spellings of the same numbers are somebody's guess.
    if f"{place[0].hex()}:{place[1]}" != cursor or place[0] != place[0]:
        raise BadInput(f"cursor {cursor!r} is not one that a list has returned", field="cursor")
    return place
