"""Low-rank adapters by row (LoRA, Hu et al., 2021): row i of a layer's output gets `w * up_i (down_i x_i)` of its own.

Nothing is fused into the weights and nothing is injected: for the length of one forward the layers that some row's
adapters name add what their rows get. Rows come in the order of the forward's; a layer that sees k rows for each of
them (frames, tokens) sees them together.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
from torch.nn import functional

from .adapters import Factors, Mix


@contextlib.contextmanager
def adapted(module: torch.nn.Module, mixes: Sequence[Mix], *, by_row: bool) -> Iterator[None]:
    """Within it, `module` runs with these adapters, one mix for each row of its forward.

    `by_row` computes each row's share by itself, so that its bits depend on no other row. Other threads that call the
    module meanwhile get it without; those that want adapters in it too wait.
    """
    with _lock_of(module), _shadowing(module, mixes, by_row):
        yield


_locks: weakref.WeakKeyDictionary[torch.nn.Module, threading.Lock] = weakref.WeakKeyDictionary()
_locking = threading.Lock()


def _lock_of(module: torch.nn.Module) -> threading.Lock:
    with _locking:
        return _locks.setdefault(module, threading.Lock())


@contextlib.contextmanager
def _shadowing(module: torch.nn.Module, mixes: Sequence[Mix], by_row: bool) -> Iterator[None]:
    paths = dict.fromkeys(path for mix in dict.fromkeys(mixes) for part, _ in mix for path in part.layers)
    layers = {path: module.get_submodule(path) for path in paths}
    shadowed = {path: layer.__dict__.get("forward") for path, layer in layers.items()}
    try:
        for path, layer in layers.items():
            factors = [_factors_of(path, mix) for mix in mixes]
            layer.__dict__["forward"] = _Adapted(layer, layer.forward, factors, by_row)
        yield
    finally:
        for path, layer in layers.items():
            layer.__dict__.pop("forward", None)
            if shadowed[path] is not None:
                layer.__dict__["forward"] = shadowed[path]


Row = tuple[tuple[Factors, float], ...]  # what one row of one layer gets


def _factors_of(path: str, mix: Mix) -> Row:
    return tuple((part.layers[path], weight) for part, weight in mix if path in part.layers)


@dataclass(eq=False)
class _Adapted:
    """Stands in for the `forward` of one layer."""

    layer: torch.nn.Module
    original: Callable[..., torch.Tensor]
    rows: Sequence[Row]
    by_row: bool
    thread: int = field(default_factory=threading.get_ident)

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        output = self.original(x, *args, **kwargs)
        if threading.get_ident() != self.thread:
            return output
        is_uniform = all(row == self.rows[0] for row in self.rows)
        if is_uniform and (not self.by_row or x.shape[0] % len(self.rows)):
            output += self._delta(x, *_joined(self.rows[0]))
        elif self.by_row:
            self._add_by_row(x, output)
        else:
            self._add_stacked(x, output)
        return output

    def _add_by_row(self, x: torch.Tensor, output: torch.Tensor) -> None:
        each = self._times(x)
        for place, row in enumerate(self.rows):
            if row:
                mine = slice(place * each, (place + 1) * each)
                # a copy starts where any other does: kernels may round by where a buffer lies
                output[mine] += self._delta(x[mine].clone(), *_joined(row))

    def _add_stacked(self, x: torch.Tensor, output: torch.Tensor) -> None:
        each, (down, up) = self._times(x), self._stack
        if len(self._places) == len(self.rows):
            output += self._deltas(x, down, up).view_as(output)
            return
        index = torch.tensor([place * each + k for place in self._places for k in range(each)], device=x.device)
        delta = self._deltas(x.index_select(0, index), down, up)
        output.index_add_(0, index, delta.reshape(len(index), *output.shape[1:]))

    @cached_property
    def _places(self) -> list[int]:
        """Of the rows that get something."""
        return [place for place, row in enumerate(self.rows) if row]

    @cached_property
    def _stack(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of those rows `down` (n, rank, …) and `up` (n, out, rank), ranks filled up with zeros."""
        kinds = list(dict.fromkeys(self.rows[place] for place in self._places))
        joined = {row: _joined(row) for row in kinds}
        rank = max(down.shape[0] for down, _ in joined.values())
        downs = torch.stack([_filled(down, 0, rank) for down, _ in joined.values()])
        ups = torch.stack([_filled(up, 1, rank) for _, up in joined.values()])
        if len(kinds) == len(self._places):
            return downs, ups
        number = {row: kind for kind, row in enumerate(kinds)}
        index = torch.tensor([number[self.rows[place]] for place in self._places], device=downs.device)
        return downs[index], ups[index]

    def _times(self, x: torch.Tensor) -> int:
        """How many rows of `x` belong to each row of the forward."""
        each, rest = divmod(x.shape[0], len(self.rows))
        if rest:
            said = f"a layer saw {x.shape[0]} rows for {len(self.rows)} of its module"
            raise RuntimeError(f"{said}: its adapters cannot be told apart")
        return each

    def _delta(self, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Of rows that all get the same."""
        if isinstance(self.layer, torch.nn.Linear):
            return functional.linear(functional.linear(x, down), up)
        return functional.conv2d(self._convolve(x, down, 1), up[:, :, None, None])

    def _deltas(self, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """Of n rows that get each their own; (n, tokens, out), or (n, k, out, height, width) of a convolution."""
        count = down.shape[0]
        if isinstance(self.layer, torch.nn.Linear):
            tokens = x.reshape(count, -1, x.shape[-1])
            return torch.bmm(torch.bmm(tokens, down.transpose(1, 2)), up.transpose(1, 2))
        k = x.shape[0] // count
        wide = x.reshape(count, k, *x.shape[1:]).transpose(0, 1).reshape(k, -1, *x.shape[2:])
        low = self._convolve(wide, down.reshape(-1, *down.shape[2:]), count)  # (k, n * rank, height, width)
        size = low.shape[2:]
        low = low.reshape(k, count, -1, size[0] * size[1]).transpose(0, 1)
        return torch.matmul(up[:, None], low).reshape(count, k, -1, *size)

    def _convolve(self, x: torch.Tensor, down: torch.Tensor, groups: int) -> torch.Tensor:
        layer = cast(torch.nn.Conv2d, self.layer)
        padding = cast(Any, layer.padding)
        return functional.conv2d(x, down, None, layer.stride, padding, layer.dilation, groups)


def _joined(row: Row) -> tuple[torch.Tensor, torch.Tensor]:
    """One pair of factors for several adapters with their weights: ranks side by side."""
    downs, ups = [factors.down for factors, _ in row], [weight * factors.up for factors, weight in row]
    return (downs[0], ups[0]) if len(row) == 1 else (torch.cat(downs), torch.cat(ups, dim=1))


def _filled(factor: torch.Tensor, dim: int, rank: int) -> torch.Tensor:
    missing = rank - factor.shape[dim]
    if not missing:
        return factor
    shape = list(factor.shape)
    shape[dim] = missing
    return torch.cat([factor, factor.new_zeros(shape)], dim)
