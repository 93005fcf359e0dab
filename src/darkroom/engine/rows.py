"""Stacking the arguments of several calls row by row, and splitting one output back into copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .call import Call
from .specs import CallSpec


class Unsplittable(Exception):
    """The output holds something that no rule can split into rows."""


@dataclass(frozen=True)
class RowFactors:
    """A number a row, for either side of `tensor * number`, and as exact as one number for all is.

    Torch multiplies a half-precision tensor by a Python number in float32 and rounds once. A tensor of numbers in its
    stead must have the tensor's own dtype, where 0.3 is another number, or the product has another dtype.
    """

    values: torch.Tensor

    def __rmul__(self, rows: torch.Tensor) -> torch.Tensor:
        factors = self.values.reshape(-1, *[1] * (rows.dim() - 1))
        return (rows.to(self.values.dtype) * factors).to(rows.dtype)

    __mul__ = __rmul__


def stack(calls: Sequence[Call]) -> dict[str, Any]:
    """One set of arguments with the rows of all calls, in order, in contiguous buffers of their own."""
    spec = calls[0].hook.spec
    assert spec is not None
    first = calls[0]
    return {name: _stack_argument(spec, name, calls) for name in first.arguments}


def _stack_argument(spec: CallSpec, name: str, calls: Sequence[Call]) -> Any:
    values = [call.arguments[name] for call in calls]
    if name in spec.factors:
        return _stack_factors(values, calls)
    if name in spec.options and isinstance(values[0], Mapping):
        return _stack_options(values, calls, spec.options[name])
    if name in spec.scalars:
        return _stack_scalars(values, calls)
    if name in spec.listed or name in spec.repeated:
        return None if values[0] is None else [entry for value in values for entry in value]
    if name in spec.stacked or name in spec.times:
        return _cat(values)
    return values[0]


def _stack_factors(values: list[Any], calls: Sequence[Call]) -> RowFactors:
    rows = calls[0].arguments[_spec(calls[0]).rows]
    wide = torch.promote_types(rows.dtype, torch.float32)
    each = [torch.as_tensor(value, dtype=wide, device=rows.device) for value in values]
    return RowFactors(torch.cat([one.expand(call.rows) for one, call in zip(each, calls, strict=True)]))


def _stack_options(values: list[Any], calls: Sequence[Call], factors: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: _stack_factors([value[key] for value in values], calls) if key in factors else first
        for key, first in values[0].items()
    }


def _stack_scalars(values: list[Any], calls: Sequence[Call]) -> Any:
    """One value a row; the widest dtype wins, which for timesteps is exact: embeddings are computed in float32."""
    if values[0] is None:
        return None
    if isinstance(values[0], torch.Tensor) and values[0].dim() > 1 and values[0].shape[0] == calls[0].rows:
        return _cat(values)
    device = _device_of(calls[0])
    tensors = [torch.as_tensor(value, device=device).reshape(-1) for value in values]
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return torch.cat([t.to(dtype).expand(call.rows) for t, call in zip(tensors, calls, strict=True)])


def _spec(call: Call) -> CallSpec:
    assert call.hook.spec is not None
    return call.hook.spec


def _device_of(call: Call) -> torch.device | None:
    value = call.arguments[_spec(call).rows]
    return value.device if isinstance(value, torch.Tensor) else None


def _cat(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        # contiguous first: the memory format of torch.cat's result follows its inputs, and bits follow the format
        return torch.cat([value.contiguous() for value in values])
    if isinstance(first, Mapping):
        return {key: _cat([value[key] for value in values]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_cat(list(column)) for column in zip(*values, strict=True))
    return first


def take(spec: CallSpec, arguments: dict[str, Any], start: int, stop: int, total: int) -> dict[str, Any]:
    """Rows `start` to `stop` of stacked arguments, the last row repeated past `total`."""
    index = [min(row, total - 1) for row in range(start, stop)]
    return {name: _take_argument(spec, name, value, index, total) for name, value in arguments.items()}


def _take_argument(spec: CallSpec, name: str, value: Any, index: list[int], total: int) -> Any:
    if value is None:
        return None
    if name in spec.listed or name in spec.repeated:
        return [value[row] for row in index]
    if isinstance(value, RowFactors):
        return RowFactors(value.values[index])
    if name in spec.options:
        return {key: RowFactors(v.values[index]) if isinstance(v, RowFactors) else v for key, v in value.items()}
    if name in spec.scalars or name in spec.stacked or name in spec.times:
        return _map_tensors(value, lambda tensor: _pick(tensor, index, total))
    return value


def _pick(tensor: torch.Tensor, index: list[int], total: int) -> torch.Tensor:
    times = tensor.shape[0] // total
    rows = tensor.reshape(total, times, *tensor.shape[1:])[index]
    return rows.reshape(len(index) * times, *tensor.shape[1:]).contiguous()


def _map_tensors(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: _map_tensors(inner, function) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_map_tensors(inner, function) for inner in value)
    return value


def split(output: Any, rows: Sequence[int], *, is_listed: bool = False) -> list[Any]:
    """The output of a forward of `sum(rows)` rows as one output for each call, every tensor a copy."""
    total, start, parts = sum(rows), 0, []
    for count in rows:
        parts.append(_slice(output, start, start + count, total, is_listed))
        start += count
    return parts


def _slice(output: Any, start: int, stop: int, total: int, is_listed: bool) -> Any:
    if output is None or isinstance(output, bool | int | float | str):
        return output
    if isinstance(output, torch.Tensor):
        return _slice_tensor(output, start, stop, total)
    if isinstance(output, list | tuple) and is_listed and len(output) == total:
        return type(output)(_own(entry) for entry in output[start:stop])
    return rebuild(output, lambda inner: _slice(inner, start, stop, total, is_listed))


def _own(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _slice_tensor(tensor: torch.Tensor, start: int, stop: int, total: int) -> torch.Tensor:
    if tensor.dim() == 0 or tensor.shape[0] % total:
        raise Unsplittable(f"a tensor of shape {tuple(tensor.shape)} among {total} rows")
    times = tensor.shape[0] // total
    # a copy: a view of one row would keep the whole batch alive
    return tensor[start * times : stop * times].clone(memory_format=torch.contiguous_format)


def join(outputs: Sequence[Any], *, is_listed: bool = False) -> Any:
    """Outputs of consecutive row chunks as one output."""
    first = outputs[0]
    if len(outputs) == 1 or first is None or isinstance(first, bool | int | float | str):
        return first
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs))
    if is_listed and isinstance(first, list | tuple) and all(isinstance(e, torch.Tensor) for e in first):
        return [entry for output in outputs for entry in output]
    columns = iter(zip(*(_children(output) for output in outputs), strict=True))
    return rebuild(first, lambda _: join(next(columns), is_listed=is_listed))


def _children(output: Any) -> list[Any]:
    if isinstance(output, Mapping):
        return list(output.values())
    if isinstance(output, list | tuple):
        return list(output)
    if type(output).__name__ == "DiagonalGaussianDistribution":
        return [output.parameters]
    raise Unsplittable(f"a {type(output).__name__}")


def rebuild(output: Any, function: Callable[[Any], Any]) -> Any:
    """The same container with `function` applied to what it holds."""
    children = [function(child) for child in _children(output)]
    if isinstance(output, dict) and type(output) is not dict:  # diffusers' BaseOutput, transformers' ModelOutput
        return type(output)(**dict(zip(output, children, strict=True)))
    if isinstance(output, Mapping):
        return dict(zip(output, children, strict=True))
    if type(output).__name__ == "DiagonalGaussianDistribution":
        return type(output)(children[0], deterministic=output.deterministic)
    if hasattr(output, "_fields"):
        return type(output)(*children)
    return type(output)(children)


def copy_of(output: Any) -> Any:
    """A deep copy whose tensors nobody else holds."""
    if isinstance(output, torch.Tensor):
        return output.clone()
    if output is None or isinstance(output, bool | int | float | str):
        return output
    return rebuild(output, copy_of)


def cast(output: Any, dtype: torch.dtype) -> Any:
    """The same with every tensor of floating numbers in that dtype."""
    if isinstance(output, torch.Tensor):
        return output.to(dtype) if output.is_floating_point() else output
    if output is None or isinstance(output, bool | int | float | str):
        return output
    return rebuild(output, lambda inner: cast(inner, dtype))


def bytes_of(output: Any) -> int:
    """Bytes of all tensors in a nested value; 0 for what holds none."""
    if isinstance(output, torch.Tensor):
        return output.numel() * output.element_size()
    if output is None or isinstance(output, bool | int | float | str):
        return 0
    try:
        return sum(bytes_of(child) for child in _children(output))
    except Unsplittable:
        return 0


def is_finite(value: Any) -> bool:
    """Whether no tensor in a nested value holds NaN or infinity; what holds none is."""
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if value is None or isinstance(value, bool | int | float | str):
        return True
    try:
        return all(is_finite(child) for child in _children(value))
    except Unsplittable:
        return True


def largest_difference(one: Any, other: Any) -> float:
    """Largest absolute difference of two outputs relative to the largest value of the second."""
    if isinstance(one, torch.Tensor):
        if not one.is_floating_point() or one.numel() == 0:
            return 0.0 if torch.equal(one, other) else float("inf")
        return _largest_of_finite(one.float(), other.float())
    if one is None or isinstance(one, bool | int | float | str):
        return 0.0 if one == other else float("inf")
    return max((largest_difference(a, b) for a, b in zip(_children(one), _children(other), strict=True)), default=0.0)


def _largest_of_finite(one: torch.Tensor, other: torch.Tensor) -> float:
    """One request's NaN must not look like a fault of batching: equal where both are not finite."""
    finite = other.isfinite()
    if not torch.equal(finite, one.isfinite()):
        return float("inf")
    if not bool(finite.any()):
        return 0.0
    scale = float(other[finite].abs().max()) or 1.0
    return float((one[finite] - other[finite]).abs().max()) / scale
