"""Modules that lie elsewhere than their callers: called where they are, and nobody sees a difference."""

from __future__ import annotations

import copy
import gc
from typing import Any

import numpy as np
import pytest
import torch

from darkroom.engine.engine import Engine
from darkroom.engine.placing import moved, run_in_place
from darkroom.engine.resting import Guests, device_of, guests_of, offload
from darkroom.engine.rows import RowFactors
from darkroom.engine.served import settled_stand_in
from darkroom.engine.view import TIMED_BY_TABLE, make_view
from darkroom.errors import ModelNotServable, NotSupported

CPU = torch.device("cpu")


def images(pipe: Any, calls: list[dict[str, Any]]) -> list[np.ndarray]:
    with Engine(pipe) as engine:
        handles = [engine.submit(**call) for call in calls]
        return [handle.result(120).images[0] for handle in handles]


def calls_like(call: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**call, "seed": seed, "num_inference_steps": steps} for seed, steps in ((1, 2), (2, 4), (3, 3))]


def weights_at(module: torch.nn.Module) -> set[int]:
    return {weight.untyped_storage().data_ptr() for weight in module.parameters()}


def test_a_model_whose_parts_rest_until_they_are_called_makes_the_same_images(pipe: Any, call: dict[str, Any]) -> None:
    own = copy.deepcopy(pipe)
    parts = [own.text_encoder, own.unet, own.vae]
    before = images(own, calls_like(call))
    guests = offload(parts, CPU)
    assert all(guests_of(part) is guests for part in parts)
    assert guests.room_bytes < sum(weight.nbytes for part in parts for weight in part.parameters())
    for one, other in zip(before, images(own, calls_like(call)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)  # weights that moved are aligned otherwise


def test_parts_on_the_device_never_take_more_than_the_largest_and_the_one_called_longest_ago_leaves() -> None:
    parts = {name: torch.nn.Linear(size, size, bias=False) for name, size in (("a", 64), ("b", 32), ("c", 48))}
    guests = Guests(parts.values(), CPU)
    at_rest = {name: weights_at(part) for name, part in parts.items()}
    present = []
    for name in ("b", "c", "b", "a", "c"):
        with guests.lock:
            guests.bring(parts[name])
        present.append({name for name, part in parts.items() if weights_at(part) != at_rest[name]})
    assert present == [{"b"}, {"b", "c"}, {"b", "c"}, {"a"}, {"c"}]


def test_what_stands_in_for_a_part_that_rests_comes_and_goes_in_its_company() -> None:
    half, other = torch.nn.Linear(32, 32, bias=False).half(), torch.nn.Linear(48, 48, bias=False)
    guests = offload([half, other], CPU)
    own = settled_stand_in(half)
    assert guests_of(own) is guests
    assert guests.room_bytes == other.weight.nbytes
    at_rest = weights_at(own)
    given = torch.ones(1, 32)
    said = run_in_place(own, own.forward, (given,), {})
    np.testing.assert_allclose(said.detach(), half.weight.detach().float().sum(1)[None], rtol=1e-5)
    assert weights_at(own) != at_rest  # it came
    run_in_place(other, other.forward, (torch.ones(1, 48),), {})
    assert weights_at(own) == at_rest


def test_of_a_stand_in_that_nobody_has_any_more_nothing_stays() -> None:
    half = torch.nn.Linear(32, 32, bias=False).half()
    guests = offload([half], CPU)
    for _ in range(20):  # some of them lie where one before them did
        own = settled_stand_in(half)
        at_rest = weights_at(own)
        run_in_place(own, own.forward, (torch.ones(1, 32),), {})
        assert weights_at(own) != at_rest  # it came, whoever was there before
        assert len(guests._copies) == 2
        del own
        gc.collect()


def test_a_request_that_writes_on_modules_is_refused_where_they_rest(pipe: Any, call: dict[str, Any]) -> None:
    own = copy.deepcopy(pipe)
    offload([own.unet], CPU)

    def write(view: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        view.unet.enable_freeu(0.1, 0.1, 3.0, 3.0)
        return kept

    with Engine(own) as engine:
        writer = engine.submit(**call, callback_on_step_end=write)
        with pytest.raises(NotSupported, match="rest on the host"):
            writer.result(120)
        assert engine.submit(**call).result(120).images[0] is not None


def test_a_part_that_lies_elsewhere_is_called_there_with_all_that_it_is_given() -> None:
    part = torch.nn.Linear(4, 4, device="meta")
    heard: list[Any] = []

    def forward(x: Any, **more: Any) -> int:
        heard.append((x, more))
        return 3  # nothing comes back from `meta`

    nested = {"list": [torch.ones(2)], "factors": RowFactors(torch.ones(2)), "name": "a"}
    assert run_in_place(part, forward, (torch.ones(1, 4),), {"more": nested}) == 3
    [(x, given)] = heard
    assert device_of(part) == x.device == given["more"]["list"][0].device == torch.device("meta")
    assert given["more"]["factors"].values.device == torch.device("meta")
    assert given["more"]["name"] == "a"


def test_what_a_call_gives_may_lie_in_several_places() -> None:
    part = torch.nn.Linear(4, 4, device="meta")
    x, timestep = torch.ones(1, 4, device="meta"), torch.tensor(5)
    placed = run_in_place(part, lambda x, t: (part(x), t), (x, timestep), {})
    assert [each.device.type for each in placed] == ["meta", "meta"]


def test_solvers_that_look_steps_up_by_timestep_keep_these_on_the_host(pipes: dict[str, Any]) -> None:
    by_table = [pipe for pipe in pipes.values() if type(pipe.scheduler).__name__ in TIMED_BY_TABLE]
    assert by_table
    for pipe in by_table:
        view = make_view(pipe, {}, {})
        view.scheduler.set_timesteps(4, device="meta")
        assert view.scheduler.timesteps.device.type == "cpu"
        assert "set_timesteps" not in pipe.scheduler.__dict__


def test_what_moves_keeps_its_kind() -> None:
    from transformers.modeling_outputs import BaseModelOutput

    value = BaseModelOutput(last_hidden_state=torch.ones(2, 3), hidden_states=(torch.zeros(1),))
    there = moved(value, torch.device("meta"))
    assert type(there) is BaseModelOutput
    assert there.last_hidden_state.device == there.hidden_states[0].device == torch.device("meta")


@pytest.mark.parametrize("level", ["block_level", "leaf_level"])
def test_hooks_of_diffusers_that_only_move_weights_change_no_image_and_no_batch(
    pipe: Any, call: dict[str, Any], level: str
) -> None:
    before = images(pipe, calls_like(call))
    own = copy.deepcopy(pipe)
    own.unet.enable_group_offload(onload_device=CPU, offload_device=CPU, offload_type=level, num_blocks_per_group=1)
    with Engine(own) as engine:
        handles = [engine.submit(**each) for each in calls_like(call)]
        for one, handle in zip(before, handles, strict=True):
            assert np.abs(one - handle.result(120).images[0]).max() < 5e-6
        stats = engine.stats()["modules"]["unet"]
    assert stats["batches"] < stats["calls"] or stats["rows"] > 2 * stats["batches"]


def test_a_hook_that_keeps_something_between_calls_is_refused(pipe: Any) -> None:
    from diffusers import PyramidAttentionBroadcastConfig
    from diffusers.hooks import apply_pyramid_attention_broadcast

    own = copy.deepcopy(pipe)
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_block_identifiers=("attentions",),
        current_timestep_callback=lambda: 500,
    )
    apply_pyramid_attention_broadcast(own.unet, config)
    with pytest.raises(ModelNotServable, match="keeps something between calls"):
        Engine(own)
