"""The T2I-Adapter of a model: where it lies, whether it is whole, and whether it fits the denoiser. No torch here.

A T2I-Adapter (Mou et al. 2023, arXiv:2302.08453) reads a control image once, before the first step, and adds what it
makes of it to the first half of the denoiser: cheaper than a ControlNet, which runs with every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, InvalidConfig, NotSupported
from . import weights
from .layout import read_json

FIELD = "t2i_adapter"
KIND, DENOISER = "T2IAdapter", "UNet2DConditionModel"


@dataclass(frozen=True)
class T2iAdapter:
    """What an entry says of its T2I-Adapter: a folder in diffusers' layout, absolute."""

    model: str
    folder: Path
    allow_pickle: bool

    def check(self, denoiser: Mapping[str, Any]) -> None:
        """Raise what is wrong with its files, or how it does not fit that configuration; an empty one is not known.

        `MissingWeights`, `CorruptWeights`, `UnsafeWeights`, `InvalidConfig` or `NotSupported`.
        """
        try:
            config = read_json(self.folder / "config.json")
            weights.check_component(self.folder, allow_pickle=self.allow_pickle)
        except BadInput as error:
            field = FIELD if error.field == "model" else error.field
            raise type(error)(self._said(error.message), field=field) from error
        self._check_kind(config, str(denoiser.get("_class_name", DENOISER)))
        mine, theirs = config.get("channels") or [], denoiser.get("block_out_channels") or []
        if any(one != other for one, other in zip(mine, theirs, strict=False)):  # SDXL's have one more, for the middle
            said = f"it does not fit: its channels are {list(mine)}, and the model's block_out_channels {list(theirs)}"
            raise InvalidConfig(self._said(said), field=FIELD)

    def files(self) -> dict[str, Path]:
        """What decides its pixels, by name."""
        return weights.files_of_component(self.folder)

    def _check_kind(self, config: Mapping[str, Any], denoiser: str) -> None:
        kind = config.get("_class_name")
        if kind != KIND:
            raise NotSupported(self._said(f"{kind} is none that is served; a {KIND} is"), field=FIELD)
        if denoiser != DENOISER:
            raise NotSupported(self._said(f"it is for a {DENOISER}, and the model has a {denoiser}"), field=FIELD)
        if config.get("in_channels", 3) != 3:
            raise NotSupported(
                self._said("adapters of grey pictures are not served, those of three colours are"), field=FIELD
            )

    def _said(self, what: str) -> str:
        return f"models.{self.model}.t2i_adapter: {what}"
