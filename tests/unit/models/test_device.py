"""Device, precision and threads: chosen, and said."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from darkroom.models.device import devices, fix_threads, place


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_cpu_computes_in_float32_and_says_why() -> None:
    placement = place("cpu")
    assert (placement.kind, placement.dtype) == ("cpu", "float32")
    assert "float32: a CPU is no faster in less" in str(placement)


def test_the_best_device_is_taken_by_itself() -> None:
    assert place().kind == devices()[0]
    assert devices()[-1] == "cpu"


@pytest.mark.parametrize(
    ("cores", "rows", "threads"), [(1, 8, 1), (2, 8, 2), (3, 8, 2), (6, 8, 4), (64, 8, 8), (6, 1, 4)]
)
def test_threads_are_a_power_of_two_that_divides_the_rows(
    cores: int, rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert fix_threads(None, rows) == threads == torch.get_num_threads()


@pytest.mark.parametrize(("workers", "threads"), [(1, 8), (2, 4), (3, 2), (16, 1)])
def test_workers_divide_the_cores(workers: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert fix_threads(None, 8, workers) == threads
    assert fix_threads(2, 8, workers) == 2  # said for each


def test_threads_asked_for_are_taken_up_to_the_rows() -> None:
    assert (fix_threads(1, 8), fix_threads(4, 2), fix_threads(4, 1)) == (1, 2, 4)


@pytest.mark.parametrize(
    ("kind", "is_fast_in_bfloat16", "dtype"),
    [("cuda", True, "bfloat16"), ("cuda", False, "float16"), ("mps", True, "float16"), ("mps", False, "float16")],
)
def test_an_accelerator_computes_in_the_half_precision_that_it_is_good_at(
    kind: str, is_fast_in_bfloat16: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return is_fast_in_bfloat16

    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Device")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    placement = place()
    assert (placement.kind, placement.dtype) == (kind, dtype)
    assert asked == ([False] if kind == "cuda" else []), "emulated bfloat16 is slow"
    assert place(dtype="float32").dtype == "float32"
