"""What one request can do wrong, and what it must not do to the others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
import torch

from darkroom import errors
from darkroom.engine.engine import Engine
from tests.unit.engine.test_engine import hold, same


def raising(error: BaseException, cause: BaseException | None = None) -> Any:
    def callback(*_: Any) -> dict[str, Any]:
        raise error from cause

    return callback


def test_a_closed_event_loop_disturbs_nobody(pipe: Any, call: dict[str, Any]) -> None:
    callback, _, go = hold()
    with Engine(pipe) as engine:
        handle = engine.submit(**call, callback_on_step_end=callback)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                asyncio.run(asyncio.wait_for(handle, 0.01))
        go.set()
        assert same(handle.result(60), engine.submit(**call).result(60))


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), KeyError("x")])
def test_whatever_a_request_raises_ends_it_alone(pipe: Any, call: dict[str, Any], error: BaseException) -> None:
    with Engine(pipe) as engine:
        bad = engine.submit(**call, callback_on_step_end=raising(error))
        with pytest.raises(type(error)):
            bad.result(60)
        assert engine.submit(**call).result(60).images.shape[0] == 1


def test_an_error_that_is_its_own_cause_ends(pipe: Any, call: dict[str, Any]) -> None:
    error = ValueError("circle")
    with Engine(pipe) as engine, pytest.raises(ValueError, match="circle"):
        engine.submit(**call, callback_on_step_end=raising(error, error)).result(60)


def test_a_request_that_never_lets_itself_be_cancelled_is_given_up(pipe: Any, call: dict[str, Any]) -> None:
    reached = threading.Event()

    def stubborn(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        reached.set()
        while True:
            try:
                pipe.unet(tensors["latents"], timestep, encoder_hidden_states=torch.zeros(1, 77, 32))
            except BaseException:
                continue

    with Engine(pipe) as engine:
        handle = engine.submit(**call, callback_on_step_end=stubborn)
        assert reached.wait(30)
        handle.cancel()
        with pytest.raises(errors.JobCancelled):
            handle.result(60)
        assert [event.type for event in handle.events()][-1] == "cancelled"
        assert engine.submit(**call).result(60).images.shape[0] == 1
    engine._attempts._abandoned.clear()  # the test's own fiber; it would swallow its end for ever


@pytest.mark.parametrize("deadline_s", [float("inf"), float("nan"), 1e10])
def test_endless_deadlines_are_refused(pipe: Any, call: dict[str, Any], deadline_s: float) -> None:
    with Engine(pipe) as engine, pytest.raises(errors.BadInput, match="deadline_s"):
        engine.submit(**call, deadline_s=deadline_s)


def test_a_generator_counts_as_it_was_at_submit(pipe: Any, call: dict[str, Any]) -> None:
    del call["seed"]
    callback, reached, go = hold()
    generator = torch.Generator()
    with Engine(pipe) as engine:
        alone = [engine.submit(**call, generator=generator.manual_seed(s)).result(60) for s in (1, 2)]
        engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        queued = [engine.submit(**call, generator=generator.manual_seed(s)) for s in (1, 2)]
        go.set()
        assert all(same(handle.result(60), one) for handle, one in zip(queued, alone, strict=True))


def test_a_borrowed_copy_comes_back_clean(pipe: Any, call: dict[str, Any]) -> None:
    flags: list[Any] = []

    def free(view: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        flags.append(getattr(view.unet.up_blocks[0], "s1", None))
        view.unet.enable_freeu(0.5, 0.5, 2.0, 2.0)
        view.unet.to(torch.float64)
        view.unet.to(torch.float32)
        return {}

    with Engine(pipe) as engine:
        images = [engine.submit(**call, callback_on_step_end=free).result(60).images for _ in range(2)]
    assert np.array_equal(images[0], images[1])
    assert flags == [None, None, 0.5, 0.5] * 2


def test_a_broken_engine_tells_everybody_and_leaves_no_trace(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, reached, go = hold()
    methods = (torch.nn.Module.__setattr__, torch.nn.Module._apply)
    engine = Engine(pipe)
    first = engine.submit(**call, callback_on_step_end=callback)
    assert reached.wait(30)
    second = engine.submit(**call)

    def fail(outcomes: Any) -> None:
        raise MemoryError("ours")

    monkeypatch.setattr(engine._attempts, "deliver", fail)
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)
    go.set()
    for handle in (first, second):
        with pytest.raises(errors.InvariantBroken, match="ours"):
            handle.result(60)
    with pytest.raises(errors.EngineClosed):
        engine.submit(**call)
    engine.close()
    assert "forward" not in pipe.unet.__dict__
    assert (torch.nn.Module.__setattr__, torch.nn.Module._apply) == methods


def test_a_compiled_module_is_refused(pipe: Any) -> None:
    pipe.unet._compiled_call_impl = lambda *_: None
    try:
        with pytest.raises(errors.ModelNotServable, match="compiled"):
            Engine(pipe)
    finally:
        pipe.unet._compiled_call_impl = None
