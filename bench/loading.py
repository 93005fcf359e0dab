"""`python -m bench.loading`: seconds until a model's weights are there, by ways to read its files, cold and warm.

A folder of safetensors with random weights in the shape of SDXL (`--small`: small widths, in seconds). *Returned*:
`load` has returned; *there*: each page of each weight has been touched once, for a mapped file is read at its first
use. *Cold* is a page cache that holds nothing of the files, *warm* one that holds them whole; both are looked at before
each load. Each way runs once a round, and the next round starts with another one. What a way brings is compared with
what the first one brings, byte by byte, before anything is timed.

    mmap         diffusers' own loading, over safetensors' mapped files: `read_ahead = false`
    willneed     what Darkroom does: the same, with the kernel told at its beginning to read the files
    ahead:N      the same, with N threads beside it that read the files and keep nothing but the page cache
    shards:N     diffusers' own loading of N files at a time (HF_ENABLE_PARALLEL_LOADING)
    pread        safetensors' other backend, which reads instead of mapping
    threads:N    N threads that read one file at a time into one block, tensors over it
    runai:N      runai-model-streamer with N readers, where it is installed
    fast:N       fastsafetensors with N readers, where it is installed
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import json
import mmap
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import safetensors.torch
import torch

from bench.gpu.shapes import SHAPES, build
from darkroom.config import ModelSettings
from darkroom.models import read_ahead
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.device import device_name, place
from darkroom.models.loading import Loaded, load

CHUNK_BYTES = 8 * 2**20
WAYS = ("mmap", "willneed", "ahead:2", "ahead:4", "shards:4", "pread", "threads:4", "threads:8", "runai:4", "runai:16")
Tensors = dict[str, torch.Tensor]
mapped = safetensors.torch.load_file  # as it is when no way has taken its place


@dataclass
class Told:
    """One way over one state of the page cache: seconds of each round, the processor's of all threads together."""

    way: str
    cache: str
    returned_s: list[float] = field(default_factory=list)
    there_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print, write."""
    asked = _parser().parse_args()
    ways = [way for way in asked.ways if _is_there(way)]
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        entry = save(Path(scratch), asked.shape, asked.shard_mib, asked.dtype, small=asked.small)
        files = sorted(Path(scratch).rglob("*.safetensors"))
        mib = sum(file.stat().st_size for file in files) / 2**20
        check(entry, files, ways)
        told = measure(entry, files, ways, asked.caches, asked.rounds)
    kind = place().kind
    print(f"{device_name(kind)} ({kind}), load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{asked.shape}, {mib:.0f} MiB in {len(files)} files, medians of {asked.rounds} rounds; seconds")
    report(told, ways[0])
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"device": kind, "mib": mib, "ways": [asdict(one) for one in told]}, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.loading", description=main.__doc__)
    parser.add_argument("--shape", default="sdxl", choices=list(SHAPES))
    parser.add_argument("--small", action="store_true", help="small widths: shows that it runs, not how fast")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"), help="of files and of loads")
    parser.add_argument("--shard-mib", type=int, default=1024, help="no file is to be larger")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), help="the first is what others are compared with")
    parser.add_argument("--caches", nargs="+", default=list(CACHES), choices=list(CACHES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the model: on the disk that is to be measured")
    parser.add_argument("--out", type=Path, default=Path("out/bench-loading.json"))
    return parser


def save(folder: Path, shape: str, shard_mib: int, dtype: str, *, small: bool) -> Entry:
    """Write a model of random weights, and name it."""
    made = build(shape, torch.device("cpu"), getattr(torch, dtype), small=small)
    made.pipe.save_pretrained(folder, max_shard_size=shard_mib * 2**20)
    return Entry("it", FOLDER, ModelSettings(path=folder, dtype=dtype), folder / "home")


def measure(entry: Entry, files: Sequence[Path], ways: Sequence[str], caches: Sequence[str], rounds: int) -> list[Told]:
    """Load it each way over each state of the page cache, so many times."""
    told = {(cache, way): Told(way, cache) for cache in caches for way in ways}
    for turn in range(rounds):
        for way in (*ways[turn % len(ways) :], *ways[: turn % len(ways)]):
            for cache in caches:
                CACHES[cache](files)
                _time(entry, files, told[cache, way])
    return list(told.values())


def _time(entry: Entry, files: Sequence[Path], into: Told) -> None:
    busy_s, began = time.process_time(), time.perf_counter()
    with way_of(into.way)(files):
        loaded = load(_mapped(entry), is_offline=True)
        into.returned_s.append(time.perf_counter() - began)
        touch(loaded)
        into.there_s.append(time.perf_counter() - began)
    into.processor_s.append(time.process_time() - busy_s)
    del loaded
    gc.collect()


def _mapped(entry: Entry) -> Entry:
    """Each way does for itself what is done beside."""
    return replace(entry, settings=entry.settings.model_copy(update={"read_ahead": False}))


def report(told: Sequence[Told], first: str) -> None:
    """A table, the first way's time over each other's in the last column: the median over rounds."""
    base = {one.cache: one for one in told if one.way == first}
    print(f"{'cache':6}{'way':14}{'returned':>10}{'there':>10}{'processor':>11}{'times faster':>14}")
    for one in told:
        row = (median(one.returned_s), median(one.there_s), median(one.processor_s))
        pairs = zip(base[one.cache].there_s, one.there_s, strict=True)
        gain = median(before / after for before, after in pairs)
        print(f"{one.cache:6}{one.way:14}{row[0]:10.2f}{row[1]:10.2f}{row[2]:11.2f}{gain:14.2f}")


def touch(loaded: Loaded) -> None:
    """Read a byte of each page of its weights; what lies on a device needs none of that, and is waited for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    for weight in _weights(loaded):
        if weight.device.type == "cpu":
            weight.reshape(-1).view(torch.uint8)[:: mmap.PAGESIZE].sum()


def check(entry: Entry, files: Sequence[Path], ways: Sequence[str]) -> None:
    """End with a word where a way brings other weights than the first."""
    sums = {}
    for way in ways:
        with way_of(way)(files):
            loaded = load(_mapped(entry), is_offline=True)
        sums[way] = [zlib.crc32(_bytes(weight)) for weight in _weights(loaded)]
        del loaded
        gc.collect()
        if sums[way] != sums[ways[0]]:
            sys.exit(f"{way} brings other weights than {ways[0]}")


def _weights(loaded: Loaded) -> list[torch.Tensor]:
    return [weight for module in loaded.modules for weight in (*module.parameters(), *module.buffers())]


def _bytes(weight: torch.Tensor) -> Any:
    return weight.detach().cpu().reshape(-1).view(torch.uint8).numpy()


# The page cache


def drop(files: Sequence[Path]) -> None:
    """Have the page cache hold nothing of these files; a file that a process still maps cannot be dropped."""
    for file in files:
        with _opened(file) as number:
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    share = cached_share(files)
    assert share < 0.01, f"{share:.0%} of the files stayed in the page cache"


def warm(files: Sequence[Path]) -> None:
    """Have the page cache hold them whole."""
    for file in files:
        _read_through(file, 0, 1)
    share = cached_share(files)
    assert share > 0.99, f"only {share:.0%} of the files are in the page cache"


def cached_share(files: Sequence[Path]) -> float:
    """How much of them the page cache holds, as mincore tells."""
    libc = ctypes.CDLL(None, use_errno=True)
    there = pages = 0
    for file in files:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as held:
            size = len(held)
            told = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
            start = ctypes.c_char.from_buffer(held)
            failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), told)
            del start  # or the map cannot be closed
            assert not failed, os.strerror(ctypes.get_errno())
            there, pages = there + sum(page & 1 for page in told), pages + len(told)
    return there / pages


CACHES: dict[str, Callable[[Sequence[Path]], None]] = {"cold": drop, "warm": warm}


# Ways


def way_of(name: str) -> Callable[[Sequence[Path]], AbstractContextManager[Any]]:
    """What is around a load, given the model's files."""
    kind, _, number = name.partition(":")
    count = int(number or 1)
    if kind == "shards":
        return lambda files: _in_shards(count)
    if kind == "ahead":
        return lambda files: _ahead(files, count)
    if kind == "willneed":
        return _asked_for
    if kind == "mmap":
        return lambda files: nullcontext()
    read = {"pread": _pread, "threads": _in_threads, "runai": _by_runai, "fast": _by_fast}[kind]
    return lambda files: mock.patch.object(safetensors.torch, "load_file", lambda file, **_: read(Path(file), count))


def _is_there(way: str) -> bool:
    package = {"runai": "runai_model_streamer", "fast": "fastsafetensors"}.get(way.partition(":")[0])
    is_there = package is None or importlib.util.find_spec(package) is not None
    if not is_there:
        print(f"{way}: left out, {package} is not installed")
    return is_there


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    number = os.open(file, os.O_RDONLY)
    try:
        yield number
    finally:
        os.close(number)


@contextmanager
def _asked_for(files: Sequence[Path]) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:  # what it has asked for must be there before the next load wants it gone
        pool.submit(read_ahead.ask_for, files)
        yield


@contextmanager
def _ahead(files: Sequence[Path], count: int) -> Iterator[None]:
    with ThreadPoolExecutor(count) as pool:
        for file in files:
            for part in range(count):
                pool.submit(_read_through, file, part, count)
        yield


def _read_through(file: Path, part: int, parts: int) -> None:
    """Every so manieth chunk of a file, into nowhere."""
    into = bytearray(CHUNK_BYTES)
    with _opened(file) as number:
        for at in range(part * CHUNK_BYTES, os.fstat(number).st_size, parts * CHUNK_BYTES):
            os.preadv(number, [into], at)


@contextmanager
def _in_shards(count: int) -> Iterator[None]:
    from diffusers.models import model_loading_utils, modeling_utils

    with (
        mock.patch.object(modeling_utils, "HF_ENABLE_PARALLEL_LOADING", True),
        mock.patch.object(model_loading_utils, "DEFAULT_HF_PARALLEL_LOADING_WORKERS", count),
    ):
        yield


def _pread(file: Path, count: int) -> Tensors:
    found: Tensors = mapped(file, backend="pread")
    return found


def _in_threads(file: Path, count: int) -> Tensors:
    with _opened(file) as number, ThreadPoolExecutor(count) as pool:
        length = int.from_bytes(os.pread(number, 8, 0), "little")
        header = json.loads(os.pread(number, length, 8))
        block = torch.empty(os.fstat(number).st_size - 8 - length, dtype=torch.uint8)
        view = memoryview(block.numpy())
        starts = range(0, len(view), CHUNK_BYTES)
        list(pool.map(lambda at: _read_whole(number, view[at : at + CHUNK_BYTES], 8 + length + at), starts))
    return {name: _over(block, said) for name, said in header.items() if name != "__metadata__"}


def _read_whole(number: int, into: memoryview, at: int) -> None:
    while into:
        read = os.preadv(number, [into], at)
        assert read, "the file is shorter than it was"
        into, at = into[read:], at + read


def _over(block: torch.Tensor, said: dict[str, Any]) -> torch.Tensor:
    dtype = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "I64": torch.int64}[said["dtype"]]
    begin, end = said["data_offsets"]
    return block[begin:end].view(dtype).reshape(said["shape"])


def _by_runai(file: Path, count: int) -> Tensors:
    runai: Any = importlib.import_module("runai_model_streamer")
    with mock.patch.dict(os.environ, {"RUNAI_STREAMER_CONCURRENCY": str(count)}), runai.SafetensorsStreamer() as stream:
        stream.stream_file(str(file))
        return dict(stream.get_tensors())


def _by_fast(file: Path, count: int) -> Tensors:
    fast: Any = importlib.import_module("fastsafetensors")
    loader = fast.SafeTensorsFileLoader(None, "cpu", max_threads=count, nogds=True)
    loader.add_filenames({0: [str(file)]})
    held = loader.copy_files_to_device()
    found = {name: held.get_tensor(name) for name in loader.get_keys()}
    held.close()
    loader.close()
    return found


if __name__ == "__main__":
    main()
