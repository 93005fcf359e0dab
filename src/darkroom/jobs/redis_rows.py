"""Rows as Redis keeps them, text by name, and back; a None is a name that is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from ..core import ApiKey, Artifact, Charge, Delivery, Event, Job, JobState, Lease, NewJob, WorkerReport, WorkerTime
from .routing import needs_of
from .rows import dump, made_key, output_data, progress_data, time_data, time_of, times_of, words_of
from .store import Noted, StepDone

OPTIONAL_NUMBERS = ("lease_until", "deadline_at", "run_at")
OPTIONAL_TEXTS = ("worker", "webhook", "idempotency_key")
TEXTS = ("tenant", "model", "task", "request_id")
JSON_FIELDS: Mapping[str, str] = {"input": "{}", "output": "{}", "metadata": "{}", "warnings": "[]"}
COUNTS = ("priority", "steps", "step", "attempt", "max_attempts", "fence")
SET_ONCE = ("webhook", "idempotency_key", "cost_s", "weight", "priority", "steps", "max_attempts")
BY_CHANCE = ("key_id", "traceparent", "cost_usd")  # stored only where they say something
GIVEN: tuple[str, ...] = ("id", *TEXTS, *SET_ONCE, "deadline_at", "run_at")
ALSO_GIVEN = ("key_id", "traceparent", "webhook_events")
UNTOUCHED: Mapping[str, Any] = {
    **dict.fromkeys(("step", "attempt", "fence"), 0),
    **dict.fromkeys(("is_suspect", "is_cancelling"), False),
    **dict.fromkeys(("worker", "lease_until")),
    **dict.fromkeys(("outputs", "errors"), ()),
}
EVENTS = "succeeded,failed,cancelled"  # that a webhook is told of; of another wish the row says so
END = ("end_seq", "state", "errors", "t:succeeded", "t:failed", "t:cancelled")
LONGEST_NAME = 200  # characters; no artifact's id is longer


def new_row(new: NewJob) -> list[str]:
    """What a job's row holds when it is stored, name by name; the script adds state, rank and times."""
    values: dict[str, str | float | None] = {name: getattr(new, name) for name in GIVEN}
    values |= {name: dump(value) for name in JSON_FIELDS if (value := getattr(new, name))}
    values |= {name: value for name in BY_CHANCE if (value := getattr(new, name))}
    if needs := needs_of(new):
        values["adapters"] = needs
    if (events := ",".join(new.webhook_events)) != EVENTS:
        values["webhook_events"] = events
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def made_of(new: NewJob, state: str, rank: str, now: float) -> Job:
    """The job as it was stored just now."""
    given = {name: getattr(new, name) for name in (*GIVEN, *JSON_FIELDS, *ALSO_GIVEN) if name != "weight"}
    return Job(
        **given, state=JobState(state), rank=float(rank), times={"created": now, state: now}, metrics={}, **UNTOUCHED
    )


def new_words(new: NewJob) -> list[str | float]:
    """A job as the script `insert` takes it."""
    key = "" if new.idempotency_key is None else name_of_key(new.tenant, new.idempotency_key)
    run_at = "" if new.run_at is None else new.run_at
    names, row = sorted(set(_names_in(new.input))), new_row(new)
    head = (new.id, key, new.digest, new.tenant, new.cost_s, run_at, new.key_id)
    return [*head, *_limit_words(new), len(names), *names, len(row), *row]


def name_of_key(tenant: str, key: str) -> str:
    """An idempotency key among those of all tenants."""
    return f"{quote(tenant, safe='')}:{key}"


def _limit_words(new: NewJob) -> list[str | float]:
    """What its API key allows, where it came with one."""
    if not new.key_id:
        return []
    most = new.allowance
    limits = (most.jobs_per_minute, most.live_jobs, most.device_s_per_day, most.usd_per_day)
    return [new.cost_usd, *("" if limit is None else limit for limit in limits)]


def _names_in(value: Any) -> Iterator[str]:
    """The strings of an input that could be an artifact's id."""
    if isinstance(value, str):
        if 0 < len(value) <= LONGEST_NAME and not any(letter.isspace() for letter in value):
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _names_in(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _names_in(inner)


def job_of(flat: Sequence[str]) -> Job:
    """The job of a row as HGETALL gives it."""
    row = by_name(flat)
    numbers: dict[str, Any] = {name: int(row.get(name, 0)) for name in COUNTS}
    numbers |= {name: float(row[name]) if name in row else None for name in OPTIONAL_NUMBERS}
    texts: dict[str, Any] = {name: row.get(name) for name in OPTIONAL_TEXTS} | {name: row[name] for name in TEXTS}
    values: dict[str, Any] = {name: json.loads(row.get(name, empty)) for name, empty in JSON_FIELDS.items()}
    values["warnings"] = tuple(values["warnings"])
    values["webhook_events"] = words_of(row.get("webhook_events", EVENTS))
    return Job(
        id=row["id"],
        state=JobState(row["state"]),
        rank=float(row.get("rank", 0)),
        cost_s=float(row["cost_s"]),
        key_id=row.get("key_id", ""),
        traceparent=row.get("traceparent", ""),
        is_suspect="suspect" in row,
        is_cancelling="cancelling" in row,
        times=_floats_below("t:", row),
        metrics=_floats_below("m:", row),
        outputs=tuple(artifact_of(line) for line in _lines(row.get("outputs"))),
        errors=tuple(json.loads(line) for line in _lines(row.get("errors"))),
        **numbers,
        **texts,
        **values,
    )


def by_name(flat: Sequence[str]) -> dict[str, str]:
    """A hash or an entry, which Redis gives as name, value, name, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _lines(text: str | None) -> list[str]:
    return text.split("\n") if text else []


def _floats_below(prefix: str, row: Mapping[str, str]) -> dict[str, float]:
    return {name.removeprefix(prefix): float(value) for name, value in row.items() if name.startswith(prefix)}


def artifact_line(artifact: Artifact) -> str:
    """An artifact as it is kept: JSON on one line."""
    return dump(asdict(artifact))


def artifact_of(line: str) -> Artifact:
    """The artifact of its JSON."""
    return Artifact(**json.loads(line))


def key_line(key: ApiKey) -> str:
    """An API key as it is kept."""
    return dump(asdict(key))


def key_of(values: Sequence[str | None]) -> ApiKey:
    """The API key of its JSON, and of the time at which it was revoked."""
    revoked_at = None if values[1] is None else float(values[1])
    return made_key(json.loads(values[0] or "") | {"revoked_at": revoked_at})


def delivery_of(flat: Sequence[str]) -> Delivery:
    """The webhook call of a row."""
    row = by_name(flat)
    times = {name: float(row[name]) for name in ("due_at", "created_at")}
    attempts = tuple(json.loads(line) for line in _lines(row.get("attempts")))
    texts = {name: row.get(name, "") for name in ("id", "job_id", "url", "event", "state", "tenant")}
    said: dict[str, Any] = {**texts, **times, "attempts": attempts}
    return Delivery(**said)


def step_words(done: StepDone) -> tuple[str | float, ...]:
    """A step as the script `report_steps` takes it: when, whose, how far, and the data of its events ("": none)."""
    shown = "" if done.preview is None else dump({"step": done.step, "image": done.preview})
    said = dump(progress_data(done.step, done.steps))
    return (done.at, done.lease.job_id, done.lease.fence, done.step, done.steps, said, shown)


def output_words(artifact: Artifact) -> tuple[str, str, str]:
    """An artifact as the script `complete` takes it: its id, itself, and the data of its event."""
    return artifact.id, artifact_line(artifact), dump(output_data(artifact))


def event_of(entry: Sequence[Any]) -> Event:
    """The event of a stream's entry; its id is the seq."""
    said = by_name(entry[1])
    return Event(int(entry[0].split("-")[0]), float(said["at"]), said["type"], json.loads(said["data"]))


def noted_of(entry: Sequence[Any]) -> Noted:
    """The event of the global stream's entry."""
    return Noted(by_name(entry[1])["job"], event_of(entry))


def preview_of(flat: Sequence[str]) -> Event | None:
    """The latest preview, or None."""
    said = by_name(flat)
    return Event(int(said["seq"]), float(said["at"]), "preview", json.loads(said["data"])) if said else None


def end_of(values: Sequence[str | None]) -> Event:
    """The event that ended a job, from those fields of its row that `END` names."""
    seq, state, errors, at = values[0] or 0, str(values[1]), values[2], next(filter(None, values[3:]), None)
    data = {"error": json.loads(_lines(errors)[-1])} if state == JobState.FAILED else {}
    return Event(int(seq), float(at or 0), state, data)


def metric_words(metrics: Mapping[str, float]) -> Iterable[str | float]:
    """Metrics, name by name."""
    return [word for name, value in metrics.items() for word in (name, float(value))]


def release_words(lease: Lease, metrics: Mapping[str, float] | None) -> Iterable[str | float]:
    """One lease of `release`, and the metrics of its attempt where there are some."""
    words = [] if metrics is None else [*metric_words(metrics)]
    return [lease.job_id, lease.fence, "" if metrics is None else len(words), *words]


def time_words(report: WorkerReport) -> Iterable[str | float]:
    """Where a worker says that its time went, as the script `heartbeat` takes it: how many days, and each."""
    times = [*times_of(report)]
    words = [(time.day, f"{time.worker}\n{float(time.began_at)!r}", dump(time_data(time))) for time in times]
    return [len(times), *(word for each in words for word in each)]


def times_of_day(fields: Mapping[str, str]) -> list[WorkerTime]:
    """Where workers' time went on a day, in the order of workers."""
    times = [time_of(name.split("\n")[0], json.loads(line)) for name, line in fields.items()]
    return sorted(times, key=lambda time: (time.worker, time.began_at))


def charges_of_day(day: int, fields: Mapping[str, str]) -> list[Charge]:
    """What jobs took on a day, in the order of workers."""
    sums: dict[tuple[str, str, str], dict[str, int]] = {}
    for name, value in fields.items():
        worker, tenant, model, what = name.split("\n")
        sums.setdefault((worker, tenant, model), {})[what] = int(value)
    return [_charge_of(day, whose, took) for whose, took in sorted(sums.items())]


def _charge_of(day: int, whose: tuple[str, str, str], took: Mapping[str, int]) -> Charge:
    counts = (took.get(name, 0) for name in ("jobs", "images"))
    return Charge(day, *whose, *counts, *(took.get(name, 0) / 1e9 for name in ("device", "usd")))
