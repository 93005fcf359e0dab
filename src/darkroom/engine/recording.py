"""Records one request's run, and replays what a tape has of it; the engine's thread alone, but any thread may copy it.

Denoisers' outputs are recorded, ControlNets' by their shapes, and beside them each step told and each answer of a
caller's callback: what was told before is not told again, and what a callback did is done again without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..errors import Conflict, TapeRefused
from . import rows
from .call import Call, tensors_in
from .digests import Inputs, digest_of
from .runner import Outcome
from .specs import Kind
from .tape import CALLBACK, STEP, Entry, bytes_of, on_host, played, shapes_of, whole

_MISSING = object()


class Recording:
    """The log of a run, which begins with what is `told` by a tape; `by_content` as of `digests.Inputs`.

    Switched off it records nothing and says so to whoever wants a tape.
    """

    def __init__(self, told: Sequence[Entry] = (), *, by_content: bool, is_on: bool = True) -> None:
        self._entries, self._place = list(told), 0
        self._inputs = Inputs(by_content)
        self._off_because = "" if is_on else "its engine records none (tapes=False)"
        self._pending: tuple[str, bytes] | None = None
        self._held_bytes, self.predicted_bytes = 0, 0.0  # the second of the whole tape, once a step is done
        for entry in told:
            self._count(entry)

    def entries(self) -> tuple[Entry, ...]:
        """All of it so far; raises `Conflict` where it is not recorded."""
        if self._off_because:
            raise Conflict(f"there is no tape of this request: {self._off_because}")
        return whole(tuple(self._entries))

    def rewind(self) -> None:
        """Its fiber starts over: what it has done before is replayed to it."""
        self._entries, self._place, self._pending = list(whole(tuple(self._entries))), 0, None

    @property
    def is_replaying(self) -> bool:
        """Whether what comes next is on the tape."""
        return self._place < len(self._entries)

    # Calls.

    def replay(self, call: Call, role: str) -> Outcome | None:
        """What a call came to before, or how it differs from then; None: it must run."""
        if self._off_because or not _is_taped(call):
            return None
        try:
            digest = self._inputs.digest(call)
            entry = self._next(role, digest)
            if entry is not None:
                output = played(entry.output, _device_of(call.arguments or call.raw))
                return Outcome(call, output, is_unsteady=entry.is_unsteady)
        except Exception as error:  # budget: a tape that cannot be played must not end everybody's requests
            return self._give_up(call, error)
        self._pending = (role, digest)
        return None

    def _give_up(self, call: Call, error: Exception) -> Outcome | None:
        """A resumed request cannot go on without its tape, any other one can."""
        if self.is_replaying or isinstance(error, TapeRefused):
            return Outcome(call, error=error)
        self._stop(f"what {call.hook.name} is called with cannot be told apart: {error}")
        return None

    def record(self, outcome: Outcome) -> None:
        """Keep a copy of what a call came to that `replay` let run."""
        call = outcome.call
        if self._pending is None or not _is_taped(call) or self._off_because:
            return
        copied = shapes_of if call.kind == Kind.CONTROL else on_host
        try:
            self._append(Entry(*self._pending, copied(outcome.output), outcome.is_unsteady))
        except Exception as error:  # budget: nor must one that cannot be recorded
            self._stop(f"what {self._pending[0]} gives out cannot be copied: {error}")

    # What is told.

    def stepped(self, step: int, steps: int) -> bool:
        """Whether this step was told before."""
        if self._off_because:
            return False
        digest = digest_of((step, steps))
        if self._next(STEP, digest) is not None:
            return True
        self._append(Entry(STEP, digest, (step, steps)))
        return False

    def listen(self, arguments: dict[str, Any]) -> None:
        """Put the caller's callbacks behind this recording."""
        if self._off_because:
            return
        own, old = arguments.get("callback_on_step_end"), arguments.get("callback")
        if own is not None:
            if wanted := getattr(own, "tensor_inputs", None):  # diffusers reads it from callbacks of its own class
                arguments["callback_on_step_end_tensor_inputs"] = list(wanted)
            arguments["callback_on_step_end"] = self._recorded(own)
        if callable(old):
            arguments["callback"] = lambda *given: self._once(lambda: old(*given))

    def _recorded(self, own: Any) -> Callable[..., Any]:
        def on_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> Any:
            entry = self._next(CALLBACK, b"")
            if entry is not None:
                return _done_again(entry.output, pipe, tensors)
            before, given = dict(pipe.__dict__), dict(tensors)  # diffusers' own callbacks write into the latter
            written = {name: _version_of(value) for name, value in given.items()}
            answer = own(pipe, step, timestep, tensors)
            changed = {name for name, value in given.items() if _version_of(value) != written[name]}
            self._keep(_answered(answer, given, changed), _set_since(before, pipe))
            return answer

        return on_step_end

    def _keep(self, answer: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        try:
            self._append(Entry(CALLBACK, b"", {"answer": on_host(answer), "set": on_host(settings)}))
        except rows.Unsplittable as error:
            self._stop(f"its callback hands over {error}")

    def _once(self, tell: Callable[[], Any]) -> Any:
        if self._next(CALLBACK, b"") is not None:
            return None
        answer = tell()
        self._keep({}, {})
        return answer

    # The log.

    def _next(self, role: str, digest: bytes) -> Entry | None:
        """The entry at this place, which must be of that; None past the end."""
        if not self.is_replaying:
            return None
        entry = self._entries[self._place]
        if entry.role != role:
            raise TapeRefused(f"the tape has {entry.role} at place {self._place}, where the request came to {role}")
        if entry.digest != digest:
            raise TapeRefused(f"{role} at place {self._place} of the tape was called with other inputs")
        self._place += 1
        return entry

    def _append(self, entry: Entry) -> None:
        if self._off_because:
            return
        self._entries.append(entry)
        self._place = len(self._entries)
        self._count(entry)

    def _count(self, entry: Entry) -> None:
        self._held_bytes += bytes_of(entry)
        step, steps = entry.output if entry.role == STEP else (0, 0)
        self.predicted_bytes = max(self._held_bytes, self._held_bytes * steps / step if step else self.predicted_bytes)

    def _stop(self, why: str) -> None:
        self._off_because, self._entries, self._place = why, [], 0
        self._held_bytes, self.predicted_bytes = 0, 0.0


def _is_taped(call: Call) -> bool:
    """Denoisers and ControlNets; with gradients the graph is part of the output, and no copy has it."""
    spec = call.hook.spec
    return spec is not None and (spec.taped or spec.kind == Kind.CONTROL) and not call.state[0]


def _device_of(value: Any) -> torch.device:
    return next((tensor.device for tensor in tensors_in(value)), torch.device("cpu"))


def _version_of(value: Any) -> int:
    return sum(tensor._version for tensor in tensors_in(value) if not tensor.is_inference())


def _answered(answer: Any, tensors: Mapping[str, Any], changed: set[str]) -> dict[str, Any]:
    """What a callback returned, None for what it left as it was; what it wrote in place is returned too."""
    said = answer if isinstance(answer, Mapping) else {}
    mixed = {**{name: tensors[name] for name in changed}, **said}
    return {name: None if _is_left(name, value, tensors, changed) else value for name, value in mixed.items()}


def _is_left(name: str, value: Any, tensors: Mapping[str, Any], changed: set[str]) -> bool:
    return name not in changed and value is tensors.get(name, _MISSING)


def _set_since(before: Mapping[str, Any], pipe: Any) -> dict[str, Any]:
    """What a callback has set on its pipeline: guidance switched off, an interrupt."""
    return {name: value for name, value in pipe.__dict__.items() if before.get(name, _MISSING) is not value}


def _done_again(done: Mapping[str, Any], pipe: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
    device = _device_of(tensors)
    for name, value in done["set"].items():
        setattr(pipe, name, played(value, device))
    answer = {
        name: tensors.get(name) if value is None else played(value, device) for name, value in done["answer"].items()
    }
    return {name: value for name, value in answer.items() if value is not None}
