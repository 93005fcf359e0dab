"""The IP-Adapter of a model: where it lies, whether it is whole, and whether it fits the denoiser. No torch here.

An IP-Adapter (Ye et al. 2023, arXiv:2308.06721) lets a picture prompt a UNet beside the text: each cross-attention gets
keys and values of its own for what an image encoder sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, CorruptWeights, InvalidConfig, MissingWeights, NotSupported, UnsafeWeights
from . import weights
from .layout import read_json

FIELD = "ip_adapter"
ENCODER = "image_encoder"  # the folder that diffusers' loader looks for beside the weights
SERVED = "UNet2DConditionModel"
KEY = "ip_adapter.1.to_k_ip.weight"  # of the first cross-attention: [its width, the text's width]
# What reads an image encoder's output; adapters for faces have others, for a face recogniser's.
PROJECTIONS = ("image_proj.proj.weight", "image_proj.proj.3.weight", "image_proj.latents")


@dataclass(frozen=True)
class IpAdapter:
    """What an entry says of its IP-Adapter: a safetensors file, or a folder with one, absolute."""

    model: str
    place: Path

    @property
    def file(self) -> Path:
        """Its weights; raises `MissingWeights`, `UnsafeWeights` or `InvalidConfig` where they are not one file."""
        if not self.place.is_dir():
            found = [self.place] if self.place.is_file() else []
        else:
            found = sorted(self.place.glob("*.safetensors"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InvalidConfig(self._said(f"{self.place} holds several, name one of them: {names}"), field=FIELD)
        if not found:
            raise MissingWeights(self._said(f"{self.place} is no safetensors file and holds none"), field=FIELD)
        if found[0].suffix != ".safetensors":
            raise UnsafeWeights(self._said(f"{found[0]} is no safetensors file"), field=FIELD)
        return found[0]

    @property
    def encoder(self) -> Path:
        """The folder of the image encoder, beside the weights as in diffusers' layout."""
        return self.file.parent / ENCODER

    def check(self, denoiser: Mapping[str, Any]) -> None:
        """Raise what is wrong with its files, or how it does not fit that configuration; an empty one is not known.

        `MissingWeights`, `CorruptWeights`, `UnsafeWeights`, `InvalidConfig` or `NotSupported`.
        """
        kind = str(denoiser.get("_class_name", SERVED))
        if kind != SERVED:
            raise NotSupported(self._said(f"served for a {SERVED} only, and the model has a {kind}"), field=FIELD)
        try:
            weights.check_safetensors(self.file)
            weights.check_component(self.encoder, allow_pickle=False)
            read_json(self.encoder / "config.json")
        except BadInput as error:
            raise type(error)(self._said(error.message), field=FIELD) from error
        self._check_tensors(denoiser)

    def files(self) -> dict[str, Path]:
        """What decides its pixels, by name; `check` has found it here."""
        encoder = weights.files_of_component(self.encoder)
        return {self.file.name: self.file, **{f"{ENCODER}/{name}": path for name, path in encoder.items()}}

    def _check_tensors(self, denoiser: Mapping[str, Any]) -> None:
        from safetensors import safe_open

        with safe_open(self.file, framework="np") as file:
            names = set(file.keys())
            width = file.get_slice(KEY).get_shape()[1] if KEY in names else None
        if width is None:
            raise CorruptWeights(self._said(f"{self.file} holds no IP-Adapter: it has no {KEY}"), field=FIELD)
        if not names & set(PROJECTIONS) or any("lora" in name for name in names):
            raise NotSupported(self._said("adapters for faces (FaceID) are not served"), field=FIELD)
        wanted = denoiser.get("cross_attention_dim")
        if isinstance(wanted, int) and wanted != width:
            said = f"{self.file.name} is for a denoiser with cross_attention_dim {width}, and the model's has {wanted}"
            raise InvalidConfig(self._said(said), field=FIELD)

    def _said(self, what: str) -> str:
        return f"models.{self.model}.ip_adapter: {what}"
