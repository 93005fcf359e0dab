"""What is handed in is the caller's, and stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import AdaptiveProjectedMixGuidance

from darkroom import errors
from darkroom.engine import view
from darkroom.engine.engine import Engine
from tests.parity.families import sd_solvers
from tests.unit.engine.test_engine import hold


def recording(pipe: Any) -> tuple[Any, list[Any]]:
    """A pipeline that eats from the arguments it is given, as some do, and what it was given."""
    seen: list[Any] = []

    class Eating(type(pipe)):  # type: ignore[misc]
        def __call__(self, *args: Any, cross_attention_kwargs: Any = None, **kwargs: Any) -> Any:
            seen.append(copy.deepcopy(cross_attention_kwargs))
            cross_attention_kwargs["more"].clear()
            cross_attention_kwargs.pop("scale")
            return super().__call__(*args, **kwargs)

    return Eating(**pipe.components, requires_safety_checker=False), seen


def test_nested_arguments_are_the_callers_and_count_as_they_were_at_submit(pipe: Any, call: dict[str, Any]) -> None:
    own, seen = recording(pipe)
    given = {"scale": 0.5, "more": [1, 2], "tensor": torch.ones(2)}
    callback, reached, go = hold()
    with Engine(pipe) as engine:
        engine.add(own, "own")
        engine.submit(**call, model="default", callback_on_step_end=callback)
        assert reached.wait(30)
        handles = [engine.submit(**call, model="own", cross_attention_kwargs=given) for _ in range(2)]
        given["more"] = ["changed"]
        go.set()
        for handle in handles:
            handle.result(60)
    assert [(each["scale"], each["more"]) for each in seen] == [(0.5, [1, 2])] * 2
    assert given["scale"] == 0.5


def test_tensors_in_nested_arguments_are_not_copied(pipe: Any, call: dict[str, Any]) -> None:
    tensor, found = torch.ones(2), []

    class Looking(type(pipe)):  # type: ignore[misc]
        def __call__(self, *args: Any, cross_attention_kwargs: Any = None, **kwargs: Any) -> Any:
            found.append(cross_attention_kwargs["a"][0])
            return super().__call__(*args, **kwargs)

    with Engine(Looking(**pipe.components, requires_safety_checker=False)) as engine:
        engine.submit(**call, cross_attention_kwargs={"a": [tensor]}).result(60)
    assert found == [tensor]
    assert found[0] is tensor


def test_reproducible_forwards_keep_within_the_rows_that_one_may_have(call: dict[str, Any]) -> None:
    pipe = sd_solvers()["ddim"]
    with pytest.raises(errors.BadInput, match="max_batch_rows allows 4") as raised:
        Engine(pipe, max_batch_rows=4, reproducible=True)
    assert raised.value.field == "fixed_rows"
    with Engine(pipe, max_batch_rows=4) as engine:
        engine.add(pipe, "four", fixed_rows=4)
        with pytest.raises(errors.BadInput, match="max_batch_rows allows 4"):
            engine.submit(**call, model="default", reproducible=True)
        engine.submit(**call, model="four", reproducible=True).result(60)
        engine.submit(**call, model="default").result(60)
        assert engine.stats()["finished"] == 2


def test_a_view_has_guiders_of_its_own() -> None:
    """They keep the step and the momentum of one loop on themselves."""
    guider = AdaptiveProjectedMixGuidance()
    pipe = copy.copy(sd_solvers()["ddim"])
    pipe.guider = pipe.ocr_guider = guider
    one, other = (view.make_view(pipe, {}, {}) for _ in range(2))
    one.guider.set_state(step=3, num_inference_steps=5, timestep=torch.tensor(1))
    assert (other.guider._step, guider._step) == (None, None)
    assert one.ocr_guider is not guider
    assert one.unet is pipe.unet
    assert one.tokenizer is pipe.tokenizer
