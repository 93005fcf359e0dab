"""Where the parts of a loaded pipeline lie: on its device, on one that is named for them, or at rest on the host."""

from __future__ import annotations

from typing import Any

import torch

from ..config import ModelSettings
from ..engine.resting import offload
from ..engine.spec_table import find
from ..errors import InvalidConfig
from .device import Placement

STREAMED = ("unet", "transformer", "transformer_2")  # in blocks, where their model is offloaded so
AT_ONCE = ("cuda", "cpu")  # diffusers reads weights straight to these


def device_map_of(said: ModelSettings, placement: Placement, kind: type) -> dict[str, str]:
    """What has diffusers read weights straight to the device; nothing where they are not to lie there as they are."""
    is_simple = not getattr(kind, "_load_connected_pipes", False)
    is_elsewhere = said.offload != "none" or said.devices or said.float8
    if is_elsewhere or placement.kind not in AT_ONCE or not is_simple:
        return {}
    return {"device_map": placement.kind}


def lay(pipe: Any, said: ModelSettings, placement: Placement, name: str) -> None:
    """Put each part where it belongs; raises `InvalidConfig`. `name` is the model's, for people."""
    parts = {part: value for part, value in pipe.components.items() if isinstance(value, torch.nn.Module)}
    _check(parts, said, placement, name)
    pipe.hf_device_map = None  # what lies where is said below
    resting = {part: value for part, value in parts.items() if said.offload != "none" and _can_rest(part, value, said)}
    for part, module in parts.items():
        if part not in resting:
            module.to(said.devices.get(part, placement.kind))
    device = torch.device(placement.kind)
    if said.offload == "blocks":
        for part in [part for part, module in resting.items() if hasattr(module, "enable_group_offload")]:
            if part in STREAMED:
                stream_blocks(resting.pop(part), device)
    offload(resting.values(), device)


def stream_blocks(module: Any, device: torch.device) -> None:
    """Have a denoiser that is larger than the device come to it block by block, the next while one runs (CUDA)."""
    module.enable_group_offload(
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.type == "cuda",
    )


def _can_rest(part: str, module: torch.nn.Module, said: ModelSettings) -> bool:
    """What is called by methods that an engine knows, and has no device of its own."""
    return part not in said.devices and find(type(module)) is not None


def _check(parts: dict[str, Any], said: ModelSettings, placement: Placement, name: str) -> None:
    for part, device in said.devices.items():
        field = f"models.{name}.devices.{part}"
        if part not in parts:
            raise InvalidConfig(f"{field}: there is no such component; allowed: {', '.join(parts)}", field=field)
        if device not in device_names():
            raise InvalidConfig(f"{field}: {device!r} is not there; allowed: {', '.join(device_names())}", field=field)
    if said.offload != "none" and placement.kind != "cuda":
        field = f"models.{name}.offload"
        raise InvalidConfig(f"{field}: needs CUDA; on {placement.kind} the memory is the host's", field=field)


def device_names() -> list[str]:
    """The devices that a component may be put on."""
    count = torch.cuda.device_count()
    cuda = ["cuda", *(f"cuda:{number}" for number in range(count))] if count else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
