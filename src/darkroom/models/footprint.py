"""Bytes: what models take and will take, and how many they may have of the device and of the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch

from ..engine.host_copy import storages_of, tensors_of
from ..engine.resting import guests_of, streamed_to
from ..errors import DarkroomError
from . import weights
from .catalogue import Entry
from .device import place
from .ip_adapter import IpAdapter

DEVICE_SHARE, HOST_SHARE = 0.7, 0.5  # of the memory there is; requests in flight need the rest
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # what a container may use; "max" where nothing is said


def weights_of(pipe: Any, *beside: Any) -> dict[int, int]:
    """Bytes of a pipeline's tensors by the address of their storage: tensors that share one count once.

    Of parts that rest on the host until they are called, what they may take of the device.
    """
    modules = [part for part in (*pipe.components.values(), *beside) if isinstance(part, torch.nn.Module)]
    rooms = {id(guests): guests.room_bytes for module in modules if (guests := guests_of(module)) is not None}
    streamed = [module for module in modules if streamed_to(module) is not None]
    rooms |= {id(module): _largest_two_blocks(module) for module in streamed}
    there = [module for module in modules if guests_of(module) is None and module not in streamed]
    return {storage.data_ptr(): storage.nbytes() for storage in storages_of(tensors_of(there))} | rooms


def _largest_two_blocks(module: torch.nn.Module) -> int:
    """While one block of a denoiser runs the next one comes."""
    blocks = [block for inner in module.children() if isinstance(inner, torch.nn.ModuleList) for block in inner]
    return sum(sorted((sum(t.nbytes for t in tensors_of([block])) for block in blocks), reverse=True)[:2])


def budget_of(kind: str, said_mb: int | None) -> int:
    """Bytes that resident models may hold: as set, else most of the device's memory, half of the host's."""
    if said_mb is not None:
        return said_mb * 2**20
    if kind == "cuda":
        return int(torch.cuda.mem_get_info()[1] * DEVICE_SHARE)
    return int(host_bytes() * HOST_SHARE)


def host_budget_of(kind: str, said_mb: int | None) -> int:
    """Bytes of host memory in which models rest that left the device; none where the host's memory is the device's."""
    if kind != "cuda":
        return 0
    return int(host_bytes() * HOST_SHARE) if said_mb is None else said_mb * 2**20


def host_bytes() -> int:
    """The memory this process may use: the machine's, or its container's where that is less."""
    total = int(psutil.virtual_memory().total)
    said = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.is_file() else "max"
    return min(total, int(said)) if said.isdecimal() else total


def expected_bytes(entry: Entry) -> int:
    """About what a model will hold, from its weights' files; 0 where they are not here, or are no safetensors."""
    said = entry.settings
    files = [said.file] if said.file is not None else weights.plain_files(entry.folder, "*/*.safetensors")
    files += weights.plain_files(None if entry.controlnet is None else entry.controlnet.folder, "*.safetensors")
    files += weights.plain_files(said.t2i_adapter, "*.safetensors")
    files += [] if entry.ip_adapter is None else _prompting(entry.ip_adapter)
    per_value = place(said.device, said.dtype).torch_dtype.itemsize
    own = per_value * sum(weights.values_in(path) for path in files if path.suffix == ".safetensors")
    return own + (0 if entry.refiner is None else expected_bytes(entry.refiner))


def _prompting(adapter: IpAdapter) -> list[Path]:
    try:
        return [adapter.file, *weights.plain_files(adapter.encoder, "*.safetensors")]
    except DarkroomError:  # loading says by name what is wrong with it
        return []
