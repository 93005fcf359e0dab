"""The door: any input becomes a request within the model's bounds, or a refusal that names field and bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom import errors
from darkroom.config import PresetSettings
from darkroom.models import request
from darkroom.models.offer import Offer
from darkroom.models.request import INPUTS, ImageRequest, validate

VALID = {"prompt": "a red fox", "seed": 7}


@pytest.fixture(scope="session")
def controlled(offer: Offer) -> Offer:
    return replace(offer, has_controlnet=True)


def picture(width: int = 256, height: int = 256, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height))


def test_what_is_left_out_comes_from_the_default_preset(offer: Offer) -> None:
    asked, preset = validate(VALID, offer), offer.presets["quality"]
    assert (asked.num_inference_steps, asked.guidance_scale, asked.solver) == (
        preset.num_inference_steps,
        preset.guidance_scale,
        preset.solver,
    )
    assert (asked.width, asked.height, asked.task, asked.num_images_per_prompt) == (256, 256, "text-to-image", 1)


def test_what_is_said_stands_above_the_preset(offer: Offer) -> None:
    asked = validate({**VALID, "preset": "fast", "num_inference_steps": 7}, offer)
    assert (asked.num_inference_steps, asked.guidance_scale) == (7, offer.presets["fast"].guidance_scale)


def test_pictures_imply_the_task(offer: Offer) -> None:
    assert validate({**VALID, "image": picture()}, offer).task == "image-to-image"
    assert validate({**VALID, "image": picture(), "mask_image": picture(mode="L")}, offer).task == "inpaint"


def test_a_picture_brings_its_size(offer: Offer) -> None:
    asked = validate({**VALID, "image": picture(320, 192)}, offer)
    assert (asked.width, asked.height) == (320, 192)


def test_the_sizes_nearest_to_what_was_asked_for_come_first(offer: Offer) -> None:
    for size, nearest in (((512, 512), "256x256, 320x192"), ((640, 192), "320x192, 256x256"), ((100, 100), "192x192")):
        with pytest.raises(errors.SizeNotOffered, match=f"offers? {nearest}"):
            validate({**VALID, "width": size[0], "height": size[1]}, offer)
    with pytest.raises(errors.SizeNotOffered):
        validate({**VALID, "width": 16 * 10**5000, "height": 16}, offer)


def test_an_input_that_is_nearly_one_is_told_which(offer: Offer) -> None:
    with pytest.raises(errors.UnknownArgument, match="did you mean guidance_scale"):
        validate({**VALID, "guidence_scale": 3.0}, offer)


def test_steps_to_run_are_counted_as_diffusers_counts_them(offer: Offer) -> None:
    asked = validate({**VALID, "image": picture(), "num_inference_steps": 10, "strength": 0.35}, offer)
    assert asked.steps_to_run == 3


def test_a_base_stands_in_for_the_default_preset_but_not_for_a_named_one(offer: Offer) -> None:
    base = PresetSettings(num_inference_steps=3)
    assert validate(VALID, offer, base).guidance_scale is None
    assert validate({**VALID, "preset": "fast"}, offer, base).guidance_scale is not None


NAN, INFINITE = float("nan"), float("inf")
REFUSED: list[tuple[dict[str, Any], type[errors.BadInput], str, str]] = [
    ({"prompt": ""}, errors.BadInput, "prompt", "1 to 2000 characters"),
    ({"prompt": "  \n"}, errors.BadInput, "prompt", "1 to 2000 characters"),
    ({"prompt": None}, errors.BadInput, "prompt", "1 to 2000 characters"),
    ({"prompt": "x" * 2001}, errors.BadInput, "prompt", "1 to 2000 characters, not 2001"),
    ({"prompt": 7}, errors.BadInput, "prompt", "must be text, not int"),
    ({"prompt": "\ud800"}, errors.BadInput, "prompt", "Unicode"),
    ({"negative_prompt": "x" * 2001}, errors.BadInput, "negative_prompt", "0 to 2000 characters"),
    ({"num_inference_steps": 0}, errors.BadInput, "num_inference_steps", "whole number from 1 to"),
    ({"num_inference_steps": -1}, errors.BadInput, "num_inference_steps", "whole number from 1 to"),
    ({"num_inference_steps": 1001}, errors.BadInput, "num_inference_steps", "whole number from 1 to"),
    ({"num_inference_steps": 20.0}, errors.BadInput, "num_inference_steps", "whole number"),
    ({"num_inference_steps": True}, errors.BadInput, "num_inference_steps", "whole number"),
    ({"num_inference_steps": 51, "solver": "lcm"}, errors.BadInput, "num_inference_steps", "from 1 to 50"),
    ({"guidance_scale": NAN}, errors.BadInput, "guidance_scale", "finite number from 0 to 50, not nan"),
    ({"guidance_scale": INFINITE}, errors.BadInput, "guidance_scale", "finite number from 0 to 50"),
    ({"guidance_scale": 50.1}, errors.BadInput, "guidance_scale", "finite number from 0 to 50"),
    ({"guidance_scale": "7"}, errors.BadInput, "guidance_scale", "finite number from 0 to 50"),
    ({"seed": -1}, errors.BadInput, "seed", "0 to 9223372036854775807"),
    ({"seed": 2**63}, errors.BadInput, "seed", "0 to 9223372036854775807"),
    ({"seed": 10**5000}, errors.BadInput, "seed", "a number of 16610 bits"),
    ({"seed": None}, errors.BadInput, "seed", "0 to 9223372036854775807"),
    ({"seed": 2**63 - 1, "num_images_per_prompt": 2}, errors.BadInput, "seed", "room for 2 images"),
    ({"num_images_per_prompt": 0}, errors.BadInput, "num_images_per_prompt", "1 to 16"),
    ({"num_images_per_prompt": 17}, errors.BadInput, "num_images_per_prompt", "1 to 16"),
    ({"width": 250, "height": 256}, errors.SizeNotOffered, "width", "multiple of 16, not 250"),
    ({"width": 256, "height": 250}, errors.SizeNotOffered, "height", "multiple of 16, not 250"),
    ({"width": 512, "height": 512}, errors.SizeNotOffered, "width", "256x256, 320x192, 192x320, 192x192"),
    ({"width": 256}, errors.BadInput, "height", "width and height together"),
    ({"width": 256.0, "height": 256}, errors.BadInput, "width", "whole number of pixels"),
    ({"preset": "slow"}, errors.UnknownPreset, "preset", "allowed: fast, quality"),
    ({"solver": "magic"}, errors.UnknownSolver, "solver", "landscapes takes: ddim, ddpm, euler, dpm++2m, unipc"),
    ({"solver": "flow-euler"}, errors.UnknownSolver, "solver", "does not fit landscapes, a diffusion model"),
    ({"image": picture(250, 250)}, errors.SizeNotOffered, "width", "multiple of 16"),
    ({"image": picture(), "width": 192, "height": 192}, errors.BadInput, "image", "resize it first"),
    ({"image": "x.png"}, errors.BadInput, "image", "must be a picture, not str"),
    ({"image": picture(), "mask_image": picture(192, 192)}, errors.MaskSizeMismatch, "mask_image", "256x256"),
    ({"mask_image": picture()}, errors.BadInput, "image", "needs an image"),
    ({"strength": 0.5}, errors.BadInput, "image", "needs an image"),
    ({"image": picture(), "strength": 0.0}, errors.BadInput, "strength", "leaves none"),
    ({"image": picture(), "strength": 1.1}, errors.BadInput, "strength", "from 0 to 1"),
    (
        {"image": picture(), "strength": 0.1, "num_inference_steps": 9},
        errors.BadInput,
        "strength",
        "strength 0.1 leaves none of 9 steps to run; at least 0.12",
    ),
    ({"task": "upscale"}, errors.BadInput, "task", "text-to-image, image-to-image, inpaint"),
    ({"task": "inpaint"}, errors.BadInput, "task", "'inpaint', which needs image and mask_image in the input"),
    ({"task": "image-to-image"}, errors.BadInput, "task", "which needs image in the input"),
    ({"task": "inpaint", "image": picture()}, errors.BadInput, "task", "which needs mask_image in the input"),
    ({"task": "text-to-image", "image": picture()}, errors.BadInput, "task", "that of 'image-to-image'"),
    (
        {"control_image": picture()},
        errors.NotSupported,
        "control_image",
        "`controlnet` in [models.landscapes] of darkroom.toml names one",
    ),
    ({"controlnet_conditioning_scale": 0.5}, errors.BadInput, "control_image", "needs a control_image"),
    ({"adapters": {"nosuch": 1.0}}, errors.UnknownAdapter, "adapters", "no adapter 'nosuch'; allowed: "),
    ({"adapters": ["neon"]}, errors.BadInput, "adapters", "must be {name: weight}, not list"),
    ({"adapter_digests": {"neon": "0" * 64}}, errors.BadInput, "adapter_digests", "adapters does not"),
    ({"adapter_digests": {"neon": "abc"}}, errors.BadInput, "adapter_digests", "64 hex digits"),
    ({"steps": 20}, errors.UnknownArgument, "steps", "allowed: prompt, negative_prompt, num_inference_steps"),
]


@pytest.mark.parametrize(("wrong", "kind", "field", "allowed"), REFUSED)
def test_bad_input_is_refused_with_field_and_what_is_allowed(
    wrong: dict[str, Any], kind: type[errors.BadInput], field: str, allowed: str, offer: Offer
) -> None:
    with pytest.raises(kind) as caught:
        validate({**VALID, **wrong}, offer)
    assert type(caught.value) is kind
    assert caught.value.field == field
    assert allowed in caught.value.message


def test_a_control_image_goes_with_every_task_and_brings_its_size(controlled: Offer) -> None:
    asked = validate({**VALID, "control_image": picture(192, 320)}, controlled)
    assert (asked.task, asked.width, asked.height) == ("text-to-image", 192, 320)
    assert asked.controlnet_conditioning_scale == 1.0
    pictures = {"image": picture(), "mask_image": picture(mode="L"), "control_image": picture()}
    for names, task in ((("image",), "image-to-image"), (("image", "mask_image"), "inpaint")):
        given = {name: pictures[name] for name in (*names, "control_image")}
        assert validate({**VALID, **given}, controlled).task == task


def test_what_repeats_it_is_recorded_without_the_control_image_itself(controlled: Offer) -> None:
    plain, asked = (
        validate({**VALID, **more}, controlled)
        for more in ({}, {"control_image": picture(), "controlnet_conditioning_scale": 0.4})
    )
    assert "controlnet_conditioning_scale" not in plain.settings()
    assert asked.settings() == {**plain.settings(), "controlnet_conditioning_scale": 0.4}


CONTROL = {"control_image": picture()}
SCALE = "controlnet_conditioning_scale"
REFUSED_WITH_CONTROL: list[tuple[dict[str, Any], type[errors.BadInput], str, str]] = [
    ({**CONTROL, SCALE: 2.1}, errors.BadInput, SCALE, "from 0 to 2, not 2.1"),
    ({**CONTROL, SCALE: -0.1}, errors.BadInput, SCALE, "from 0 to 2"),
    ({**CONTROL, SCALE: "1"}, errors.BadInput, SCALE, "from 0 to 2"),
    ({SCALE: 1.0}, errors.BadInput, "control_image", "needs a control_image"),
    ({"control_image": "c.png"}, errors.BadInput, "control_image", "must be a picture, not str"),
    ({"control_image": picture(100, 96)}, errors.SizeNotOffered, "width", "multiple of 16"),
    (
        {**CONTROL, "width": 192, "height": 192},
        errors.BadInput,
        "control_image",
        "control_image is 256x256 and the size asked for is 192x192",
    ),
    (
        {**CONTROL, "image": picture(192, 320)},
        errors.BadInput,
        "control_image",
        "control_image is 256x256 and the size asked for is 192x320",
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "field", "allowed"), REFUSED_WITH_CONTROL)
def test_a_control_image_that_does_not_go_with_the_rest_is_refused(
    wrong: dict[str, Any], kind: type[errors.BadInput], field: str, allowed: str, controlled: Offer
) -> None:
    with pytest.raises(kind, match=allowed) as caught:
        validate({**VALID, **wrong}, controlled)
    assert (type(caught.value), caught.value.field) == (kind, field)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 300),
    st.floats(),
    st.floats(0, 2),
    st.text(st.characters(codec=None)),
    st.sampled_from(["fast", "quality", "lcm", "pndm", "ddim", "inpaint", "text-to-image"]),
    st.sampled_from([192, 256, 320, 16, 1000, 2**63, 10**5000]),
    st.builds(picture, st.sampled_from([192, 256, 100]), st.sampled_from([192, 256, 320])),
    st.lists(st.integers(), max_size=2),
)


def attempt(inputs: dict[str, Any], offer: Offer) -> ImageRequest | errors.BadInput:
    """What comes of it; any other error is a fault of the door's."""
    try:
        return validate(inputs, offer)
    except errors.BadInput as refusal:
        return refusal


@given(st.dictionaries(st.sampled_from(INPUTS) | st.text(max_size=4), ANYTHING))
def test_any_input_is_a_request_within_bounds_or_a_named_refusal(offer: Offer, inputs: dict[str, Any]) -> None:
    asked = attempt(inputs, offer)
    if isinstance(asked, ImageRequest):
        _check_bounds(asked, offer)
    else:
        assert asked.field is not None
        assert asked.message


@given(
    st.fixed_dictionaries(
        {"prompt": st.text(min_size=1, max_size=30), "seed": st.integers(0, 2**63 - 1)},
        optional={
            "num_inference_steps": st.integers(1, 1000),
            "guidance_scale": st.floats(0, 50) | st.integers(0, 50),
            "solver": st.sampled_from(["ddim", "lcm", "dpm++2m-karras", "pndm", "flow-heun"]),
            "preset": st.sampled_from(["fast", "quality"]),
            "strength": st.floats(0, 1),
            "image": st.builds(picture, st.sampled_from([192, 256]), st.sampled_from([192, 256])),
            "num_images_per_prompt": st.integers(1, 16),
        },
    )
)
def test_nearly_valid_input_is_taken_as_it_is_or_refused(offer: Offer, inputs: dict[str, Any]) -> None:
    asked = attempt(inputs, offer)
    if isinstance(asked, errors.BadInput):
        return
    _check_bounds(asked, offer)
    for name, value in inputs.items():
        if name != "preset":
            assert getattr(asked, name) == value, f"{name} was corrected"


def _check_bounds(asked: ImageRequest, offer: Offer) -> None:
    assert 1 <= len(asked.prompt) <= request.MAX_PROMPT
    assert 1 <= asked.num_inference_steps <= 1000
    assert asked.guidance_scale is None or 0 <= asked.guidance_scale <= 50
    assert 0 <= asked.seed <= asked.seed + asked.num_images_per_prompt - 1 <= 2**63 - 1
    assert 1 <= asked.num_images_per_prompt <= 16
    assert (asked.width, asked.height) in offer.sizes
    assert asked.steps_to_run >= 1
    assert asked.solver in offer.solvers
