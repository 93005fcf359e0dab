"""What the door says of image prompts, refiners and margins, and what the settings say of the pieces behind them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from darkroom.config import ModelSettings, load
from darkroom.errors import BadInput, InvalidConfig, MissingWeights, NotSupported, SizeNotOffered, UnsafeWeights
from darkroom.models.catalogue import Catalogue, catalogue
from darkroom.models.ip_adapter import IpAdapter
from darkroom.models.offer import Offer
from darkroom.models.outpaint import canvas, widened
from darkroom.models.request import validate

ASKED: dict[str, Any] = {"prompt": "a lake", "seed": 1, "num_inference_steps": 10}
START = Image.linear_gradient("L").resize((192, 192)).convert("RGB")


@pytest.fixture
def whole(offer: Offer) -> Offer:
    """One with every piece."""
    return replace(offer, has_controlnet=True, has_ip_adapter=True, has_refiner=True)


def test_margins_make_the_picture_larger_and_a_mask_of_the_rest(offer: Offer) -> None:
    asked = validate({**ASKED, "image": START, "outpaint": {"right": 96, "left": 32}}, offer)
    assert (asked.task, asked.width, asked.height) == ("inpaint", 320, 192)
    assert asked.settings()["outpaint"] == {"left": 32, "right": 96, "top": 0, "bottom": 0}
    image, mask = canvas(START, asked.outpaint)
    assert image.size == mask.size == (320, 192)
    assert np.array_equal(np.asarray(image)[:, 32:224], np.asarray(START))
    assert np.array_equal(np.asarray(image)[:, 0], np.asarray(START)[:, 0])
    painted = np.asarray(mask) == 255
    assert painted[:, :32].all()
    assert painted[:, 224:].all()
    assert not np.asarray(mask)[:, 32:224].any()


def test_what_was_asked_with_margins_can_be_asked_again(offer: Offer) -> None:
    asked = validate({**ASKED, "image": START, "outpaint": {"right": 128}}, offer)
    again = validate({**asked.settings(), "image": START}, offer)
    assert (again.outpaint, again.width, again.image.size) == (asked.outpaint, 320, (192, 192))
    assert widened((320, 192), asked.outpaint, -1) == START.size


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_the_whole_range_of_strength_runs_as_many_steps_as_diffusers(offer: Offer, strength: float) -> None:
    assert validate({**ASKED, "image": START, "strength": strength}, offer).steps_to_run == round(10 * strength)


PICTURE = {"image": START}
REFUSED: list[tuple[dict[str, Any], type[Exception], str, str]] = [
    ({**PICTURE, "outpaint": {}}, BadInput, "outpaint", "sides out of left, right, top, bottom"),
    ({**PICTURE, "outpaint": {"north": 64}}, BadInput, "outpaint", "sides out of"),
    ({**PICTURE, "outpaint": {"left": 0}}, BadInput, "outpaint", "adds nothing"),
    ({**PICTURE, "outpaint": {"left": -64}}, BadInput, "outpaint", "from 0 to 2048, not -64"),
    ({**PICTURE, "outpaint": {"left": 64.0}}, BadInput, "outpaint", "whole number"),
    ({**PICTURE, "outpaint": {"left": 64}}, SizeNotOffered, "width", "does not offer 256x192"),
    ({**PICTURE, "outpaint": {"left": 128}, "mask_image": START}, BadInput, "mask_image", "makes its own mask"),
    (
        {**PICTURE, "outpaint": {"left": 64}, "width": 320, "height": 192},
        BadInput,
        "image",
        "image is 192x192 and the size asked for leaves 256x192",
    ),
    ({"outpaint": {"left": 64}}, BadInput, "image", "needs an image to add to"),
    ({**PICTURE, "outpaint": {"left": 128}, "task": "text-to-image"}, BadInput, "task", "that of 'inpaint'"),
    ({"ip_adapter_scale": 0.5}, BadInput, "ip_adapter_image", "needs an ip_adapter_image"),
    ({"ip_adapter_image": START, "ip_adapter_scale": 2.5}, BadInput, "ip_adapter_scale", "from 0 to 2"),
    ({"denoising_end": 0.0}, BadInput, "denoising_end", "from 0.01 to 0.99"),
    ({"denoising_end": 0.04}, BadInput, "denoising_end", "none of 10 steps"),
    ({**PICTURE, "denoising_end": 0.8}, NotSupported, "denoising_end", "not image-to-image"),
    ({"ip_adapter_image": START, "denoising_end": 0.8}, NotSupported, "denoising_end", "the refiner reads none"),
]


@pytest.mark.parametrize(("inputs", "kind", "field", "words"), REFUSED)
def test_a_refusal_names_the_field_and_what_is_allowed(
    whole: Offer, inputs: dict[str, Any], kind: type[Exception], field: str, words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        validate({**ASKED, **inputs}, whole)
    assert getattr(caught.value, "field", None) == field


def test_an_image_prompt_of_any_size_goes_with_any_task(whole: Offer) -> None:
    asked = validate({**ASKED, **PICTURE, "ip_adapter_image": Image.new("RGB", (31, 77))}, whole)
    assert (asked.task, asked.width, asked.ip_adapter_scale) == ("image-to-image", 192, 1.0)
    assert {name for name, is_needed in asked.pieces.items() if is_needed} == {"is_image_prompted"}
    adapted = replace(whole, has_t2i_adapter=True)
    with pytest.raises(NotSupported, match="goes with no image prompt"):
        validate({**ASKED, "control_image": START, "ip_adapter_image": START}, adapted)


def catalogue_in(folder: Path, **refiners: str) -> Catalogue:
    """Models of a settings file, each with the refiner that is said."""
    said = [f'[models.{name}]\npath = "model"\nrefiner = "{refiner}"\n' for name, refiner in refiners.items()]
    path = folder / "darkroom.toml"
    path.write_text("".join([*said, '[models.other]\npath = "model"\n']))
    return catalogue(load(path))


@pytest.mark.parametrize("refiner", ["mine", "nosuch", "chained"])
def test_a_refiner_is_another_model_without_one(tmp_path: Path, refiner: str) -> None:
    with pytest.raises(InvalidConfig, match=r"models.mine.refiner: .* must name another model") as caught:
        catalogue_in(tmp_path, mine=refiner, chained="other")
    assert caught.value.field == "refiner"


def test_a_refiner_is_found_by_its_name(tmp_path: Path) -> None:
    entry = catalogue_in(tmp_path, mine="other").find("mine")
    assert entry.refiner is not None
    assert entry.refiner.name == "other"


def test_one_piece_reads_control_images(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="controlnet or t2i_adapter, not both"):
        ModelSettings(path=tmp_path, controlnet="x", t2i_adapter=tmp_path)


def test_an_ip_adapter_is_one_safetensors_file(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="holds none"):
        IpAdapter("m", tmp_path).check({})
    (tmp_path / "ip.bin").touch()
    with pytest.raises(UnsafeWeights, match="no safetensors file"):
        IpAdapter("m", tmp_path / "ip.bin").check({})
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").touch()
    with pytest.raises(InvalidConfig, match=r"name one of them: a.safetensors, b.safetensors"):
        IpAdapter("m", tmp_path).check({})
    with pytest.raises(NotSupported, match="served for a UNet2DConditionModel only"):
        IpAdapter("m", tmp_path).check({"_class_name": "FluxTransformer2DModel"})
