"""The ControlNet of a model: where it lies, whether it is whole, and whether it fits the denoiser. No torch here.

A ControlNet (Zhang et al. 2023, arXiv:2302.05543) is a copy of a denoiser's first half that reads a picture too, and
adds what it makes of it to the denoiser's blocks: so both must have the same widths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, InvalidConfig, MissingWeights, NotSupported
from . import weights
from .layout import read_json, vae_scale

FIELD = "controlnet"
# Which ControlNet a denoiser takes, by class name.
KINDS = {
    "UNet2DConditionModel": "ControlNetModel",
    "FluxTransformer2DModel": "FluxControlNetModel",
    "SD3Transformer2DModel": "SD3ControlNetModel",
}
# What must be the same in both configurations; a ControlNet that leaves one at null does without that part.
WIDTHS = {
    "ControlNetModel": ("block_out_channels", "layers_per_block", "cross_attention_dim"),
    "FluxControlNetModel": (
        *("in_channels", "num_attention_heads", "attention_head_dim"),
        *("joint_attention_dim", "pooled_projection_dim"),
    ),
}
WIDTHS["SD3ControlNetModel"] = WIDTHS["FluxControlNetModel"]
# What a configuration says of one that reads more than a picture.
MORE_INPUTS = {
    "num_mode": "union ControlNets, which must be told a mode,",
    "extra_conditioning_channels": "ControlNets that read a mask too",
}


@dataclass(frozen=True)
class ControlNet:
    """What an entry says of its ControlNet; `place` is an absolute path, or an id on the hub."""

    model: str
    place: str
    revision: str | None
    allow_pickle: bool

    @property
    def is_hub(self) -> bool:
        """Whether it comes from the hub."""
        return not Path(self.place).is_absolute()

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        return f"{self.place}@{self.revision}" if self.revision else self.place

    @property
    def folder(self) -> Path | None:
        """Where it lies; None for one of the hub that is not downloaded yet."""
        return weights.snapshot_of(self.place, self.revision, "config.json") if self.is_hub else Path(self.place)

    def check(self, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
        """Raise what is wrong with its files, or how it does not fit these configurations; empty ones are not known.

        `MissingWeights`, `CorruptWeights`, `UnsafeWeights`, `InvalidConfig` or `NotSupported`.
        """
        folder = self.folder
        if folder is None:
            said = f"the ControlNet {self.origin} is not downloaded yet: its first use downloads it"
            raise MissingWeights(said, field=FIELD)
        if not folder.is_dir():
            raise MissingWeights(
                f"the ControlNet of {self.model}: no folder {folder}; one of the hub needs controlnet_revision",
                field=FIELD,
            )
        try:
            config = read_json(folder / "config.json")
            weights.check_component(folder, allow_pickle=self.allow_pickle)
        except BadInput as error:
            field = FIELD if error.field == "model" else error.field
            raise type(error)(f"the ControlNet of {self.model}: {error.message}", field=field) from error
        self.check_fit(config, denoiser, vae)

    def files(self) -> dict[str, Path]:
        """What decides its pixels, by name; `check` has found it here."""
        assert self.folder is not None
        return weights.files_of_component(self.folder)

    def check_fit(self, control: Mapping[str, Any], denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
        """Raise `InvalidConfig` where the configurations do not go together, `NotSupported` for other kinds of them."""
        kind = self.kind_of(control)
        wanted = KINDS.get(str(denoiser.get("_class_name", "")), kind if not denoiser else "")
        if not wanted:
            said = f"ControlNets for {denoiser.get('_class_name')} do not exist yet; for {', '.join(KINDS)} they do"
            raise NotSupported(f"models.{self.model}.controlnet: {said}", field=FIELD)
        if kind != wanted:
            raise self._misfit(f"it is a {kind}, and the model's {denoiser['_class_name']} takes a {wanted}")
        for name in WIDTHS[kind]:
            self._check_same(name, control.get(name), name, denoiser.get(name))
        if kind == "ControlNetModel":
            self._check_same("in_channels", control.get("in_channels"), "latent_channels", vae.get("latent_channels"))
            self._check_scale(control, vae)

    def kind_of(self, control: Mapping[str, Any]) -> str:
        """Its class's name; raises `NotSupported` for one that cannot be served."""
        kind = str(control.get("_class_name", ""))
        if kind not in WIDTHS:
            said = f"{kind or 'a folder without _class_name in config.json'} is none that is served"
            raise NotSupported(f"models.{self.model}.controlnet: {said}; {', '.join(WIDTHS)} are", field=FIELD)
        for name, what in MORE_INPUTS.items():
            if control.get(name):
                raise NotSupported(f"models.{self.model}.controlnet: {what} are not served", field=FIELD)
        return kind

    def _check_scale(self, control: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
        """A control picture is made as small as the latents."""
        widths = control.get("conditioning_embedding_out_channels")
        if not widths or not vae:
            return
        mine, scale = 1 << (len(widths) - 1), vae_scale(vae)
        if mine != scale:
            said = f"conditioning_embedding_out_channels {list(widths)} make a picture {mine} times smaller"
            raise self._misfit(f"its {said}, and the model's latents are {scale} times smaller")

    def _check_same(self, name: str, mine: Any, their_name: str, theirs: Any) -> None:
        mine, theirs = _plain(mine), _plain(theirs)
        if mine is not None and theirs is not None and mine != theirs:
            raise self._misfit(f"its {name} is {mine}, and the model's {their_name} is {theirs}")

    def _misfit(self, why: str) -> InvalidConfig:
        said = f"models.{self.model}.controlnet: {self.origin} does not fit the model's denoiser: {why}"
        return InvalidConfig(said, field=FIELD)


def _plain(value: Any) -> Any:
    """JSON lists and tuples alike; a width for all blocks is written once, or once a block."""
    if not isinstance(value, list | tuple):
        return value
    return value[0] if len(set(map(str, value))) == 1 else list(value)
