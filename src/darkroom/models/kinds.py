"""Inputs that only some kinds of models take: of videos, of sounds, of words that weigh. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import BadInput, UnknownArgument
from . import weighting
from .media import MOST_CLIPS, MOST_FRAMES, RATES, SHORTEST_S
from .offer import Offer
from .values import number, shown, whole

OF_VIDEOS, OF_SOUNDS, OF_SIGHT = ("num_frames", "frame_rate"), ("audio_end_in_s",), ("width", "height")


def style(given: Mapping[str, Any], offer: Offer) -> str | None:
    """How its texts are read; None as they stand."""
    style = given.get("prompt_style", weighting.PLAIN)
    if style not in weighting.STYLES:
        said = f"prompt_style must be one of {', '.join(weighting.STYLES)}, not {shown(style)}"
        raise BadInput(said, field="prompt_style")
    if style == weighting.PLAIN:
        return None
    weighting.check_pipeline(offer.layout.pipeline, offer.model)
    for name in ("prompt", "negative_prompt"):
        weighting.fragments_of(given.get(name, ""), name)
    return weighting.WEIGHTED


def check_kind(given: Mapping[str, Any], offer: Offer) -> None:
    """Raise `UnknownArgument` for what another kind of model takes: of videos, of sounds, of what can be seen."""
    is_sound = offer.layout.longest_s is not None
    kinds = ((OF_VIDEOS, "videos", offer.moving), (OF_SOUNDS, "sounds", is_sound), (OF_SIGHT, "pictures", not is_sound))
    for names, kind, is_made in kinds:
        for name in names:
            if name in given and not is_made:
                said = f"{offer.model} ({offer.layout.pipeline}) makes no {kind} and takes no {name}; leave it out"
                raise UnknownArgument(said, field=name)


def seconds(given: Mapping[str, Any], offer: Offer) -> float | None:
    """Where a sound ends; None for what is none."""
    longest = offer.layout.longest_s
    if longest is None:
        return None
    return number(given, "audio_end_in_s", SHORTEST_S, longest) if "audio_end_in_s" in given else longest


def frames(given: Mapping[str, Any], offer: Offer) -> int | None:
    """How many a video has; None for what is none."""
    if offer.moving is None:
        return None
    frames, step = whole(given, "num_frames", 1, MOST_FRAMES, offer.moving.frames), offer.layout.frame_step
    if (frames - 1) % step:
        below = frames - (frames - 1) % step
        near = below if below + step > MOST_FRAMES else f"{below} or {below + step}"
        said = f"num_frames must be 1 more than a multiple of {step} for {offer.model}, such as {near}, not {frames}"
        raise BadInput(said, field="num_frames")
    return frames


def check_amount(size: tuple[int | None, int | None], frames: int | None, images: int, offer: Offer) -> None:
    """Raise `BadInput` for more pixels of videos than one request may have."""
    width, height = size
    if frames is None or offer.moving is None or width is None or height is None:
        return
    own = max(math.prod(offer.moving.size), math.prod(offer.default_size)) * offer.moving.frames
    most, asked = MOST_CLIPS * own, width * height * frames * images
    if asked > most:
        of_these = f" for {images} videos" if images > 1 else ""
        said = f"num_frames: {frames} frames of {width}x{height}{of_these} are {asked} pixels, and {offer.model} makes"
        raise BadInput(f"{said} at most {most} in a request; ask for a smaller size, or less", field="num_frames")


def rate(given: Mapping[str, Any], offer: Offer) -> float | None:
    """Frames a second of a video; None for what is none."""
    if offer.moving is None:
        return None
    return number(given, "frame_rate", *RATES) if "frame_rate" in given else offer.moving.rate
