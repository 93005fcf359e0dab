"""Runs many requests' pipelines at once; docs/architecture/01-engine.md says how."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import torch

from .. import errors
from . import view
from .attempts import Attempts
from .batcher import Batcher, Waiting
from .cache import EncoderCache
from .call import Call, HostCall
from .guard import guard
from .handle import Handle
from .memory import Budget
from .profile import Profile
from .request import Request, check_own_keywords, deadline_of, with_own_generator
from .runner import Runner
from .served import Served, settled_stand_in
from .specs import Kind

ENCODER_ROUNDS = 8  # encoder batches a tick may run before it denoises
DECODE_ROWS = 2  # decoding many images at once saves little time and costs much memory


@dataclass(frozen=True)
class Options:
    """Less common settings of an engine.

    `shadow_check` compares the first batch of each shape with single calls. `encoder_cache_bytes` 0 switches the
    cache off. `memory_bytes` bounds what requests in flight may hold (None: a quarter of what is free).
    """

    shadow_check: bool = True
    encoder_cache_bytes: int = 256 * 2**20
    host_threads: int = 2
    memory_bytes: int | None = None


class Engine:
    """Serves diffusers pipelines, unmodified, to many requests at once.

    `pipe` is any diffusers pipeline instance (more with `add`). `max_batch_rows` bounds a forward's rows (default 32;
    the measured curve may set less). `batching=False` runs every call alone. `reproducible=True` runs every denoiser
    forward at `fixed_rows` rows (a power of two) and everything else row by row, so that an image's bytes depend on
    its request alone. `preview_every=k` emits a preview each k steps.
    """

    def __init__(
        self,
        pipe: Any = None,
        *,
        max_batch_rows: int | None = None,
        batching: bool = True,
        reproducible: bool = False,
        fixed_rows: int = 8,
        preview_every: int = 0,
        options: Options | None = None,
    ) -> None:
        _check_rows(max_batch_rows, fixed_rows)
        options = options or Options()
        self._reproducible, self._fixed_rows, self._preview_every = reproducible, fixed_rows, preview_every
        self.profile = Profile(max_batch_rows or 32)
        self._runner = Runner(self.profile, check=options.shadow_check)
        self._cache = EncoderCache(options.encoder_cache_bytes)
        self._attempts = Attempts(self, self._runner, self._cache, Budget(options.memory_bytes))
        self._batcher, self._encoders = Batcher(self._cap, batching), Batcher(self._cap, batching)
        self._models: dict[str, Served] = {}
        self._settled: dict[int, torch.nn.Module] = {}
        self._wakeup = threading.Condition()
        self._inbox: deque[Callable[[], None]] = deque()
        self._is_closing, self._is_detached, self._busy_s, self._ticks = False, False, 0.0, 0
        self._handles: weakref.WeakSet[Handle] = weakref.WeakSet()
        self._labels: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._pool = ThreadPoolExecutor(options.host_threads, "darkroom-host")
        if pipe is not None:
            self.add(pipe)
        guard.enter()

    # What callers ask, from any thread.

    def add(self, pipe: Any, name: str | None = None) -> str:
        """Serve one more pipeline; its modules are hooked until the engine closes. Returns its name.

        Pipelines that share components by identity share their batches. Raises `ModelNotServable`, `BadInput`.
        """
        with self._wakeup:
            if self._is_closing:
                raise errors.EngineClosed("the engine is closed and serves no more pipelines")
            name = name or ("default" if not self._models else f"model-{len(self._models) + 1}")
            if name in self._models:
                raise errors.BadInput(f"a model named {name!r} is served already", field="name")
            served = Served(name, pipe, {id(m): self._settle(m) for m in view.modules_of(pipe) if view.overflows(m)})
            served.attach(self._labels)
            self._models[name] = served
            self._attempts.guarded.update(served.guarded())
        return name

    def submit(
        self,
        *,
        model: str | None = None,
        seed: int | None = None,
        adapters: dict[str, float] | None = None,
        priority: int = 0,
        deadline_s: float | None = None,
        reproducible: bool | None = None,
        **call: Any,
    ) -> Handle:
        """Run the pipeline's `__call__` with these keyword arguments; returns at once.

        Raises `UnknownArgument`, `UnknownModel`, `NotSupported`, `BadInput`, `EngineClosed`.
        """
        served = self._model(model)
        served.check_keywords(set(call))
        check_own_keywords(seed, call, deadline_s, priority)
        if adapters:
            raise errors.NotSupported("adapters do not exist yet; leave them out", field="adapters")
        is_reproducible = self._reproducible if reproducible is None else reproducible
        handle = Handle()
        request = Request(
            served=served,
            arguments=with_own_generator(call),
            seed=seed,
            fixed_rows=self._fixed_rows if is_reproducible else 0,
            priority=priority,
            deadline=deadline_of(deadline_s),
            handle=handle,
            preview_every=self._preview_every,
        )
        handle.on_cancel(lambda: self._ask(lambda: self._attempts.stop(request, errors.JobCancelled("cancelled"))))
        self._handles.add(handle)
        self._ask(lambda: self._attempts.enqueue(request), is_new=True)
        return handle

    def resume(self, tape: Any) -> Handle:
        """Go on from a tape; not built yet."""
        raise errors.NotSupported("tapes do not exist yet: nothing can be resumed", field="tape")

    def add_adapter(self, name: str, path: Any) -> None:
        """Serve an adapter; not built yet."""
        raise errors.NotSupported("adapters do not exist yet", field="adapters")

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter; not built yet."""
        raise errors.NotSupported("adapters do not exist yet", field="adapters")

    def stats(self) -> dict[str, Any]:
        """Counters since the start; seconds are wall-clock seconds of the engine's thread."""
        attempts = self._attempts
        return {
            "modules": {name: asdict(module) for name, module in list(self._runner.modules.items())},
            "busy_s": self._busy_s,
            "outside_s": max(0.0, self._busy_s - self._runner.seconds),
            "ticks": self._ticks,
            "waiting": len(attempts.queue) + len(self._inbox),
            "running": len(attempts.running),
            "finished": attempts.finished,
            "cache_hits": self._cache.hits,
        }

    def close(self, cancel: bool = False) -> None:
        """Finish what was submitted (or cancel it), then unhook every module. Closing twice is allowed."""
        with self._wakeup:
            self._is_closing = True
            if cancel:
                self._inbox.append(lambda: self._attempts.stop_all(errors.JobCancelled("the engine was closed")))
            self._wakeup.notify()
        if self._thread is not None:
            self._thread.join()
        with self._wakeup:
            was_detached, self._is_detached = self._is_detached, True
        if not was_detached:
            self._pool.shutdown()
            for served in self._models.values():
                served.detach()
            guard.leave()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(cancel=kind is not None)

    # The engine's thread.

    def tick(self) -> None:
        """Receive what was asked; admit; encode until none waits; run one batch; deliver its rows."""
        started = time.perf_counter()
        is_busy = self._receive()
        is_busy |= self._attempts.admit()
        is_busy |= self._encode()
        batch = self._batcher.next_batch(list(self._attempts.waiting), time.monotonic())
        if batch:
            self._run(batch)
            self._ticks += 1
        if is_busy or batch:
            self._busy_s += time.perf_counter() - started

    def _receive(self) -> bool:
        asked = len(self._inbox)
        for _ in range(asked):
            self._inbox.popleft()()
        self._attempts.stop_late(time.monotonic())
        return asked > 0

    def _encode(self) -> bool:
        """Encoders are short, and everything waits for them."""
        for done in range(ENCODER_ROUNDS):
            calls = [call for call in self._attempts.waiting if call.kind == Kind.ENCODE]
            if not calls:
                return done > 0
            self._run(self._encoders.next_batch(calls, time.monotonic()))
        return True

    def _run(self, batch: list[Call]) -> None:
        self._attempts.take(batch)
        self._attempts.deliver(self._runner.run(batch))

    def _loop(self) -> None:
        torch.set_grad_enabled(False)
        try:
            while self._wait_for_work():
                self.tick()
        except BaseException as error:  # the thread's outermost loop: nobody may wait for ever on a dead engine
            self._break(error)
            raise

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do; False when closed and done."""
        attempts = self._attempts
        with self._wakeup:
            while not (self._inbox or attempts.waiting or attempts.can_admit()):
                if not attempts.running:
                    attempts.check_conservation()
                    if self._is_closing and not attempts.queue:
                        return False
                deadline = attempts.next_deadline()
                self._wakeup.wait(None if deadline is None else max(0.001, deadline - time.monotonic()))
                if deadline is not None and time.monotonic() >= deadline:
                    break
        return True

    def _break(self, error: BaseException) -> None:
        """A fault of our own: tell everybody who waits, and take nothing more."""
        told = errors.InvariantBroken(f"the engine stopped: {type(error).__name__}: {error}")
        told.__cause__ = error
        with self._wakeup:
            self._is_closing = True
            self._inbox.clear()
            left = [handle for handle in self._handles if not handle.done()]
        self._attempts.unwind()
        for handle in left:
            if not handle.done():
                handle.finish("failed", error=told)

    def to_pool(self, work: HostCall, then: Callable[[Future[Any]], None]) -> None:
        """Run host work in the thread pool and come back to the engine's thread with it."""
        self._pool.submit(work.run).add_done_callback(lambda done: self._ask(lambda: then(done)))

    def _ask(self, what: Callable[[], None], *, is_new: bool = False) -> None:
        """Have the engine's thread do something at its next tick; the first asking starts the thread."""
        with self._wakeup:
            if is_new and self._is_closing:
                raise errors.EngineClosed("the engine is closed and takes no more requests")
            self._inbox.append(what)
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._loop, name="darkroom-engine", daemon=True)
                self._thread.start()
            self._wakeup.notify()

    def _model(self, name: str | None) -> Served:
        names = ", ".join(sorted(self._models)) or "none"
        if name is None:
            if len(self._models) != 1:
                raise errors.UnknownModel(f"say which model; served: {names}", field="model")
            return next(iter(self._models.values()))
        if name not in self._models:
            raise errors.UnknownModel(f"no model {name!r} is served; served: {names}", field="model")
        return self._models[name]

    def _settle(self, module: torch.nn.Module) -> torch.nn.Module:
        return self._settled.setdefault(id(module), settled_stand_in(module))

    def _cap(self, call: Waiting) -> int:
        assert isinstance(call, Call)
        if not self._runner.can_batch(call):
            return 0
        if call.key.fixed_rows and call.kind in (Kind.DENOISE, Kind.CONTROL):
            return call.key.fixed_rows
        if call.kind == Kind.DECODE:
            # turns are what decodes are short of: a flat curve must not leave a turn half used
            return min(DECODE_ROWS, self.profile.limit(call.shape_key))
        return self.profile.cap(call.shape_key)


def _check_rows(max_batch_rows: int | None, fixed_rows: int) -> None:
    if max_batch_rows is not None and max_batch_rows < 1:
        raise errors.BadInput(f"max_batch_rows must be at least 1, not {max_batch_rows}", field="max_batch_rows")
    if fixed_rows < 1 or fixed_rows & (fixed_rows - 1):
        raise errors.BadInput(f"fixed_rows must be a power of two, not {fixed_rows}", field="fixed_rows")
