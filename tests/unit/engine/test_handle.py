"""What a submitter's own code may do while its request runs, and what it must not do to anybody else."""

from __future__ import annotations

from typing import Any

import pytest

from darkroom import errors
from darkroom.core import Event
from darkroom.engine.engine import Engine, Options
from tests.unit.engine.test_engine import hold, same


@pytest.mark.parametrize("kind", ["queued", "started", "progress", "succeeded"])
def test_a_listener_that_raises_is_told_no_more_and_harms_nobody(pipe: Any, call: dict[str, Any], kind: str) -> None:
    heard: list[str] = []

    def listen(event: Event) -> None:
        heard.append(event.type)
        if event.type == kind:
            raise ZeroDivisionError("a listener's own")

    callback, reached, go = hold()
    with Engine(pipe, options=Options(memory_bytes=1)) as engine:
        first = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        handle = engine.submit(**call)
        handle.listen(listen)
        go.set()
        assert same(handle.result(60), first.result(60))
        assert engine.submit(**call).result(60).images.shape[0] == 1
    assert heard[-1] == kind
    assert heard.count(kind) == 1


def test_a_listener_that_raises_while_the_engine_breaks_keeps_nobody_waiting(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen(event: Event) -> None:
        if event.type == "failed":
            raise ZeroDivisionError("a listener's own")

    def fail(outcomes: Any) -> None:
        raise MemoryError("ours")

    monkeypatch.setattr("threading.excepthook", lambda *_: None)
    callback, reached, go = hold()
    engine = Engine(pipe)
    first = engine.submit(**call, callback_on_step_end=callback)
    assert reached.wait(30)
    first.listen(listen)
    second = engine.submit(**call)
    monkeypatch.setattr(engine._attempts, "deliver", fail)
    go.set()
    for handle in (first, second):
        with pytest.raises(errors.EngineBroken):
            handle.result(60)
    engine.close()


WAITS = {
    "result": lambda handle: handle.result(),
    "result with a timeout": lambda handle: handle.result(60),
    "events": lambda handle: list(handle.events()),
}


@pytest.mark.parametrize("way", WAITS)
def test_a_callback_that_waits_for_another_request_is_told_so(pipe: Any, call: dict[str, Any], way: str) -> None:
    others: list[Any] = []

    def wait(*_: Any) -> dict[str, Any]:
        if len(others) == 1:
            WAITS[way](others[0])
        return {}

    callback, reached, go = hold()
    with Engine(pipe) as engine:
        engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        waiting = engine.submit(**call, callback_on_step_end=wait)
        others.append(engine.submit(**{**call, "num_inference_steps": 9}))
        go.set()
        with pytest.raises(errors.Conflict, match="must not wait"):
            waiting.result(60)
        assert others[0].result(60).images.shape[0] == 1


def test_a_listener_that_waits_for_another_request_is_told_so(pipe: Any, call: dict[str, Any]) -> None:
    seen: list[BaseException] = []
    callback, reached, go = hold()
    with Engine(pipe) as engine:
        first = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        second = engine.submit(**{**call, "num_inference_steps": 9})

        def listen(event: Event) -> None:
            if event.type == "succeeded":
                try:
                    second.result()
                except errors.Conflict as error:
                    seen.append(error)

        first.listen(listen)
        go.set()
        second.result(60)
    assert len(seen) == 1


def test_a_callback_may_look_at_a_request_that_has_ended(pipe: Any, call: dict[str, Any]) -> None:
    looked: list[Any] = []
    with Engine(pipe) as engine:
        done = engine.submit(**call)
        done.result(60)

        def look(*_: Any) -> dict[str, Any]:
            looked.append(done.result().images.shape)
            assert list(done.events())[-1].type == "succeeded"
            return {}

        engine.submit(**call, callback_on_step_end=look).result(60)
    assert len(looked) == call["num_inference_steps"]


def test_requests_wait_and_what_was_asked_of_the_engine_does_not(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    with Engine(pipe) as engine:
        running = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        second = engine.submit(**call)
        assert engine.stats()["waiting"] == 1
        for handle in (running, second):
            handle.cancel()
        assert engine.stats()["waiting"] == 1
        go.set()


def test_what_came_of_a_request_can_be_let_go_of_and_the_rest_of_it_stays(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handle = engine.submit(**call)
        assert handle.result(60).images.shape[0] == 1
        handle.let_go()
        assert handle.result(0) is None
        assert [*handle.events()][-1].type == "succeeded"
