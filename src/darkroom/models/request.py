"""The door: what a caller asks of a model, as a request that can be run, or a refusal that says what is allowed.

Names are diffusers'. Nothing is corrected on the way: a value is taken as it is, or refused. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import PresetSettings
from ..errors import BadInput, MaskSizeMismatch, NotSupported, SizeNotOffered, UnknownArgument
from ..storage.encoding import PICTURES as OF_PICTURES
from ..storage.encoding import SOUNDS, VIDEOS
from ..wording import counted, did_you_mean
from . import adapting, solvers, weighting
from .media import MOST_FRAMES, RATES, SHORTEST_S
from .offer import ALL_TASKS, IMAGE_TO_IMAGE, INPAINT, Offer

MAX_PROMPT = 2000  # characters
MAX_GUIDANCE = 50.0
MAX_SEED = 2**63 - 1
MAX_IMAGES = 16
NEEDED = {IMAGE_TO_IMAGE: ("image",), INPAINT: ("image", "mask_image")}
DEFAULT_STRENGTH = {IMAGE_TO_IMAGE: 0.8, INPAINT: 1.0}  # diffusers' own
MAX_CONTROL_SCALE = 2.0
DEFAULT_CONTROL_SCALE = 1.0  # diffusers' own
INPUTS = (
    "prompt",
    "negative_prompt",
    "prompt_style",
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
    "num_frames",
    "frame_rate",
    "audio_end_in_s",
    "adapters",
    "adapter_digests",
)
OF_VIDEOS, OF_SOUNDS, OF_SIGHT = ("num_frames", "frame_rate"), ("audio_end_in_s",), ("width", "height")
PICTURES = ("image", "mask_image", "control_image")
NOT_RECORDED = {"num_images_per_prompt", "preset", "task", *PICTURES, "adapter_digests"}


@dataclass(frozen=True)
class ImageRequest:
    """A request within a model's bounds; `guidance_scale` None is the pipeline's own, `solver` None the model's.

    Image k of it uses `seed + k`. `image`, `mask_image` and `control_image` are PIL images of `width` by `height`
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
    num_frames: int | None = None
    frame_rate: float | None = None
    audio_end_in_s: float | None = None
    prompt_style: str | None = None
    adapters: Mapping[str, float] = field(default_factory=dict)
    adapter_digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def steps_to_run(self) -> int:
        """Denoising steps that will run: an image to start from leaves out the first ones."""
        return steps_left(self.num_inference_steps, self.strength)

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


def validate(inputs: Mapping[str, Any], offer: Offer, base: PresetSettings | None = None) -> ImageRequest:
    """A request from what a caller gave, `None` being the same as not given; `seed` must be given.

    `base` stands in for the model's default preset where a picture's own settings are repeated.
    Raises `BadInput` or one of its kind, with `field` and what is allowed.
    """
    given = {name: value for name, value in inputs.items() if value is not None}
    _refuse_unknown(given)
    preset = offer.preset(_text(given, "preset", 64)) if "preset" in given else base or offer.preset(None)
    task = _task(given, offer)
    solver = _solver(given, preset, offer)
    steps = _steps(given, preset, solver, offer)
    check_control(given, offer)
    offer.check_task(task, is_controlled="control_image" in given)
    _check_kind(given, offer)
    width, height = (None, None) if offer.layout.longest_s else _size(given, offer)
    adapters = adapting.weights_of(given, preset, offer)
    images, seed = _whole(given, "num_images_per_prompt", 1, MAX_IMAGES, 1), _whole(given, "seed", 0, MAX_SEED)
    if seed + images - 1 > MAX_SEED:
        raise BadInput(f"seed must leave room for {images} images: at most {MAX_SEED - images + 1}", field="seed")
    negative = _text(given, "negative_prompt", MAX_PROMPT, least=0) if "negative_prompt" in given else ""
    guidance = _guidance(given, preset)
    offer.check_taken(task, negative, guidance, is_controlled="control_image" in given)
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
        strength=_strength(given, task, steps),
        control_image=given.get("control_image"),
        controlnet_conditioning_scale=_control_scale(given),
        num_frames=_frames(given, offer),
        frame_rate=_rate(given, offer),
        audio_end_in_s=_seconds(given, offer),
        prompt_style=_style(given, offer),
        adapters=adapters,
        adapter_digests=adapting.digests_of(adapters, given, offer),
    )


def check_control(inputs: Mapping[str, Any], offer: Offer) -> None:
    """Raise `NotSupported` where a control image is given and the model has nothing that reads one."""
    if inputs.get("control_image") is not None and not offer.has_controlnet:
        said = f"{offer.model} has no ControlNet to read a control image: `controlnet` in [models.{offer.model}] of "
        raise NotSupported(f"{said}darkroom.toml names one", field="control_image")


def steps_left(steps: int, strength: float | None) -> int:
    """Steps that run at that strength, as diffusers counts them."""
    return steps if strength is None else min(int(steps * strength), steps)


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in INPUTS:
            raise unknown_input(str(name), INPUTS)


def unknown_input(name: str, allowed: Sequence[str]) -> UnknownArgument:
    """The refusal of an input that is none of those."""
    said = f"there is no input {_shown(name)}{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}"
    return UnknownArgument(said, field=name)


def _text(given: Mapping[str, Any], name: str, most: int, least: int = 1) -> str:
    value = given[name]
    if not isinstance(value, str):
        raise BadInput(f"{name} must be text, not {type(value).__name__}", field=name)
    if not least <= len(value) <= most:
        raise BadInput(f"{name} must have {least} to {most} characters, not {len(value)}", field=name)
    if not _is_unicode(value):
        raise BadInput(f"{name} must be valid Unicode text", field=name)
    return value


def _is_unicode(text: str) -> bool:
    """Half a surrogate pair gets into a str, and into no tokenizer."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _prompt(given: Mapping[str, Any]) -> str:
    prompt = _text({"prompt": "", **given}, "prompt", MAX_PROMPT)
    if not prompt.strip():
        raise BadInput(f"prompt must have 1 to {MAX_PROMPT} characters, not only blanks", field="prompt")
    return prompt


def _whole(given: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadInput(f"{name} must be a whole number from {low} to {high}, not {_shown(value)}", field=name)
    return value


def _number(given: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{name} must be a finite number from {low:g} to {high:g}, not {_shown(value)}", field=name)
    return float(value)


def _shown(value: Any) -> str:
    """What was given, short enough for one line; Python refuses to print very long numbers at all."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _task(given: Mapping[str, Any], offer: Offer) -> str:
    if "mask_image" in given and "image" not in given:
        raise BadInput("mask_image needs an image to fill in", field="image")
    if "strength" in given and "image" not in given:
        raise BadInput("strength needs an image to start from", field="image")
    implied = INPAINT if "mask_image" in given else IMAGE_TO_IMAGE if "image" in given else offer.text_task
    task = given.get("task", implied)
    if task not in ALL_TASKS:
        raise BadInput(f"task must be one of {', '.join(ALL_TASKS)}, not {_shown(task)}", field="task")
    missing = [name for name in NEEDED.get(task, ()) if name not in given]
    if missing:
        raise BadInput(f"task is {task!r}, which needs {' and '.join(missing)} in the input", field="task")
    if task != implied:
        raise BadInput(f"task is {task!r}, but the input is that of {implied!r}", field="task")
    return str(task)


def _solver(given: Mapping[str, Any], preset: PresetSettings, offer: Offer) -> str | None:
    solver = _text(given, "solver", 64) if "solver" in given else preset.solver
    if solver is not None:
        solvers.check(solver, offer.layout.scheduler, offer.model)
    return solver


def _steps(given: Mapping[str, Any], preset: PresetSettings, solver: str | None, offer: Offer) -> int:
    most = solvers.max_steps(solver, offer.layout.scheduler)
    return _whole(given, "num_inference_steps", 1, most, preset.num_inference_steps)


def _guidance(given: Mapping[str, Any], preset: PresetSettings) -> float | None:
    if "guidance_scale" not in given:
        return preset.guidance_scale
    value = _number(given, "guidance_scale", 0.0, MAX_GUIDANCE)
    assert math.isfinite(value)
    return value


def _size(given: Mapping[str, Any], offer: Offer) -> tuple[int, int]:
    """The size asked for, that of the picture to start from, of the one to follow, or the model's own."""
    if ("width" in given) != ("height" in given):
        raise BadInput("give width and height together, or neither", field="height" if "width" in given else "width")
    picture = next((name for name in ("image", "control_image") if name in given), None)
    default = offer.default_size if picture is None else _size_of(given[picture], picture)
    width, height = given.get("width", default[0]), given.get("height", default[1])
    for name, side in (("width", width), ("height", height)):
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise BadInput(f"{name} must be a whole number of pixels, not {_shown(side)}", field=name)
    _check_offered(width, height, offer)
    _check_pictures(given, (width, height))
    return width, height


def _check_offered(width: int, height: int, offer: Offer) -> None:
    if offer.is_offered(width, height):
        return
    multiple, sizes = offer.layout.size_multiple, offer.said_near(width, height)
    for name, side in (("width", width), ("height", height)):
        if side % multiple:
            said = f"{name} must be a multiple of {multiple}, not {_shown(side)}; {offer.model} offers {sizes}"
            raise SizeNotOffered(said, field=name)
    asked = f"{_shown(width)}x{_shown(height)}"
    raise SizeNotOffered(f"{offer.model} does not offer {asked}; it offers {sizes}", field="width")


def _check_pictures(given: Mapping[str, Any], size: tuple[int, int]) -> None:
    for name in ("image", "control_image"):
        width, height = _size_of(given[name], name) if name in given else size
        if (width, height) != size:
            wanted = f"{size[0]}x{size[1]}"
            said = f"{name} is {width}x{height} and the size asked for is {wanted}: resize it first"
            raise BadInput(said, field=name)
    if "mask_image" in given:
        mask = _size_of(given["mask_image"], "mask_image")
        if mask != size:
            said = f"mask_image is {mask[0]}x{mask[1]}; it must have the image's size, {size[0]}x{size[1]}"
            raise MaskSizeMismatch(said, field="mask_image")


def _control_scale(given: Mapping[str, Any]) -> float | None:
    name, has_image = "controlnet_conditioning_scale", "control_image" in given
    if name not in given:
        return DEFAULT_CONTROL_SCALE if has_image else None
    if not has_image:
        raise BadInput(f"{name} needs a control_image to follow", field="control_image")
    return _number(given, name, 0.0, MAX_CONTROL_SCALE)


def _style(given: Mapping[str, Any], offer: Offer) -> str | None:
    style = given.get("prompt_style", weighting.PLAIN)
    if style not in weighting.STYLES:
        said = f"prompt_style must be one of {', '.join(weighting.STYLES)}, not {_shown(style)}"
        raise BadInput(said, field="prompt_style")
    if style == weighting.PLAIN:
        return None
    weighting.check_pipeline(offer.layout.pipeline, offer.model)
    for name in ("prompt", "negative_prompt"):
        weighting.fragments_of(given.get(name, ""), name)
    return weighting.WEIGHTED


def _check_kind(given: Mapping[str, Any], offer: Offer) -> None:
    """Raise `UnknownArgument` for what another kind of model takes: of videos, of sounds, of what can be seen."""
    is_sound = offer.layout.longest_s is not None
    kinds = ((OF_VIDEOS, "videos", offer.moving), (OF_SOUNDS, "sounds", is_sound), (OF_SIGHT, "pictures", not is_sound))
    for names, kind, is_made in kinds:
        for name in names:
            if name in given and not is_made:
                said = f"{offer.model} ({offer.layout.pipeline}) makes no {kind} and takes no {name}; leave it out"
                raise UnknownArgument(said, field=name)


def _seconds(given: Mapping[str, Any], offer: Offer) -> float | None:
    longest = offer.layout.longest_s
    if longest is None:
        return None
    return _number(given, "audio_end_in_s", SHORTEST_S, longest) if "audio_end_in_s" in given else longest


def _frames(given: Mapping[str, Any], offer: Offer) -> int | None:
    if offer.moving is None:
        return None
    frames, step = _whole(given, "num_frames", 1, MOST_FRAMES, offer.moving.frames), offer.layout.frame_step
    if (frames - 1) % step:
        below = frames - (frames - 1) % step
        near = below if below + step > MOST_FRAMES else f"{below} or {below + step}"
        said = f"num_frames must be 1 more than a multiple of {step} for {offer.model}, such as {near}, not {frames}"
        raise BadInput(said, field="num_frames")
    return frames


def _rate(given: Mapping[str, Any], offer: Offer) -> float | None:
    if offer.moving is None:
        return None
    return _number(given, "frame_rate", *RATES) if "frame_rate" in given else offer.moving.rate


def _size_of(picture: Any, name: str) -> tuple[int, int]:
    size = getattr(picture, "size", None)
    if not isinstance(size, tuple) or len(size) != 2:
        raise BadInput(f"{name} must be a picture, not {type(picture).__name__}", field=name)
    return size


def _strength(given: Mapping[str, Any], task: str, steps: int) -> float | None:
    if task not in DEFAULT_STRENGTH:
        return None
    strength = _number(given, "strength", 0.0, 1.0) if "strength" in given else DEFAULT_STRENGTH[task]
    if steps_left(steps, strength) < 1:
        least = math.ceil(100 / steps) / 100
        raise BadInput(
            f"strength {strength:g} leaves none of {counted(steps, 'step')} to run; at least {least:g} runs one",
            field="strength",
        )
    return strength
