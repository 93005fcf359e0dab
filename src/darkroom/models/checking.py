"""Safety checkers: one attached to a model, one taken away, and what an answer says of its pictures.

diffusers' Stable Diffusion pipelines call a checker themselves where they have one. Other pipelines do not know of such
a thing: theirs is called behind them, in the same request, on the pictures that they answer with.
"""

from __future__ import annotations

import copy
import functools
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from ..errors import ContentRefused, CorruptWeights, MissingWeights, NotSupported

VERDICTS = ("nsfw_content_detected", "nsfw_detected")  # how answers of diffusers' pipelines tell
OWN = "safety_checker"
EXTRACTOR_FOLDER = "feature_extractor"
FAULTS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)


@dataclass(frozen=True)
class Checker:
    """A checker, and what makes pictures ready for it."""

    module: Any
    extractor: Any


def load_checker(folder: Path, dtype: torch.dtype, *, allow_pickle: bool = False) -> Checker:
    """A StableDiffusionSafetyChecker with its CLIPImageProcessor, in diffusers' layout.

    `folder` is one that holds `safety_checker` and `feature_extractor` (a pipeline's own, say), or the checker's with
    the processor's configuration beside its weights. Raises `MissingWeights` or `CorruptWeights`.
    """
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    weights = folder / OWN if (folder / OWN).is_dir() else folder
    processor = folder / EXTRACTOR_FOLDER if (folder / EXTRACTOR_FOLDER).is_dir() else weights
    for needed in (weights / "config.json", processor / "preprocessor_config.json"):
        if not needed.is_file():
            raise MissingWeights(f"the safety checker lacks {needed}", field=OWN)
    try:
        safe = None if allow_pickle else True
        module = StableDiffusionSafetyChecker.from_pretrained(
            weights, dtype=dtype, use_safetensors=safe, local_files_only=True
        )
        extractor = CLIPImageProcessor.from_pretrained(processor, local_files_only=True)
    except FAULTS as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CorruptWeights(f"the safety checker in {folder} cannot be loaded: {text}", field=OWN) from error
    return Checker(module.eval(), extractor)


def calls_its_own(pipe: Any) -> bool:
    """Whether it is a pipeline that calls a checker where it has one."""
    return OWN in inspect.signature(type(pipe).__init__).parameters and hasattr(pipe, "run_safety_checker")


def with_own(pipe: Any, checker: Checker) -> None:
    """Give such a pipeline the checker, in place of one that it may have."""
    pipe.register_modules(safety_checker=checker.module, feature_extractor=checker.extractor)


def has_own(pipe: Any) -> bool:
    """Whether it has one."""
    return getattr(pipe, OWN, None) is not None


def without_own(pipe: Any) -> Any:
    """The pipeline without its checker, over the same components."""
    own = copy.copy(pipe)
    own.__dict__[OWN] = None  # not by setattr: the copies share one configuration, which that would write on
    return own


def followed_by(pipe: Any, checker: Checker) -> Any:
    """A pipeline of another kind with the checker behind it: its answers get `nsfw_content_detected`."""
    kind = type(pipe)

    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = kind.__call__(self, *args, **kwargs)
        pictures = getattr(answer, "images", None)
        if isinstance(pictures, list) and pictures and isinstance(pictures[0], Image.Image):
            found = verdicts(self.content_checker, self.content_extractor, pictures)
            setattr(answer, VERDICTS[0], found)
        return answer

    own = copy.copy(pipe)
    own.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call})
    # Where the engine finds them, hooks the one and takes the other off its thread.
    own.__dict__.update(content_checker=checker.module, content_extractor=checker.extractor)
    return own


@torch.no_grad()
def verdicts(module: Any, extractor: Any, pictures: list[Image.Image]) -> list[bool]:
    """Of each picture whether it may not be handed out; the pictures stay as they are."""
    rgb = [picture.convert("RGB") for picture in pictures]
    pixels = extractor(rgb, return_tensors="pt").pixel_values.to(module.device, module.dtype)
    _, found = module(images=[np.asarray(picture) for picture in rgb], clip_input=pixels)
    return [bool(verdict) for verdict in found]


def check_answer(answer: Any, *, must_tell: bool = False) -> None:
    """Raise `ContentRefused` where a checker has found fault: what it leaves is a black square.

    `must_tell`: raise `NotSupported` where there is not a verdict for each picture, which then may not be handed out.
    """
    said = [found for name in VERDICTS if (found := getattr(answer, name, None)) is not None]
    if any(bool(verdict) for found in said for verdict in found):
        raise ContentRefused("the safety checker refuses a picture that was made; another seed may pass")
    if must_tell and not any(len(found) == len(getattr(answer, "images", ())) for found in said):
        raise NotSupported(
            "the picture is to be checked, and the model's pipeline tells no verdict of its safety checker: it is not "
            "handed out",
            field=OWN,
        )
