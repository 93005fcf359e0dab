"""A checker behind pipelines that know of none: the same pictures, a verdict each, and forwards that are shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from PIL import Image
from transformers import CLIPImageProcessor

from darkroom.engine.engine import Engine
from darkroom.errors import ContentRefused, CorruptWeights, MissingWeights, NotSupported, UnknownArgument
from darkroom.models import checking
from darkroom.models.checking import Checker, check_answer, followed_by, load_checker
from tests.parity.families import LAKE, NIGHT, SIDE, sd_parts, sdxl
from tests.parity.tiny_checker import ALWAYS, NEVER, checker, extractor, save

pytestmark = [pytest.mark.parity, pytest.mark.slow]
CALL: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 3.0, "height": SIDE, "width": SIDE}


@pytest.fixture(scope="module")
def plain_pipe() -> Any:
    return next(iter(sdxl().values()))


def behind(pipe: Any, threshold: float) -> Any:
    return followed_by(pipe, Checker(checker(threshold), extractor()))


def test_a_picture_is_the_same_and_has_its_verdict(plain_pipe: Any) -> None:
    alone = plain_pipe(LAKE, generator=torch.Generator().manual_seed(3), **CALL).images[0]
    for threshold, expected in ((ALWAYS, [True]), (NEVER, [False])):
        pipe = behind(plain_pipe, threshold)
        answer = pipe(LAKE, generator=torch.Generator().manual_seed(3), **CALL)
        assert answer.nsfw_content_detected == expected
        assert np.array_equal(np.asarray(answer.images[0]), np.asarray(alone)), "it is refused, not painted over"


def test_requests_share_the_forwards_of_the_model_and_of_the_checks(plain_pipe: Any) -> None:
    pipe = behind(plain_pipe, ALWAYS)
    with Engine(pipe) as engine:
        engine.submit(prompt=NIGHT, seed=9, **{**CALL, "num_inference_steps": 40})
        handles = [engine.submit(prompt=LAKE, seed=seed, **CALL) for seed in range(8)]
        answers = [handle.result(60) for handle in handles]
    modules = engine.stats()["modules"]
    assert [answer.nsfw_content_detected for answer in answers] == [[True]] * 8
    assert modules["content_checker.vision_model"]["calls"] == 9
    assert modules["content_checker.vision_model"]["batches"] < 9
    assert modules["unet"]["batches"] < modules["unet"]["calls"]


def test_an_unknown_argument_is_still_refused(plain_pipe: Any) -> None:
    with Engine(behind(plain_pipe, NEVER)) as engine, pytest.raises(UnknownArgument, match="stepz"):
        engine.submit(prompt=LAKE, stepz=3)


def test_a_checker_comes_and_goes_without_a_trace_on_the_model() -> None:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline(**sd_parts())
    pipe.set_progress_bar_config(disable=True)
    assert checking.calls_its_own(pipe)
    assert not checking.has_own(pipe)
    checking.with_own(pipe, Checker(checker(ALWAYS), extractor()))
    unchecked = checking.without_own(pipe)
    call = {**CALL, "prompt": LAKE}
    found = pipe(generator=torch.Generator().manual_seed(3), **call)
    with pytest.raises(ContentRefused):
        check_answer(found)
    let_out = unchecked(generator=torch.Generator().manual_seed(3), **call)
    check_answer(let_out)
    assert np.asarray(let_out.images[0]).any(), "no black square"
    assert checking.has_own(pipe)


@pytest.mark.parametrize("found", [None, [], [False]])
def test_a_picture_that_is_to_be_checked_needs_its_verdict(found: list[bool] | None) -> None:
    answer = StableDiffusionPipelineOutput([Image.new("RGB", (8, 8))] * 2, found)
    check_answer(answer)
    with pytest.raises(NotSupported) as caught:
        check_answer(answer, must_tell=True)
    assert caught.value.field == "safety_checker"


def test_pictures_with_their_verdicts_pass_and_a_verdict_against_one_refuses() -> None:
    pictures = [Image.new("RGB", (8, 8))] * 2
    check_answer(StableDiffusionPipelineOutput(pictures, [False, False]), must_tell=True)
    for found in ([False, True], [True]):
        with pytest.raises(ContentRefused):
            check_answer(StableDiffusionPipelineOutput(pictures, found), must_tell=True)


def test_what_the_checker_behind_a_pipeline_cannot_read_is_not_handed_out(plain_pipe: Any) -> None:
    answer = behind(plain_pipe, NEVER)(LAKE, output_type="np", **CALL)
    with pytest.raises(NotSupported):
        check_answer(answer, must_tell=True)


@pytest.mark.parametrize("is_flat", [False, True])
def test_a_checker_is_read_from_a_pipelines_folder_or_its_own(tmp_path: Path, is_flat: bool) -> None:
    save(tmp_path, ALWAYS)
    folder = tmp_path
    if is_flat:
        folder = tmp_path / "safety_checker"
        extractor().save_pretrained(folder)
    found = load_checker(folder, torch.float32)
    assert isinstance(found.extractor, CLIPImageProcessor)
    assert (
        checking.verdicts(found.module, found.extractor, [Image.new("RGB", (32, 24)), Image.new("L", (9, 9))])
        == [True] * 2
    )


def test_a_checker_that_is_not_there_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"config\.json"):
        load_checker(tmp_path, torch.float32)
    save(tmp_path, NEVER)
    (tmp_path / "feature_extractor" / "preprocessor_config.json").unlink()
    with pytest.raises(MissingWeights, match=r"preprocessor_config\.json"):
        load_checker(tmp_path, torch.float32)
    extractor().save_pretrained(tmp_path / "feature_extractor")
    (tmp_path / "safety_checker" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CorruptWeights):
        load_checker(tmp_path, torch.float32)
