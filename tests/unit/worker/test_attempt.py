"""One try at a job: who may stop it, until when, and how far it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from darkroom.core import Event
from darkroom.engine.handle import Handle
from darkroom.errors import JobCancelled
from darkroom.worker.attempt import Attempt, InFlight, Stop

from .jobs import running_job


def joined(attempt: Attempt, heard: list[tuple[int, str]] | None = None) -> Handle:
    """A handle that the attempt follows; what the engine would do with it is done by the test."""
    handle = Handle()
    attempt.join(handle, lambda number, event: heard.append((number, event.type)) if heard is not None else None)
    return handle


def cancellable(handle: Handle) -> list[str]:
    """Notes that its cancel was asked."""
    asked: list[str] = []
    handle.on_cancel(lambda: asked.append("cancel"))
    return asked


def test_only_the_first_who_wants_it_stopped_is_heard() -> None:
    attempt = Attempt(running_job())
    assert attempt.stop(Stop.CANCELLED)
    assert not attempt.stop(Stop.HANDED_BACK)
    assert attempt.why == Stop.CANCELLED
    assert attempt.stopped.done()
    with pytest.raises(JobCancelled):
        attempt.check()


def test_nobody_stops_an_attempt_that_writes_its_end() -> None:
    attempt = Attempt(running_job())
    assert attempt.begin_ending() is None
    assert not attempt.stop(Stop.LOST)
    attempt.check()


def test_stopping_reaches_every_image_also_one_that_joins_later() -> None:
    attempt, first, second = Attempt(running_job()), Handle(), Handle()
    asked = [cancellable(first), cancellable(second)]
    attempt.join(first, lambda number, event: None)
    attempt.stop(Stop.CANCELLED)
    attempt.join(second, lambda number, event: None)
    assert asked == [["cancel"], ["cancel"]]


def test_progress_is_over_all_images() -> None:
    attempt = Attempt(running_job())
    first, second = joined(attempt), joined(attempt)
    first.emit("progress", step=1, steps=2, progress=0.5)
    second.emit("progress", step=2, steps=2, progress=1.0)
    attempt.shots = (None, None)  # type: ignore[assignment]  # both have said how many steps they take
    assert attempt.progress == (1, 2)  # one and two of two: three of four, as of one image


def test_one_failed_image_cancels_the_others() -> None:
    attempt = Attempt(running_job())
    first, second = joined(attempt), joined(attempt)
    asked = cancellable(second)
    first.finish("failed", error=ValueError("no"))
    assert asked == ["cancel"]


def test_waiting_ends_with_the_last_image() -> None:
    attempt, heard = Attempt(running_job()), list[tuple[int, str]]()
    handles = [joined(attempt, heard) for _ in range(3)]
    ended = threading.Event()

    def wait() -> None:
        attempt.wait()
        ended.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    for number, handle in enumerate(handles):
        assert not ended.is_set()
        handle.finish("succeeded", result=number)
    waiting.join(60)
    assert ended.is_set()
    assert heard == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]


def test_what_happened_before_somebody_listens_is_told_too() -> None:
    handle, heard = Handle(), list[Event]()
    handle.emit("progress", step=1, steps=2, progress=0.5)
    handle.listen(heard.append)
    handle.finish("succeeded", result=None)
    assert [event.type for event in heard] == ["progress", "succeeded"]


def test_in_flight_tells_when_the_last_has_gone() -> None:
    emptied: list[Any] = []
    in_flight = InFlight(lambda: emptied.append(len(in_flight)))
    first, second = Attempt(running_job(id="a")), Attempt(running_job(id="b"))
    for attempt in (first, second):
        in_flight.add(attempt)
    in_flight.remove(first)
    assert not emptied
    in_flight.remove(second)
    assert emptied == [0]


def test_a_later_attempt_at_the_same_job_outlives_the_end_of_the_earlier() -> None:
    in_flight = InFlight(lambda: None)
    earlier, later = Attempt(running_job(fence=1)), Attempt(running_job(fence=2))
    in_flight.add(earlier)
    in_flight.add(later)
    in_flight.remove(earlier)
    assert in_flight.find("j1") is later
