"""Requests that write on modules get their own; nobody else sees the change."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from darkroom import errors
from darkroom.engine.engine import Engine
from tests.parity.families import sd_solvers
from tests.unit.engine.test_engine import hold


def forward_of(pipe: Any) -> Any:
    return pipe.unet(
        torch.ones(1, 4, 8, 8), torch.tensor(5), encoder_hidden_states=torch.ones(1, 4, 32), return_dict=False
    )[0]


def writes() -> dict[str, Any]:
    """Ways a pipeline changes a module: attention processors, flags, dtype."""
    from diffusers.models.attention_processor import AttnProcessor

    return {
        "processor": lambda unet: unet.set_attn_processor(AttnProcessor()),
        "freeu": lambda unet: unet.enable_freeu(0.1, 0.1, 3.0, 3.0),
        "flag": lambda unet: unet.train(),
        "dtype": lambda unet: unet.to(torch.float64),
        "hook": lambda unet: unet.mid_block.register_forward_hook(lambda module, args, output: output * 2),
        "buffer": lambda unet: unet.register_buffer("seen", torch.zeros(1)),
        "module": lambda unet: unet.add_module("more", torch.nn.Identity()),
        "deletion": lambda unet: delattr(unet, "up_blocks"),
    }


@pytest.mark.parametrize("kind", ["processor", "freeu", "flag", "dtype", "hook", "buffer", "module", "deletion"])
def test_a_write_on_a_module_restarts_the_request_on_its_own_copy(pipe: Any, call: dict[str, Any], kind: str) -> None:
    starts: list[int] = []

    def meddle(view: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        if step == 1:
            starts.append(id(view.unet))
            writes()[kind](view.unet)
            view.unet.to(torch.float32)
            view.unet.__dict__["_modules"].setdefault("up_blocks", pipe.unet.up_blocks)
        return {}

    state = {name: id(module.processor) for name, module in pipe.unet.named_modules() if hasattr(module, "processor")}
    before = forward_of(pipe)
    with Engine(pipe) as engine:
        neighbours = [engine.submit(**call) for _ in range(2)]
        meddler = engine.submit(**call, callback_on_step_end=meddle)
        assert meddler.result(60).images.shape[0] == 1
        images = [handle.result(60).images for handle in neighbours]
    assert len(set(starts)) == len(starts) == 2
    assert starts[0] == id(pipe.unet)
    assert np.abs(images[0] - images[1]).max() < 5e-6
    assert torch.equal(forward_of(pipe), before)
    assert not pipe.unet.training
    after = {name: id(module.processor) for name, module in pipe.unet.named_modules() if hasattr(module, "processor")}
    assert after == state


def test_a_module_view_shares_its_weights(pipe: Any) -> None:
    from darkroom.engine.view import module_view

    own = module_view(pipe, {})
    assert own.unet is not pipe.unet
    pairs = list(zip(own.unet.parameters(), pipe.unet.parameters(), strict=True))
    assert all(mine.data_ptr() == theirs.data_ptr() for mine, theirs in pairs)
    own.unet.to(torch.float64)
    assert {weight.dtype for weight in pipe.unet.parameters()} == {torch.float32}


def test_weights_written_in_place_fail_those_that_ran_meanwhile_and_nobody_else(call: dict[str, Any]) -> None:
    pipe = copy.deepcopy(sd_solvers()["ddim"])

    def write(view: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        if step == 1:
            view.unet.conv_in.weight.mul_(1.5)
        return {}

    callback, reached, go = hold()
    with Engine(pipe) as engine:
        neighbour = engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        writer = engine.submit(**call, callback_on_step_end=write)
        go.set()
        for handle in (writer, neighbour):
            with pytest.raises(errors.ModelNotServable, match="written in place"):
                handle.result(60)
        assert engine.submit(**call).result(60).images.shape[0] == 1


def test_writes_that_change_nothing_are_let_through(pipe: Any, call: dict[str, Any]) -> None:
    seen: list[int] = []

    def harmless(view: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        seen.append(step)
        view.unet.to(torch.float32).eval()
        return {}

    with Engine(pipe) as engine:
        engine.submit(**call, callback_on_step_end=harmless).result(60)
    assert seen == [0, 1, 2]


def test_a_module_with_peft_layers_is_refused(pipe: Any) -> None:
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig

    from tests.parity.families import modules

    unet = modules.unet(4, 77)
    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    adapted = StableDiffusionPipeline(**{**pipe.components, "unet": unet}, requires_safety_checker=False)
    with pytest.raises(errors.ModelNotServable, match="peft"):
        Engine(adapted)


def test_training_mode_is_put_back(pipe: Any) -> None:
    pipe.unet.train()
    try:
        with Engine(pipe):
            assert not pipe.unet.training
        assert pipe.unet.training
    finally:
        pipe.unet.eval()


def test_a_request_that_writes_costs_the_others_no_batches(pipe: Any, call: dict[str, Any]) -> None:
    def meddle(view: Any, step: int, timestep: Any, tensors: Any) -> dict[str, Any]:
        view.unet.enable_freeu(0.9, 0.2, 1.2, 1.4)
        return {}

    with Engine(pipe) as engine:
        engine.submit(**call, callback_on_step_end=meddle).result(60)
        before = engine.stats()["modules"]["unet"]
        for handle in [engine.submit(**call) for _ in range(6)]:
            handle.result(60)
        after = engine.stats()["modules"]["unet"]
    assert after["calls"] - before["calls"] == 18
    assert after["batches"] - before["batches"] <= 9


def test_a_subclass_that_passes_keywords_on_keeps_its_seed(pipe: Any, call: dict[str, Any]) -> None:
    class Logged(type(pipe)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    own = Logged(**pipe.components, requires_safety_checker=False)
    own.set_progress_bar_config(disable=True)
    with Engine(pipe) as engine:
        engine.add(own, name="logged")
        images = [engine.submit(**call, model=name).result(60).images for name in ("default", "logged")]
    assert np.abs(images[0] - images[1]).max() < 5e-6
