"""Digests of nested values: of what they hold, or only of how they look.

Equal in every process. Objects that hold no data of a known kind (callbacks, for one) count by their name alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.weak import WeakTensorKeyDictionary

from .call import Call

BYTES = 16
# What ControlNets hand to a denoiser. A tape answers them with zeros of the same shapes, so their content is not asked.
RESIDUALS = frozenset(
    {
        "down_block_additional_residuals",
        "mid_block_additional_residual",
        "block_controlnet_hidden_states",
        "controlnet_block_samples",
        "controlnet_single_block_samples",
    }
)


def digest_of(value: Any) -> bytes:
    """Of all that it holds: numbers, texts, tensors, arrays, pictures, generators, and nested ones of these."""
    return _hashed(Contents().mark(value))


class Contents:
    """Marks of nested values; a tensor that was not written since it was last seen is not read again."""

    def __init__(self) -> None:
        self._known: Any = WeakTensorKeyDictionary()

    def mark(self, value: Any) -> Any:
        """Something whose `repr` is equal for equal values."""
        if isinstance(value, torch.Tensor):
            return ("tensor", *_looks(value), self._content(value))
        return _mark(value, self.mark)

    def _content(self, tensor: torch.Tensor) -> bytes:
        if tensor.is_inference():  # it keeps no count of what was written
            return content_of(tensor)
        content: bytes
        version, content = self._known.get(tensor, (-1, b""))
        if version != tensor._version:
            content = content_of(tensor)
            self._known[tensor] = (tensor._version, content)
        return content


class Inputs:
    """Digests of one request's calls.

    `by_content` reads every tensor, as only a reproducible request may: anybody else's embeddings and latents have
    other last bits in other company. Then shapes, dtypes and the values of numbers must do.
    """

    def __init__(self, by_content: bool) -> None:
        self._by_content, self._contents = by_content, Contents()

    def digest(self, call: Call) -> bytes:
        """Of its arguments, as they are now."""
        scalars = call.hook.spec.scalars if call.hook.spec is not None else ()
        given: Mapping[str, Any] = call.arguments or {"raw": call.raw}
        return _hashed([(name, self._mark(name, value, name in scalars)) for name, value in given.items()])

    def _mark(self, name: str, value: Any, is_scalar: bool) -> Any:
        if self._by_content and name not in RESIDUALS:
            return self._contents.mark(value)
        # what lies on an accelerator is not fetched only to be looked at
        if is_scalar and isinstance(value, torch.Tensor) and value.device.type == "cpu":
            return ("number", *_looks(value), value.tolist())
        return _shape_mark(value)


def content_of(tensor: torch.Tensor) -> bytes:
    """A digest of its bytes, whatever its strides and device."""
    whole = tensor.detach().cpu().contiguous()
    flat = whole.as_strided((whole.numel(),), (1,))  # a lone element may have come with any stride
    return hashlib.blake2b(flat.view(torch.uint8).numpy().data, digest_size=BYTES).digest()


def _hashed(mark: Any) -> bytes:
    return _digest(repr(mark).encode())


def _looks(tensor: torch.Tensor) -> tuple[Any, ...]:
    return (tuple(tensor.shape), str(tensor.dtype))


def _shape_mark(value: Any) -> Any:
    return ("tensor", *_looks(value)) if isinstance(value, torch.Tensor) else _mark(value, _shape_mark)


def _mark(value: Any, inner: Any) -> Any:
    """`inner` marks what a container holds."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return (type(value).__name__, value)
    if isinstance(value, Mapping):
        return ("dict", sorted((repr(key), inner(each)) for key, each in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [inner(each) for each in value])
    if isinstance(value, Image.Image):
        return ("picture", value.mode, value.size, *map(_digest, _planes(value)))
    if isinstance(value, np.ndarray):
        return ("array", value.shape, str(value.dtype), _digest(value.tobytes()))
    if isinstance(value, torch.Generator):
        return ("generator", value.device.type, content_of(value.get_state()))
    return _name_of(value)


def _planes(picture: Image.Image) -> list[bytes]:
    """Its pixels; with a palette the colours that they stand for, beside their numbers."""
    return [picture.tobytes(), *([picture.convert("RGBA").tobytes()] if picture.mode in ("P", "PA") else [])]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=BYTES).digest()


def _name_of(value: Any) -> Any:
    if isinstance(value, torch.dtype | torch.device | np.generic):
        return (type(value).__name__, str(value))
    named = value if hasattr(value, "__qualname__") else type(value)
    return ("object", named.__module__, named.__qualname__)
