"""Calls a module where its weights are, and hands what it returns back to where its first argument came from.

So a pipeline's text encoder may lie on a CPU and its VAE on a second device, and nobody else needs to know; and a
timestep may stay on the host until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from . import rows
from .call import tensors_in
from .resting import guests_of, weights_device


def run_in_place(
    module: torch.nn.Module,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    streamed: torch.device | None = None,
) -> Any:
    """Call a method of the module where its weights are; `streamed` is what `streamed_to` says of it."""
    guests = guests_of(module)
    if guests is None:
        return _run_on(streamed or weights_device(module), function, args, kwargs)
    with guests.lock:
        guests.bring(module)
        return _run_on(guests.device, function, args, kwargs)


def _run_on(
    device: torch.device, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    found = [tensor.device for tensor in tensors_in((args, kwargs))]
    if all(each == device for each in found):
        return function(*args, **kwargs)
    output = function(*moved(args, device), **moved(dict(kwargs), device))
    return moved(output, found[0])


def moved(value: Any, device: torch.device) -> Any:
    """The same with every tensor on that device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, rows.RowFactors):
        return rows.RowFactors(value.values.to(device))
    try:
        return rows.rebuild(value, lambda inner: moved(inner, device))
    except rows.Unsplittable:
        return value  # a number, a name, or nothing
