"""One attempt of one request as a greenlet: started, parked at its heavy calls, resumed or thrown into.

The only file that imports greenlet. State that torch keeps per thread (grad and inference mode, autocast, function
modes) and the default random generators belong to the fiber: without swapping them at every switch, one pipeline's
`torch.no_grad()` would restore another's value, and solvers that draw from the default generator would depend on
their neighbours. The default generator is global to the process: engines take turns to run a fiber, and other threads
that draw from it while one runs would disturb it.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from greenlet import getcurrent, greenlet

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")  # torch keeps one setting for each, present or not
_C: Any = torch._C
# The default generators are the process's: one fiber at a time has its own state in them, whichever engine runs it.
_generators_in_use = threading.RLock()


class Cancelled(BaseException):
    """Thrown into a fiber to unwind it; no pipeline's `except Exception` swallows it."""


@dataclass
class ThreadState:
    """What torch keeps per thread and a pipeline may change between two calls.

    Inference mode can only be left the way it was entered, first in, last out, which interleaved fibers do not do. So
    it is covered by a normal mode of our own while its fiber is parked, and uncovered when that goes on.
    """

    grad: bool
    autocast: tuple[tuple[bool, Any], ...]
    modes: list[Any]
    cover: torch.inference_mode | None = None  # in place while this state is parked in inference mode

    @classmethod
    def take(cls) -> ThreadState:
        """Read this thread's state and leave its function modes empty, and inference mode covered."""
        autocast = tuple((torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in AUTOCAST_DEVICES)
        modes = [_C._pop_torch_function_stack() for _ in range(_C._len_torch_function_stack())]
        state = cls(torch.is_grad_enabled(), autocast, modes)
        if torch.is_inference_mode_enabled():
            state.cover = torch.inference_mode(False)
            state.cover.__enter__()
        return state

    def put(self) -> None:
        """Make this the thread's state."""
        if self.cover is not None:
            self.cover.__exit__(None, None, None)
        if torch.is_grad_enabled() != self.grad:
            torch._C._set_grad_enabled(self.grad)
        for device, (enabled, dtype) in zip(AUTOCAST_DEVICES, self.autocast, strict=True):
            if torch.is_autocast_enabled(device) != enabled:
                torch.set_autocast_enabled(device, enabled)
            if torch.get_autocast_dtype(device) != dtype:
                torch.set_autocast_dtype(device, dtype)
        for mode in reversed(self.modes):
            _C._push_on_torch_function_stack(mode)


def _default_generators() -> list[torch.Generator]:
    return [torch.default_generator, *torch.cuda.default_generators]  # the latter are none until CUDA is in use


def _random_state() -> list[torch.Tensor]:
    return [g.get_state() for g in _default_generators()]


def _set_random_state(states: list[torch.Tensor]) -> None:
    for generator, state in zip(_default_generators(), states, strict=False):
        generator.set_state(state)


def _seeded_state(seed: int) -> list[torch.Tensor]:
    return [torch.Generator(device=g.device).manual_seed(seed).get_state() for g in _default_generators()]


class Fiber(greenlet):
    """Runs `function` until it parks a call or ends; owned by the thread that resumes it.

    `seed` seeds the fiber's own default generators. `grad` is the grad mode it starts with. `owner` is whatever
    its engine wants to find again from inside the fiber.
    """

    def __init__(self, function: Callable[[], Any], *, seed: int, owner: Any, context: contextvars.Context) -> None:
        super().__init__(lambda _: function())
        self.gr_context = context
        self.owner = owner
        self._state = ThreadState(False, tuple((False, torch.get_autocast_dtype(d)) for d in AUTOCAST_DEVICES), [])
        self._random = _seeded_state(seed)

    def resume(self, value: Any = None) -> Any:
        """Go on with `value` as the answer to the parked call; the next parked call, or the return value."""
        return self._enter(lambda: self.switch(value))

    def throw_in(self, error: BaseException) -> Any:
        """Go on with `error` raised at the parked call."""
        return self._enter(lambda: self.throw(type(error), error, None))

    def park(self, call: Any) -> Any:
        """Give `call` to the hub and wait for its answer; called from inside the fiber."""
        parent = self.parent
        assert parent is not None
        return parent.switch(call)

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Draw from the fiber's default generators outside of it, while it is parked: for its own call's forward."""
        with _generators_in_use:
            hub_random = _random_state()
            _set_random_state(self._random)
            try:
                yield
            finally:
                self._random = _random_state()
                _set_random_state(hub_random)

    def _enter(self, go: Callable[[], Any]) -> Any:
        # greenlet returns to the parent that was current when it was made; the hub may have been another one.
        self.parent = getcurrent()
        hub_state = ThreadState.take()
        try:
            with self.drawing():
                return self._go_in(go)
        finally:
            hub_state.put()

    def _go_in(self, go: Callable[[], Any]) -> Any:
        self._state.put()
        try:
            return go()
        finally:
            self._state = ThreadState.take()


def current() -> Fiber | None:
    """The fiber that runs now, or None in ordinary code."""
    running = getcurrent()
    return running if isinstance(running, Fiber) else None


def forget_frames(error: BaseException) -> None:
    """Drop the locals that a traceback keeps alive: latents and embeddings of an ended request."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        told = chain.pop()
        if told is None or id(told) in seen:  # `raise error from error` is its own cause
            continue
        seen.add(id(told))
        if told.__traceback__ is not None:
            traceback.clear_frames(told.__traceback__)
        chain += [told.__cause__, told.__context__]
