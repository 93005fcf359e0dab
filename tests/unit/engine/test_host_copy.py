"""Weights that rest in host memory: the same values, shared as before, and nothing left behind."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from darkroom.engine.host_copy import HostCopy, can_rest


class Layers(torch.nn.Module):
    """Two layers over one weight, one of another dtype, a view into a larger tensor, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.other.weight = self.one.weight
        self.narrow = torch.nn.Linear(5, 3).to(torch.bfloat16)
        whole = torch.arange(40.0).reshape(10, 4)
        self.register_buffer("seen", whole[2:8].t())
        self.register_buffer("empty", torch.empty(0))


def state_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture
def layers() -> Layers:
    return Layers().eval()


def test_weights_are_the_same_at_rest_and_when_they_are_back(layers: Layers) -> None:
    before, strides, version = state_of(layers), layers.seen.stride(), layers.one.weight._version
    kept = HostCopy([layers])
    for move in (kept.rest, kept.fill, kept.rest, kept.fill):
        move()
        assert all(torch.equal(tensor, before[name]) for name, tensor in layers.state_dict().items())
        assert layers.one.weight is layers.other.weight
        assert layers.seen.stride() == strides
        assert layers.one.weight._version == version  # or requests would fail for weights that were written on


def test_what_the_device_held_is_free_while_the_weights_rest(layers: Layers) -> None:
    kept = HostCopy([layers])
    kept.rest()
    kept.fill()
    held = weakref.ref(layers.one.weight.untyped_storage())
    kept.rest()
    gc.collect()
    assert held() is None
    at_rest = {tensor.untyped_storage().data_ptr() for tensor in layers.state_dict().values() if tensor.numel()}
    assert len(at_rest) == 1  # one block


def test_a_module_that_rests_can_still_be_run_where_it_rests(layers: Layers) -> None:
    given = torch.ones(1, 8)
    before = layers.one(given)
    kept = HostCopy([layers])
    kept.rest()
    assert torch.equal(layers.one(given), before)


def test_layers_that_keep_more_than_bytes_do_not_rest(layers: Layers) -> None:
    assert can_rest([layers])
    layers.narrow.weight = torch.nn.Parameter(torch.eye(3).to_sparse(), requires_grad=False)
    assert not can_rest([layers])
