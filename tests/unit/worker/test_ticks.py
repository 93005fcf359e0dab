"""Batches with their jobs: named when told, by those in flight and those that have just left."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from darkroom.engine.handle import Handle
from darkroom.engine.options import Tick
from darkroom.worker.attempt import Attempt
from darkroom.worker.ticks import FRESH_S, MOST, Ticks

from .jobs import running_job

NOW = 1000.0


def attempt(job_id: str, images: int = 1) -> Attempt:
    found = Attempt(running_job(id=job_id))
    found.handles.extend(Handle() for _ in range(images))
    return found


def tick(*parts: tuple[Handle, int], at: float = NOW) -> Tick:
    rows = sum(count for _, count in parts)
    return Tick(at, "unet", "denoise", rows, 0, 0.0312345, len(parts), parts)


def watched(in_flight: Callable[[], Iterable[Attempt]]) -> Ticks:
    ticks = Ticks(in_flight)
    ticks.is_watched = True
    return ticks


def test_where_nobody_looks_nothing_is_noted() -> None:
    ticks = Ticks(list)
    ticks.note(tick())
    assert ticks.latest(NOW) == []
    ticks.is_watched = True
    assert ticks.latest(NOW) == []
    ticks.note(tick())
    assert [said["rows"] for said in ticks.latest(NOW)] == [0]


def test_a_batch_is_told_with_the_rows_of_each_job_once_a_job() -> None:
    one, two = attempt("job-1", images=2), attempt("job-2")
    ticks = watched(lambda: [one, two])
    ticks.note(tick((one.handles[0], 2), (two.handles[0], 1), (one.handles[1], 2)))
    [said] = ticks.latest(NOW)
    assert said == {
        "n": 1,
        "at": NOW,
        "seconds": 0.03123,
        "module": "unet",
        "kind": "denoise",
        "rows": 5,
        "jobs": [["job-1", 4], ["job-2", 1]],
    }


def test_a_job_that_has_ended_since_the_last_report_is_named_still() -> None:
    one = attempt("job-1")
    flying = [one]
    ticks = watched(lambda: flying)
    ticks.note(tick((one.handles[0], 1)))
    ticks.end(one)
    flying.clear()
    assert ticks.latest(NOW)[0]["jobs"] == [["job-1", 1]]
    assert ticks.latest(NOW)[0]["jobs"] == [["job-1", 1]]  # also in the next report


def test_what_is_nobodys_job_has_rows_and_no_name() -> None:
    ticks = watched(list)
    ticks.note(tick((Handle(), 2)))
    assert [(said["rows"], said["jobs"]) for said in ticks.latest(NOW)] == [(2, [])]


def test_batches_are_numbered_and_only_the_latest_are_told() -> None:
    ticks = watched(list)
    for _ in range(MOST + 5):
        ticks.note(tick())
    assert [said["n"] for said in ticks.latest(NOW)] == [*range(6, MOST + 6)]
    ticks.note(tick(at=NOW + FRESH_S))
    assert [said["n"] for said in ticks.latest(NOW + FRESH_S + 0.5)] == [MOST + 6]
    assert ticks.latest(NOW + 3 * FRESH_S) == []
