"""Requests that wait hold latents and embeddings, never copies of weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BUNDLED = Path(__file__).parents[2] / "src/darkroom/models/bundled/landscapes"

# A process of its own: the peak resident size of a process never goes down.
PROGRAM = """
import resource, sys
import torch
from diffusers import StableDiffusionPipeline
from darkroom import Engine

pipe = StableDiffusionPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
with Engine(pipe) as engine:
    calls = [dict(prompt=f"a lake at dawn, view {i}", num_inference_steps=2, seed=i) for i in range(int(sys.argv[2]))]
    handles = [engine.submit(**call) for call in calls]
    assert all(handle.result(300).images for handle in handles)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(requests: int) -> int:
    command = [sys.executable, "-c", PROGRAM, str(BUNDLED), str(requests)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_a_hundred_requests_stay_near_the_size_of_one() -> None:
    one, hundred = peak_kib(1), peak_kib(100)
    print(f"peak resident: one request {one / 1024:.0f} MiB, a hundred {hundred / 1024:.0f} MiB")
    assert hundred <= 1.3 * one
