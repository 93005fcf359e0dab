"""The model revision that a tape names is that of the weights at rest, whatever a forward does with them meanwhile."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle
from darkroom.engine.revision import Revision
from darkroom.engine.tape import Tape

LAYER = "mid_block.resnets.0.conv1"


class Gate:
    """Holds the first forward of a layer until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def put_before(self, layer: torch.nn.Module) -> None:
        forward: Callable[..., Any] = layer.forward

        def held(*args: Any) -> Any:
            self.reached.set()
            assert self.opened.wait(30)
            return forward(*args)

        layer.forward = held


def tape_in_the_middle_of(gate: Gate, handle: Handle) -> Tape:
    """Taken from this thread while the engine's is inside of the layer's forward."""
    assert gate.reached.wait(30)
    tape = handle.checkpoint()
    gate.opened.set()
    handle.result(60)
    return tape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tape_taken_while_a_layer_is_cast_up_is_believed_by_other_engines(
    pipe: Any, call: dict[str, Any], dtype: torch.dtype
) -> None:
    own, gate = copy.deepcopy(pipe).to(dtype), Gate()
    layer = own.unet.get_submodule(LAYER)
    gate.put_before(layer)
    own.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    with Engine(own) as engine:
        handle = engine.submit(**call)
        assert gate.reached.wait(30)
        assert layer.weight.dtype == dtype  # cast up, and its neighbours are not
        tape = tape_in_the_middle_of(gate, handle)
        assert layer.weight.dtype == torch.float8_e4m3fn
    with Engine(own) as engine:
        engine.resume(tape).result(60)


def test_weights_that_were_written_on_are_told_apart_while_a_layer_is_cast_up(pipe: Any, call: dict[str, Any]) -> None:
    own, gate = copy.deepcopy(pipe), Gate()
    gate.put_before(own.unet.get_submodule(LAYER))
    own.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    with Engine(own) as engine:
        before = engine.submit(**call).checkpoint()
        assert gate.reached.wait(30)
        with torch.no_grad():
            own.vae.decoder.conv_out.weight.mul_(2.0)
        tape = tape_in_the_middle_of(gate, engine.submit(**call))
    assert tape.identity != before.identity
    with Engine(own) as engine:
        engine.resume(tape).result(60)


def test_an_engine_that_comes_to_share_a_module_in_the_middle_of_a_cast_knows_it(
    pipe: Any, call: dict[str, Any]
) -> None:
    own, gate = copy.deepcopy(pipe), Gate()
    gate.put_before(own.unet.get_submodule(LAYER))
    own.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    before = Revision(own).digest()
    with Engine(own) as engine:
        handle = engine.submit(**call)
        assert gate.reached.wait(30)
        with Engine(own):
            during = Revision(own).digest()
        gate.opened.set()
        handle.result(60)
    assert during == before


def test_weights_that_were_replaced_while_nobody_served_them_are_read_anew(pipe: Any, call: dict[str, Any]) -> None:
    own = copy.deepcopy(pipe)
    own.unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    tapes = []
    for _ in range(2):
        with Engine(own) as engine:
            tapes.append(engine.submit(**call).checkpoint())
        weight = own.unet.get_submodule(LAYER).weight
        weight.data = (weight.data.float() * 2).to(weight.dtype)  # which no version tells
    assert tapes[0].identity.model != tapes[1].identity.model
