"""A user's function as one more pipeline of an engine: its calls are everybody's, and its faults its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import darkroom
from darkroom import errors
from darkroom.core import Event
from darkroom.engine.engine import Engine, Options, Tick
from darkroom.engine.tape import STEP, Tape
from tests.parity.company import FLOOR
from tests.parity.families import SIDE, sd_solvers, sd_v_prediction
from tests.parity.plain import largest_difference

WAIT_S = 60
STEPS = 4
QUICK: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": 4.0, "height": SIDE, "width": SIDE}
MASK = Image.linear_gradient("L").resize((SIDE, SIDE)).point(lambda value: 255 if value > 127 else 0)


def as_picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def product_shot(seen: Callable[[np.ndarray], None] = lambda pixels: None) -> Any:
    """Generates, masks and inpaints; `seen` is given what the last call made, in floats."""

    @darkroom.pipeline(models=["one"], calls=2)
    def product_shot(run: darkroom.Run, prompt: str, background: str = "a lake", seed: int = 0) -> Image.Image:
        first = run("one", prompt=prompt, seed=seed, output_type="np", **QUICK).images
        again = run(
            "one", prompt=background, image=first, mask_image=MASK, strength=1.0, seed=seed, output_type="np", **QUICK
        ).images
        seen(again)
        return run.host(as_picture, again[0])

    return product_shot


@pytest.fixture
def pipe() -> Any:
    return sd_solvers()["ddim"]


def served(pipe: Any, function: Any, **said: Any) -> Engine:
    engine = Engine(**said)
    engine.add(pipe, name="one")
    engine.add(function)
    return engine


def bytes_of(answer: Any) -> bytes:
    return bytes(answer.images[0].tobytes())


def test_importing_the_decorator_does_not_import_torch() -> None:
    code = "import sys, darkroom; darkroom.pipeline; darkroom.Run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_function_makes_in_company_what_it_makes_over_plain_diffusers(pipe: Any) -> None:
    made: list[np.ndarray] = []
    function = product_shot(made.append)
    function.over({"one": pipe})(prompt="a red sky", seed=3)
    with served(pipe, function) as engine:
        handles = [engine.submit(model="product-shot", prompt="a red sky", seed=3)]
        handles += [engine.submit(model="one", prompt=f"hill {k}", seed=k, **QUICK) for k in range(2)]
        assert handles[0].result(WAIT_S).images[0].size == (SIDE, SIDE)
        assert [handle.result(WAIT_S) is not None for handle in handles] == [True] * 3
    assert largest_difference(made[1], made[0]) <= FLOOR


def test_its_calls_share_forwards_with_those_of_ordinary_requests(pipe: Any) -> None:
    company: list[int] = []

    def note(tick: Tick) -> None:
        if tick.kind == "denoise":
            company.append(tick.requests)

    with served(pipe, product_shot(), options=Options(on_tick=note)) as engine:
        gate = threading.Event()
        engine._loop.ask(lambda: gate.wait(WAIT_S) and None)  # all are there before any begins
        handles = [engine.submit(model="product-shot", prompt="a red sky", seed=k) for k in range(2)]
        handles.append(engine.submit(model="one", prompt="a hill", seed=9, **{**QUICK, "num_inference_steps": 9}))
        gate.set()
        for handle in handles:
            handle.result(WAIT_S)
        unet = next(stats for name, stats in engine.stats()["modules"].items() if name.endswith("unet"))
    assert unet["calls"] == 2 * 2 * STEPS + 9
    assert unet["batches"] < unet["calls"]
    assert max(company) == 3


def test_progress_is_over_all_of_its_calls(pipe: Any) -> None:
    with served(pipe, product_shot()) as engine:
        handle = engine.submit(model="product-shot", prompt="a red sky", seed=1)
        handle.result(WAIT_S)
        told = [(event.data["step"], event.data["steps"]) for event in handle.events() if event.type == "progress"]
    assert told == [(step, 2 * STEPS) for step in range(1, 2 * STEPS + 1)]


def test_cancel_in_its_second_call_ends_it_within_one_step(pipe: Any) -> None:
    with served(pipe, product_shot()) as engine:
        steps: list[int] = []

        def cancel(event: Event) -> None:
            if event.type == "progress":
                steps.append(event.data["step"])
                if event.data["step"] == STEPS + 1:
                    handle.cancel()

        handle = engine.submit(model="product-shot", prompt="a red sky", seed=1)
        handle.listen(cancel)
        with pytest.raises(errors.JobCancelled):
            handle.result(WAIT_S)
        assert STEPS + 1 <= max(steps) <= STEPS + 2
        assert engine.stats()["running"] == 0


def taped(engine: Engine) -> tuple[list[Tape], bytes]:
    """The tape of each step, and what the request made."""
    tapes: list[Tape] = []
    gate = threading.Event()
    engine._loop.ask(lambda: gate.wait(WAIT_S) and None)
    handle = engine.submit(model="product-shot", prompt="a red sky", seed=5)
    handle.listen(lambda event: tapes.append(handle.checkpoint()) if event.type == "progress" else None)
    gate.set()
    return tapes, bytes_of(handle.result(WAIT_S))


def test_resumed_after_any_step_it_ends_with_the_bytes_of_one_that_nobody_interrupted(pipe: Any) -> None:
    function = product_shot()
    with served(pipe, function, reproducible=True) as engine:
        tapes, whole = taped(engine)
    assert [tape.steps for tape in tapes] == [(step, 2 * STEPS) for step in range(1, 2 * STEPS + 1)]
    with served(pipe, function, reproducible=True) as engine:
        others = [engine.submit(model="one", prompt=f"hill {k}", seed=k, **QUICK) for k in range(2)]
        resumed = [engine.resume(Tape.from_bytes(tape.to_bytes())) for tape in tapes]
        assert {bytes_of(handle.result(WAIT_S)) for handle in resumed} == {whole}
        for other in others:
            other.result(WAIT_S)
        unet = next(stats for name, stats in engine.stats()["modules"].items() if name.endswith("unet"))
    left = sum(2 * STEPS - sum(entry.role != STEP for entry in tape.entries) for tape in tapes)
    assert unet["calls"] == left + 2 * STEPS


def test_a_tape_of_another_function_is_refused(pipe: Any) -> None:
    with served(pipe, product_shot(), reproducible=True) as engine:
        tapes, _ = taped(engine)

    @darkroom.pipeline(models=["one"])
    def product_shot_2(run: darkroom.Run, prompt: str, background: str = "a lake", seed: int = 0) -> Image.Image:
        return run("one", prompt=prompt, seed=seed, **QUICK).images[0]

    with served(pipe, product_shot_2, reproducible=True) as engine, pytest.raises(errors.TapeRefused):
        engine.resume(tapes[0], model="product-shot-2")


def test_alone_and_in_company_a_reproducible_one_has_the_same_bytes(pipe: Any) -> None:
    with served(pipe, product_shot(), reproducible=True) as engine:
        alone = bytes_of(engine.submit(model="product-shot", prompt="a red sky", seed=5).result(WAIT_S))
        handles = [engine.submit(model="product-shot", prompt="a red sky", seed=5 + k) for k in range(3)]
        assert bytes_of(handles[0].result(WAIT_S)) == alone


def test_its_own_error_is_raised_with_its_place_and_its_neighbours_go_on(pipe: Any) -> None:
    @darkroom.pipeline(models=["one"])
    def picky(run: darkroom.Run, prompt: str) -> Image.Image:
        run("one", prompt=prompt, seed=1, **QUICK)
        raise KeyError("no such shelf")

    with served(pipe, picky) as engine:
        bad = engine.submit(model="picky", prompt="a red sky")
        good = engine.submit(model="one", prompt="a hill", seed=2, **QUICK)
        with pytest.raises(KeyError, match="no such shelf") as raised:
            bad.result(WAIT_S)
        assert good.result(WAIT_S).images
    assert raised.value.__notes__[-1].startswith("in picky, line ")
    assert raised.value.__notes__[-1].endswith("of test_plain.py")


def test_one_function_may_call_two_models(pipe: Any) -> None:
    other = sd_v_prediction()["ddim"]

    @darkroom.pipeline(models=["one", "two"], calls=2)
    def both(run: darkroom.Run, prompt: str, seed: int = 0) -> Image.Image:
        first = run("one", prompt=prompt, seed=seed, **QUICK).images[0]
        return run("two", prompt=prompt, image=first, strength=0.5, seed=seed, solver="ddim", **QUICK).images[0]

    plain = both.over({"one": pipe, "two": other})(prompt="a red sky", seed=2).images[0]
    with Engine(pipe) as engine:
        engine.add(other, name="two")
        with pytest.raises(errors.BadInput, match="'one'"):  # the first is served as "default"
            engine.add(both)
        engine.add(pipe, name="one")
        assert engine.add(both) == "both"
        made = engine.submit(model="both", prompt="a red sky", seed=2).result(WAIT_S).images[0]
        assert np.abs(np.asarray(made, int) - np.asarray(plain, int)).max() <= 1
        calls = {name: stats["calls"] for name, stats in engine.stats()["modules"].items() if name.endswith("unet")}
    assert sorted(calls.values()) == [STEPS // 2, STEPS]


def test_a_call_without_a_seed_draws_from_the_requests_own(pipe: Any) -> None:
    @darkroom.pipeline(models=["one"])
    def drawn(run: darkroom.Run, prompt: str) -> Image.Image:
        return run("one", prompt=prompt, **QUICK).images[0]

    with served(pipe, drawn, reproducible=True) as engine:
        first, same, other = (engine.submit(model="drawn", prompt="a sky", seed=seed) for seed in (1, 1, 2))
        assert bytes_of(first.result(WAIT_S)) == bytes_of(same.result(WAIT_S)) != bytes_of(other.result(WAIT_S))


def test_host_work_leaves_the_engines_thread(pipe: Any) -> None:
    threads: list[str] = []

    @darkroom.pipeline(models=["one"])
    def hosted(run: darkroom.Run, prompt: str) -> Image.Image:
        run.host(lambda: threads.append(threading.current_thread().name))
        threads.append(threading.current_thread().name)
        return Image.new("RGB", (8, 8))

    with served(pipe, hosted) as engine:
        engine.submit(model="hosted", prompt="x").result(WAIT_S)
    assert threads[0].startswith("darkroom-host")
    assert not threads[1].startswith("darkroom-host")
    hosted.over({"one": pipe})(prompt="x")
    assert threads[2] == threads[3] == threading.current_thread().name


def test_what_it_may_not_do_is_refused_by_name(pipe: Any) -> None:
    def refusal(body: Callable[[darkroom.Run], Any]) -> BaseException:
        @darkroom.pipeline(models=["one"])
        def wrong(run: darkroom.Run, prompt: str) -> Any:
            return body(run)

        with pytest.raises(errors.DarkroomError) as raised:
            wrong.over({"one": pipe})(prompt="x")
        return raised.value

    assert isinstance(refusal(lambda run: run("two", prompt="x")), errors.UnknownModel)
    assert isinstance(refusal(lambda run: run("one", prompt="x", solver="magic", **QUICK)), errors.UnknownSolver)
    assert isinstance(refusal(lambda run: run("one", prompt="x", seed=-1, **QUICK)), errors.BadInput)
    assert "must return one picture" in str(refusal(lambda run: [1]))
    with pytest.raises(errors.BadInput, match="models must be a list"):
        darkroom.pipeline(models="one")
    with pytest.raises(errors.BadInput, match="calls must be"):
        darkroom.pipeline(models=["one"], calls=0)
    with served(pipe, product_shot()) as engine, pytest.raises(errors.UnknownArgument, match="foreground"):
        engine.submit(model="product-shot", prompt="x", foreground="y")
