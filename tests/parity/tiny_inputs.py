"""Inputs for modules that are called without a pipeline: fixed tensors at two row counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.parity.tiny_text import WIDTH

Made = tuple[torch.nn.Module, str, list[dict[str, Any]]]
ROWS = (1, 2)


def randn(*shape: int) -> torch.Tensor:
    """A fixed tensor for its shape; no test depends on which."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def both(make: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """The same kind of call at each row count."""
    return [make(rows) for rows in ROWS]


def joint(n: int, time: float = 300.0) -> dict[str, Any]:
    """Text and timestep, which most transformers take under the same names."""
    return {"encoder_hidden_states": randn(n, 7, WIDTH), "timestep": torch.full((n,), time * n)}


def drawn(module: torch.nn.Module, layers: list[torch.nn.Module]) -> torch.nn.Module:
    """Zero layers would hide what they are given."""
    for layer in layers:
        torch.nn.init.normal_(layer.weight, std=0.1)
    return module


def flux_call(n: int) -> dict[str, Any]:
    return {
        **joint(n, 0.3),
        "hidden_states": randn(n, 16, 16),
        "pooled_projections": randn(n, WIDTH),
        "guidance": torch.full((n,), 1.5 * n),
        "img_ids": randn(16, 3),
        "txt_ids": torch.zeros(7, 3),
    }
