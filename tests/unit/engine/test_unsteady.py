"""Where company changes bits in spite of the fixed row count, calls run alone, and the request says so."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from darkroom.engine.engine import Engine
from darkroom.engine.tape import Tape
from tests.parity.plain import pixels


class Gossip(torch.nn.Module):
    """A convolution whose rows hear of each other."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.inner(rows)
        return made + 1e-6 * made.mean(0, keepdim=True)


@pytest.fixture
def gossiping(pipe: Any) -> Any:
    made = type(pipe)(**{**pipe.components, "unet": copy.deepcopy(pipe.unet), "requires_safety_checker": False})
    made.unet.conv_in = Gossip(made.unet.conv_in)
    made.set_progress_bar_config(disable=True)
    return made


def test_requests_say_which_module_ran_alone_and_have_their_bytes_from_then_on(
    gossiping: Any, call: dict[str, Any]
) -> None:
    with Engine(gossiping, reproducible=True) as engine:
        handles = [engine.submit(**{**call, "seed": seed}) for seed in (7, 8, 9)]
        assert all(handle.result(60) for handle in handles)
        alone = pixels(engine.submit(**call).result(60))
        again = [engine.submit(**{**call, "seed": seed}) for seed in (7, 8, 9)]
        assert pixels(again[0].result(60)).tobytes() == alone.tobytes()
        stats = engine.stats()["modules"]["unet"]
    told = [event.data for event in handles[0].events() if event.type == "unsteady"]
    assert {handle.unsteady for handle in handles} == {("unet",)}
    assert told == [{"module": "unet"}]  # once, though every step was so
    assert call["num_inference_steps"] < stats["unsteady_calls"] <= stats["calls"]


def test_who_did_not_ask_for_the_same_bytes_is_told_nothing(gossiping: Any, pipe: Any, call: dict[str, Any]) -> None:
    with Engine(gossiping) as engine:
        assert (handle := engine.submit(**call)).result(60)
    assert handle.unsteady == ()
    with Engine(pipe, reproducible=True) as engine:
        assert (handle := engine.submit(**call)).result(60)
        assert engine.stats()["modules"]["unet"]["unsteady_calls"] == 0
    assert handle.unsteady == ()


def test_what_a_tape_answers_is_as_unsteady_as_it_was(gossiping: Any, call: dict[str, Any]) -> None:
    with Engine(gossiping, reproducible=True) as engine:
        first = [engine.submit(**{**call, "seed": seed}) for seed in (7, 8, 9)]
        for handle in first:
            handle.keep_tape()
        assert all(handle.result(60) for handle in first)
        kept = first[0].checkpoint().to_bytes()
    with Engine(gossiping, reproducible=True) as engine:
        handle = engine.resume(Tape.from_bytes(kept))
        assert handle.result(60)
        assert "unet" not in engine.stats()["modules"], "all of it was on the tape"
    assert handle.unsteady == ("unet",)
