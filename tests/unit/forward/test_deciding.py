"""How many jobs a forwarder takes, what it asks for over there, and what it learns from those that ended."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from darkroom import errors
from darkroom.config import PresetSettings
from darkroom.core import PRIORITY_STEPS, Job, effective_priority
from darkroom.forward.attempt import Attempt
from darkroom.forward.backend import Backend
from darkroom.forward.chain import wish_of
from darkroom.forward.claims import MOST_IN_FLIGHT, MOST_WAITING, how_many
from darkroom.forward.ending import Endings, metrics_of
from darkroom.forward.pace import Pace, learned, pace_of
from darkroom.models.layout import Layout
from darkroom.models.offer import Offer
from darkroom.worker.attempt import Stop
from tests.unit.worker.jobs import running_job


def attempt(*, has_started: bool = False, **said: Any) -> Attempt:
    made = Attempt(running_job(**said), cast(Backend, None))
    made.started_at = 1.0 if has_started else None
    return made


@pytest.mark.parametrize(
    ("waiting", "begun", "wanted"),
    [(0, 0, 16), (10, 0, 6), (16, 0, 0), (16, 40, 0), (0, 120, 8), (3, MOST_IN_FLIGHT, 0)],
)
def test_what_waits_over_there_is_bounded_and_so_is_the_whole(waiting: int, begun: int, wanted: int) -> None:
    attempts = [attempt() for _ in range(waiting)] + [attempt(has_started=True) for _ in range(begun)]
    assert how_many(attempts) == wanted
    assert waiting + wanted <= MOST_WAITING


def test_a_suspect_goes_alone() -> None:
    assert how_many([attempt(is_suspect=True)]) == 0


def offer(**presets: PresetSettings) -> Offer:
    return Offer("hidden", Layout("P"), (), (256, 256), presets, 1)


FULL = PresetSettings(num_inference_steps=30, guidance_scale=4.0, solver="ddim")
OPEN = PresetSettings(num_inference_steps=4)


def job(**inputs: Any) -> Job:
    return running_job(input={"prompt": "a lake", "seed": 7, "num_inference_steps": 4, **inputs}, priority=2)


def test_what_a_preset_left_to_the_pipeline_is_left_to_it_over_there() -> None:
    wish = wish_of(job(), "there", offer(quality=FULL, fast=OPEN))
    assert wish["preset"] == "fast"
    assert "guidance_scale" not in wish


@pytest.mark.parametrize("inputs", [{"guidance_scale": 2.0, "solver": "ddim"}, {}])
def test_no_preset_is_named_where_none_is_needed_or_fits(inputs: dict[str, Any]) -> None:
    assert "preset" not in wish_of(job(**inputs), "there", offer(quality=FULL))


TURBO = PresetSettings(num_inference_steps=4, adapters={"turbo": 1.0})


@pytest.mark.parametrize(
    ("inputs", "presets", "wanted"),
    [
        ({"adapters": {"ink": 0.5}}, {"fast": OPEN}, {"ink": 0.5}),
        ({}, {"turbo": TURBO, "fast": OPEN}, None),
        ({}, {"turbo": TURBO}, {"turbo": 0.0}),
        ({"adapters": {"turbo": 0.5}}, {"turbo": TURBO}, {"turbo": 0.5}),
        ({"guidance_scale": 1.0, "solver": "ddim"}, {"quality": TURBO, "fast": OPEN}, {"turbo": 0.0}),
    ],
)
def test_no_preset_over_there_adds_adapters_that_the_job_has_not(
    inputs: dict[str, Any], presets: dict[str, PresetSettings], wanted: dict[str, float] | None
) -> None:
    assert wish_of(job(**inputs), "there", offer(**presets)).get("adapters") == wanted


def test_the_wish_is_the_job_without_its_pictures() -> None:
    wish = wish_of(job(image="art-1", strength=0.5, solver="ddim", guidance_scale=1.0), "there", offer(quality=FULL))
    assert {name: wish[name] for name in ("model", "task", "priority", "seed", "strength", "solver")} == {
        "model": "there",
        "task": "text-to-image",
        "priority": 0,
        "seed": 7,
        "strength": 0.5,
        "solver": "ddim",
    }
    assert "image" not in wish
    assert wish["idempotency_key"] == "forward-j1-1"


@pytest.mark.parametrize(
    ("error", "number", "why", "is_last"),
    [
        (errors.DeadlineExceeded("late"), 1, None, True),
        (errors.BadInput("no"), 1, None, True),
        (errors.Unavailable("away"), 1, None, False),
        (errors.Unavailable("away"), 3, None, True),
        (errors.JobCancelled("no"), 1, Stop.CANCELLED, True),
        (errors.JobCancelled("no"), 1, Stop.HANDED_BACK, False),
        (errors.DeadlineExceeded("late"), 1, Stop.HANDED_BACK, False),
        (errors.JobCancelled("no"), 1, Stop.LOST, False),
        (errors.LeaseLost("gone"), 1, None, False),
    ],
)
def test_what_nobody_will_ask_for_again_is_called_off_there(
    error: errors.DarkroomError, number: int, why: Stop | None, is_last: bool
) -> None:
    ending = attempt(attempt=number, max_attempts=3)
    if why is not None:
        ending.stop(why)
    said = {"retry_s": 1.0, "price_per_hour_usd": 0.0, "tell": lambda event: None, "giving_up": threading.Event()}
    assert Endings(cast(Any, None), cast(Any, None), **cast(Any, said)).is_last(ending, error) == is_last
    assert not ending.stop(Stop.HANDED_BACK)


@pytest.mark.parametrize("priority_class", PRIORITY_STEPS)
@pytest.mark.parametrize("asked", [-100, 0, 7, 100])
def test_a_class_orders_there_and_what_was_asked_for_does_not(priority_class: str, asked: int) -> None:
    stored = running_job(priority=effective_priority(priority_class, asked))
    assert (
        wish_of(stored, "there", offer(fast=OPEN))["priority"]
        == {"low": -100, "normal": 0, "high": 100}[priority_class]
    )


def test_what_an_earlier_attempt_told_of_the_job_there_is_not_told_again() -> None:
    ended = SimpleNamespace(metrics={"device_s": 5.0, "denoise_s": 1.0})
    first, second = attempt(), attempt(attempt=2, metrics={"device_s": 5.0, "cost_usd": 0.01})
    for each in (first, second):
        each.ended = cast(Any, ended)
    told = [metrics_of(each, 7.2) for each in (first, second)]
    assert [(said["device_s"], said["cost_usd"]) for said in told] == [(5.0, pytest.approx(0.01)), (0.0, 0.0)]
    assert told[1]["denoise_s"] == 1.0


def test_a_deadline_wakes_an_attempt_once_and_none_that_stops_anyway() -> None:
    late, stopping = attempt(deadline_at=1.0), attempt(deadline_at=1.0)
    stopping.stop(Stop.HANDED_BACK)
    assert [late.wake_if_late(), late.wake_if_late(), stopping.wake_if_late()] == [True, False, False]
    assert late.stopped.is_set()
    assert not attempt(deadline_at=time.time() + 60).wake_if_late()


def test_a_pace_is_of_one_step_one_row_and_the_rest() -> None:
    asked = job(num_images_per_prompt=2, guidance_scale=4.0)
    pace = pace_of(asked, {"denoise_s": 2.0, "device_s": 0.8}, 3.0)
    assert pace == Pace(step_s=0.5, rest_s=1.0, row_s=0.05)
    assert pace.rows == 10
    assert learned(None, pace) == pace
    assert learned(pace, Pace(1.0, 1.0, 0.05)).step_s == pytest.approx(0.6)


def test_a_job_without_figures_teaches_nothing() -> None:
    assert pace_of(job(), {}, 3.0) is None


def test_a_job_that_went_on_from_a_tape_teaches_nothing() -> None:
    assert pace_of(job(), {"denoise_s": 0.1, "device_s": 0.1, "resumed_from_step": 0.0}, 3.0) is None
