"""Bytes: what models take and will take, and how many they may have of the device and of the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from ..config import ModelSettings, ServeSettings
from ..engine.host_copy import first_in_each, tensors_of
from ..engine.resting import guests_of, streamed_to
from ..errors import DarkroomError
from . import single_file, weights
from .catalogue import Entry
from .device import Placement, place
from .ip_adapter import IpAdapter
from .laying import STREAMED
from .tuning import DENOISERS

DEVICE_SHARE, HOST_SHARE = 0.7, 0.5  # of the memory there is; requests in flight need the rest
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # what a container may use; "max" where nothing is said


def weights_of(pipe: Any, *beside: Any, kind: str | None = None) -> dict[int, int]:
    """Bytes of a pipeline's tensors by the first tensor of each storage: tensors that share one count once.

    Of parts that rest on the host until they are called, what they may take of the device. `kind`: only of what lies on
    that device, as this process is given it; a part with a device of its own takes nothing of another's room.
    """
    modules = [part for part in (*pipe.components.values(), *beside) if isinstance(part, torch.nn.Module)]
    rooms = {id(guests): guests.room_bytes for module in modules if (guests := guests_of(module)) is not None}
    streamed = [module for module in modules if streamed_to(module) is not None]
    rooms |= {id(module): _largest_two_blocks(module) for module in streamed}
    there = [module for module in modules if guests_of(module) is None and module not in streamed]
    home = None if kind is None else torch.empty(0, device=kind).device
    tensors = [tensor for tensor in tensors_of(there) if home is None or tensor.device == home]
    # By the tensor, not where it lies: layers that are cast as they run move.
    return {id(tensor): tensor.untyped_storage().nbytes() for tensor in first_in_each(tensors)} | rooms


def _largest_two_blocks(module: torch.nn.Module) -> int:
    """While one block of a denoiser runs the next one comes."""
    blocks = [block for inner in module.children() if isinstance(inner, torch.nn.ModuleList) for block in inner]
    return sum(sorted((sum(t.nbytes for t in tensors_of([block])) for block in blocks), reverse=True)[:2])


@dataclass(frozen=True)
class Budgets:
    """Bytes that models may hold of their device, and those that left it of the host."""

    device: int
    host: int


def budgets(kind: str, said: ServeSettings, workers_here: int, workers_on_device: int) -> Budgets:
    """As they are set, else this worker's part of what there is; on a CPU the device's memory is the machine's."""
    sharing = workers_on_device if kind == "cuda" else workers_here
    return Budgets(
        budget_of(kind, said.model_memory_mb, sharing), host_budget_of(kind, said.host_memory_mb, workers_here)
    )


def budget_of(kind: str, said_mb: int | None, workers: int = 1) -> int:
    """Bytes that resident models may hold: as set, else most of the device's memory, half of the host's.

    `workers` share the device.
    """
    if said_mb is not None:
        return said_mb * 2**20
    if kind == "cuda":
        return int(torch.cuda.mem_get_info()[1] * DEVICE_SHARE / workers)
    return int(host_bytes() * HOST_SHARE / workers)


def host_budget_of(kind: str, said_mb: int | None, workers: int = 1) -> int:
    """Bytes of host memory in which models rest that left the device; none where the host's memory is the device's.

    `workers` share the host.
    """
    if kind != "cuda":
        return 0
    return int(host_bytes() * HOST_SHARE / workers) if said_mb is None else said_mb * 2**20


def host_bytes() -> int:
    """The memory this process may use: the machine's, or its container's where that is less."""
    total = int(psutil.virtual_memory().total)
    said = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.is_file() else "max"
    return min(total, int(said)) if said.isdecimal() else total


def expected_bytes(entry: Entry) -> int:
    """About what a model will hold of its device, from its weights' files; 0 where they are not here, or are no
    safetensors. The parts of a single `file` are known by its names of weights; those that tell no part stay there."""
    said, placement = entry.settings, place(entry.settings.device, entry.settings.dtype)
    beside = weights.plain_files(None if entry.controlnet is None else entry.controlnet.folder, "*.safetensors")
    beside += weights.plain_files(said.t2i_adapter, "*.safetensors")
    beside += [] if entry.ip_adapter is None else _prompting(entry.ip_adapter)
    own = sum(map(_values_in, beside)) * placement.torch_dtype.itemsize
    own += _of_parts(_parts_of(entry, placement), said)
    return own + (0 if entry.refiner is None else expected_bytes(entry.refiner))


def _parts_of(entry: Entry, placement: Placement) -> dict[str, int]:
    """Bytes of each component that is to lie on the model's device, or to come there."""
    said, here = entry.settings, (None, placement.kind, f"{placement.kind}:0")
    parts: Counter[str] = Counter()
    for part, values in _values_by_part(entry):
        if said.devices.get(part) in here:
            itemsize = 1 if said.float8 and part in DENOISERS else placement.torch_dtype.itemsize
            parts[part] += values * itemsize
    return parts


def _values_by_part(entry: Entry) -> Iterator[tuple[str, int]]:
    """Component and how many numbers a file holds of it."""
    file = entry.settings.file
    if file is None:
        yield from (
            (path.parent.name, _values_in(path)) for path in weights.plain_files(entry.folder, "*/*.safetensors")
        )
    elif file.suffix == ".safetensors":
        yield from single_file.values_by_part(file).items()


def _of_parts(parts: Mapping[str, int], said: ModelSettings) -> int:
    """Those that rest on the host come one at a time; a denoiser that comes in blocks takes little room."""
    stays = {part: said.offload == "none" or part in (*said.devices, single_file.UNTOLD) for part in parts}
    is_whole = {part: said.offload == "model" or part not in STREAMED for part in parts}
    coming = [size for part, size in parts.items() if is_whole[part] and not stays[part]]
    return sum(size for part, size in parts.items() if stays[part]) + max(coming, default=0)


def _values_in(path: Path) -> int:
    return weights.values_in(path) if path.suffix == ".safetensors" else 0


def _prompting(adapter: IpAdapter) -> list[Path]:
    try:
        return [adapter.file, *weights.plain_files(adapter.encoder, "*.safetensors")]
    except DarkroomError:  # loading says by name what is wrong with it
        return []


def union_bytes(weights: Iterable[Mapping[int, int]]) -> int:
    """Bytes of all that these hold (bytes by place, as `weights_of` gives them), what several hold counted once."""
    storages: dict[int, int] = {}
    for each in weights:
        storages.update(each)
    return sum(storages.values())
