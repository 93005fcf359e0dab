"""The program that compares ways to read a model's files runs through; how fast they are here says nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bench import loading

ROOT = Path(__file__).parents[2]
NEEDS_ADVICE = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="there is no posix_fadvise here")
WAYS = ["mmap", "willneed", "ahead:2", "shards:2", "pread", "threads:2"]


@pytest.fixture
def entry(tmp_path: Path) -> loading.Entry:
    return loading.save(tmp_path, "sdxl", 1, "bfloat16", small=True)


@pytest.mark.slow
@NEEDS_ADVICE
def test_every_way_is_measured_cold_and_warm_and_written(tmp_path: Path) -> None:
    out = tmp_path / "loading.json"
    sizes = ["--small", "--rounds", "1", "--shard-mib", "1", "--ways", *WAYS]
    command = [sys.executable, "-m", "bench.loading", *sizes, "--folder", str(tmp_path), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text())["ways"]
    assert [(one["cache"], one["way"]) for one in told] == [(cache, way) for cache in ("cold", "warm") for way in WAYS]
    assert all(0 < one["returned_s"][0] <= one["there_s"][0] for one in told)


def test_a_way_that_brings_other_weights_is_refused(entry: loading.Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def around(files: Sequence[Path]) -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setattr(safetensors.torch, "load_file", _off_by_one)
            yield

    ways = {"mmap": loading.way_of("mmap"), "wrong": around}
    monkeypatch.setattr(loading, "way_of", ways.__getitem__)
    with pytest.raises(SystemExit, match="wrong brings other weights than mmap"):
        loading.check(entry, [], ["mmap", "wrong"])


def _off_by_one(file: str, **_: object) -> dict[str, torch.Tensor]:
    return {name: weight + 1 for name, weight in loading.mapped(file).items()}


@NEEDS_ADVICE
def test_the_page_cache_is_dropped_and_filled(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(2**20))
    loading.drop([file])
    assert loading.cached_share([file]) == 0
    loading.warm([file])
    assert loading.cached_share([file]) == 1
