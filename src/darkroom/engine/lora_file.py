"""Reads LoRA files in any format that the pipeline's own `lora_state_dict` understands (diffusers, peft, kohya)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from .. import errors
from .adapters import Adapter, Factors, Part, digest_of
from .lora_names import check_names, find_file
from .resting import device_of

SHOWN = 12  # digits of a digest
EIGHT_BITS = frozenset({torch.float8_e4m3fn, torch.float8_e5m2})  # storage: layers compute in another dtype


def read_adapter(
    pipe: Any, path: str | Path, modules: Mapping[str, torch.nn.Module], expected: str | None = None
) -> Adapter:
    """An adapter for `pipe`, whose components are `modules`, in their layers' dtype and on their device.

    `expected` is the SHA-256 (hex) that the file must have: `CorruptWeights` where it has another.

    Raises `MissingWeights`, `CorruptWeights`, `UnsafeWeights`, `NotSupported`, and `BadInput` where it does not fit.
    """
    file = find_file(path)
    if not hasattr(type(pipe), "lora_state_dict"):
        raise errors.NotSupported(f"{type(pipe).__name__} takes no adapters", field="adapters")
    digest, factors = digest_of(file), dict[str, dict[str, Factors]]()
    if expected is not None and digest != expected:
        said = (
            f"{file.name!r} is not the file that was meant: its SHA-256 is {digest[:SHOWN]}…, not {expected[:SHOWN]}…"
        )
        raise errors.CorruptWeights(said, field="path")
    _check_kind(file)
    for component, path_, one in _factors(pipe, file, modules):
        factors.setdefault(component, {})[path_] = one
    if not factors:
        known = ", ".join(type(pipe)._lora_loadable_modules)
        said = f"{file.name!r} holds nothing for {type(pipe).__name__}"
        raise errors.BadInput(f"{said}: its names must begin with one of {known}", field="path")
    return Adapter(digest, {component: Part(digest, layers) for component, layers in factors.items()})


def _check_kind(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            keys = list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise errors.CorruptWeights(f"{file.name!r} cannot be read: {error}", field="path") from None
    check_names(keys, repr(file.name))


def _factors(pipe: Any, file: Path, modules: Mapping[str, torch.nn.Module]) -> Iterator[tuple[str, str, Factors]]:
    state, alphas, metadata = _read(pipe, file)
    for component in type(pipe)._lora_loadable_modules:
        own = {
            key.removeprefix(f"{component}."): value for key, value in state.items() if key.startswith(f"{component}.")
        }
        module = modules.get(component)
        if own and module is None:
            raise errors.BadInput(f"{file.name!r} is for a {component}, and the model has none", field="path")
        if own and module is not None:
            said = {key.removeprefix(f"{component}."): value for key, value in metadata.items()}
            scaled = _scaled(own, {key.removeprefix(f"{component}."): value for key, value in alphas.items()})
            for path, down, up in _pairs(_named_as_peft(component, scaled, module), file):
                factor = 1.0 if alphas else _factor_by_metadata(said, path, down.shape[0])
                yield component, path, _fitted(module, f"{component}.{path}", path, down, up * factor)


def _read(pipe: Any, file: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, float], Mapping[str, Any]]:
    """Its tensors, its alphas (kohya) and what it says of itself (peft)."""
    unet = getattr(pipe, "unet", None)
    more = {} if unet is None else {"unet_config": unet.config}
    found = type(pipe).lora_state_dict(str(file), local_files_only=True, return_lora_metadata=True, **more)
    state, alphas, metadata = found if len(found) == 3 else (found[0], None, found[1])
    return state, alphas or {}, metadata or {}


def _scaled(state: Mapping[str, torch.Tensor], alphas: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """With alpha / rank folded into the down factors, in float32."""
    scaled = {}
    for key, value in state.items():
        name = key.split(".lora.")[0] if ".lora." in key else key
        alpha = alphas.get(f"{name}.alpha", alphas.get(f"{key}.alpha"))
        is_down = "down" in key.rsplit(".", 2)[-2] or "lora_A" in key
        scaled[key] = value.float() * (float(alpha) / value.shape[0] if is_down and alpha is not None else 1.0)
    return scaled


def _named_as_peft(component: str, state: dict[str, torch.Tensor], module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """`<layer>.lora_A.weight` and `<layer>.lora_B.weight`, as diffusers' own loaders rename them."""
    from diffusers.utils.state_dict_utils import (
        convert_state_dict_to_diffusers,
        convert_state_dict_to_peft,
        convert_unet_state_dict_to_peft,
    )

    if not component.startswith("text_encoder"):
        return state if "lora_A" in next(iter(state)) else dict(convert_unet_state_dict_to_peft(state))
    named = dict(convert_state_dict_to_peft(convert_state_dict_to_diffusers(state)))
    if hasattr(module, "text_model"):
        return named
    return {key.removeprefix("text_model."): value for key, value in named.items()}


def _pairs(state: Mapping[str, torch.Tensor], file: Path) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    paths = dict.fromkeys(key.split(".lora_")[0] for key in state)
    for path in paths:
        down, up = state.get(f"{path}.lora_A.weight"), state.get(f"{path}.lora_B.weight")
        if down is None or up is None:
            raise errors.NotSupported(f"{file.name!r}: {path!r} has not the two factors of a LoRA", field="path")
        yield path, down, up.flatten(1)


def _factor_by_metadata(said: Mapping[str, Any], path: str, rank: int) -> float:
    """alpha / rank as peft wrote it; 1 where nothing is said."""
    if "lora_alpha" not in said:
        return 1.0
    alpha = next(_alphas_by_pattern(said.get("alpha_pattern") or {}, path), said["lora_alpha"])
    return float(alpha / rank**0.5 if said.get("use_rslora") else alpha / rank)


def _alphas_by_pattern(patterns: Mapping[str, float], path: str) -> Iterator[float]:
    """Those of the expressions that match the end of a path from a dot on, as peft matches them."""
    for pattern, alpha in patterns.items():
        try:
            is_match = re.match(rf"(.*\.)?({pattern})$", path) is not None
        except re.error:
            raise errors.BadInput(f"alpha_pattern holds {pattern!r}, no regular expression", field="path") from None
        if is_match:
            yield alpha


def _fitted(module: torch.nn.Module, name: str, path: str, down: torch.Tensor, up: torch.Tensor) -> Factors:
    """In the layer's dtype, on its device; raises `BadInput` where there is none, or one of another shape."""
    try:
        layer = module.get_submodule(path)
    except AttributeError:
        raise errors.BadInput(f"the adapter is for another model: there is no layer {name}", field="path") from None
    if not _can_adapt(layer):
        said = "only Linear and Conv2d (one group, padded with zeros) take adapters"
        raise errors.NotSupported(f"{name} is a {type(layer).__name__}: {said}", field="path")
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    is_fitting = down.shape[1:] == weight.shape[1:] and up.shape == (weight.shape[0], down.shape[0])
    if not is_fitting:
        shapes = f"{name} is {tuple(weight.shape)}, its factors are {tuple(down.shape)} and {tuple(up.shape)}"
        raise errors.BadInput(f"the adapter is for another model: {shapes}", field="path")
    if weight.dtype in EIGHT_BITS:
        raise errors.NotSupported(f"{name} is kept in {weight.dtype}: such a model takes no adapters", field="path")
    return Factors(*(each.to(device_of(module), weight.dtype).contiguous() for each in (down, up)))


def _can_adapt(layer: torch.nn.Module) -> bool:
    if isinstance(layer, torch.nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros"
    return isinstance(layer, torch.nn.Linear)
