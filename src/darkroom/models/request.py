"""The door: what a caller asks of a model, as a request that can be run, or a refusal that says what is allowed.

Names are diffusers'. Nothing is corrected on the way: a value is taken as it is, or refused. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import PresetSettings
from ..errors import BadInput, MaskSizeMismatch, SizeNotOffered, UnknownArgument
from ..storage.encoding import PICTURES as OF_PICTURES
from ..storage.encoding import SOUNDS, VIDEOS
from ..wording import counted, did_you_mean
from . import adapting, kinds, outpaint, pieces, solvers, weighting
from .form import SEED, Form
from .layout import FLOW
from .offer import ALL_TASKS, IMAGE_TO_IMAGE, INPAINT, PIPELINE, Offer
from .values import number, shown, text, whole

MAX_PROMPT = 2000  # characters
MAX_GUIDANCE = 50.0
MAX_SEED = 2**63 - 1
MAX_IMAGES = 16
NEEDED = {IMAGE_TO_IMAGE: ("image",), INPAINT: ("image", "mask_image")}
DEFAULT_STRENGTH = {IMAGE_TO_IMAGE: 0.8, INPAINT: 1.0}  # diffusers' own
INPUTS = (
    "prompt",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "width",
    "height",
    "num_images_per_prompt",
    "seed",
    "preset",
    "solver",
    "task",
    "image",
    "mask_image",
    "strength",
    "control_image",
    "controlnet_conditioning_scale",
    "ip_adapter_image",
    "ip_adapter_scale",
    "outpaint",
    "denoising_end",
    "num_frames",
    "frame_rate",
    "audio_end_in_s",
    "prompt_style",
    "adapters",
    "adapter_digests",
)
PICTURES = ("image", "mask_image", "control_image", "ip_adapter_image")
ALWAYS = (SEED, "num_images_per_prompt")  # inputs of a plain pipeline beside its own
USUAL_STEPS = 25  # of a call in a plain pipeline that does not say them, until its worker does
NOT_RECORDED = {"num_images_per_prompt", "preset", "task", *PICTURES, "adapter_digests"}


@dataclass(frozen=True)
class ImageRequest:
    """A request within a model's bounds; `guidance_scale` None is the pipeline's own, `solver` None the model's.

    Image k of it uses `seed + k`. `image`, `mask_image` and `control_image` are PIL images of `width` by `height`
    pixels; with `outpaint`, margins in pixels by side, `image` is so much smaller. `ip_adapter_image` is of any size,
    and so is an `image` that the model only looks at. Up to `denoising_end` of its steps are the base model's.
    pixels. A video has `num_frames`, at `frame_rate` a second; a sound ends at `audio_end_in_s`, and
    has no size. `prompt_style` None reads both texts as they stand.
    `adapters` are weights by name, `adapter_digests` the SHA-256 of their files, where that is known.
    """

    prompt: str
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float | None
    width: int | None
    height: int | None
    num_images_per_prompt: int
    seed: int
    solver: str | None
    task: str
    image: Any = None
    mask_image: Any = None
    strength: float | None = None
    control_image: Any = None
    controlnet_conditioning_scale: float | None = None
    ip_adapter_image: Any = None
    ip_adapter_scale: float | None = None
    outpaint: Mapping[str, int] = field(default_factory=dict)
    denoising_end: float | None = None
    num_frames: int | None = None
    frame_rate: float | None = None
    audio_end_in_s: float | None = None
    prompt_style: str | None = None
    adapters: Mapping[str, float] = field(default_factory=dict)
    adapter_digests: Mapping[str, str] = field(default_factory=dict)
    is_flow: bool = False  # its model's steps are counted as flow matching counts them

    @property
    def steps_to_run(self) -> int:
        """Denoising steps that will run: an image to start from leaves out the first ones."""
        return steps_left(self.num_inference_steps, self.strength, is_flow=self.is_flow)

    @property
    def texts(self) -> dict[str, str]:
        """What the model is to read, by name."""
        return {"prompt": self.prompt, "negative_prompt": self.negative_prompt}

    @property
    def words(self) -> dict[str, str]:
        """The same without what only says how much a word weighs."""
        if self.prompt_style is None:
            return self.texts
        return {name: weighting.plain_text(text) for name, text in self.texts.items()}

    @property
    def kind(self) -> str:
        """What comes of it: pictures, videos or sounds."""
        if self.audio_end_in_s is not None:
            return SOUNDS
        return OF_PICTURES if self.frame_rate is None else VIDEOS

    def settings(self) -> dict[str, Any]:
        """What must be known to repeat it, apart from its pictures; JSON."""
        said = {name: getattr(self, name) for name in INPUTS if name not in NOT_RECORDED}
        return {name: value for name, value in said.items() if value not in (None, "", {})}

    @property
    def pieces(self) -> dict[str, bool]:
        """Which of a model's pieces it needs, as `tasks.variant_of` asks."""
        return {
            "is_controlled": self.control_image is not None,
            "is_image_prompted": self.ip_adapter_image is not None,
            "is_refined": self.denoising_end is not None,
            "is_weighted": self.prompt_style is not None,
        }


@dataclass(frozen=True)
class PlainRequest(ImageRequest):
    """A request to a plain pipeline: `inputs` has a value for each parameter but the seed. Its steps are a guess."""

    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """See `ImageRequest`."""
        return {name: value for name, value in self.inputs.items() if isinstance(value, str)}

    def settings(self) -> dict[str, Any]:
        """See `ImageRequest`."""
        kept = {name: value for name, value in self.inputs.items() if value is not None and name not in PICTURES}
        return {**kept, SEED: self.seed}


def validate(inputs: Mapping[str, Any], offer: Offer, base: PresetSettings | None = None) -> ImageRequest:
    """A request from what a caller gave, `None` being the same as not given; `seed` must be given.

    `base` stands in for the model's default preset where a picture's own settings are repeated.
    Raises `BadInput` or one of its kind, with `field` and what is allowed.
    """
    given = {name: value for name, value in inputs.items() if value is not None}
    if offer.form is not None:
        return _plain(given, offer, offer.form)
    refuse_unknown(given, INPUTS)
    preset = offer.preset(text(given, "preset", 64)) if "preset" in given else base or offer.preset(None)
    margins = outpaint.margins_of(given)
    task = _task(given, offer)
    solver = _solver(given, preset, offer)
    steps = _steps(given, preset, solver, offer)
    pieces.check_pieces(given, offer)
    offer.check_task(task, is_controlled="control_image" in given)
    kinds.check_kind(given, offer)
    width, height = (None, None) if offer.layout.longest_s else _size(given, offer, margins)
    adapters = adapting.weights_of(given, preset, offer)
    images, seed = _images(given)
    frames = kinds.frames(given, offer)
    kinds.check_amount((width, height), frames, images, offer)
    negative = text(given, "negative_prompt", MAX_PROMPT, least=0) if "negative_prompt" in given else ""
    guidance = _guidance(given, preset)
    offer.check_taken(task, negative, guidance, given.get("strength"), is_controlled="control_image" in given)
    return ImageRequest(
        prompt=_prompt(given),
        negative_prompt=negative,
        num_inference_steps=steps,
        guidance_scale=guidance,
        width=width,
        height=height,
        num_images_per_prompt=images,
        seed=seed,
        solver=solver,
        task=task,
        image=given.get("image"),
        mask_image=given.get("mask_image"),
        strength=None if offer.looks_at_image else _strength(given, task, steps, offer),
        control_image=given.get("control_image"),
        controlnet_conditioning_scale=pieces.control_scale(given),
        ip_adapter_image=given.get("ip_adapter_image"),
        ip_adapter_scale=pieces.prompt_scale(given),
        outpaint=margins,
        denoising_end=pieces.hand_over(given, task, steps, adapters),
        num_frames=frames,
        frame_rate=kinds.rate(given, offer),
        audio_end_in_s=kinds.seconds(given, offer),
        prompt_style=kinds.style(given, offer),
        adapters=adapters,
        adapter_digests=adapting.digests_of(adapters, given, offer),
        is_flow=offer.layout.family == FLOW,
    )


def _images(given: Mapping[str, Any]) -> tuple[int, int]:
    """How many, and the seed of the first."""
    images, seed = whole(given, "num_images_per_prompt", 1, MAX_IMAGES, 1), whole(given, SEED, 0, MAX_SEED)
    if seed + images - 1 > MAX_SEED:
        raise BadInput(f"seed must leave room for {images} images: at most {MAX_SEED - images + 1}", field=SEED)
    return images, seed


def _plain(given: Mapping[str, Any], offer: Offer, form: Form) -> PlainRequest:
    task = given.get("task", PIPELINE)
    if task != PIPELINE:
        raise BadInput(f"task must be {PIPELINE}, or left out, not {shown(task)}", field="task")
    refuse_unknown((name for name in given if name != "task"), inputs_of(form))
    pictures = {name: given[name] for name in PICTURES if name in given}
    for name, picture in pictures.items():
        _size_of(picture, name)
    inputs, (images, seed) = form.checked(given), _images(given)
    said, (width, height) = inputs.get("num_inference_steps"), offer.default_size
    return PlainRequest(
        prompt=_prompt(inputs) if form.fields["prompt"].is_required else inputs["prompt"] or "",
        negative_prompt="",
        num_inference_steps=form.calls * (said if isinstance(said, int) and said > 0 else USUAL_STEPS),
        guidance_scale=None,
        width=width,
        height=height,
        num_images_per_prompt=images,
        seed=seed,
        solver=None,
        task=PIPELINE,
        inputs=inputs,
        **pictures,
    )


def inputs_of(form: Form) -> tuple[str, ...]:
    """The names of a request's inputs for a plain pipeline."""
    return (*form.fields, *ALWAYS)


def steps_left(steps: int, strength: float | None, *, is_flow: bool) -> int:
    """Steps that run at that strength, as diffusers counts them: flow pipelines round up, the others down."""
    if strength is None:
        return steps
    return steps - int(steps - steps * strength) if is_flow else int(steps * strength)


def refuse_unknown(given: Iterable[str], allowed: Sequence[str]) -> None:
    """Raise `UnknownArgument` for the first name of an input that is none of those."""
    for name in given:
        if name not in allowed:
            said = f"there is no input {shown(name)}{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}"
            raise UnknownArgument(said, field=name)


def _prompt(given: Mapping[str, Any]) -> str:
    prompt = text({"prompt": "", **given}, "prompt", MAX_PROMPT)
    if not prompt.strip():
        raise BadInput(f"prompt must have 1 to {MAX_PROMPT} characters, not only blanks", field="prompt")
    return prompt


def _task(given: Mapping[str, Any], offer: Offer) -> str:
    if "mask_image" in given and "image" not in given:
        raise BadInput("mask_image needs an image to fill in", field="image")
    if "strength" in given and "image" not in given:
        raise BadInput("strength needs an image to start from", field="image")
    masks = {"mask_image", "outpaint"} & given.keys()
    implied = INPAINT if masks else IMAGE_TO_IMAGE if "image" in given else offer.text_task
    task = given.get("task", implied)
    if task not in ALL_TASKS:
        raise BadInput(f"task must be one of {', '.join(ALL_TASKS)}, not {shown(task)}", field="task")
    missing = [name for name in NEEDED.get(task, ()) if name not in given and not (name == "mask_image" and masks)]
    if missing:
        raise BadInput(f"task is {task!r}, which needs {' and '.join(missing)} in the input", field="task")
    if task != implied:
        raise BadInput(f"task is {task!r}, but the input is that of {implied!r}", field="task")
    return str(task)


def _solver(given: Mapping[str, Any], preset: PresetSettings, offer: Offer) -> str | None:
    solver = text(given, "solver", 64) if "solver" in given else preset.solver
    if solver is not None:
        solvers.check(solver, offer.layout.scheduler, offer.model)
    return solver


def _steps(given: Mapping[str, Any], preset: PresetSettings, solver: str | None, offer: Offer) -> int:
    most = solvers.max_steps(solver, offer.layout.scheduler)
    return whole(given, "num_inference_steps", 1, most, preset.num_inference_steps)


def _guidance(given: Mapping[str, Any], preset: PresetSettings) -> float | None:
    if "guidance_scale" not in given:
        return preset.guidance_scale
    value = number(given, "guidance_scale", 0.0, MAX_GUIDANCE)
    assert math.isfinite(value)
    return value


def _size(given: Mapping[str, Any], offer: Offer, margins: Mapping[str, int]) -> tuple[int, int]:
    """The size asked for, that of the picture to start from, of the one to follow, or the model's own."""
    if ("width" in given) != ("height" in given):
        raise BadInput("give width and height together, or neither", field="height" if "width" in given else "width")
    picture = next((name for name in ("image", "control_image") if name in given), None)
    default = offer.default_size if picture is None else _size_of(given[picture], picture)
    default = outpaint.widened(default, margins if picture == "image" else {})
    width, height = given.get("width", default[0]), given.get("height", default[1])
    for name, side in (("width", width), ("height", height)):
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise BadInput(f"{name} must be a whole number of pixels, not {shown(side)}", field=name)
    _check_offered(width, height, offer)
    if "image" in given and not offer.looks_at_image:
        _check_picture(given, "image", outpaint.widened((width, height), margins, -1))
    if "control_image" in given:
        _check_picture(given, "control_image", (width, height))
    if "mask_image" in given:
        _check_mask(given, (width, height))
    return width, height


def _check_offered(width: int, height: int, offer: Offer) -> None:
    if offer.is_offered(width, height):
        return
    multiple, sizes = offer.layout.size_multiple, offer.said_near(width, height)
    for name, side in (("width", width), ("height", height)):
        if side % multiple:
            said = f"{name} must be a multiple of {multiple}, not {shown(side)}; {offer.model} offers {sizes}"
            raise SizeNotOffered(said, field=name)
    asked = f"{shown(width)}x{shown(height)}"
    raise SizeNotOffered(f"{offer.model} does not offer {asked}; it offers {sizes}", field="width")


def _check_picture(given: Mapping[str, Any], name: str, size: tuple[int, int]) -> None:
    mine = _size_of(given[name], name)
    if mine != size:
        asked = "the size asked for leaves" if "outpaint" in given and name == "image" else "the size asked for is"
        said = f"{name} is {mine[0]}x{mine[1]} and {asked} {size[0]}x{size[1]}: resize it first"
        raise BadInput(said, field=name)


def _check_mask(given: Mapping[str, Any], size: tuple[int, int]) -> None:
    mask = _size_of(given["mask_image"], "mask_image")
    if mask != size:
        said = f"mask_image is {mask[0]}x{mask[1]}; it must have the image's size, {size[0]}x{size[1]}"
        raise MaskSizeMismatch(said, field="mask_image")


def _size_of(picture: Any, name: str) -> tuple[int, int]:
    size = getattr(picture, "size", None)
    if not isinstance(size, tuple) or len(size) != 2:
        raise BadInput(f"{name} must be a picture, not {type(picture).__name__}", field=name)
    return size


def _strength(given: Mapping[str, Any], task: str, steps: int, offer: Offer) -> float | None:
    if task not in DEFAULT_STRENGTH:
        return None
    strength = number(given, "strength", 0.0, 1.0) if "strength" in given else DEFAULT_STRENGTH[task]
    is_flow = offer.layout.family == FLOW
    if steps_left(steps, strength, is_flow=is_flow) < 1:
        least = 0.01 if is_flow else math.ceil(100 / steps) / 100
        raise BadInput(
            f"strength {strength:g} leaves none of {counted(steps, 'step')} to run; at least {least:g} runs one",
            field="strength",
        )
    return strength
