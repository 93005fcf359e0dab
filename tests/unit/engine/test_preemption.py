"""An urgent arrival goes first at the next step; whom it pauses goes on as if nothing had been."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darkroom.engine.engine import Engine, Options
from darkroom.engine.handle import Handle
from tests.parity.families import SIDE
from tests.unit.engine.test_engine import hold

ROWS = 8  # of a forward: four guided requests
STEPS = 12


class Arrival:
    """A request of another size that comes while a full batch runs, and notes in which tick it has its first step."""

    def __init__(self, engine: Engine, call: dict[str, Any], urgency: dict[str, Any], steps: int) -> None:
        self.engine, self.urgency = engine, urgency
        self.call = {**call, "height": 2 * SIDE, "num_inference_steps": steps, "callback_on_step_end": self.note}
        self.handle: Handle | None = None
        self.came_in = self.first_step_in = 0

    def come(self, _: Any, step: int, __: Any, kept: dict[str, Any]) -> dict[str, Any]:
        """Called by one of the crowd inside a tick, before that is counted."""
        if step == 2 and self.handle is None:
            self.came_in = self.engine.stats()["ticks"]
            self.handle = self.engine.submit(**self.call, **self.urgency)
        return kept

    def note(self, _: Any, __: Any, ___: Any, kept: dict[str, Any]) -> dict[str, Any]:
        self.first_step_in = self.first_step_in or self.engine.stats()["ticks"]
        assert self.handle is not None
        self.handle.cancel()
        return kept

    @property
    def ticks(self) -> int:
        """1: the next tick had its first step."""
        return self.first_step_in - self.came_in


def crowd(call: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**call, "num_inference_steps": STEPS, "seed": seed} for seed in range(ROWS // 2)]


def serve_with_arrival(
    pipe: Any, call: dict[str, Any], urgency: dict[str, Any], steps: int = 3, **mode: Any
) -> tuple[int, list[Any]]:
    """Ticks until the arrival's first step, and the crowd's images; the arrival is cancelled then."""
    with Engine(pipe, max_batch_rows=ROWS, fixed_rows=ROWS, **mode) as engine:
        warm = engine.submit(**{**call, "height": 2 * SIDE})
        warm.result(60)
        arrival = Arrival(engine, call, urgency, steps)
        first, *others = crowd(call)
        handles = [engine.submit(**first, callback_on_step_end=arrival.come), *(engine.submit(**o) for o in others)]
        images = [handle.result(60).images[0] for handle in handles]
        assert arrival.handle is not None
        list(arrival.handle.events())
    return arrival.ticks, images


@pytest.mark.parametrize("urgency", [{"priority": 1}, {"deadline_s": 5.0}], ids=["priority", "deadline"])
@pytest.mark.parametrize("reproducible", [True, False])
def test_an_urgent_arrival_steps_in_the_next_tick_and_changes_nobodys_picture(
    pipe: Any, call: dict[str, Any], urgency: dict[str, Any], reproducible: bool
) -> None:
    ticks, images = serve_with_arrival(pipe, call, urgency, reproducible=reproducible)
    assert ticks == 1
    with Engine(pipe, max_batch_rows=ROWS, fixed_rows=ROWS, reproducible=reproducible) as engine:
        alone = [engine.submit(**request).result(60).images[0] for request in crowd(call)]
    if reproducible:
        assert [image.tobytes() for image in images] == [image.tobytes() for image in alone]
    else:
        assert max(float(np.abs(one - other).max()) for one, other in zip(images, alone, strict=True)) < 5e-6


def test_an_arrival_like_any_other_waits_until_those_before_it_are_done(pipe: Any, call: dict[str, Any]) -> None:
    """Those before it would be done first even if they cost thirty times what they do: it asks for many steps."""
    ticks, _ = serve_with_arrival(pipe, call, {}, steps=500)
    assert ticks > STEPS - 4


@pytest.mark.parametrize(
    ("urgency", "place"),
    [({"priority": 1}, 0), ({"deadline_s": 5.0}, 0), ({}, 2), ({"priority": -1}, 2)],
    ids=["priority", "deadline", "none", "low"],
)
def test_where_memory_is_short_the_urgent_start_first(
    pipe: Any, call: dict[str, Any], urgency: dict[str, Any], place: int
) -> None:
    """One request fits; three more wait, the urgent one submitted last. It waits for who runs: none is thrown out."""
    callback, reached, go = hold()
    with Engine(pipe, options=Options(memory_bytes=1)) as engine:
        running = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        queued = [engine.submit(**call), engine.submit(**call), engine.submit(**call, **urgency)]
        go.set()
        for handle in (running, *queued):
            list(handle.events())
    started = [next(event.at for event in handle.events() if event.type == "started") for handle in queued]
    assert sorted(started).index(started[2]) == place
