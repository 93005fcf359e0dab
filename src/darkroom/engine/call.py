"""A parked call of a heavy method, and the key that two calls must share to run as one forward."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .adapters import Mix
from .fiber import AUTOCAST_DEVICES
from .specs import CallSpec, Kind

if TYPE_CHECKING:
    from .hook import HookedMethod


@dataclass(frozen=True)
class BatchKey:
    """What must match: the method itself, shapes beside the rows, values, torch's modes, and the row regime."""

    hook: int
    shapes: tuple[Any, ...]
    values: tuple[Any, ...]
    state: tuple[Any, ...]
    fixed_rows: int  # reproducible calls run at exactly so many rows; 0: any


@dataclass(eq=False)
class Call:
    """One parked forward of one request; `fixed_rows` is 0 unless the request is reproducible."""

    hook: HookedMethod
    arguments: dict[str, Any]
    raw: tuple[tuple[Any, ...], dict[str, Any]]
    rows: int
    key: BatchKey
    is_stackable: bool
    state: tuple[Any, ...]
    digest: bytes | None = None  # of all arguments, for cached encoders
    parked_at: float = 0.0
    deadline: float | None = None
    priority: int = 0
    due: float = 0.0  # when its request would be done if it had run alone since it came
    remaining_s: float = 0.0  # what its request still takes alone, asked of those with a deadline only
    is_begun: bool = False  # its request has done a step
    follows_control: bool = False
    mix: Mix = ()  # what its request's adapters add in each of its rows
    owner: Any = field(default=None, repr=False)
    wall_s: float = 0.0  # of the forwards it took part in
    device_s: float = 0.0  # its share of them

    @property
    def kind(self) -> str:
        return self.hook.kind

    @property
    def shape_key(self) -> tuple[Any, ...]:
        """What a forward's seconds depend on beside its rows; its repr is the same in every process."""
        return (self.hook.identity, self.key.shapes, self.key.fixed_rows)


@dataclass(eq=False)
class HostCall:
    """Work for the thread pool (pre- and postprocessing, image encoding), never for the tick; `seconds` once done."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: tuple[Any, ...] = field(default_factory=lambda: torch_state())
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    seconds: float = 0.0

    def run(self) -> Any:
        """In the pool's thread, under its fiber's modes of torch and context variables."""
        started = time.perf_counter()
        try:
            with in_state(self.state):
                return self.context.run(self.function, *self.args, **self.kwargs)
        finally:
            self.seconds = time.perf_counter() - started


def make_call(hook: HookedMethod, args: tuple[Any, ...], kwargs: dict[str, Any], fixed_rows: int) -> Call:
    """Bind the arguments as the spec says; what it does not understand makes the call run alone."""
    arguments = hook.bind(args, kwargs)
    spec, state = hook.spec, torch_state()
    described = None
    # with gradients, rows of one forward would share one graph, and the first backward would free it
    is_alone = hook.is_solitary or torch.is_grad_enabled()
    if spec is not None and arguments is not None and not is_alone:
        described = _describe(spec, arguments)
    if described is None or spec is None or arguments is None:
        key = BatchKey(hook.uid, (), (object(),), state, 0)
        return Call(hook, arguments or {}, (args, kwargs), 1, key, False, state)
    rows, shapes, values = described
    key = BatchKey(hook.uid, shapes, values, state, fixed_rows_of(spec, fixed_rows))
    digest = _digest(arguments) if spec.cached else None
    return Call(hook, arguments, (args, kwargs), rows, key, True, state, digest)


def fixed_rows_of(spec: CallSpec, fixed_rows: int) -> int:
    """The row count of the reproducible regime: encoders and decoders run row by row.

    So does what pads ragged rows: how long a row becomes, and whether it is masked, follows its company.
    """
    if not fixed_rows:
        return 0
    return fixed_rows if spec.kind in (Kind.DENOISE, Kind.CONTROL) and not spec.ragged else 1


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors_in(inner)


def torch_state() -> tuple[Any, ...]:
    """Grad mode, device, autocast (device and dtype wherever it is on) and inference mode of the fiber that calls."""
    autocast = tuple((d, torch.get_autocast_dtype(d)) for d in AUTOCAST_DEVICES if torch.is_autocast_enabled(d))
    return (torch.is_grad_enabled(), _accelerator(), autocast, torch.is_inference_mode_enabled())


@functools.cache
def _accelerator() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def in_state(state: tuple[Any, ...]) -> Iterator[None]:
    """Modes as they were in the fibers that called."""
    grad, _, autocast, is_inference = state
    with contextlib.ExitStack() as entered:
        entered.enter_context(torch.inference_mode() if is_inference else torch.set_grad_enabled(grad))
        for device, dtype in autocast:
            entered.enter_context(torch.autocast(device, dtype))
        yield


def _describe(spec: CallSpec, arguments: dict[str, Any]) -> tuple[int, tuple[Any, ...], tuple[Any, ...]] | None:
    """Rows, shapes and values of a call; None when it must run alone."""
    if spec.alone_if is not None and spec.alone_if(arguments):
        return None
    rows = _count_rows(arguments.get(spec.rows))
    if not rows:
        return None
    shapes: list[Any] = []
    values: list[Any] = []
    for name, value in arguments.items():
        described = _describe_argument(spec, name, value, rows)
        if described is None:
            return None
        kind, what = described
        (shapes if kind == "shape" else values).append((name, what))
    return rows, tuple(shapes), tuple(values)


def _count_rows(value: Any) -> int:
    if isinstance(value, torch.Tensor) and value.dim() > 0:
        return value.shape[0]
    return len(value) if isinstance(value, list) else 0


def _describe_argument(spec: CallSpec, name: str, value: Any, rows: int) -> tuple[str, Any] | None:
    if name in spec.ignored:
        return ("value", None)
    if name in spec.listed:
        return _described("shape", _list_shapes(value, rows, name in spec.ragged))
    if name in spec.repeated:
        return _described("value", _repeated_mark(value, rows))
    if name in spec.factors:
        return _described("value", _factor_mark(value))
    if name in spec.options and isinstance(value, Mapping):
        return _described("value", _options_mark(value, spec.options[name]))
    if name in spec.scalars:
        return _described("value", _scalar_mark(value, rows))
    if name in spec.stacked or name in spec.times:
        return _described("shape", _row_shapes(value, rows, name in spec.times))
    return _described("value", _value_mark(value, name in spec.shared))


def _described(kind: str, what: Any) -> tuple[str, Any] | None:
    return None if what is None else (kind, what)


def _list_shapes(value: Any, rows: int, is_ragged: bool) -> Any:
    if value is None:
        return ("none",)
    if not isinstance(value, list) or len(value) != rows:
        return None
    marks = {tuple((_entry_shape(t, is_ragged), t.dtype, t.device) for t in tensors_in(entry)) for entry in value}
    return marks.pop() if len(marks) == 1 else None


def _entry_shape(entry: torch.Tensor, is_ragged: bool) -> tuple[int, ...]:
    """Without the length, where rows of all lengths share a forward."""
    return tuple(entry.shape)[1:] if is_ragged else tuple(entry.shape)


def _repeated_mark(value: Any, rows: int) -> Any:
    """The one entry that all rows repeat; None when they differ."""
    if value is None:
        return ("none",)
    if not isinstance(value, list) or len(value) != rows or any(entry != value[0] for entry in value):
        return None
    return _value_mark(value[0], False)


def _scalar_mark(value: Any, rows: int) -> Any:
    if value is None:
        return ("none",)
    if isinstance(value, torch.Tensor) and value.dim() > 1 and value.shape[0] == rows:
        return ("grid", tuple(value.shape[1:]), value.dtype)  # a timestep for each token of a row
    is_one_a_row = isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() in (1, rows))
    return ("scalar",) if is_one_a_row else None


def _factor_mark(value: Any) -> Any:
    """A number, or a tensor that torch takes for one; a tensor with dimensions would widen what it multiplies."""
    is_number = isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.dim() == 0)
    return ("factor",) if is_number else None


def _options_mark(options: Mapping[str, Any], factors: tuple[str, ...]) -> Any:
    """The numbers among them that become one a row, by their names alone; the rest by value."""
    marks = [(k, _factor_mark(v) if k in factors else _value_mark(v, False)) for k, v in options.items()]
    return None if any(mark is None for _, mark in marks) else tuple(marks)


def _row_shapes(value: Any, rows: int, is_multiple: bool) -> Any:
    """Shapes beside the rows, nested as the argument is."""
    if value is None:
        return ("none",)
    if isinstance(value, torch.Tensor):
        return _tensor_shape(value, rows, is_multiple)
    if isinstance(value, Mapping):
        inner = tuple((k, _row_shapes(v, rows, is_multiple)) for k, v in value.items())
        return None if any(shape is None for _, shape in inner) else inner
    if isinstance(value, list | tuple):
        shapes = tuple(_row_shapes(v, rows, is_multiple) for v in value)
        return None if any(shape is None for shape in shapes) else shapes
    return ("plain", value) if isinstance(value, str | int | float | bool) else None


def _tensor_shape(value: torch.Tensor, rows: int, is_multiple: bool) -> Any:
    if value.dim() == 0 or value.shape[0] % rows or (value.shape[0] != rows and not is_multiple):
        return None
    return (value.shape[0] // rows, *value.shape[1:], value.dtype, value.device)


def _value_mark(value: Any, is_shared: bool) -> Any:
    """A hashable stand-in that is equal for equal values; None when there is none."""
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.dtype, value.device, _content(value)) if is_shared else None
    if value is None or isinstance(value, str | int | float | bool | torch.dtype | torch.device):
        return (type(value).__name__, value)
    if isinstance(value, Mapping):
        items = tuple((k, _value_mark(v, is_shared)) for k, v in value.items())
        return None if any(mark is None for _, mark in items) else items
    if isinstance(value, list | tuple):
        marks = tuple(_value_mark(v, is_shared) for v in value)
        return None if any(mark is None for mark in marks) else (type(value).__name__, *marks)
    return None


def _content(value: torch.Tensor) -> bytes:
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(flat.numpy().tobytes(), digest_size=16).digest()


def _digest(arguments: dict[str, Any]) -> bytes | None:
    """Of everything an encoder's output depends on; None when something has no stand-in."""
    marks = [(name, _value_mark(value, True)) for name, value in arguments.items()]
    if any(mark is None for _, mark in marks):
        return None
    return hashlib.blake2b(repr(marks).encode(), digest_size=16).digest()
