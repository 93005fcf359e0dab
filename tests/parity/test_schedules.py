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
POOLS = {"sd-solvers": (0, 2, 3, 4, 7, 11, 13), "sd-tasks": (0, 2, 4, 6, 9), "flux": (0, 2, 5)}


@dataclass(frozen=True)
class Arrival:
    """A request of a family's pool that joins when the one before it has done so many steps, and may leave early."""

    place: int
    joins_after: int
    cancels_after: int | None
    reproducible: bool


arrivals = st.builds(
    Arrival,
    place=st.integers(0, 100),
    joins_after=st.integers(0, 3),
    cancels_after=st.none() | st.none() | st.integers(1, 3),
    reproducible=st.booleans(),
)


def index_of(name: str, arrival: Arrival) -> int:
    """Which of the family's requests it is."""
    return POOLS[name][arrival.place % len(POOLS[name])]


@cache
def reproducible_alone(name: str) -> dict[int, bytes]:
    """Bytes of each request of the pool with nobody else in the engine."""
    family = FAMILIES[name]
    with company.open_engine(family, reproducible=True) as engine:
        return {
            index: plain.pixels(company.submit(engine, family, family.requests[index]).result(timeout=60)).tobytes()
            for index in POOLS[name]
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


def submit(engine: Engine, name: str, arrival: Arrival) -> Any:
    cell: list[Any] = []
    known = threading.Event()
    extra = {} if arrival.cancels_after is None else cancelling(cell, known, arrival.cancels_after)
    family = FAMILIES[name]
    request = family.requests[index_of(name, arrival)]
    cell.append(company.submit(engine, family, request, reproducible=arrival.reproducible, **extra))
    known.set()
    return cell[0]


def play(name: str, schedule: list[Arrival]) -> list[np.ndarray | None]:
    """Every arrival's picture, None where it was cancelled."""
    handles: list[Any] = []
    with company.open_engine(FAMILIES[name]) as engine:
        for arrival in schedule:
            if handles:
                wait_for_steps(handles[-1], arrival.joins_after)
            handles.append(submit(engine, name, arrival))
        images = [picture_of(handle) for handle in handles]
        company.assert_conserved(engine.stats(), len(schedule))
    return images


def picture_of(handle: Any) -> np.ndarray | None:
    try:
        return plain.pixels(handle.result(timeout=60))
    except JobCancelled:
        return None


@pytest.mark.parametrize("name", POOLS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=st.lists(arrivals, min_size=2, max_size=6))
def test_no_schedule_of_arrivals_and_cancels_changes_a_picture(name: str, schedule: list[Arrival]) -> None:
    for arrival, image in zip(schedule, play(name, schedule), strict=True):
        index = index_of(name, arrival)
        if image is None:
            assert arrival.cancels_after is not None
        elif arrival.reproducible:
            assert image.tobytes() == reproducible_alone(name)[index]
        else:
            company.hold_against_plain(name, {index: image}, "drawn schedules")
