"""Which tasks diffusers' pipelines serve, and which inputs they refuse, by class name: for the door. No torch here.

From the AutoPipeline mappings of diffusers and the signatures of their `__call__`; tests/unit/models/test_pipelines.py
holds these tables against the diffusers that is installed. Of a class that is in none of them nothing is known, and its
worker judges.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import media

TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT = "text-to-image", "image-to-image", "inpaint"
PIPELINE = "pipeline"  # whatever a plain pipeline's function does
TASKS = (TEXT_TO_IMAGE, IMAGE_TO_IMAGE, INPAINT)
ALL_TASKS = (*TASKS, media.TEXT_TO_VIDEO, media.TEXT_TO_AUDIO)
WITH_PICTURE = (IMAGE_TO_IMAGE, INPAINT)


def _by_class(names: Mapping[tuple[str, ...], str]) -> dict[str, tuple[str, ...]]:
    return {name: tasks for tasks, said in names.items() for name in said.split()}


SERVED = _by_class(
    {
        TASKS: """
            FluxControlImg2ImgPipeline FluxControlInpaintPipeline FluxControlNetImg2ImgPipeline
            FluxControlNetInpaintPipeline FluxControlNetPipeline FluxControlPipeline FluxImg2ImgPipeline
            FluxInpaintPipeline FluxPipeline IFImg2ImgPipeline IFInpaintingPipeline IFPipeline
            QwenImageImg2ImgPipeline QwenImageInpaintPipeline QwenImagePipeline StableDiffusion3Img2ImgPipeline
            StableDiffusion3InpaintPipeline StableDiffusion3Pipeline StableDiffusionControlNetImg2ImgPipeline
            StableDiffusionControlNetInpaintPipeline StableDiffusionControlNetPipeline StableDiffusionImg2ImgPipeline
            StableDiffusionInpaintPipeline StableDiffusionPAGImg2ImgPipeline StableDiffusionPAGInpaintPipeline
            StableDiffusionPAGPipeline StableDiffusionPipeline StableDiffusionXLControlNetImg2ImgPipeline
            StableDiffusionXLControlNetInpaintPipeline StableDiffusionXLControlNetPipeline
            StableDiffusionXLControlNetUnionImg2ImgPipeline StableDiffusionXLControlNetUnionInpaintPipeline
            StableDiffusionXLControlNetUnionPipeline StableDiffusionXLImg2ImgPipeline
            StableDiffusionXLInpaintPipeline StableDiffusionXLPAGImg2ImgPipeline StableDiffusionXLPAGInpaintPipeline
            StableDiffusionXLPAGPipeline StableDiffusionXLPipeline ZImageImg2ImgPipeline ZImageInpaintPipeline
            ZImagePipeline
        """,
        (TEXT_TO_IMAGE,): """
            AuraFlowPipeline ChromaPipeline CogView3PlusPipeline CogView4ControlPipeline CogView4Pipeline
            Flux2KleinPipeline Flux2Pipeline GlmImagePipeline HeliosPipeline
            HunyuanDiTPAGPipeline HunyuanDiTPipeline Ideogram4Pipeline Krea2Pipeline Lumina2Pipeline LuminaPipeline
            NucleusMoEImagePipeline OvisImagePipeline PRXPipeline PixArtAlphaPipeline PixArtSigmaPAGPipeline
            PixArtSigmaPipeline QwenImage21Pipeline QwenImageControlNetPipeline QwenImageEditPlusPipeline
            QwenImageLayeredPipeline SanaPAGPipeline SanaPipeline StableCascadeCombinedPipeline
            StableDiffusion3ControlNetInpaintingPipeline StableDiffusion3ControlNetPipeline
            WuerstchenCombinedPipeline ZImageControlNetPipeline ZImageOmniPipeline
        """,
        (TEXT_TO_IMAGE, IMAGE_TO_IMAGE): """
            FluxKontextPipeline Kandinsky3Img2ImgPipeline Kandinsky3Pipeline KandinskyCombinedPipeline
            KandinskyImg2ImgCombinedPipeline
            KandinskyInpaintCombinedPipeline KandinskyV22CombinedPipeline KandinskyV22Img2ImgCombinedPipeline
            KandinskyV22InpaintCombinedPipeline LatentConsistencyModelImg2ImgPipeline LatentConsistencyModelPipeline
            StableDiffusion3PAGImg2ImgPipeline StableDiffusion3PAGPipeline
            StableDiffusionXLControlNetPAGImg2ImgPipeline StableDiffusionXLControlNetPAGPipeline
        """,
        (TEXT_TO_IMAGE, INPAINT): """
            QwenImageEditPipeline StableDiffusionControlNetPAGInpaintPipeline StableDiffusionControlNetPAGPipeline
        """,
        (): """
            HeliosPyramidPipeline ZImageControlNetInpaintPipeline
        """,
        (INPAINT,): """
            QwenImageEditInpaintPipeline
        """,
    }
)

# The same with a control image, where a ControlNet of controlnet.KINDS reads it.
CONTROLLED = _by_class(
    {
        TASKS: """
            FluxControlNetImg2ImgPipeline FluxControlNetInpaintPipeline FluxControlNetPipeline FluxImg2ImgPipeline
            FluxInpaintPipeline FluxPipeline StableDiffusionControlNetImg2ImgPipeline
            StableDiffusionControlNetInpaintPipeline StableDiffusionControlNetPipeline StableDiffusionImg2ImgPipeline
            StableDiffusionInpaintPipeline StableDiffusionPipeline StableDiffusionXLControlNetImg2ImgPipeline
            StableDiffusionXLControlNetInpaintPipeline StableDiffusionXLControlNetPipeline
            StableDiffusionXLImg2ImgPipeline StableDiffusionXLInpaintPipeline StableDiffusionXLPipeline
        """,
        (TEXT_TO_IMAGE,): """
            StableDiffusion3ControlNetInpaintingPipeline StableDiffusion3ControlNetPipeline
            StableDiffusion3Img2ImgPipeline StableDiffusion3InpaintPipeline StableDiffusion3Pipeline
        """,
        (TEXT_TO_IMAGE, INPAINT): """
            StableDiffusionControlNetPAGInpaintPipeline StableDiffusionControlNetPAGPipeline
            StableDiffusionPAGImg2ImgPipeline StableDiffusionPAGInpaintPipeline StableDiffusionPAGPipeline
        """,
        (TEXT_TO_IMAGE, IMAGE_TO_IMAGE): """
            StableDiffusionXLControlNetPAGImg2ImgPipeline StableDiffusionXLControlNetPAGPipeline
            StableDiffusionXLPAGImg2ImgPipeline StableDiffusionXLPAGInpaintPipeline StableDiffusionXLPAGPipeline
        """,
    }
)


# Their `image` is a reference that they look at, of any size, and no picture whose first steps are left out.
LOOKING = frozenset({"FluxKontextPipeline"})

# What reads a control image through a T2I-Adapter in a pipeline's stead.
ADAPTED = {
    "StableDiffusionPipeline": "StableDiffusionAdapterPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLAdapterPipeline",
}
REFINED = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline")  # a base model's, and a refiner's

NEGATIVE, GUIDANCE, STRENGTH = "negative_prompt", "guidance_scale", "strength"
# What a pipeline's `__call__` does not take, by class and task.
REFUSED: dict[tuple[str, str], str] = {
    **{(name, TEXT_TO_IMAGE): GUIDANCE for name in ("QwenImage21Pipeline", "StableCascadeCombinedPipeline")},
    ("WuerstchenCombinedPipeline", TEXT_TO_IMAGE): GUIDANCE,
    **{
        (f"{name}Pipeline", TEXT_TO_IMAGE): NEGATIVE
        for name in ("Flux2", "Flux2Klein", "GlmImage", "Ideogram4", "LatentConsistencyModel")
    },
    ("LatentConsistencyModelPipeline", IMAGE_TO_IMAGE): NEGATIVE,
    **{("LatentConsistencyModelImg2ImgPipeline", task): NEGATIVE for task in (TEXT_TO_IMAGE, IMAGE_TO_IMAGE)},
    **{(name, IMAGE_TO_IMAGE): STRENGTH for name in LOOKING},
    **{(f"FluxControl{kind}Pipeline", task): NEGATIVE for kind in ("", "Img2Img", "Inpaint") for task in TASKS},
    **{
        (f"FluxControlNet{kind}Pipeline", task): NEGATIVE
        for kind in ("", "Img2Img", "Inpaint")
        for task in WITH_PICTURE
    },
}
CONTROLLED_REFUSED: dict[tuple[str, str], str] = {
    (f"Flux{net}{kind}Pipeline", task): NEGATIVE
    for net in ("", "ControlNet")
    for kind in ("", "Img2Img", "Inpaint")
    for task in WITH_PICTURE
}


def tasks_of(pipeline: str, *, is_controlled: bool = False) -> tuple[str, ...]:
    """The tasks that a model of that class serves, with a control image or without.

    All that are of pictures where the class is unknown.
    """
    others = media.tasks_of(pipeline)
    if others:
        return () if is_controlled else others
    if pipeline not in SERVED:
        return TASKS
    return CONTROLLED.get(pipeline, ()) if is_controlled else SERVED[pipeline]


def refused_by(pipeline: str, task: str, *, is_controlled: bool = False) -> str | None:
    """The input that it takes for no such task; None where it takes them all, or is unknown."""
    return (CONTROLLED_REFUSED if is_controlled else REFUSED).get((pipeline, task))
