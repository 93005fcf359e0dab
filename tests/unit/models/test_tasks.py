"""Pipelines for another task or solver share their components by identity, and run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import diffusers
import numpy
import pytest
import torch
from PIL import Image

from darkroom.config import PresetSettings
from darkroom.errors import BadInput, NotSupported, UnknownArgument, UnknownSolver
from darkroom.models.catalogue import Entry
from darkroom.models.inpaint import PlainInpaintPipeline
from darkroom.models.layout import read_layout
from darkroom.models.loading import layout_of, load
from darkroom.models.offer import TASKS, Offer, offer_of
from darkroom.models.request import steps_left, validate
from darkroom.models.tasks import call_of, pipeline_for
from tests.parity import tiny_modules as modules
from tests.parity.families import flux, pixart, sd3, sd_parts, sdxl
from tests.unit.models.conftest import entry_at

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own, as under the command line

MAKERS = {"sd": lambda: diffusers.StableDiffusionPipeline(**sd_parts()), "sdxl": lambda: sdxl()["text"]}
MAKERS |= {"sd3": lambda: sd3()["flow-euler"], "flux": lambda: flux()["flow-euler"]}


@pytest.mark.parametrize("solver", [None, "other"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", MAKERS)
def test_components_are_shared_by_identity(family: str, task: str, solver: str | None) -> None:
    pipe = MAKERS[family]()
    own = pipe.scheduler
    name = solver and ("flow-heun" if family in ("sd3", "flux") else "unipc")
    other = pipeline_for(pipe, task, name, "m")
    for part, value in pipe.components.items():
        if isinstance(value, torch.nn.Module):
            assert getattr(other, part) is value
    assert pipe.scheduler is own, "the pipeline it came from was changed"
    assert (other.scheduler is own) == (solver is None)


def test_the_plain_case_is_the_pipeline_itself() -> None:
    pipe = MAKERS["sd"]()
    assert pipeline_for(pipe, "text-to-image", None, "m") is pipe


def test_a_task_that_diffusers_does_not_have_for_a_model_is_refused() -> None:
    with pytest.raises(NotSupported, match=r"m \(PixArtAlphaPipeline\) has no image-to-image") as caught:
        pipeline_for(pixart()["ddim"], "image-to-image", None, "m")
    assert caught.value.field == "task"


@pytest.mark.parametrize(("family", "solver"), [("sd", "flow-euler"), ("sd3", "euler"), ("flux", "dpm++2m")])
def test_a_solver_of_the_other_family_is_refused(family: str, solver: str) -> None:
    with pytest.raises(UnknownSolver, match="m takes: "):
        pipeline_for(MAKERS[family](), "text-to-image", solver, "m")


@pytest.mark.parametrize("strength", [0.0, 0.01, 0.1, 0.35, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("family", MAKERS)
def test_steps_are_counted_as_the_pipeline_counts_them(family: str, strength: float) -> None:
    pipe = pipeline_for(MAKERS[family](), "image-to-image", None, "m")
    is_flow = family in ("sd3", "flux")
    for steps in (1, 7, 9, 30):
        assert pipe.get_timesteps(steps, strength, "cpu")[1] == steps_left(steps, strength, is_flow=is_flow)


def picture(mode: str, side: int = 16) -> Image.Image:
    return Image.linear_gradient("L").resize((side, side)).convert(mode)


@pytest.mark.parametrize("task", TASKS)
def test_a_valid_request_runs_on_its_pipeline(task: str, tmp_path: Path) -> None:
    pipe = MAKERS["sd"]()
    pipe.save_pretrained(tmp_path / "tiny")
    offer = offer_of(entry_at(tmp_path / "tiny"), read_layout(tmp_path / "tiny"))
    pictures = {"image": picture("RGB")} if task != "text-to-image" else {}
    pictures |= {"mask_image": picture("L")} if task == "inpaint" else {}
    asked = validate({"prompt": "a lake", "seed": 1, "num_inference_steps": 2, **pictures}, offer)
    run = pipeline_for(pipe, asked.task, "euler", "m")
    run.set_progress_bar_config(disable=True)
    assert run(**call_of(run, asked)).images[0].size == (16, 16)


def test_inpainting_takes_latents_of_any_width(entry: Entry) -> None:
    loaded = load(entry, is_offline=True)
    pipe = pipeline_for(loaded.pipe, "inpaint", "ddim", "m")
    assert pipe.__dict__["unet"] is loaded.pipe.unet
    start = Image.linear_gradient("L").resize((192, 192)).convert("RGB")
    mask = Image.new("L", (192, 192))
    mask.paste(255, (0, 0, 96, 192))
    asked = {"prompt": "a lake", "num_inference_steps": 3, "width": 192, "height": 192, "output_type": "np"}
    made = pipe(**asked, image=start, mask_image=mask, generator=torch.Generator().manual_seed(1)).images[0]
    off = numpy.abs(made - numpy.asarray(start) / 255).mean(axis=(0, 2))
    assert off[128:].mean() < off[:64].mean() / 2, "what the mask leaves out was redrawn"


def test_where_diffusers_takes_the_unet_its_own_pipeline_gives_the_same_bytes() -> None:
    pipe = pipeline_for(MAKERS["sd"](), "inpaint", "ddim", "m")
    assert type(pipe) is diffusers.StableDiffusionInpaintPipeline
    pipe.set_progress_bar_config(disable=True)
    wide = copy.copy(pipe)
    wide.__class__ = PlainInpaintPipeline
    asked = {"prompt": "a lake", "num_inference_steps": 3, "width": 16, "height": 16, "output_type": "np"}
    pictures = {"image": picture("RGB"), "mask_image": picture("L")}
    one, other = (p(**asked, **pictures, generator=torch.Generator().manual_seed(1)).images for p in (pipe, wide))
    assert numpy.array_equal(one, other)


def control_for(family: str, pipe: Any) -> torch.nn.Module:
    """One that fits that tiny pipeline, its zeros drawn."""
    if family in ("sd", "sdxl"):
        return modules.controlnet() if family == "sd" else modules.sdxl_controlnet()
    width = {name: pipe.transformer.config[name] for name in ("attention_head_dim", "num_attention_heads")}
    if family == "flux":
        made = diffusers.FluxControlNetModel.from_transformer(
            pipe.transformer, num_layers=1, num_single_layers=1, **width
        )
    else:
        made = diffusers.SD3ControlNetModel.from_transformer(
            pipe.transformer, num_layers=1, num_extra_conditioning_channels=0
        )
    generator = torch.Generator().manual_seed(4)
    for weight in made.parameters():
        if not weight.any():
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
    return made.eval()


PICTURES_OF = {"text-to-image": (), "image-to-image": ("image",), "inpaint": ("image", "mask_image")}
CONTROLLED = [(family, task) for family in ("sd", "sdxl", "flux") for task in TASKS] + [("sd3", "text-to-image")]


@pytest.mark.parametrize(("family", "task"), CONTROLLED)
def test_a_control_image_is_read_by_a_pipeline_over_the_same_components(family: str, task: str) -> None:
    pipe = MAKERS[family]()
    control, side = control_for(family, pipe), 16 if family == "sd" else 32
    run = pipeline_for(pipe, task, None, "m", control)
    assert run.controlnet is control
    assert all(
        getattr(run, name) is part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)
    )
    run.set_progress_bar_config(disable=True)
    preset, size = PresetSettings(num_inference_steps=2), (side, side)
    offer = Offer("m", layout_of(pipe), (size,), size, {"fast": preset}, 1, has_controlnet=True)
    given = {name: picture("L" if name == "mask_image" else "RGB", side) for name in PICTURES_OF[task]}
    asked = {"prompt": "a lake", "seed": 1, "guidance_scale": 3.0, **given}
    pictures = []
    for scale in (0.0, 2.0):
        control_image = {"control_image": picture("RGB", side), "controlnet_conditioning_scale": scale}
        call = call_of(run, validate({**asked, **control_image}, offer))
        pictures.append(run(**call, generator=torch.Generator().manual_seed(1), output_type="np").images)
    assert pictures[0].shape == (1, side, side, 3)
    assert numpy.abs(pictures[0] - pictures[1]).max() > 1e-4, "the control image changes nothing"


@pytest.mark.parametrize(
    ("family", "task"), [("sd3", "image-to-image"), ("sd3", "inpaint"), ("pixart", "text-to-image")]
)
def test_a_task_without_control_images_is_refused_by_name(family: str, task: str) -> None:
    pipe = pixart()["ddim"] if family == "pixart" else MAKERS[family]()
    with pytest.raises(NotSupported, match=f"m .{type(pipe).__name__}. has no {task} with a control image") as caught:
        pipeline_for(pipe, task, None, "m", modules.controlnet())
    assert caught.value.field == "control_image"


class Plain:
    """A pipeline of somebody's own that takes little."""

    def __call__(self, prompt: str, num_inference_steps: int, width: int, height: int) -> Any:
        return None


def test_what_a_pipeline_does_not_take_is_refused_by_name(offer: Any) -> None:
    asked = validate({"prompt": "a lake", "seed": 1, "negative_prompt": "rain", "solver": "ddim"}, offer)
    with pytest.raises(UnknownArgument, match="takes no negative_prompt") as caught:
        call_of(Plain(), asked)
    assert isinstance(caught.value, BadInput)
    assert caught.value.field == "negative_prompt"
