"""`darkroom generate`: from words to PNG, MP4 or WAV files, without a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import BadInput
from .start import ConfigOption, JsonOption

FramesOption = Annotated[
    int | None, typer.Option("--frames", help="Frames of a video; the model's own if left out.", show_default=False)
]
RateOption = Annotated[
    float | None, typer.Option("--fps", help="Frames a second; the model's own if left out.", show_default=False)
]
ControlImageOption = Annotated[
    Path | None, typer.Option("--control-image", help="A picture for the ControlNet to follow.", show_default=False)
]
ControlScaleOption = Annotated[
    float | None, typer.Option("--control-scale", help="How closely, 0 to 2; 1 if left out.", show_default=False)
]
PromptImageOption = Annotated[
    Path | None, typer.Option("--ip-adapter-image", help="A picture that prompts beside the words.", show_default=False)
]
PromptScaleOption = Annotated[
    float | None,
    typer.Option("--ip-adapter-scale", help="How much it counts, 0 to 2; 1 if left out.", show_default=False),
]
HandOverOption = Annotated[
    float | None, typer.Option("--denoising-end", help="Share of the steps before the refiner.", show_default=False)
]


LikeOption = Annotated[Path | None, typer.Option(help="Repeat this file; other flags override.", show_default=False)]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", help="NAME=VALUE of a plain pipeline's own input; may be given again.", show_default=False),
]
SecondsOption = Annotated[
    float | None, typer.Option("--seconds", help="How long a sound is; the longest if left out.", show_default=False)
]
WeightedOption = Annotated[
    bool, typer.Option("--weighted", help="Read (word:1.3) as a weight, and long prompts to their end.")
]


@dataclass(frozen=True)
class Pictures:
    """Files of the pictures that it is made from, named as inputs are."""

    image: Path | None = None
    mask_image: Path | None = None
    control_image: Path | None = None
    ip_adapter_image: Path | None = None


@dataclass(frozen=True)
class Wish:
    """What the command line said; `None` is what it left out."""

    prompts: tuple[str, ...]
    output: Path | None
    inputs: dict[str, Any]
    model: str | None
    images: int
    pictures: Pictures
    like: Path | None
    config: Path | None
    own: dict[str, str]  # inputs of a plain pipeline, as they were written


def generate(  # budget: a line for each flag
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="What to draw; each argument is one prompt, so quote it.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A PNG file, of a video MP4, of a sound WAV; several become NAME-0.png and so on.",
            show_default="out.png, .mp4 or .wav",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name, or a path to one.", show_default=False)] = None,
    negative: Annotated[str | None, typer.Option(help="What not to draw.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.", show_default=False)] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale, 0 to 50.", show_default=False)] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels.", show_default=False)] = None,
    seed: Annotated[
        int | None, typer.Option(help="0 to 2^63-1; drawn and told if left out.", show_default=False)
    ] = None,
    solver: Annotated[str | None, typer.Option(help="How the noise is solved for.", show_default=False)] = None,
    images: Annotated[int, typer.Option(help="Images for each prompt, 1 to 16; image k has seed + k.")] = 1,
    preset: Annotated[str | None, typer.Option(help="fast, quality or another one.", show_default=False)] = None,
    init_image: Annotated[Path | None, typer.Option(help="A picture to start from.", show_default=False)] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far to leave that picture, 0 to 1.", show_default=False)
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="White where it is to be redrawn.", show_default=False)] = None,
    control_image: ControlImageOption = None,
    control_scale: ControlScaleOption = None,
    ip_adapter_image: PromptImageOption = None,
    ip_adapter_scale: PromptScaleOption = None,
    outpaint: Annotated[
        str | None, typer.Option(help="Margins to paint: left=PIXELS,right=PIXELS,...", show_default=False)
    ] = None,
    denoising_end: HandOverOption = None,
    adapter: Annotated[
        list[str] | None, typer.Option(help="NAME=WEIGHT of a LoRA; may be given again.", show_default=False)
    ] = None,
    like: LikeOption = None,
    own_input: InputOption = None,
    frames: FramesOption = None,
    fps: RateOption = None,
    seconds: SecondsOption = None,
    is_weighted: WeightedOption = False,
    prompts_file: Annotated[Path | None, typer.Option(help="One prompt a line.", show_default=False)] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make images from words, the same pixels for the same settings and seed."""
    inputs = {
        "negative_prompt": negative,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "solver": solver,
        "preset": preset,
        "strength": strength,
        "controlnet_conditioning_scale": control_scale,
        "ip_adapter_scale": ip_adapter_scale,
        "outpaint": parse_margins(outpaint),
        "denoising_end": denoising_end,
        "num_frames": frames,
        "frame_rate": fps,
        "audio_end_in_s": seconds,
        "prompt_style": "weighted" if is_weighted else None,
        "adapters": parse_adapters(adapter),
        **parse_size(size),
    }
    given = {name: value for name, value in inputs.items() if value is not None}
    prompts = _prompts(prompt or [], prompts_file, has_like=like is not None)
    pictures, own = Pictures(init_image, mask, control_image, ip_adapter_image), parse_inputs(own_input)
    wish = Wish(prompts, output, given, model, images, pictures, like, config, own)
    from .making import plan

    ready = plan(wish)
    from .running import make  # brings torch: what is refused is refused without waiting for it

    make(ready, as_json=as_json)


def parse_adapters(words: list[str] | None) -> dict[str, float] | None:
    """`NAME=WEIGHT` words as weights by name; None where nothing was said."""
    weights: dict[str, float] = {}
    for word in words or ():
        name, _, said = word.partition("=")
        try:
            weight = float(said)
        except ValueError:
            raise BadInput(f"adapter must be NAME=WEIGHT, such as neon=0.8, not {word!r}", field="adapters") from None
        if not name or name in weights:
            raise BadInput(f"adapter must name each adapter once, not {word!r}", field="adapters")
        weights[name] = weight
    return weights or None


def parse_margins(said: str | None) -> dict[str, int] | None:
    """`left=64,top=32` as margins by side; None where nothing was said."""
    if said is None:
        return None
    pairs = [word.partition("=") for word in said.split(",")]
    if not all(pixels.strip().isdecimal() for _, _, pixels in pairs):
        raise BadInput(f"outpaint must be SIDE=PIXELS, such as left=64,right=64, not {said!r}", field="outpaint")
    return {side.strip(): int(pixels) for side, _, pixels in pairs}


def parse_inputs(words: list[str] | None) -> dict[str, str]:
    """`NAME=VALUE` words as texts by name."""
    said: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals) or name in said:
            raise BadInput(f"input must be NAME=VALUE, each name once, not {word!r}", field="--input")
        said[name] = value
    return said


def parse_size(text: str | None) -> dict[str, int]:
    """`WIDTHxHEIGHT` as inputs; nothing where nothing was said."""
    if text is None:
        return {}
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise BadInput(f"size must be WIDTHxHEIGHT in pixels, such as 256x256, not {text!r}", field="size")
    return {"width": int(width), "height": int(height)}


def _prompts(words: list[str], file: Path | None, *, has_like: bool) -> tuple[str, ...]:
    """The prompts in order; none only where a picture to repeat brings its own."""
    if file is not None and words:
        raise BadInput("give prompts either as arguments or in a file, not both", field="prompts_file")
    prompts = tuple(words) if file is None else _lines(file)
    if not prompts and not has_like:
        raise BadInput("say what to draw: a prompt of 1 to 2000 characters", field="prompt")
    return prompts


def _lines(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", field="prompts_file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 text", field="prompts_file") from error
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise BadInput(f"{file} holds no prompt; write one a line", field="prompts_file")
    return lines
