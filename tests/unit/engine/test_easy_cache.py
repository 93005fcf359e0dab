"""EasyCache answers what can be foretold, as its paper says, for the requests that have it and nobody else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline

from darkroom import errors
from darkroom.engine import easy_cache
from darkroom.engine.engine import Engine
from darkroom.engine.request import Progress
from darkroom.engine.tape import Tape
from tests.parity.families import SIDE, flux, sd_solvers
from tests.unit.engine.test_engine import hold

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own
STEPS = 20
CALL = {"prompt": "a red sky", "num_inference_steps": STEPS, "height": SIDE, "width": SIDE, "output_type": "np"}
TRUE_CFG = {"negative_prompt": "mist", "true_cfg_scale": 3.0}


class Reference:
    """The rule once more, as plainly as can be, over a module's own forward that is called `each` times a step."""

    def __init__(self, forward: Callable[..., Any], threshold: float, each: int) -> None:
        self._forward, self._threshold, self._each = forward, threshold, each
        self._calls, self.skipped = 0, 0
        self._known: dict[int, dict[str, Any]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step, turn = divmod(self._calls, self._each)
        self._calls += 1
        known = self._known.setdefault(turn, {"rate": None, "drift": 0.0})
        now = (args[0] if args else kwargs.get("hidden_states", kwargs.get("sample"))).clone()
        if known["rate"] is not None and STEPS / 5 <= step < STEPS - 1:
            moved = (now - known["latest"]).abs().mean()
            known["drift"] += float(known["rate"] * moved / known["output"].abs().mean())
            if known["drift"] < self._threshold:
                known["latest"] = now
                self.skipped += 1
                return (known["output"] + now - known["input"],)
        known["latest"] = now
        output = self._forward(*args, **kwargs)[0]
        if "input" in known:
            known["rate"] = float((output - known["output"]).abs().mean() / (now - known["input"]).abs().mean())
        known.update(input=now, output=output.clone(), drift=0.0)
        return (output,)


def made_plainly(pipe: Any, seed: int, **call: Any) -> np.ndarray:
    return np.asarray(pipe(**CALL, **call, generator=torch.Generator().manual_seed(seed)).images[0])


@contextmanager
def referred(module: torch.nn.Module, threshold: float, each: int) -> Iterator[Reference]:
    reference = Reference(module.forward, threshold, each)
    module.__dict__["forward"] = reference
    try:
        yield reference
    finally:
        del module.__dict__["forward"]


@pytest.mark.parametrize(
    ("pipe", "part", "call", "each"),
    [
        (lambda: sd_solvers()["ddim"], "unet", {"guidance_scale": 4.0}, 1),
        (lambda: flux()["flow-euler"], "transformer", {}, 1),
        (lambda: flux()["flow-euler"], "transformer", TRUE_CFG, 2),
    ],
    ids=["UNet, guided pair", "Flux", "Flux, two calls a step"],
)
def test_images_are_those_of_the_papers_rule_and_neighbours_run_in_full(
    pipe: Callable[[], Any], part: str, call: dict[str, Any], each: int
) -> None:
    model, threshold = pipe(), 0.3
    usual = [made_plainly(model, seed, **call) for seed in (1, 2)]
    expected, skipped = [], 0
    for seed in (1, 2):
        with referred(getattr(model, part), threshold, each) as reference:
            expected.append(made_plainly(model, seed, **call))
            skipped += reference.skipped
    assert skipped > 2 * each
    with Engine() as engine:
        engine.add(model, "plain")
        engine.add(model, "easy", easy_cache=threshold)
        handles = [
            engine.submit(model=name, seed=seed, **CALL, **call) for seed in (1, 2) for name in ("easy", "plain")
        ]
        found = [np.asarray(handle.result(120).images[0]) for handle in handles]
        stats = engine.stats()["modules"][part]
    assert stats["skipped_calls"] == skipped
    assert stats["calls"] == 4 * STEPS * each - skipped
    assert stats["batches"] < stats["calls"]  # what runs is batched
    for k in (0, 1):
        assert np.abs(found[2 * k] - expected[k]).max() < 5e-5  # a sum of differences decides nothing at these sizes
        assert np.abs(found[2 * k + 1] - usual[k]).max() < 5e-6
        assert np.abs(expected[k] - usual[k]).max() > 1e-4  # or it would show nothing


def test_a_threshold_that_nothing_stays_under_changes_no_bit(pipe: Any, call: dict[str, Any]) -> None:
    with Engine() as engine:
        engine.add(pipe, "plain")
        engine.add(pipe, "easy", easy_cache=1e-9)
        one, other = (engine.submit(model=name, **{**call, **CALL}).result(60).images for name in ("plain", "easy"))
        assert engine.stats()["modules"]["unet"]["skipped_calls"] == 0
    assert np.array_equal(one, other)


def test_reproducible_requests_run_in_full(pipe: Any, call: dict[str, Any]) -> None:
    with Engine() as engine:
        engine.add(pipe, "plain")
        engine.add(pipe, "easy", easy_cache=1.0)
        asked = {**call, **CALL, "reproducible": True}
        one, other = (engine.submit(model=name, **asked).result(60).images for name in ("plain", "easy"))
        assert engine.stats()["modules"]["unet"]["skipped_calls"] == 0
    assert np.array_equal(one, other)


def taped_at(engine: Engine, asked: dict[str, Any], at: int) -> Tape:
    """The tape of a request that was held in this step, as it tells of it."""
    callback, reached, go = hold(at)
    handle = engine.submit(**asked, callback_on_step_end=callback)
    assert reached.wait(30)
    tapes: list[Tape] = []
    handle.listen(lambda event: tapes.append(handle.checkpoint()) if event.type == "progress" else None)
    go.set()
    handle.result(60)
    return tapes[0]


@pytest.mark.parametrize("at", [2, 5, 8, 10])
def test_one_that_goes_on_from_its_tape_leaves_out_the_same(pipe: Any, call: dict[str, Any], at: int) -> None:
    asked = {**call, **CALL}
    with Engine() as engine:
        engine.add(pipe, "easy", easy_cache=0.3)
        whole = engine.submit(**asked).result(60).images
        skipped = engine.stats()["modules"]["unet"]["skipped_calls"]
        assert skipped > 2
        tape = taped_at(engine, asked, at)
    with Engine() as engine:
        engine.add(pipe, "easy", easy_cache=0.3)
        again = engine.resume(tape).result(60).images
        assert engine.stats()["modules"]["unet"]["skipped_calls"] == skipped
        assert engine.stats()["modules"]["unet"]["calls"] < STEPS - skipped
    assert np.abs(again - whole).max() < 5e-6


def test_what_the_cache_holds_is_nobody_elses(call: dict[str, Any]) -> None:
    """A solver that writes in place on what a denoiser was given and gave."""
    model = copy.copy(sd_solvers()["ddim"])

    class Writing(type(model.scheduler)):  # type: ignore[misc]
        def step(self, output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            stepped = super().step(output, timestep, sample, *args, **kwargs)
            output.zero_()
            sample.zero_()
            return stepped

    usual = made_with(model, call)
    model.scheduler = Writing.from_config(model.scheduler.config)
    assert np.abs(made_with(model, call) - usual).max() < 5e-6


def made_with(model: Any, call: dict[str, Any]) -> np.ndarray:
    with Engine() as engine:
        engine.add(model, "easy", easy_cache=0.3)
        asked = {**call, **CALL, "guidance_scale": 1.0}  # else the pipeline hands on copies of its own
        made = np.asarray(engine.submit(**asked).result(60).images)
        assert engine.stats()["modules"]["unet"]["skipped_calls"] > 2
        return made


def test_one_that_cannot_be_cached_goes_on_in_full_and_disturbs_nobody(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**call, **CALL}
    usual = np.asarray(pipe(**CALL, guidance_scale=4.0, generator=torch.Generator().manual_seed(7)).images)
    left = [6]

    def failing(tensors: Any) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError("no room")
        return size(tensors)

    size = easy_cache._size
    monkeypatch.setattr(easy_cache, "_size", failing)
    with Engine() as engine:
        engine.add(pipe, "plain")
        engine.add(pipe, "easy", easy_cache=0.3)
        handles = [engine.submit(model=name, **asked) for name in ("easy", "plain")]
        found = [np.asarray(handle.result(60).images) for handle in handles]
        assert engine.stats()["modules"]["unet"]["skipped_calls"] == 0
    assert all(np.abs(each - usual).max() < 5e-6 for each in found)


def calls_by_step(pipe: Any, asked: dict[str, Any], changed: int, change: Callable[[Any, Any], Any]) -> list[int]:
    """How many of its calls a request has run at the end of each step; `change` is told at the end of that one."""
    ran: list[int] = []

    def told(pipe: Any, at: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        ran.append(engine.stats()["modules"]["unet"]["calls"])
        return {"prompt_embeds": change(pipe, tensors["prompt_embeds"])} if at == changed else {}

    with Engine() as engine:
        engine.add(pipe, "easy", easy_cache=0.5)
        told_of = {"callback_on_step_end": told, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
        engine.submit(**asked, **told_of).result(60)
    return ran


def half_prompt(pipe: Any, embeds: torch.Tensor) -> torch.Tensor:
    return embeds * 0.5


def no_guidance(pipe: Any, embeds: torch.Tensor) -> torch.Tensor:
    pipe._guidance_scale = 1.0
    return embeds.chunk(2)[1]


@pytest.mark.parametrize("change", [half_prompt, no_guidance])
def test_what_steers_the_picture_makes_the_next_call_run(pipe: Any, call: dict[str, Any], change: Any) -> None:
    asked = {**call, **CALL}
    usual = calls_by_step(pipe, asked, STEPS, change)
    assert usual[:4] == [1, 2, 3, 4]
    assert usual[-1] == usual[-2] + 1 < STEPS
    idle = next(k for k in range(5, STEPS) if usual[k] == usual[k + 1] == usual[k + 2])
    ran = calls_by_step(pipe, asked, idle, change)
    assert ran[: idle + 1] == usual[: idle + 1]
    assert ran[idle + 1] == ran[idle] + 1
    assert change is half_prompt or ran[idle + 2] == ran[idle] + 2  # how fast a lone row changes is learnt anew


def test_a_pipeline_that_tells_of_no_steps_runs_in_full_and_keeps_nothing(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Progress, "update", lambda self, steps=1: None)
    caches: list[easy_cache.EasyCache] = []

    class Kept(easy_cache.EasyCache):
        def __init__(self, threshold: float) -> None:
            super().__init__(threshold)
            caches.append(self)

    monkeypatch.setattr("darkroom.engine.request.EasyCache", Kept)
    with Engine() as engine:
        engine.add(pipe, "easy", easy_cache=1.0)
        engine.submit(**{**call, **CALL}).result(60)
        assert engine.stats()["modules"]["unet"]["calls"] == STEPS
    assert [cache.held_bytes for cache in caches] == [0]


def test_an_inpainting_unet_that_takes_more_than_it_gives_is_answered_with_what_it_gave(call: dict[str, Any]) -> None:
    model = inpainter()
    picture = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 1, SIDE, SIDE)
    asked = {**CALL, "image": picture, "mask_image": mask, "strength": 1.0, "guidance_scale": 4.0}
    usual = np.asarray(model(**asked, generator=torch.Generator().manual_seed(7)).images)
    with Engine() as engine:
        engine.add(model, "easy", easy_cache=0.3)
        made = np.asarray(engine.submit(**asked, seed=7).result(60).images)
        assert engine.stats()["modules"]["unet"]["skipped_calls"] > 2
    assert made.shape == usual.shape
    assert np.isfinite(made).all()


def test_a_tape_of_another_threshold_is_refused_at_once(pipe: Any, call: dict[str, Any]) -> None:
    with Engine() as engine:
        engine.add(pipe, "easy", easy_cache=0.3)
        tape = taped_at(engine, {**call, **CALL}, 8)
    with Engine() as engine:
        engine.add(pipe, "easy", easy_cache=0.25)
        with pytest.raises(errors.TapeRefused, match="easy_cache"):
            engine.resume(tape)


def inpainter() -> Any:
    """One whose UNet takes the mask and the picture beside the latents: nine channels."""
    parts = sd_solvers()["ddim"].components
    config = {**parts["unet"].config, "in_channels": 9}
    unet = type(parts["unet"]).from_config(config).eval()
    return StableDiffusionInpaintPipeline(**{**parts, "unet": unet}, requires_safety_checker=False)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.5, float("nan"), "0.1", True])
def test_thresholds_that_no_change_can_have_are_refused(pipe: Any, threshold: Any) -> None:
    with Engine() as engine, pytest.raises(errors.BadInput, match="easy_cache must be above 0 and at most 1"):
        engine.add(pipe, easy_cache=threshold)
