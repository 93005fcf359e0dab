"""EasyCache: a denoiser's call whose output can be told from the calls before is answered without running it.

After Zhou et al., "Less is Enough: Training-Free Video Diffusion Acceleration via Runtime-Adaptive Caching" (2025),
https://arxiv.org/abs/2507.02860. From one computed call to the next the output changes about as fast, in its input, as
it did before. So how far it has moved since is foretold from inputs alone; as long as that stays under a threshold, the
answer is the input plus what the last forward added to it. It decides between calls: what runs is batched as ever.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch

from ..errors import BadInput
from . import rows
from .call import Call, tensors_in

MOVING = re.compile("residual|controlnet")  # arguments that another module makes anew each step
WARM_UP = 0.2  # of a run's steps: these say what the picture is, and are computed
LEAST_STEPS = 3  # two tell how fast the output changes, and one to come


@dataclass
class _Line:
    """The calls of one kind, one a step: `inputs` and `output` of the last that was computed."""

    inputs: list[torch.Tensor] = field(default_factory=list)
    output: Any = None
    latest: list[torch.Tensor] = field(default_factory=list)  # the inputs of the last call, computed or not
    rate: float | None = None  # change of the output for a change of the input
    drift: float = 0.0  # foretold change of the output since, relative to it
    conditions: list[tuple[torch.Tensor, int]] = field(default_factory=list)  # of the last call, and their versions

    def has_conditions_of(self, call: Call) -> bool:
        """Whether the prompt and what else steers all steps alike are the tensors of the call before; notes them."""
        before, self.conditions = self.conditions, [(tensor, _version_of(tensor)) for tensor in _conditions_of(call)]
        pairs = zip(before, self.conditions, strict=False)
        is_same = all(one is other and old == new for (one, old), (other, new) in pairs)
        return is_same and len(before) == len(self.conditions)


class EasyCache:
    """Of one run of a request; `threshold` is the relative change of an output below which it is not computed."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._lines: dict[Hashable, _Line] = {}
        self._step, self._turn = -1, count()
        self._asked: tuple[Call, _Line] | None = None

    def answer(self, call: Call, step: int, steps: int | None) -> Any:
        """The output of a call in this step of so many; None: it must run, and `saw` be told."""
        self._asked = None
        if call.hook.spec is None or not call.hook.spec.taped or call.arguments is None or call.state[0]:
            return None
        if steps is None or step >= steps:  # a pipeline that tells of no steps: what belongs together is not known
            return None
        line = self._line_of(call, step)
        self._asked, inputs = (call, line), _inputs_of(call)
        moved, is_as_before = _distance(inputs, line.latest), line.has_conditions_of(call)
        line.latest = [tensor.clone() for tensor in inputs]
        if moved is None or line.rate is None or not is_as_before or not _may_skip(step, steps):
            return None
        line.drift += line.rate * moved / max(_size(_outputs_of(line.output)), torch.finfo(torch.float32).tiny)
        return _advanced(line.output, line.inputs, inputs) if line.drift < self._threshold else None

    def saw(self, call: Call, output: Any) -> None:
        """What a call that was not answered came to."""
        if self._asked is None or self._asked[0] is not call:
            return
        line, inputs = self._asked[1], _inputs_of(call)
        moved = _distance(inputs, line.inputs)
        changed = _distance(_outputs_of(output), _outputs_of(line.output)) if moved else None
        line.rate = changed / moved if moved and changed is not None else line.rate
        line.inputs, line.output, line.drift = [tensor.clone() for tensor in inputs], rows.copy_of(output), 0.0

    @property
    def held_bytes(self) -> int:
        """Of all tensors that it keeps."""
        return sum(rows.bytes_of([line.inputs, line.latest, line.output]) for line in self._lines.values())

    def _line_of(self, call: Call, step: int) -> _Line:
        """The calls that hold the same place in their steps: some pipelines call a denoiser more than once."""
        if step != self._step:
            self._step, self._turn = step, count()
        # guidance that ends, residuals that come or go, another strength: another line, which knows nothing yet
        key = (call.hook.uid, next(self._turn), call.rows, call.key.shapes, call.key.values)
        return self._lines.setdefault(key, _Line())


def check_threshold(threshold: float | None) -> None:
    """Raise `BadInput` for one that no relative change can have."""
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (is_number and 0 < threshold <= 1):
        raise BadInput(f"easy_cache must be above 0 and at most 1, not {threshold!r}", field="easy_cache")


def _may_skip(step: int, steps: int | None) -> bool:
    return steps is not None and max(LEAST_STEPS, WARM_UP * steps) <= step < steps - 1


def _inputs_of(call: Call) -> list[torch.Tensor]:
    assert call.arguments is not None
    assert call.hook.spec is not None
    return list(tensors_in(call.arguments[call.hook.spec.rows]))


def _conditions_of(call: Call) -> list[torch.Tensor]:
    """Not what follows the step by its nature: latents, times, and the residuals of a ControlNet."""
    assert call.arguments is not None
    assert call.hook.spec is not None
    moving = {call.hook.spec.rows, *call.hook.spec.scalars}
    steady = [value for name, value in call.arguments.items() if name not in moving and not MOVING.search(name)]
    return list(tensors_in(steady))


def _version_of(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _outputs_of(output: Any) -> list[torch.Tensor]:
    return list(tensors_in(output))


def _distance(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float | None:
    """The mean absolute difference; None where they are not of the same shapes."""
    if not some or [tensor.shape for tensor in some] != [tensor.shape for tensor in others]:
        return None
    return _size([one.float() - other.float() for one, other in zip(some, others, strict=True)])


def _size(tensors: Sequence[torch.Tensor]) -> float:
    total = sum(float(tensor.float().abs().sum()) for tensor in tensors)
    return total / max(1, sum(tensor.numel() for tensor in tensors))


def _advanced(output: Any, before: Sequence[torch.Tensor], now: Sequence[torch.Tensor]) -> Any:
    """The output, moved as far as the input has; as it is, where it is of another shape (a mask beside the latents)."""
    outputs = _outputs_of(output)
    if [tensor.shape for tensor in outputs] != [tensor.shape for tensor in now]:
        return rows.copy_of(output)
    moved = {id(o): (o + (n - b).to(o.dtype)) for o, b, n in zip(outputs, before, now, strict=True)}
    return _replaced(output, moved)


def _replaced(value: Any, by: dict[int, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return by[id(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return rows.rebuild(value, lambda inner: _replaced(inner, by))
