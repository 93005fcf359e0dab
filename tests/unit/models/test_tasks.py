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

from darkroom.errors import BadInput, NotSupported, UnknownArgument, UnknownSolver
from darkroom.models.catalogue import Entry
from darkroom.models.inpaint import PlainInpaintPipeline
from darkroom.models.layout import read_layout
from darkroom.models.loading import load
from darkroom.models.offer import TASKS, offer_of
from darkroom.models.request import validate
from darkroom.models.tasks import call_of, pipeline_for
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


def picture(mode: str) -> Image.Image:
    return Image.linear_gradient("L").resize((16, 16)).convert(mode)


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
