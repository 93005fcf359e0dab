"""What the door knows of diffusers' pipelines is what the diffusers that is installed has, and is what it refuses."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from diffusers.pipelines import auto_pipeline
from PIL import Image

from darkroom.errors import NotSupported, UnknownArgument
from darkroom.gateway.routes.models import schema_of
from darkroom.models import pipelines
from darkroom.models.offer import Offer
from darkroom.models.pipelines import (
    GUIDANCE,
    IMAGE_TO_IMAGE,
    INPAINT,
    LOOKING,
    NEGATIVE,
    STRENGTH,
    TASKS,
    TEXT_TO_IMAGE,
)
from darkroom.models.request import validate

MAPS = {
    TEXT_TO_IMAGE: auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    IMAGE_TO_IMAGE: auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    INPAINT: auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
}
CLASSES: dict[str, Any] = {found.__name__: found for each in MAPS.values() for found in each.values()}
NEEDED: dict[str, set[str]] = {
    TEXT_TO_IMAGE: set(),
    IMAGE_TO_IMAGE: {"image", "strength"},
    INPAINT: {"image", "mask_image", "strength"},
}
SUFFIXES = {TEXT_TO_IMAGE: "Pipeline", IMAGE_TO_IMAGE: "Img2ImgPipeline", INPAINT: "InpaintPipeline"}
WITH_CONTROL = ("StableDiffusion", "Flux")  # the families of controlnet.KINDS
PICTURES: Mapping[str, Mapping[str, Any]] = {
    TEXT_TO_IMAGE: {},
    IMAGE_TO_IMAGE: {"image": Image.new("RGB", (256, 256))},
    INPAINT: {"image": Image.new("RGB", (256, 256)), "mask_image": Image.new("L", (256, 256))},
}


def takes(kind: Any) -> set[str]:
    return set(inspect.signature(kind.__call__).parameters)


def task_of(kind: Any) -> str:
    """As models/tasks.py judges it."""
    said = takes(kind)
    return INPAINT if "mask_image" in said else IMAGE_TO_IMAGE if "strength" in said else TEXT_TO_IMAGE


def does(kind: Any, task: str) -> bool:
    """One that looks at an image has no task of its own for it."""
    return task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE) if kind.__name__ in LOOKING else task_of(kind) == task


def made_for(name: str, task: str, *, is_controlled: bool) -> Any:
    """The class that models/tasks.py would have diffusers make of one of that name; None where there is none."""
    kind = CLASSES[name]
    if does(kind, task) and not is_controlled:
        return kind
    found = auto_pipeline._get_task_class(MAPS[task], name, throw_error_if_not_exist=False)
    if found is None or not is_controlled:
        return found if found is None or has_parts(found, kind) else None
    suffix = SUFFIXES[task]
    suffix = f"PAG{suffix}" if "PAG" in found.__name__ else suffix
    wanted = found.__name__.replace("ControlNet", "").replace(suffix, f"ControlNet{suffix}")
    return auto_pipeline._get_task_class(MAPS[task], wanted, throw_error_if_not_exist=False)


def has_parts(wanted: Any, kind: Any) -> bool:
    needs, has = (set(each._get_signature_keys(each)[0]) for each in (wanted, kind))
    return not needs - set(wanted._optional_components) - has


def is_served(kind: Any, task: str, *, is_controlled: bool) -> bool:
    control = {"controlnet_conditioning_scale"} if is_controlled else set()
    needed = {"prompt", "num_inference_steps", *NEEDED[task], *control}
    if kind is not None and kind.__name__ in LOOKING:
        needed -= {STRENGTH}
    return kind is not None and does(kind, task) and needed <= takes(kind)


@pytest.mark.parametrize("is_controlled", [False, True])
def test_the_tables_are_what_diffusers_says(is_controlled: bool) -> None:
    assert set(pipelines.SERVED) == set(CLASSES)
    for name in CLASSES:
        if is_controlled and not name.startswith(WITH_CONTROL):
            continue
        made = {task: made_for(name, task, is_controlled=is_controlled) for task in TASKS}
        served = tuple(task for task in TASKS if is_served(made[task], task, is_controlled=is_controlled))
        assert pipelines.tasks_of(name, is_controlled=is_controlled) == served, name
        for task in served:
            words = (NEGATIVE, GUIDANCE) if task == TEXT_TO_IMAGE else (NEGATIVE, GUIDANCE, STRENGTH)
            lacking = [word for word in words if word not in takes(made[task])]
            refused = pipelines.refused_by(name, task, is_controlled=is_controlled)
            assert lacking == ([] if refused is None else [refused]), (name, task)


def of(offer: Offer, pipeline: str, **more: Any) -> Offer:
    return replace(offer, layout=replace(offer.layout, pipeline=pipeline), **more)


def asked(task: str, **more: Any) -> dict[str, Any]:
    return {"prompt": "a lake", "seed": 1, **PICTURES[task], **more}


def test_a_task_that_the_models_pipeline_does_not_do_is_refused_at_the_door(offer: Offer) -> None:
    pixart = of(offer, "PixArtAlphaPipeline")
    assert pixart.tasks == (TEXT_TO_IMAGE,)
    assert validate(asked(TEXT_TO_IMAGE), pixart).task == TEXT_TO_IMAGE
    for task in (IMAGE_TO_IMAGE, INPAINT):
        with pytest.raises(NotSupported, match=f"has no {task}; it has: text-to-image") as caught:
            validate(asked(task), pixart)
        assert caught.value.field == "task"


def test_an_input_that_the_pipeline_does_not_take_is_refused_at_the_door(offer: Offer) -> None:
    flux = of(offer, "Flux2Pipeline")
    assert validate(asked(TEXT_TO_IMAGE, negative_prompt=""), flux)
    with pytest.raises(UnknownArgument, match="takes no negative_prompt") as caught:
        validate(asked(TEXT_TO_IMAGE, negative_prompt="rain"), flux)
    assert caught.value.field == "negative_prompt"
    with pytest.raises(UnknownArgument, match="takes no guidance_scale"):
        validate(asked(TEXT_TO_IMAGE, guidance_scale=3.0), of(offer, "WuerstchenCombinedPipeline"))


def test_control_images_are_judged_by_the_pipeline_that_reads_them(offer: Offer) -> None:
    control = {"control_image": Image.new("RGB", (256, 256))}
    sd3 = of(offer, "StableDiffusion3Pipeline", has_controlnet=True)
    assert validate(asked(TEXT_TO_IMAGE, **control), sd3)
    assert validate(asked(IMAGE_TO_IMAGE), sd3)
    with pytest.raises(NotSupported, match="no image-to-image with a control image") as caught:
        validate(asked(IMAGE_TO_IMAGE, **control), sd3)
    assert caught.value.field == "control_image"
    flux = of(offer, "FluxPipeline", has_controlnet=True)
    assert validate(asked(IMAGE_TO_IMAGE, negative_prompt="rain"), flux)
    with pytest.raises(UnknownArgument, match="takes no negative_prompt"):
        validate(asked(IMAGE_TO_IMAGE, negative_prompt="rain", **control), flux)


def test_a_reference_may_have_any_size_and_takes_no_strength(offer: Offer) -> None:
    kontext = of(offer, "FluxKontextPipeline")
    assert kontext.tasks == (TEXT_TO_IMAGE, IMAGE_TO_IMAGE)
    wide = Image.new("RGB", (320, 130))
    request = validate(asked(IMAGE_TO_IMAGE, image=wide, width=256, height=256), kontext)
    assert (request.task, request.width, request.strength) == (IMAGE_TO_IMAGE, 256, None)
    assert request.steps_to_run == request.num_inference_steps
    with pytest.raises(UnknownArgument, match="takes no strength") as caught:
        validate(asked(IMAGE_TO_IMAGE, strength=0.5), kontext)
    assert caught.value.field == "strength"
    with pytest.raises(NotSupported, match="has no inpaint"):
        validate(asked(INPAINT), kontext)
    fields = schema_of(kontext)["properties"].keys()
    assert "image" in fields
    assert not {"strength", "mask_image"} & fields


def test_of_a_class_that_nobody_knows_the_worker_judges(offer: Offer) -> None:
    own = of(offer, "MyOwnPipeline")
    assert own.tasks == TASKS
    for task in TASKS:
        assert validate(asked(task, negative_prompt="rain", guidance_scale=2.0), own).task == task


def test_the_schema_of_a_model_names_no_input_that_it_never_takes(offer: Offer) -> None:
    assert {"image", "mask_image", "strength", "negative_prompt"} <= schema_of(offer)["properties"].keys()
    left = schema_of(of(offer, "Flux2Pipeline"))["properties"].keys()
    assert not {"image", "mask_image", "strength", "negative_prompt"} & left
    assert "guidance_scale" in left
