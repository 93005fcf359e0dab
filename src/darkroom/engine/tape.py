"""The tape of a request: what its calls came to so far, and what they must have come from to be believed.

It is a log in the order of the run, so that every beginning of it is a tape of its own. docs/architecture/09-tapes.md
says how it is recorded and replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from ..errors import BadInput, TapeRefused
from . import rows
from .call import tensors_in
from .digests import digest_of

STEP, CALLBACK = ":step", ":callback"  # entries that are no calls; a component's name has no colon
WORDS = {
    "engine": "engine version",
    "model": "model revision",
    "solvers": "solver configuration",
    "rows": "row regime",
    "adapters": "adapters",
}


@dataclass(frozen=True)
class Identity:
    """What must be equal where a tape is resumed: digests, or versions, by what they are of."""

    engine: str
    model: str
    solvers: str
    rows: str
    adapters: str

    def check(self, here: Identity) -> None:
        """Raise `TapeRefused` with the first thing that differs."""
        for each in fields(self):
            then, now = getattr(self, each.name), getattr(here, each.name)
            if then != now:
                raise TapeRefused(f"the tape is of another {WORDS[each.name]}: {then}, and here it is {now}")


@dataclass(frozen=True)
class Asked:
    """What was asked for: `arguments` of the pipeline's call; `drawn` seeds default generators where `seed` is None.

    `fixed_rows` is 0 unless the request is reproducible; `adapters` are weights by name.
    """

    model: str
    arguments: Mapping[str, Any]
    seed: int | None
    drawn: int
    fixed_rows: int
    adapters: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the arguments; those of a generator are its state's."""
        return digest_of(self.arguments).hex()


@dataclass(frozen=True)
class Entry:
    """One call, by its `role` (component and method) and a digest of its inputs; its place in the log is its ordinal.

    `output` keeps its structure, with tensors in host memory; of a ControlNet's only the shapes (tensors on "meta").
    `is_unsteady`: it is reproducible in its own row count alone.
    """

    role: str
    digest: bytes
    output: Any
    is_unsteady: bool = False


@dataclass(frozen=True)
class Tape:
    """A request as far as it has come; nobody may write on what it holds. `digest` is of the arguments asked."""

    identity: Identity
    asked: Asked
    digest: str
    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def steps(self) -> tuple[int, int]:
        """Denoising steps done, and steps in all (0, 0 before the first)."""
        told = (entry.output for entry in reversed(self.entries) if entry.role == STEP)
        step, steps = next(told, (0, 0))
        return step, steps

    @property
    def progress(self) -> float:
        """Steps done of all, 0 to 1."""
        step, steps = self.steps
        return min(1.0, step / max(1, steps))

    @property
    def held_bytes(self) -> int:
        """Of the outputs."""
        return sum(bytes_of(entry) for entry in self.entries)

    def check_arguments(self) -> None:
        """Raise `TapeRefused` where the arguments are not those that it was recorded with."""
        if self.asked.digest != self.digest:
            raise TapeRefused("the tape is of other arguments: give exactly those of the request that it is of")

    def to_bytes(self, *, with_arguments: bool = True) -> bytes:
        """As a safetensors file. Raises `BadInput` naming the keyword where an argument cannot be stored (a callback).

        Without the arguments, `from_bytes` must be given them.
        """
        from . import tape_file  # which knows this module

        return tape_file.dump(self, with_arguments)

    @classmethod
    def from_bytes(cls, data: bytes, /, **call: Any) -> Tape:
        """The tape that `to_bytes` wrote; `call` are arguments to use in place of those stored.

        Raises `CorruptTape`, or `TapeRefused` where the arguments are others or another version wrote it.
        """
        from . import tape_file

        tape = tape_file.load(data)
        asked = replace(tape.asked, arguments={**tape.asked.arguments, **call})
        tape = replace(tape, asked=asked)
        tape.check_arguments()
        return tape


def bytes_of(entry: Entry) -> int:
    """Of its tensors; those of a ControlNet are shapes only."""
    return sum(tensor.nbytes for tensor in tensors_in(entry.output) if tensor.device.type != "meta")


def mapped(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same structure with other tensors; raises `rows.Unsplittable` for what is no structure of tensors."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return rows.rebuild(value, lambda inner: mapped(inner, function))


def on_host(value: Any) -> Any:
    """A copy in host memory, which the pipeline cannot write on."""
    return mapped(value, lambda tensor: tensor.detach().to("cpu", copy=True))


def shapes_of(value: Any) -> Any:
    """The same structure without content."""
    return mapped(value, lambda tensor: torch.empty_like(tensor, device="meta"))


def played(value: Any, device: torch.device) -> Any:
    """A copy for a pipeline, on its device; zeros where only shapes are known."""
    return mapped(value, lambda tensor: _played(tensor, device))


def _played(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if tensor.device.type == "meta":
        return torch.zeros_like(tensor, device=device)
    return tensor.to(device, copy=True)


def asked_of(tape: Any) -> Asked:
    """What the request of a tape asked for; raises `BadInput` for what is no tape."""
    if not isinstance(tape, Tape):
        said = f"tape must be a Tape, not {type(tape).__name__}: Tape.from_bytes(data) makes one of its bytes"
        raise BadInput(said, field="tape")
    return tape.asked


def whole(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """To the end of the last step where a ControlNet stands behind it: its step's other calls need what it makes."""
    step = max((place for place, entry in enumerate(entries) if entry.role == STEP), default=-1)
    return entries[: step + 1] if any(_is_control(entry) for entry in entries[step + 1 :]) else entries


def _is_control(entry: Entry) -> bool:
    return any(tensor.device.type == "meta" for tensor in tensors_in(entry.output))
