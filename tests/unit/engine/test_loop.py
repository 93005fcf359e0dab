"""Whose thread the engine's loop runs in, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from darkroom import errors
from darkroom.engine.engine import Engine
from tests.unit.engine.test_engine import hold, same


def in_a_thread(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """A thread that is not started, and what its function returned or raised."""
    came_to: list[Any] = []

    def go() -> None:
        try:
            came_to.append(function())
        except Exception as error:
            came_to.append(error)

    return threading.Thread(target=go), came_to


def test_the_loop_runs_in_the_callers_thread_until_another_closes_the_engine(pipe: Any, call: dict[str, Any]) -> None:
    threads: list[str] = []

    def note(*_: Any) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return {}

    engine = Engine(pipe)

    def work() -> Any:
        handles = [engine.submit(**call, callback_on_step_end=note) for _ in range(2)]
        results = [handle.result(60) for handle in handles]
        engine.close()
        return results

    other, came_to = in_a_thread(work)
    engine.run(started=other.start)
    assert "forward" not in pipe.unet.__dict__, "run came back before the modules were unhooked"
    other.join(30)
    one, two = came_to[0]
    assert same(one, two)
    assert set(threads) == {threading.main_thread().name}


def test_running_leaves_the_callers_thread_as_it_was(pipe: Any, call: dict[str, Any]) -> None:
    engine = Engine(pipe)
    other, came_to = in_a_thread(lambda: (engine.submit(**call, output_type="latent"), engine.close())[0])
    call.pop("output_type")
    with torch.inference_mode():
        engine.run(other.start)
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    other.join(30)
    latents = came_to[0].result(0).images
    latents.requires_grad_(True).sum().backward()  # no inference tensor, though the caller was in that mode


def test_a_second_run_is_refused(pipe: Any) -> None:
    engine = Engine(pipe)

    def work() -> Any:
        try:
            return engine.run()
        finally:
            engine.close()

    other, came_to = in_a_thread(work)
    engine.run(other.start)
    other.join(30)
    with pytest.raises(errors.Conflict, match="runs already"):
        raise came_to[0]
    with pytest.raises(errors.EngineClosed):
        engine.run()


def test_run_is_refused_where_a_thread_was_started(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handle = engine.submit(**call)
        with pytest.raises(errors.Conflict, match="before anything is submitted"):
            engine.run()
        assert handle.result(60).images.shape[0] == 1


def test_close_waits_for_the_loop_in_another_thread_to_end(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    engine = Engine(pipe)
    ready = threading.Event()
    runner, _ = in_a_thread(lambda: engine.run(ready.set))
    runner.start()
    assert ready.wait(30)
    handle = engine.submit(**call, callback_on_step_end=callback)
    assert reached.wait(30)
    closer, came_to = in_a_thread(lambda: engine.close() or handle.done())
    closer.start()
    closer.join(0.05)
    assert closer.is_alive(), "close did not wait"
    go.set()
    closer.join(30)
    runner.join(30)
    assert came_to == [True]
    assert not runner.is_alive()


@pytest.mark.parametrize("is_running", [True, False])
def test_a_request_may_close_the_engine_it_runs_in(pipe: Any, call: dict[str, Any], is_running: bool) -> None:
    """As a signal handler does, in the loop's own thread, which cannot wait for itself."""
    engine = Engine(pipe)

    def close(*_: Any) -> dict[str, Any]:
        engine.close()
        return {}

    submit, came_to = in_a_thread(lambda: engine.submit(**call, callback_on_step_end=close))
    if is_running:
        engine.run(submit.start)
    else:
        submit.start()
    submit.join(30)
    assert came_to[0].result(60).images.shape[0] == 1
    engine.close()
    assert "forward" not in pipe.unet.__dict__


def test_what_fails_before_the_first_tick_breaks_the_engine_and_nobody_waits(pipe: Any, call: dict[str, Any]) -> None:
    engine = Engine(pipe)
    handles: list[Any] = []

    def fail() -> None:
        handles.append(engine.submit(**call))
        raise OSError("no store")

    with pytest.raises(OSError, match="no store"):
        engine.run(fail)
    with pytest.raises(errors.InvariantBroken, match="no store"):
        handles[0].result(0)
    engine.close()


def test_an_engine_that_never_ran_closes_at_once(pipe: Any) -> None:
    engine = Engine(pipe)
    engine.close()
    engine.close()
    assert "forward" not in pipe.unet.__dict__
