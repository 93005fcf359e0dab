"""What runs have left on record, one entry each, and what is still missing of what the soak promises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNS, KILLS, BUNDLED_KILLS = 20, 1000, 100
AT_WORK = 0.5  # of the kills of workers, at least: had jobs running
BUNDLED = "landscapes"

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """The runs so far."""
    return list(json.loads(path.read_text())) if path.exists() else []


def left(path: Path, wanted: Sequence[int]) -> list[int]:
    """Of these runs, those that are not on record."""
    done = {record["run"] for record in read(path)}
    return [number for number in wanted if number not in done]


def add(path: Path, record: Record) -> None:
    """Beside the others; where it ends halfway, they stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = sorted([*read(path), record], key=lambda each: int(each["run"]))
    draft = path.with_suffix(f".{record['run']}")
    draft.write_text(json.dumps(records, indent=1))
    draft.replace(path)


def kills(records: Sequence[Record], *kinds: str) -> int:
    """Of these kinds, or of all."""
    return sum(count for record in records for kind, count in record["kills"].items() if not kinds or kind in kinds)


def with_bundled(records: Sequence[Record]) -> list[Record]:
    """The runs that served the model that ships."""
    return [record for record in records if record["model"] == BUNDLED]


def summary(records: Sequence[Record]) -> str:
    """One line of figures."""
    jobs = sum(record["jobs"] for record in records)
    at_work = sum(record["at_work"] for record in records)
    by_command = [record for record in records if not record["forked"]]
    return (
        f"{len(records)} runs, {kills(records)} kills ({kills(with_bundled(records))} with the bundled model, "
        f"{kills(by_command)} of processes that were started as an operator does), "
        f"{at_work} of {kills(records, 'worker')} workers killed with jobs running, {jobs} jobs, each ended once"
    )


def missing(records: Sequence[Record]) -> list[str]:
    """What is not yet as promised; empty where all is."""
    at_work, workers = sum(record["at_work"] for record in records), kills(records, "worker")
    counts = {
        "runs": (len(records), RUNS),
        "kills": (kills(records), KILLS),
        "kills with the bundled model": (kills(with_bundled(records)), BUNDLED_KILLS),
        "workers killed with jobs running": (at_work, AT_WORK * workers),
    }
    return [f"{what}: {count} of {least:g}" for what, (count, least) in counts.items() if count < least]
