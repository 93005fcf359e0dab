"""Weighted prompts: as plain ones where nothing weighs, otherwise where something does, and read to their end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from darkroom.engine.engine import Engine
from darkroom.models.weighted import weighted
from tests.parity.families import FAMILIES, SIDE

pytestmark = pytest.mark.parity

CALL: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "width": SIDE, "height": SIDE}
SKY = "a red sky over hills"
LONG = "hills and a lake " * 6  # of the tiny tokenizer a token a letter: more than 77


@pytest.fixture(params=["sd-tasks", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    pipes = FAMILIES[request.param].pipes()
    return next(each for each in pipes.values() if "strength" not in type(each).__call__.__annotations__)


def drawn(pipe: Any, *asked: dict[str, Any]) -> list[np.ndarray]:
    """The requests' pictures, together in one engine."""
    with Engine(pipe, reproducible=True, fixed_rows=2) as engine:
        handles = [engine.submit(**{"seed": 7, **CALL, "output_type": "np", **each}) for each in asked]
        return [np.asarray(handle.result(60).images[0]) for handle in handles]


def off(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def test_what_weighs_nothing_gives_the_bytes_of_the_plain_pipeline(pipe: Any) -> None:
    asked = [{"prompt": SKY}, {"prompt": SKY, "negative_prompt": "rain"}, {"prompt": "a (red:1.0) sky over [(hills)]"}]
    plain = drawn(pipe, *asked[:2], {"prompt": SKY})
    made = drawn(weighted(pipe), *asked)
    assert [one.tobytes() == other.tobytes() for one, other in zip(made[:2], plain[:2], strict=True)] == [True, True]
    assert off(made[2], plain[2]) < 1e-4  # 1.1 / 1.1 is not quite one


def test_a_weight_changes_the_picture_and_a_heavier_one_more(pipe: Any) -> None:
    plain, lighter, heavier, against, none = drawn(
        weighted(pipe),
        {"prompt": SKY},
        {"prompt": "a (red:1.2) sky over hills"},
        {"prompt": "a (red:2) sky over hills"},
        {"prompt": SKY, "negative_prompt": "(rain:2)"},
        {"prompt": SKY, "negative_prompt": "rain"},
    )
    assert 1e-4 < off(plain, lighter) < off(plain, heavier)
    assert off(against, none) > 1e-4


def test_words_past_the_window_count_only_where_prompts_are_weighted(pipe: Any) -> None:
    ends = [{"prompt": LONG + end} for end in ("a fox", "a barn")]
    one, other = drawn(pipe, *ends)
    assert one.tobytes() == other.tobytes()
    one, other, first = drawn(weighted(pipe), *ends, {"prompt": LONG})
    assert off(one, other) > 1e-4
    assert off(one, first) > 1e-4
    [against] = drawn(weighted(pipe), {"prompt": SKY, "negative_prompt": LONG})
    assert np.isfinite(against).all()


def test_they_are_those_of_the_plain_pipeline_given_the_same_embeddings() -> None:
    """One chunk's, each token times its weight: made here by hand with the pipeline's own encoder."""
    pipe = FAMILIES["sd-tasks"].pipes()["text"]
    ids = pipe.tokenizer(SKY, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        states = pipe.text_encoder(ids)[0]
    weights = torch.ones(states.shape[1])
    weights[2:5] = 1.5  # a start, "a", then the letters of "red"
    heavy = states * weights[None, :, None]
    embeds = heavy * (states.norm() / heavy.norm())
    wanted = drawn(pipe, {"prompt_embeds": embeds})
    made = drawn(weighted(pipe), {"prompt": "a (red:1.5) sky over hills"})
    assert off(wanted[0], made[0]) < 1e-5


def test_encoders_calls_are_batched_and_cached(pipe: Any) -> None:
    with Engine(weighted(pipe)) as engine:
        batches = []
        for _ in range(2):
            engine.submit(prompt=LONG, seed=1, **CALL).result(60)
            batches.append(engine.stats()["modules"]["text_encoder"]["batches"])
    assert batches[0] in (1, 2)  # both texts at once, or one after another
    assert batches[1] == batches[0]  # the second time from the cache
