"""Weights that rest in host memory and come back to their device: one block of bytes, which the device reads by itself.

Nothing is written on a weight but its `data`, so a module that rests is as whole as one that does not: what reads its
weights, dtype or configuration goes on. Weights in service are frozen, so a copy stays true and is made once.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

ALIGNMENT = 256  # bytes; as the device's own allocator does


class HostCopy:
    """Of the weights and buffers of `modules`; tensors that share memory go on sharing it, here and there.

    They come back to `device`, or where it is None each to where it lay.
    """

    def __init__(self, modules: Iterable[torch.nn.Module], device: torch.device | None = None) -> None:
        self._tensors = list(tensors_of(modules))
        self._places: dict[int, int] = {}  # where a storage lies: where in the block it is kept
        self.size_bytes = 0
        for storage in storages_of(self._tensors):
            self._places[storage.data_ptr()] = self.size_bytes
            self.size_bytes += -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
        self._block = _page_locked(torch.empty(self.size_bytes, dtype=torch.uint8))
        for storage in storages_of(self._tensors):
            start = self._places[storage.data_ptr()]
            self._block[start : start + storage.nbytes()].copy_(_bytes_of(storage))
        self._kept = [self._kept_of(tensor) for tensor in self._tensors]
        self._homes = [device or tensor.device for tensor in self._tensors]

    def rest(self) -> None:
        """Have the weights lie here; what they took of the device is free once nobody else holds it."""
        for tensor, kept in zip(self._tensors, self._kept, strict=True):
            tensor.data = kept.seen_in(self._block, kept.start)

    def fill(self) -> None:
        """Have them lie on their device, and wait until they do; where there is no room they rest as before."""
        try:
            self._fill()
        except torch.OutOfMemoryError:
            self.rest()
            raise

    def _fill(self) -> None:
        pieces: dict[int, torch.Tensor] = {}
        for tensor, kept, home in zip(self._tensors, self._kept, self._homes, strict=True):
            if kept.start not in pieces:
                piece = self._block[kept.start : kept.start + kept.length]
                pieces[kept.start] = piece.to(home, non_blocking=True, copy=True)
            tensor.data = kept.seen_in(pieces[kept.start], 0)
        for device in {home for home in self._homes if home.type == "cuda"}:
            torch.cuda.current_stream(device).synchronize()

    def _kept_of(self, tensor: torch.Tensor) -> _Kept:
        storage = tensor.untyped_storage()
        start, length = self._places[storage.data_ptr()], storage.nbytes()
        return _Kept(start, length, tensor.dtype, int(tensor.storage_offset()), tensor.size(), tensor.stride())


@dataclass(frozen=True)
class _Kept:
    """How a tensor sees its storage, whose `length` bytes lie in the block from `start` on."""

    start: int
    length: int
    dtype: torch.dtype
    offset: int
    size: torch.Size
    stride: tuple[int, ...]

    def seen_in(self, place: torch.Tensor, start: int) -> torch.Tensor:
        """The tensor over bytes that begin so far into `place`."""
        seen = torch.empty(0, dtype=self.dtype, device=place.device)
        offset = start // seen.element_size() + self.offset
        return seen.set_(place.untyped_storage(), offset, self.size, self.stride)


def can_rest(modules: Iterable[torch.nn.Module]) -> bool:
    """Whether their weights are plain tensors; those of quantised layers keep more than bytes."""
    kinds = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    return all(type(tensor) in kinds and tensor.layout == torch.strided for tensor in tensors_of(modules))


def tensors_of(modules: Iterable[torch.nn.Module]) -> Iterator[torch.Tensor]:
    """Every weight and buffer, each once."""
    seen: set[int] = set()
    for module in modules:
        for tensor in itertools.chain(module.parameters(), module.buffers()):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def storages_of(tensors: Iterable[torch.Tensor]) -> Iterator[torch.UntypedStorage]:
    """What they lie in, each once; what holds nothing lies nowhere."""
    return (tensor.untyped_storage() for tensor in first_in_each(tensors))


def first_in_each(tensors: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The first tensor of each storage."""
    seen: set[int] = set()
    for tensor in tensors:
        place = tensor.untyped_storage().data_ptr()
        if place not in seen:
            seen.add(place)
            yield tensor


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _page_locked(block: torch.Tensor) -> torch.Tensor:
    """The block itself, locked in memory where there is a device to read it; as long as the block lives.

    Torch's own `pin_memory` takes the next power of two: up to twice the model.
    """
    if torch.cuda.is_available() and block.numel():
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if int(runtime.cudaHostRegister(block.data_ptr(), block.numel(), 0)) == 0:
            # no lock is no fault: the copy is slower then
            unlock = weakref.finalize(block.untyped_storage(), runtime.cudaHostUnregister, block.data_ptr())
            unlock.atexit = False
    return block
