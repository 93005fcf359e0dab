"""Pipelines for another task or solver over the same components, by identity: weights stay once in memory."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.spec_table import IMAGE_PROMPT_SCALE
from ..errors import NotSupported, UnknownArgument, UnknownSolver
from ..storage.encoding import Made
from ..storage.sounds import Sound
from ..storage.videos import Video
from . import solvers
from .offer import IMAGE_TO_IMAGE, INPAINT, PIPELINE, TEXT_TO_IMAGE
from .outpaint import canvas
from .pipelines import ADAPTED, LOOKING
from .request import ImageRequest, PlainRequest
from .t2i_adapter import KIND

if TYPE_CHECKING:
    from .loading import Loaded

LOUDEST = 2**15 - 1
# By name: diffusers reads every pipeline it has, for seconds, when one of these is touched.
MAKERS = {
    TEXT_TO_IMAGE: "AutoPipelineForText2Image",
    IMAGE_TO_IMAGE: "AutoPipelineForImage2Image",
    INPAINT: "AutoPipelineForInpainting",
}

USUAL_SCALE = (
    8  # pixels a latent, along one side: Kontext fits references to sizes that it was trained on at that scale
)


def variant_of(
    loaded: Loaded,
    task: str,
    solver: str | None,
    *,
    is_controlled: bool = False,
    is_image_prompted: bool = False,
    is_refined: bool = False,
    is_weighted: bool = False,
) -> Any:
    """A pipeline of that model, by those of its pieces that are needed; raises what `pipeline_for` raises.

    `is_weighted`: it reads weights in prompts.
    """
    pipe = loaded.prompted if is_image_prompted else loaded.pipe
    name, controlnet = loaded.entry.name, loaded.controlnet if is_controlled else None
    own = pipeline_for(pipe, task, solver, name, controlnet)
    if is_weighted:
        from .weighted import weighted

        return weighted(own)
    if not is_refined:
        return own
    from .refined import RefinedPipeline

    return RefinedPipeline(own, pipeline_for(loaded.refiner, IMAGE_TO_IMAGE, solver, name))


def pipeline_for(pipe: Any, task: str, solver: str | None, model: str, controlnet: Any = None) -> Any:
    """A pipeline for that task and solver; raises `NotSupported` or `UnknownSolver` where the model has none.

    `controlnet`: one that reads a control image by that module, a ControlNet or a T2I-Adapter.
    """
    if task == PIPELINE:
        return pipe
    own = _for_task(pipe, task, model) if controlnet is None else _with_control(pipe, task, model, controlnet)
    if solver is None:
        return own
    if getattr(own, "scheduler", None) is None:
        raise UnknownSolver(f"{model} has no solver to choose: {type(own).__name__} brings its own", field="solver")
    own = copy.copy(own) if own is pipe else own
    own.scheduler = solvers.build(solver, own.scheduler, model)
    return own


def call_of(pipe: Any, request: ImageRequest) -> dict[str, Any]:
    """The keyword arguments of the pipeline's `__call__` for one image of a request, its seed apart."""
    if isinstance(request, PlainRequest):
        return dict(request.inputs)
    takes = inspect.signature(type(pipe).__call__).parameters
    call: dict[str, Any] = {
        "prompt": request.prompt,
        "num_inference_steps": request.num_inference_steps,
        **_given(request, "negative_prompt", "guidance_scale", "strength", "denoising_end", "ip_adapter_image"),
        **_given(request, "num_frames"),
        **_pictures(request),
    }
    if request.frame_rate is not None:
        call["output_type"] = "np"
        if "frame_rate" in takes:  # where it is not taken, it says how fast the frames are shown
            call["frame_rate"] = request.frame_rate
    if request.control_image is not None:
        # Text-to-image pipelines of the Stable Diffusion family call it their `image`.
        call["control_image" if "control_image" in takes else "image"] = request.control_image
        scale = "adapter" if "adapter_conditioning_scale" in takes else "controlnet"
        call[f"{scale}_conditioning_scale"] = request.controlnet_conditioning_scale
    if request.ip_adapter_scale is not None:
        call["cross_attention_kwargs"] = {IMAGE_PROMPT_SCALE: request.ip_adapter_scale}
    if request.audio_end_in_s is not None:
        call |= {"output_type": "np", "audio_end_in_s": request.audio_end_in_s}
    if "width" in takes:  # where it is not taken, the picture to start from has the size
        call.update(width=request.width, height=request.height)
    if "max_area" in takes and request.width and request.height:  # or it makes a megapixel of every size
        call["max_area"] = request.width * request.height
    if "_auto_resize" in takes and pipe.vae_scale_factor != USUAL_SCALE:
        call["_auto_resize"] = False
    unknown = next((name for name in call if name not in takes), None)
    if unknown:
        raise UnknownArgument(f"{type(pipe).__name__} takes no {unknown}; leave it out", field=unknown)
    return call


def made_of(pipe: Any, request: ImageRequest, answer: Any) -> Made:
    """What a pipeline has answered to one image's call; raises `NotSupported` where that is something else."""
    if request.frame_rate is not None:
        shown = [np.round(np.clip(frame, 0.0, 1.0) * 255).astype(np.uint8) for frame in answer.frames[0]]
        return Video(np.stack(shown), request.frame_rate)  # made frame by frame: whole copies as numbers are gigabytes
    if request.audio_end_in_s is not None:
        samples = np.asarray(answer.audios[0]).T  # numbers from -1 to 1
        return Sound(np.round(np.clip(samples, -1.0, 1.0) * LOUDEST).astype(np.int16), pipe.vae.config.sampling_rate)
    pictures = getattr(answer, "images", None)
    if not pictures:
        raise NotSupported(f"{type(pipe).__name__} makes no pictures", field="model")
    picture: Made = pictures[0]
    return picture


def _given(request: ImageRequest, *names: str) -> dict[str, Any]:
    return {name: getattr(request, name) for name in names if getattr(request, name) not in (None, "")}


def _pictures(request: ImageRequest) -> dict[str, Any]:
    if not request.outpaint:
        return _given(request, "image", "mask_image")
    image, mask = canvas(request.image, request.outpaint)
    return {"image": image, "mask_image": mask}


def _for_task(pipe: Any, task: str, model: str) -> Any:
    if task not in MAKERS or _is_of_task(pipe, task):  # the offer has judged what is no picture, by its class
        return pipe
    import diffusers

    try:
        made = getattr(diffusers, MAKERS[task]).from_pipe(pipe)
    except ValueError as error:
        said = f"{model} ({type(pipe).__name__}) has no {task} in diffusers {diffusers.__version__}"
        raise NotSupported(said, field="task") from error
    return _widened(made, task)


def _with_control(pipe: Any, task: str, model: str, controlnet: Any) -> Any:
    import diffusers

    if type(controlnet).__name__ == KIND:
        return _with_adapter(pipe, task, model, controlnet)
    said = f"{model} ({type(pipe).__name__}) has no {task} with a control image in diffusers {diffusers.__version__}"
    try:
        made = getattr(diffusers, MAKERS[task]).from_pipe(pipe, controlnet=controlnet)
    except ValueError as error:
        raise NotSupported(said, field="control_image") from error
    if not _is_of_task(made, task):  # that of SD3 is called inpainting, and takes neither picture nor mask
        raise NotSupported(said, field="control_image")
    return _widened(made, task)


def _with_adapter(pipe: Any, task: str, model: str, adapter: Any) -> Any:
    import diffusers

    kind = ADAPTED.get(type(pipe).__name__)
    if kind is None or task != TEXT_TO_IMAGE:
        said = f"{model} ({type(pipe).__name__}) has no {task} with a T2I-Adapter; text-to-image of "
        raise NotSupported(f"{said}{' and '.join(ADAPTED)} can have one", field="control_image")
    return getattr(diffusers, kind).from_pipe(pipe, adapter=adapter)


def _widened(pipe: Any, task: str) -> Any:
    if task != INPAINT:
        return pipe
    from .inpaint import widened

    return widened(pipe)


def _is_of_task(pipe: Any, task: str) -> bool:
    """Judged by what it takes, so that pipelines which diffusers does not know are served too."""
    takes = inspect.signature(type(pipe).__call__).parameters
    if type(pipe).__name__ in LOOKING:
        return task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE)
    implied = INPAINT if "mask_image" in takes else IMAGE_TO_IMAGE if "strength" in takes else TEXT_TO_IMAGE
    return implied == task


def model_of(served: str) -> str:
    """The model behind a name that `Residency.variant` gave."""
    return served.rsplit("|", 2)[0]
