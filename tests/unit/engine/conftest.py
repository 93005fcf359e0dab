"""A tiny Stable Diffusion to run engines on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parity.families import SIDE, sd_solvers


@pytest.fixture(scope="session")
def pipes() -> dict[str, Any]:
    return sd_solvers()


@pytest.fixture
def pipe(pipes: dict[str, Any]) -> Any:
    return pipes["ddim"]


@pytest.fixture
def call() -> dict[str, Any]:
    """A short request; seed and guidance are fixed so that results can be compared."""
    return {
        "prompt": "a red sky",
        "num_inference_steps": 3,
        "guidance_scale": 4.0,
        "height": SIDE,
        "width": SIDE,
        "output_type": "np",
        "seed": 7,
    }
