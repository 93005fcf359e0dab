"""A frame of `darkroom fleet top` fits its terminal, whatever there is to show."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from darkroom.cli.fleet_cost import days_of, dollars, duration, percent
from darkroom.cli.fleet_frame import Room, Seen, bar, frame
from darkroom.client.nouns import Job, Worker

NOW = 1_800_000_000.0


def at(age_s: float) -> str:
    return datetime.fromtimestamp(NOW - age_s, UTC).isoformat()


def worker(number: int, **facts: Any) -> Worker:
    said = {
        "id": f"a-worker-with-a-long-name-{number}",
        "state": "ready",
        "at": at(2),
        "models": ["m"],
        "loaded": ["m"],
    }
    return Worker.read({**said, "in_flight": 1, "step_seconds": {}, "facts": facts})


def job(number: int) -> Job:
    said = dict.fromkeys(Job.__dataclass_fields__) | {"id": f"job_{number:026}", "state": "running", "model": "m"}
    said |= {
        "step": number,
        "steps": 20,
        "progress": number / 20,
        "eta_s": None,
        "tenant": "t",
        "started_at": at(number),
    }
    return Job.read(said | {"is_cancelling": False, "outputs": [], "errors": [], "warnings": []})


def seen(workers: int = 0, jobs: int = 0, models: int = 0, errors: int = 0, **more: Any) -> Seen:
    queued = [{"model": f"model-{k}", "queued": k, "running": 0, "oldest_s": None} for k in range(models)]
    failed = {"at": at(5), "job_id": "job_x", "model": "m", "code": "internal", "message": "it\nbroke " + "so " * 90}
    totals = {"succeeded": 1, "failed": errors, "images": 1, "p50_s": None, "p90_s": None, "cost_per_hour": 0.0}
    queue = {"depth": 0, "running": jobs, "scheduled": 0, "oldest_s": None, "by_model": queued}
    fleet = {"window_s": 3600, "queue": queue, "totals": totals, "errors": [failed] * errors, **more}
    return Seen("http://here", fleet, [worker(k) for k in range(workers)], [job(k) for k in range(jobs)], NOW)


def lines(what: Seen, room: Room, fault: str | None = None) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=room.width, highlight=False).print(frame(what, room, fault))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("room", [Room(80, 24), Room(140, 50), Room(200, 30)])
def test_it_fits_its_terminal_and_says_what_is_left_out(room: Room) -> None:
    said = lines(seen(workers=40, jobs=60, models=30, errors=9), room, "away")
    assert len(said) <= room.height
    assert max(map(len, said)) <= room.width
    more = [int(line.split()[1]) for line in said if line.startswith("and ")]
    shown = [sum(line.startswith(word) for line in said) for word in ("model-", "a-work", "job_0")]
    assert [hidden + there for hidden, there in zip(more, shown, strict=True)] == [30, 40, 60]


def test_of_an_empty_fleet_it_says_so() -> None:
    said = "\n".join(lines(seen(), Room(100, 40)))
    for words in ("0/0 ready", "nothing waits or runs", "no worker is here", "none"):
        assert words in said
    assert "FAILED JOB" not in said


POOL = {
    "name": "spot",
    "device": "L4",
    "is_spot": True,
    "price_per_hour_usd": 0.3,
    "wanted": 3,
    "running": 1,
    "starting": 2,
    "next_ready_s": 12.4,
    "reasons": ["14 jobs wait", "and longer than they may " + "so " * 90],
}


@pytest.mark.parametrize("room", [Room(80, 24), Room(140, 50)])
def test_pools_say_what_is_wanted_and_why(room: Room) -> None:
    scaler = {"fault": "the cluster does not answer"}
    crowd = seen(workers=9, jobs=9, models=9, errors=9, pools=[POOL, POOL | {"wanted": None}], scaler=scaler)
    said = lines(crowd, room)
    assert len(said) <= room.height
    assert "the cluster does not answer" in said
    first, second = [line.split() for line in said if line.startswith("spot")]
    assert first[:5] == ["spot", "3", "1", "2", "12s"]
    assert second[1] == "–"
    assert "14 jobs wait" in " ".join(first)


def test_a_worker_that_says_little_is_shown() -> None:
    [said] = [line.split() for line in lines(seen(workers=1), Room(140, 40)) if line.startswith("a-worker")]
    assert said[1:] == ["–", "–", "ready", "0%", "–", "1", "$0.00", "2s", "m"]


def test_prices_and_busy_shares_are_summed_up() -> None:
    facts = {"price_per_hour_usd": 0.5, "busy_share": 0.5}
    two = replace(seen(), workers=[worker(1, **facts), worker(2, **facts | {"busy_share": 1.0})])
    head = lines(two, Room(140, 40))[1]
    assert "2/2 ready  75% busy" in head
    assert head.endswith("workers $1.00/h")


@pytest.mark.parametrize(("share", "drawn"), [(0.0, "           0%"), (0.5, "████       50%"), (2.0, "████████ 200%")])
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert bar(share).plain.split() == drawn.split()


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (None, "–"),
        (0.0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.14, "$0.14"),
        (0.0123, "$0.012"),
        (0.00123, "$0.00123"),
        (-2.0, "-$2.00"),
    ],
)
def test_dollars_keep_figures_that_say_something(amount: float | None, said: str) -> None:
    assert dollars(amount) == said


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "0.0 s"), (59.9, "59.9 s"), (90.0, "1.5 min"), (7200.0, "2.0 h")])
def test_durations_have_the_unit_that_people_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_weeks_are_seven_days() -> None:
    assert (days_of("3d"), days_of("2w")) == (3, 14)


def test_little_money_is_little_and_none_is_none() -> None:
    assert (dollars(4.6e-5), dollars(-1e-9)) == ("<$0.0001", "$0.00")
    assert duration(-0.01) == "0.0 s"
    assert [percent(share, 1) for share in (-0.0004, -0.0, -0.01, 0.1234)] == ["0.0%", "0.0%", "-1.0%", "12.3%"]
    assert percent(-0.004, 0) == "0%"
