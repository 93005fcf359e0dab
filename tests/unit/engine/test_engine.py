"""What callers of an engine may rely on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from darkroom import errors
from darkroom.engine.engine import Engine, Options


def same(one: Any, other: Any) -> bool:
    return np.abs(one.images - other.images).max() < 5e-6


def hold(step: int = 0) -> tuple[Any, threading.Event, threading.Event]:
    """A step callback that stops the engine's thread in `step` until it is let go: (callback, reached, go)."""
    reached, go = threading.Event(), threading.Event()

    def callback(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        if at == step:
            reached.set()
            assert go.wait(30)
        return {}

    return callback, reached, go


def test_result_is_what_the_pipelines_own_call_returns(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        served = engine.submit(**call).result(60)
    seed = call.pop("seed")
    plain = pipe(**call, generator=torch.Generator().manual_seed(seed))
    assert type(served) is type(plain)
    assert same(served, plain)


def test_tensors_in_the_result_are_ordinary_tensors(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        latents = engine.submit(**{**call, "output_type": "latent"}).result(60).images
    latents.requires_grad_(True)
    latents.mul(2).sum().backward()
    assert latents.grad is not None


def test_requests_of_many_threads_share_forwards(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handles: list[Any] = []
        callback, reached, go = hold()
        first = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        threads = [threading.Thread(target=lambda: handles.append(engine.submit(**call))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        go.set()
        results = [handle.result(60) for handle in [first, *handles]]
        stats = engine.stats()
    assert all(same(result, results[0]) for result in results)
    assert stats["modules"]["unet"]["calls"] == 21
    assert stats["modules"]["unet"]["batches"] <= 7
    assert stats["modules"]["unet"]["rows"] == 42
    assert stats["finished"] == 7
    assert stats["running"] == stats["waiting"] == 0


def test_batching_off_gives_the_same_images_one_call_at_a_time(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, batching=False) as engine:
        alone = [engine.submit(**{**call, "seed": seed}) for seed in (1, 2, 3)]
        alone = [handle.result(60) for handle in alone]
        module = engine.stats()["modules"]["unet"]
    assert module["batches"] == module["calls"] == 9
    with Engine(pipe) as engine:
        together = [engine.submit(**{**call, "seed": seed}) for seed in (1, 2, 3)]
        assert all(same(handle.result(60), one) for handle, one in zip(together, alone, strict=True))


def test_encoder_cache_off_gives_the_same_images(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        cached = [engine.submit(**call).result(60) for _ in range(2)]
        assert engine.stats()["cache_hits"] == 2
    with Engine(pipe, options=Options(encoder_cache_bytes=0)) as engine:
        fresh = [engine.submit(**call).result(60) for _ in range(2)]
        assert engine.stats()["cache_hits"] == 0
    assert all(same(a, b) for a, b in zip(cached, fresh, strict=True))


def test_image_k_of_a_request_is_the_image_of_seed_plus_k(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        four = engine.submit(**call, num_images_per_prompt=4).result(60).images
        third = engine.submit(**{**call, "seed": call["seed"] + 2}).result(60).images
    assert np.array_equal(four[2], third[0])


def test_a_users_generator_is_cloned(pipe: Any, call: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(call.pop("seed"))
    before = generator.get_state()
    with Engine(pipe) as engine:
        first = engine.submit(**call, generator=generator).result(60)
        second = engine.submit(**call, generator=generator).result(60)
    assert torch.equal(generator.get_state(), before)
    assert same(first, second)


def test_seed_and_generator_together_are_refused(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine, pytest.raises(errors.BadInput, match="either seed or generator") as raised:
        engine.submit(**call, generator=torch.Generator())
    assert raised.value.field == "seed"


@pytest.mark.parametrize(
    ("more", "error", "field"),
    [
        ({"promt": "typo"}, errors.UnknownArgument, "promt"),
        ({"model": "sdxl"}, errors.UnknownModel, "model"),
        ({"adapters": {"neon": 1.0}}, errors.UnknownAdapter, "adapters"),
        ({"seed": -1}, errors.BadInput, "seed"),
        ({"seed": 2**63}, errors.BadInput, "seed"),
        ({"seed": 1.5}, errors.BadInput, "seed"),
        ({"deadline_s": 0}, errors.BadInput, "deadline_s"),
        ({"priority": "high"}, errors.BadInput, "priority"),
    ],
)
def test_bad_input_fails_at_submit(
    pipe: Any, call: dict[str, Any], more: dict[str, Any], error: type[errors.BadInput], field: str
) -> None:
    with Engine(pipe) as engine:
        with pytest.raises(error) as raised:
            engine.submit(**{**call, **more})
        assert raised.value.field == field
        assert engine.stats()["finished"] == 0


def test_an_unknown_argument_is_told_what_is_allowed(pipe: Any) -> None:
    with Engine(pipe) as engine, pytest.raises(errors.UnknownArgument, match="num_inference_steps"):
        engine.submit(steps=3)


def test_a_timed_out_result_can_be_asked_again(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    with Engine(pipe) as engine:
        handle = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.01)
        assert not handle.done()
        go.set()
        assert handle.result(60).images.shape[0] == 1


def test_cancel_ends_at_the_next_call_and_touches_nobody_else(pipe: Any, call: dict[str, Any]) -> None:
    steps: list[int] = []
    callback, reached, go = hold(1)

    def count(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        steps.append(at)
        return callback(pipe, at, timestep, tensors)

    with Engine(pipe) as engine:
        reference = engine.submit(**call).result(60)
        doomed = engine.submit(**{**call, "num_inference_steps": 50}, callback_on_step_end=count)
        neighbour = engine.submit(**call)
        assert reached.wait(30)
        doomed.cancel()
        go.set()
        with pytest.raises(errors.JobCancelled):
            doomed.result(60)
        assert same(neighbour.result(60), reference)
    assert steps == [0, 1]
    assert [event.type for event in doomed.events()][-1] == "cancelled"


def test_cancel_before_the_start_runs_nothing(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    with Engine(pipe, options=Options(memory_bytes=1)) as engine:
        first = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        second = engine.submit(**call)
        second.cancel()
        go.set()
        with pytest.raises(errors.JobCancelled):
            second.result(60)
        first.result(60)
    assert [event.type for event in second.events()] == ["queued", "cancelled"]


def test_a_swallowed_cancel_is_thrown_again(pipe: Any, call: dict[str, Any]) -> None:
    """A pipeline that catches everything in its loop still ends."""
    reached = threading.Event()

    def stubborn(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        reached.set()
        time.sleep(0.005)
        with contextlib.suppress(BaseException):
            pipe.unet(tensors["latents"], timestep, encoder_hidden_states=torch.zeros(1, 77, 32))
        return {}

    with Engine(pipe) as engine:
        handle = engine.submit(**{**call, "num_inference_steps": 200}, callback_on_step_end=stubborn)
        assert reached.wait(30)
        handle.cancel()
        with pytest.raises(errors.JobCancelled):
            handle.result(60)


def test_a_deadline_ends_a_request_that_runs(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handle = engine.submit(**{**call, "num_inference_steps": 900}, deadline_s=0.2)
        with pytest.raises(errors.DeadlineExceeded):
            handle.result(60)


def test_one_requests_fault_stays_its_own(pipe: Any, call: dict[str, Any]) -> None:
    def fail(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        raise ZeroDivisionError("mine")

    with Engine(pipe) as engine:
        good = [engine.submit(**call) for _ in range(2)]
        bad = engine.submit(**call, callback_on_step_end=fail)
        with pytest.raises(ZeroDivisionError, match="mine"):
            bad.result(60)
        assert same(good[0].result(60), good[1].result(60))
        assert [event.type for event in bad.events()][-1] == "failed"


def test_embeddings_of_a_wrong_width_fail_alone(pipe: Any, call: dict[str, Any]) -> None:
    del call["prompt"]
    wrong = {"prompt_embeds": torch.zeros(1, 77, 5), "negative_prompt_embeds": torch.zeros(1, 77, 5)}
    right = {"prompt_embeds": torch.zeros(1, 77, 32), "negative_prompt_embeds": torch.zeros(1, 77, 32)}
    with Engine(pipe) as engine:
        bad, good = engine.submit(**call, **wrong), engine.submit(**call, **right)
        assert good.result(60).images.shape[0] == 1
        with pytest.raises(RuntimeError):
            bad.result(60)


def test_nan_is_an_error_that_says_so(pipe: Any, call: dict[str, Any]) -> None:
    def spoil(pipe: Any, at: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        return {"latents": tensors["latents"] * float("nan")}

    with Engine(pipe) as engine, pytest.raises(errors.NotFinite, match="NaN"):
        engine.submit(**call, callback_on_step_end=spoil).result(60)


def test_progress_counts_steps_and_events_tell_the_whole_story(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handle = engine.submit(**call)
        events = list(handle.events())
    assert [event.type for event in events] == ["queued", "started", *["progress"] * 3, "succeeded"]
    assert [event.seq for event in events] == list(range(1, 7))
    assert [event.data["step"] for event in events if event.type == "progress"] == [1, 2, 3]
    assert {event.data["steps"] for event in events if event.type == "progress"} == {3}
    assert handle.progress == 1.0
    assert list(handle.events()) == events


def test_steps_of_a_pipeline_inside_another_are_reported_and_not_drawn(
    pipe: Any, call: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    kind = type(pipe)

    class Twice(kind):  # type: ignore[misc,valid-type]
        """Makes its picture by way of another pipeline first."""

        inner: Any

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.inner(*args, **kwargs)
            return super().__call__(*args, **kwargs)

    outer = Twice(**pipe.components, requires_safety_checker=False)
    outer.inner = kind(**pipe.components, requires_safety_checker=False)
    with Engine(outer) as engine:
        capfd.readouterr()
        events = list(engine.submit(**call).events())
    assert [event.data["step"] for event in events if event.type == "progress"] == [1, 2, 3, 4, 5, 6]
    assert capfd.readouterr().err == ""


def test_previews_show_the_picture_on_its_way_and_change_nothing(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        plain = engine.submit(**call).result(60)
    with Engine(pipe, preview_every=2) as engine:
        handle = engine.submit(**call)
        previews = [event for event in handle.events() if event.type == "preview"]
    assert [event.data["step"] for event in previews] == [2]
    assert previews[0].data["image"].mode == "RGB"
    assert same(handle.result(), plain)


def test_await_gives_the_result_and_a_timed_out_await_does_not_cancel(pipe: Any, call: dict[str, Any]) -> None:
    callback, _, go = hold()

    async def ask(engine: Engine) -> Any:
        handle = engine.submit(**call, callback_on_step_end=callback)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.01)
        go.set()
        return await handle

    with Engine(pipe) as engine:
        assert asyncio.run(ask(engine)).images.shape[0] == 1


def test_leaving_waits_for_what_was_submitted(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        handles = [engine.submit(**call) for _ in range(3)]
    assert all(handle.done() and handle.result(0) for handle in handles)


def test_close_with_cancel_does_not_wait(pipe: Any, call: dict[str, Any]) -> None:
    engine = Engine(pipe)
    handle = engine.submit(**{**call, "num_inference_steps": 900})
    engine.close(cancel=True)
    with pytest.raises(errors.JobCancelled):
        handle.result(0)
    with pytest.raises(errors.EngineClosed):
        engine.submit(**call)
    engine.close()


def test_closing_leaves_no_trace_on_the_modules(pipe: Any, call: dict[str, Any]) -> None:
    before = {name: set(module.__dict__) for name, module in pipe.components.items() if hasattr(module, "parameters")}
    methods = (torch.nn.Module.__setattr__, torch.nn.Module._apply)
    with Engine(pipe) as engine:
        assert "forward" in pipe.unet.__dict__
        engine.submit(**call).result(60)
    after = {name: set(module.__dict__) for name, module in pipe.components.items() if hasattr(module, "parameters")}
    assert after == before
    assert (torch.nn.Module.__setattr__, torch.nn.Module._apply) == methods


def test_outside_a_fiber_a_served_pipeline_works_as_before(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        served = engine.submit(**call).result(60)
        seed = call.pop("seed")
        assert same(pipe(**call, generator=torch.Generator().manual_seed(seed)), served)


def test_pipelines_that_share_components_share_batches(pipes: dict[str, Any], call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    with Engine(pipes["ddim"]) as engine:
        engine.add(pipes["euler"], name="euler")
        first = engine.submit(**call, model="default", callback_on_step_end=callback)
        assert reached.wait(30)
        second = engine.submit(**call, model="euler")
        go.set()
        first.result(60), second.result(60)
        assert engine.stats()["modules"]["unet"]["batches"] < engine.stats()["modules"]["unet"]["calls"]
        with pytest.raises(errors.UnknownModel, match="default, euler"):
            engine.submit(**call)


def test_two_engines_may_serve_one_pipeline(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as one, Engine(pipe) as other:
        handles = [one.submit(**call), other.submit(**call)]
        assert same(handles[0].result(60), handles[1].result(60))


def test_a_new_request_takes_part_in_the_next_tick(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold(1)
    with Engine(pipe) as engine:
        busy = engine.submit(**{**call, "num_inference_steps": 8}, callback_on_step_end=callback)
        assert reached.wait(30)
        ticks = engine.stats()["ticks"]
        seen: list[int] = []
        late = engine.submit(**call, callback_on_step_end=lambda *_: seen.append(engine.stats()["ticks"]) or {})
        go.set()
        late.result(60), busy.result(60)
    # the tick that was in progress counts one, the next one denoises the newcomer's first step
    assert seen[0] - ticks <= 2


@pytest.mark.parametrize("rows", [0, 3, -8])
def test_fixed_rows_are_a_power_of_two(pipe: Any, rows: int) -> None:
    with pytest.raises(errors.BadInput, match="power of two"):
        Engine(pipe, fixed_rows=rows)
