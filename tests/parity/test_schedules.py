"""When requests come, join and leave changes nobody's picture; hypothesis draws the schedules."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.engine.engine import Engine
from darkroom.errors import JobCancelled
from tests.parity import company, plain
from tests.parity.families import FAMILIES

pytestmark = [pytest.mark.parity, pytest.mark.slow]
FAMILY = FAMILIES["sd-solvers"]
POOL = (0, 2, 3, 4, 7, 11, 13)


@dataclass(frozen=True)
class Arrival:
    """A request of the family that joins when the one before it has done so many steps, and may leave early."""

    index: int
    joins_after: int
    cancels_after: int | None
    reproducible: bool


arrivals = st.builds(
    Arrival,
    index=st.sampled_from(POOL),
    joins_after=st.integers(0, 3),
    cancels_after=st.none() | st.none() | st.integers(1, 3),
    reproducible=st.booleans(),
)


@cache
def reproducible_alone() -> dict[int, bytes]:
    """Bytes of each request of the pool with nobody else in the engine."""
    with company.open_engine(FAMILY, reproducible=True) as engine:
        return {
            index: plain.pixels(company.submit(engine, FAMILY, FAMILY.requests[index]).result(timeout=60)).tobytes()
            for index in POOL
        }


def wait_for_steps(handle: Any, steps: int) -> None:
    """Until it has done that many denoising steps, or has ended."""
    events = handle.events()
    while steps > 0:
        event = next(events, None)
        if event is None:
            return
        steps -= event.type == "progress"


def cancelling(cell: list[Any], known: threading.Event, after: int) -> dict[str, Any]:
    """A callback that cancels its own request after a step, which needs no timing."""

    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        known.wait(30)
        if step + 1 == after:
            cell[0].cancel()
        return tensors

    return {"callback_on_step_end": callback}


def submit(engine: Engine, arrival: Arrival) -> Any:
    cell: list[Any] = []
    known = threading.Event()
    extra = {} if arrival.cancels_after is None else cancelling(cell, known, arrival.cancels_after)
    request = FAMILY.requests[arrival.index]
    cell.append(company.submit(engine, FAMILY, request, reproducible=arrival.reproducible, **extra))
    known.set()
    return cell[0]


def play(schedule: list[Arrival]) -> list[np.ndarray | None]:
    """Every arrival's picture, None where it was cancelled."""
    handles: list[Any] = []
    with company.open_engine(FAMILY) as engine:
        for arrival in schedule:
            if handles:
                wait_for_steps(handles[-1], arrival.joins_after)
            handles.append(submit(engine, arrival))
        images = [picture_of(handle) for handle in handles]
        company.assert_conserved(engine.stats(), len(schedule))
    return images


def picture_of(handle: Any) -> np.ndarray | None:
    try:
        return plain.pixels(handle.result(timeout=60))
    except JobCancelled:
        return None


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=st.lists(arrivals, min_size=2, max_size=6))
def test_no_schedule_of_arrivals_and_cancels_changes_a_picture(schedule: list[Arrival]) -> None:
    for arrival, image in zip(schedule, play(schedule), strict=True):
        if image is None:
            assert arrival.cancels_after is not None
        elif arrival.reproducible:
            assert image.tobytes() == reproducible_alone()[arrival.index]
        else:
            company.hold_against_plain("sd-solvers", {arrival.index: image}, "drawn schedules")
