"""How the arguments of heavy modules stack into one forward, as data keyed by class name.

Never guessed from shapes: a shared tensor can have as many rows as a batch by accident. What a spec does not
name must be equal between two calls, or they do not share a forward. A module without a spec runs one call at a
time. No diffusers here: specs are matched by the class's name along its method resolution order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a call is to the batcher."""

    DENOISE = "denoise"
    CONTROL = "control"  # a ControlNet: its residuals are large, so its denoiser runs next
    ENCODE = "encode"  # a pure function of its arguments: run at once, cached where `cached`
    DECODE = "decode"
    OTHER = "other"


@dataclass(frozen=True)
class CallSpec:
    """How calls of one method stack and how their output splits.

    `rows` names the argument whose first dimension counts rows. `stacked` arguments are tensors (or nested
    lists, tuples, dicts of tensors) with the rows in dimension 0; `times` ones have a whole multiple of the rows
    there. `scalars` are numbers, 0-d, one-element or per-row tensors that become one value a row. `factors` are
    numbers that the method multiplies its rows by, as `rows * factor`; `options` names such numbers inside arguments
    that are dicts. `listed` arguments are Python lists with one
    entry a row, of equal shapes; `ragged` names those of them whose entries may differ in length, which the method pads
    and masks itself. `repeated` ones must have equal entries, of equal value between calls. `ignored` arguments take no
    part in the key; the first call's is used. `fixed` arguments are set so, whatever the pipeline passes. `shared`
    tensors are compared by content. `alone_if` says which calls must not be stacked at all.
    """

    method: str
    kind: Kind
    rows: str
    stacked: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    times: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    ragged: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    taped: bool = False
    alone_if: Callable[[Mapping[str, Any]], bool] | None = None
    alone_where: tuple[str, ...] = ()  # settings of the module's config under which its calls draw random numbers
