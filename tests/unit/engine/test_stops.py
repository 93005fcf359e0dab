"""Requests that end early, wherever they are; and calls that must not get lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from darkroom import errors
from darkroom.engine.engine import Engine, Options
from tests.unit.engine.test_engine import hold, same


@dataclass
class Slow:
    """A pipeline whose postprocessing of pictures takes until it is let go."""

    pipe: Any
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def slow(pipe: Any) -> Iterator[Slow]:
    made, original = Slow(pipe), pipe.image_processor.postprocess

    def postprocess(*args: Any, **kwargs: Any) -> Any:
        if kwargs["output_type"] != "latent":
            made.reached.set()
            assert made.go.wait(30)
        return original(*args, **kwargs)

    pipe.image_processor.postprocess = postprocess
    yield made
    del pipe.image_processor.postprocess


def ended(handle: Any) -> list[str]:
    return [event.type for event in handle.events()][-1:]


def test_cancelled_while_it_works_on_the_host_it_ends_when_that_is_back(slow: Slow, call: dict[str, Any]) -> None:
    with Engine(slow.pipe) as engine:
        doomed = engine.submit(**call)
        assert slow.reached.wait(30)
        doomed.cancel()
        assert engine.submit(**{**call, "output_type": "latent"}).result(60).images.shape[0] == 1
        assert not doomed.done()
        slow.go.set()
        with pytest.raises(errors.JobCancelled):
            doomed.result(60)
        assert engine.stats()["running"] == 0
    assert ended(doomed) == ["cancelled"]


def test_a_deadline_that_passes_during_host_work_ends_the_request(slow: Slow, call: dict[str, Any]) -> None:
    with Engine(slow.pipe) as engine:
        engine.submit(**{**call, "output_type": "latent"}).result(60)
        late = engine.submit(**call, deadline_s=2.0)
        assert slow.reached.wait(30)
        time.sleep(2.0)
        ticks = engine.stats()["ticks"]
        slow.go.set()
        with pytest.raises(errors.DeadlineExceeded):
            late.result(60)
        assert engine.stats()["ticks"] == ticks
    assert ended(late) == ["failed"]


def test_a_deadline_that_passes_in_the_queue_ends_the_request_unstarted(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    with Engine(pipe, options=Options(memory_bytes=1)) as engine:
        first = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        late = engine.submit(**call, deadline_s=0.05)
        time.sleep(0.06)
        go.set()
        with pytest.raises(errors.DeadlineExceeded):
            late.result(60)
        first.result(60)
    assert [event.type for event in late.events()] == ["queued", "failed"]


def test_a_deadline_in_the_queue_wakes_an_engine_that_waits_for_host_work(slow: Slow, call: dict[str, Any]) -> None:
    with Engine(slow.pipe, options=Options(memory_bytes=1)) as engine:
        first = engine.submit(**call)
        assert slow.reached.wait(30)
        late = engine.submit(**call, deadline_s=0.05)
        with pytest.raises(errors.DeadlineExceeded):
            late.result(10)
        slow.go.set()
        first.result(60)


def test_closing_with_cancel_ends_what_works_on_the_host(slow: Slow, call: dict[str, Any]) -> None:
    engine = Engine(slow.pipe)
    handle = engine.submit(**call)
    assert slow.reached.wait(30)
    threading.Timer(0.05, slow.go.set).start()
    engine.close(cancel=True)
    with pytest.raises(errors.JobCancelled):
        handle.result(0)


def test_two_requests_that_write_borrow_a_module_view_each(pipe: Any, call: dict[str, Any]) -> None:
    """Each keeps its own FreeU to the end, though both run at once, and both views go back clean."""
    asked = {**call, "num_inference_steps": 6}
    views: dict[float, set[int]] = {1.2: set(), 2.5: set()}
    submitted = threading.Event()

    def writing(scale: float) -> Callable[..., dict[str, Any]]:
        def callback(view: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
            assert submitted.wait(30)
            if view.unet is not pipe.unet:
                views[scale].add(id(view.unet))
            view.unet.enable_freeu(0.9, 0.2, scale, scale)
            return {}

        return callback

    with Engine(pipe) as engine:
        submitted.set()
        alone = {scale: engine.submit(**asked, callback_on_step_end=writing(scale)).result(60) for scale in views}
        for seen in views.values():
            seen.clear()
        submitted.clear()
        handles = {scale: engine.submit(**asked, callback_on_step_end=writing(scale)) for scale in views}
        submitted.set()
        together = {scale: handle.result(60) for scale, handle in handles.items()}
        plain = engine.submit(**asked).result(60)
    for scale in views:
        assert same(together[scale], alone[scale])
        assert len(views[scale]) == 1
    assert views[1.2] != views[2.5]
    pictures = [plain.images, *(output.images for output in alone.values())]
    assert all(np.abs(one - other).max() > 1e-4 for one, other in itertools.pairwise(pictures))


def test_a_pipeline_that_swallows_its_cancel_and_returns_ends_cancelled(pipe: Any, call: dict[str, Any]) -> None:
    class Stubborn(type(pipe)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().__call__(*args, **kwargs)
            except BaseException:
                return "as if nothing had happened"

    own = Stubborn(**pipe.components, requires_safety_checker=False)
    callback, reached, go = hold()
    with Engine(own) as engine:
        handle = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        handle.cancel()
        go.set()
        with pytest.raises(errors.JobCancelled):
            handle.result(60)
    assert ended(handle) == ["cancelled"]


def test_leaving_by_an_exception_waits_for_what_was_submitted_too(pipe: Any, call: dict[str, Any]) -> None:
    handles: list[Any] = []

    def leave() -> None:
        with Engine(pipe) as engine:
            handles.append(engine.submit(**call))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave()
    assert handles[0].result(0).images.shape[0] == 1


@pytest.mark.parametrize("kind", ["denoise", "encode", "decode"])
def test_a_call_that_is_dropped_is_noticed(
    pipe: Any, call: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would ever answer its fiber, and its submitter would wait for ever."""
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)
    engine = Engine(pipe)
    deliver = engine._attempts.deliver

    def forgetful(outcomes: Iterable[Any]) -> None:
        deliver([outcome for outcome in outcomes if outcome.call.kind != kind])

    monkeypatch.setattr(engine._attempts, "deliver", forgetful)
    handle = engine.submit(**call)
    with pytest.raises(errors.InvariantBroken, match="lost"):
        handle.result(10)
    engine.close()


def test_a_fiber_that_waits_for_nothing_is_noticed(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda *_: None)
    engine = Engine(pipe)
    monkeypatch.setattr(engine._attempts, "_wait_in_line", lambda request, call: None)
    handle = engine.submit(**call)
    with pytest.raises(errors.InvariantBroken, match="1 requests wait for nothing"):
        handle.result(10)
    engine.close()
