"""What a request has cost: nothing is lost, nothing is charged twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darkroom import errors
from darkroom.engine.call import make_call
from darkroom.engine.engine import Engine, Options
from darkroom.engine.handle import METRICS, Handle
from darkroom.engine.hook import HookedMethod
from darkroom.engine.profile import Profile
from darkroom.engine.runner import Runner
from tests.parity.families import picture, sd_tasks
from tests.unit.engine.test_engine import hold
from tests.unit.engine.test_runner import SPEC, Mixing, Toy, calls_of, rows_of


def charged(handles: list[Handle]) -> float:
    return sum(handle.metrics["device_s"] for handle in handles)


def counted(engine: Engine) -> float:
    return sum(module["seconds"] for module in engine.stats()["modules"].values())


def mixed(engine: Engine, call: dict[str, Any]) -> list[Handle]:
    """Text, images, ControlNets, reproducible, two images, no guidance, and one that fails halfway."""

    def fail(pipe: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        raise ZeroDivisionError("mine")

    edges = picture(3)
    sized = {name: value for name, value in call.items() if name not in ("height", "width")}
    return [
        engine.submit(**call, model="text"),
        engine.submit(**{**call, "num_inference_steps": 5}, model="text", num_images_per_prompt=2),
        engine.submit(**{**call, "guidance_scale": 1.0}, model="text", reproducible=True),
        engine.submit(**call, model="text", num_images_per_prompt=5, reproducible=True),
        engine.submit(**call, model="text", callback_on_step_end=fail),
        engine.submit(**sized, model="image", image=edges, strength=0.7),
        engine.submit(**call, model="control", image=edges),
        engine.submit(**call, model="controls", image=[edges, edges], controlnet_conditioning_scale=[0.5, 0.9]),
    ]


@pytest.mark.parametrize(("batching", "is_aside"), [(True, False), (False, False), (True, True)])
def test_what_requests_are_charged_adds_up_to_what_the_forwards_took(
    call: dict[str, Any], batching: bool, is_aside: bool
) -> None:
    with Engine(batching=batching, options=Options(decode_aside=is_aside)) as engine:
        for name, pipe in sd_tasks().items():
            engine.add(pipe, name=name)
        handles = mixed(engine, call) + mixed(engine, {**call, "seed": 8})
        for handle in handles:
            list(handle.events())
        modules = engine.stats()["modules"]
        assert modules["unet"]["padded_rows"] > 0
        assert charged(handles) == pytest.approx(counted(engine), rel=1e-6)
        stats = engine.stats()
        forwards_s = stats["busy_s"] - stats["outside_s"]
        assert charged(handles) == pytest.approx(forwards_s - stats["checking_s"], rel=1e-6)


def test_the_kinds_of_forwards_are_told_apart(call: dict[str, Any]) -> None:
    with Engine(options=Options(encoder_cache_bytes=0)) as engine:
        engine.add(sd_tasks()["control"], name="control")
        handle = engine.submit(**call, image=picture(3))
        handle.result(60)
        seconds = {name: module["seconds"] for name, module in engine.stats()["modules"].items()}
    metrics = handle.metrics
    assert set(metrics) == set(METRICS)
    assert metrics["encode_s"] == pytest.approx(seconds["text_encoder"])
    assert metrics["denoise_s"] == pytest.approx(seconds["unet"] + seconds["controlnet"])
    assert metrics["decode_s"] == pytest.approx(seconds["vae.decode"])
    assert metrics["device_s"] == pytest.approx(sum(seconds.values()))
    assert metrics["host_s"] > 0


def test_an_output_from_the_cache_costs_nothing(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        first, second = (engine.submit(**call) for _ in range(2))
        first.result(60), second.result(60)
        third = engine.submit(**call)
        third.result(60)
    assert first.metrics["encode_s"] > 0
    assert third.metrics["encode_s"] == 0.0


def test_time_in_the_queue_ends_when_the_fiber_starts_or_never_will(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold()
    with Engine(pipe, options=Options(memory_bytes=1)) as engine:
        first = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        second, third = engine.submit(**call), engine.submit(**call)
        third.cancel()
        go.set()
        second.result(60), first.result(60)
        with pytest.raises(errors.JobCancelled):
            third.result(60)
    assert second.metrics["queued_s"] > first.metrics["denoise_s"] / 2 > 0
    assert third.metrics["queued_s"] > 0
    assert third.metrics["device_s"] == 0.0


def test_metrics_rise_while_a_request_runs(pipe: Any, call: dict[str, Any]) -> None:
    callback, reached, go = hold(1)
    with Engine(pipe) as engine:
        handle = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        before = handle.metrics
        go.set()
        handle.result(60)
    assert 0 < before["denoise_s"] < handle.metrics["denoise_s"]
    assert before["decode_s"] == 0.0 < handle.metrics["decode_s"]


def runner_of(**more: Any) -> Runner:
    return Runner(Profile(32), **more)


def shares(runner: Runner, calls: list[Any]) -> list[float]:
    with torch.no_grad():
        runner.run(calls)
    return [call.device_s for call in calls]


def test_padded_rows_are_paid_for_by_those_they_were_padded_for() -> None:
    with torch.no_grad():
        calls = calls_of(Toy(), [rows_of(1), rows_of(2, 3)], fixed_rows=8)
    runner = runner_of()
    one, two = shares(runner, calls)
    assert two == pytest.approx(2 * one)
    assert one + two == pytest.approx(runner.modules["toy"].seconds)


def test_a_call_pays_only_for_the_chunks_it_is_in() -> None:
    with torch.no_grad():
        calls = calls_of(Toy(), [rows_of(*range(4)), rows_of(*range(4))], fixed_rows=4)
    runner = runner_of()
    shares(runner, calls)
    assert [call.wall_s for call in calls] == pytest.approx([call.device_s for call in calls])
    assert sum(call.device_s for call in calls) == pytest.approx(runner.modules["toy"].seconds)


@pytest.mark.parametrize("fixed_rows", [0, 2])
def test_what_is_run_again_is_charged_as_it_is_counted(fixed_rows: int) -> None:
    """A batch that the shadow check throws away, and rows that turn out not to keep their bits."""
    with torch.no_grad():
        calls = calls_of(Mixing(), [rows_of(1), rows_of(100)], fixed_rows=fixed_rows)
    runner = runner_of()
    assert sum(shares(runner, calls)) == pytest.approx(runner.modules["toy"].seconds)


def test_halves_of_a_failed_batch_are_charged_to_their_own_calls() -> None:
    with torch.no_grad():
        hook = HookedMethod(Toy(poison=2.0), "forward", SPEC, "toy")
        calls = [make_call(hook, (rows_of(value), 1.0), {}, 0) for value in range(4)]
    runner = runner_of(check=False)
    charged = shares(runner, calls)
    assert charged[2] == 0.0
    assert sum(charged) == pytest.approx(runner.modules["toy"].seconds)
