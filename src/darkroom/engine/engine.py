"""Runs many requests' pipelines at once; docs/architecture/01-engine.md says how."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .. import errors
from . import view
from .adapters import AdapterPool
from .aside import Apart
from .attempts import Attempts
from .cache import EncoderCache
from .call import HostCall
from .curve_file import CurveFile
from .easy_cache import check_threshold
from .forwards import Forwards
from .guard import guard
from .handle import Handle
from .loop import Loop
from .lora_file import read_adapter
from .memory import Budget
from .meter import Meter
from .options import Options as Options
from .options import Tick as Tick
from .outlook import Outlook, Room
from .profile import Profile
from .request import Request, as_they_are_now, check_own_keywords, check_room, check_rows, deadline_of, scaled
from .resuming import recorded, resumed
from .runner import Runner
from .served import Served, find_served, settled_stand_in, taken_in
from .tape import Tape, asked_of


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
        check_rows(max_batch_rows, fixed_rows)
        if reproducible:
            check_room(fixed_rows, max_batch_rows or fixed_rows)
        options = options or Options()
        self._reproducible, self._fixed_rows, self._preview_every = reproducible, fixed_rows, preview_every
        self._max_batch_rows, self._tapes, self._compiles = max_batch_rows, options.tapes, options.compile
        self.profile = Profile(max_batch_rows or 32)
        self._curve_file = CurveFile(options.profile_path)
        self._runner = Runner(self.profile, check=options.shadow_check)
        self._cache = EncoderCache(options.encoder_cache_bytes)
        self._budget = Budget(options.memory_bytes)
        self._busy = Meter()
        apart = Apart(options.decode_aside)
        self._attempts = Attempts(self, self._runner, self._cache, self._budget, batching=batching, apart=apart)
        self._models: dict[str, Served] = {}
        self._outlook = Outlook(self._attempts, self._models, self._budget, self.profile)
        self._settled, self._labels = dict[int, torch.nn.Module](), dict[str, int]()
        self._lock, self._membership = threading.Lock(), threading.Lock()  # the second is held for no time at all
        self._loop = Loop(self._attempts, self.tick, self._break, self._detach)
        self._forwards = Forwards(
            self._attempts,
            self._runner,
            self._loop.ask,
            self._busy,
            batching=batching,
            apart=apart,
            on_tick=options.on_tick,
        )
        self._is_detached = False
        self._pool = ThreadPoolExecutor(options.host_threads, "darkroom-host")
        self._adapters = AdapterPool(options.adapter_bytes, self._pool.submit)
        if pipe is not None:
            self.add(pipe)
        guard.enter()

    # What callers ask, from any thread.

    def add(
        self,
        pipe: Any,
        name: str | None = None,
        *,
        fixed_rows: int | None = None,
        compiled: bool | None = None,
        easy_cache: float | None = None,
    ) -> str:
        """Serve one more pipeline; its modules are hooked until it is removed or the engine closes. Returns its name.

        Pipelines that share components by identity share their batches; a function under `@darkroom.pipeline` runs
        over those served by the names it says. `fixed_rows` (of its reproducible requests) and `compiled` stand above
        what the engine was told. `easy_cache`: a denoiser's calls whose output is foretold to have changed by less than
        this (relative, above 0 and up to 1) are answered without running; reproducible requests run in full. Raises
        `ModelNotServable`, `BadInput`, `NotSupported`.
        """
        check_rows(None, fixed_rows or self._fixed_rows)
        check_threshold(easy_cache)
        with self._lock:
            self._loop.check_open("serves no more pipelines")
            pipe, name = taken_in(pipe, name, self._models)
            settled = {id(m): self._settled.get(id(m)) or settled_stand_in(m) for m in view.overflowing(pipe)}
            compiles = self._compiles if compiled is None else compiled
            served = Served(name, pipe, settled, fixed_rows, compiles, easy_cache)
            with contextlib.ExitStack() as undo:
                undo.callback(self._let_go, served)
                served.attach(self._labels)
                undo.pop_all()
            self._settled.update(settled)
            self._models[name] = served
            self._attempts.guarded.update(served.guarded())
        self._budget.measure()
        self.profile.take_up(self._curve_file.read())
        return name

    def remove(self, name: str) -> None:
        """Serve a pipeline no longer; modules that no other one shares are unhooked and forgotten.

        Raises `UnknownModel`, or `Conflict` while requests of it are in flight.
        """
        with self._lock:
            served = find_served(name, self._models)
            with self._membership:
                if any(request.served is served for request in list(self._attempts.open)):
                    raise errors.Conflict(f"requests to {name!r} are in flight: wait for them, or cancel them")
                del self._models[name]
            self._let_go(served)
        self._budget.measure()

    def _let_go(self, served: Served) -> None:
        served.detach()
        self._forget(served)

    def _forget(self, served: Served) -> None:
        """Another module may come to lie where one of these did: nothing must take it for the one that has gone."""
        kept = {module for other in self._models.values() for module in other.guarded()}
        gone = {module for module in served.guarded() if module not in kept}
        self._attempts.guarded.difference_update(gone)
        self._adapters.forget(gone)
        self._settled = {original: module for original, module in self._settled.items() if original not in gone}
        self._labels.update({label: 0 for label, module in self._labels.items() if module in gone})
        self._do_there(self._cache.clear)
        self._do_there(functools.partial(self._budget.forget, served.name))

    def _do_there(self, what: Callable[[], None]) -> None:
        """The cache and what is known of models' bytes are the engine's thread's, once there is one."""
        if self._loop.has_begun:
            self._loop.ask(what)
        else:
            what()

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
        self._loop.check_open("takes no more requests")
        served = find_served(model, self._models)
        served.check_keywords(set(call))
        check_own_keywords(seed, call, deadline_s, priority)
        is_reproducible = self._reproducible if reproducible is None else reproducible
        fixed_rows = (served.fixed_rows or self._fixed_rows) if is_reproducible else 0
        check_room(fixed_rows, self._max_batch_rows or fixed_rows)
        handle = Handle(self._loop.is_own_thread)
        given = as_they_are_now(call)
        weights, arguments = scaled(adapters or {}, given)
        request = Request(
            served=served,
            arguments=arguments,
            seed=seed,
            fixed_rows=fixed_rows,
            priority=priority,
            deadline=deadline_of(deadline_s),
            handle=handle,
            preview_every=self._preview_every,
            loan=self._adapters.lend(weights, served.modules) if weights else None,
        )
        return self._take_in(recorded(request, given, adapters or {}, is_on=self._tapes))

    def _take_in(self, request: Request) -> Handle:
        why = errors.JobCancelled("cancelled")
        request.handle.on_cancel(lambda: self._loop.ask(lambda: self._attempts.stop(request, why)))
        with contextlib.ExitStack() as undo:
            undo.callback(request.return_loan)
            self._loop.ask(lambda: self._attempts.enqueue(request), joining=functools.partial(self._join, request))
            undo.pop_all()
        return request.handle

    def _join(self, request: Request) -> None:
        """From here on its model cannot be removed; until here it could."""
        with self._membership:
            self._check_served(request.served)
            self._attempts.open[request] = None

    def _check_served(self, served: Served) -> None:
        if self._models.get(served.name) is not served:
            raise errors.UnknownModel(f"model {served.name!r} was removed", field="model")

    def resume(
        self, tape: Tape, *, model: str | None = None, priority: int = 0, deadline_s: float | None = None
    ) -> Handle:
        """A new request that goes on where the tape ends; `model` where its name is another one here.

        Raises `BadInput` for no tape, `TapeRefused` for one of something else, and so does the handle where it shows.
        """
        asked = asked_of(tape)
        self._loop.check_open("takes no more requests")
        served = find_served(model or (asked.model if asked.model in self._models else None), self._models)
        check_own_keywords(None, {}, deadline_s, priority)
        fixed_rows = (served.fixed_rows or self._fixed_rows) if asked.fixed_rows else 0
        check_room(fixed_rows, self._max_batch_rows or fixed_rows)
        weights, arguments = scaled(dict(asked.adapters), as_they_are_now(dict(asked.arguments)))
        loan = self._adapters.lend(weights, served.modules) if weights else None
        mine: dict[str, Any] = {"priority": priority, "deadline": deadline_of(deadline_s), "is_on": self._tapes}
        mine |= {"preview_every": self._preview_every, "handle": Handle(self._loop.is_own_thread)}
        return self._take_in(resumed(tape, served, fixed_rows, loan, arguments, **mine))

    def add_adapter(self, name: str, path: str | Path, *, model: str | None = None, digest: str | None = None) -> None:
        """Read a LoRA file (diffusers', peft's or kohya's names) for a model, and for all that share its modules.

        Reads in the calling thread, while requests go on. `digest` is the SHA-256 (hex) that the file must have. Raises
        `BadInput` for a file of another model or a name that is taken, `MissingWeights`, `CorruptWeights`,
        `UnsafeWeights`, `NotSupported`, `UnknownModel`, `EngineClosed`.
        """
        with self._lock:
            self._loop.check_open("takes no more adapters")
            served = find_served(model, self._models)
        modules, check = served.modules, functools.partial(self._check_served, served)
        self._adapters.add(name, functools.partial(read_adapter, served.pipe, path, modules, digest), modules, check)

    def remove_adapter(self, name: str) -> None:
        """Take it from nobody who runs with it, and give it to nobody any more. Raises `UnknownAdapter`."""
        self._adapters.remove(name)

    def stats(self) -> dict[str, Any]:
        """Counters since the start; seconds are wall-clock seconds of the engine's thread."""
        attempts, busy_s = self._attempts, self._busy.total_s
        checking_s, failed_s = self._forwards.uncharged_s
        return {
            "modules": {name: asdict(module) for name, module in list(self._runner.modules.items())},
            "busy_s": busy_s,
            "outside_s": max(0.0, busy_s - (self._runner.meter.total_s - failed_s)),
            "checking_s": checking_s,
            "ticks": self._forwards.count,
            "waiting": max(0, len(attempts.open) - len(attempts.running)),
            "running": len(attempts.running),
            "finished": attempts.finished,
            "cache_hits": self._cache.hits,
            "adapters": self._adapters.held,
        }

    def predict_seconds(self) -> float:
        """Seconds of device work left for all that is submitted and not finished; 0.0 where nothing like it was seen.

        Queued requests count as if they joined now. Encoders and host work are left out.
        """
        return self._outlook.seconds()

    def room(self) -> Room:
        """What could be submitted now and start at once, by memory and by the rows of forwards that run anyway."""
        return self._outlook.room()

    def step_seconds(self) -> dict[str, dict[str, float]]:
        """Of each model that has finished a request: `rows`, `step_s` and `rest_s` of one more like its latest.

        `rows` are those of the denoiser's forwards it would be in, beside all that is submitted and not finished;
        `step_s` is what one step of that company takes; `rest_s` what a request takes beside its steps. So one of n
        steps that starts now is done in about `n * step_s + rest_s`.
        """
        return self._outlook.step_seconds()

    def run(self, started: Callable[[], None] | None = None) -> None:
        """Be the engine's thread until another thread closes the engine; without it, the first `submit` starts one.

        `started` is called in this thread before the first tick: whoever it sets to work may submit and close. Signal
        handlers must not raise in this thread: a `KeyboardInterrupt` would end the request that happens to run.
        Raises `Conflict` where the engine runs already, `EngineClosed`.
        """
        self._loop.run(started)

    def close(self, cancel: bool = False) -> None:
        """Finish what was submitted (or cancel it), then unhook every module. Closing twice is allowed.

        Called from the engine's own thread (a signal handler, a request's callback) it returns before that is done.
        """
        why = errors.JobCancelled("the engine was closed")
        if not self._loop.close(functools.partial(self._attempts.stop_all, why) if cancel else None):
            self._detach()

    def _detach(self) -> None:
        with self._lock:
            was_detached, self._is_detached = self._is_detached, True
        if not was_detached:
            self._pool.shutdown()
            self._forwards.close()
            for served in self._models.values():
                served.detach()
            guard.leave()
            self._curve_file.save(self.profile)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The engine's thread.

    def tick(self) -> None:
        """Receive what was asked; admit; replay; encode until none waits; run one batch; deliver its rows."""
        with self._busy.spending():
            self._loop.receive()
            self._attempts.stop_late(time.monotonic())
            self._attempts.admit()
            self._attempts.replay()
            self._forwards.encode()
            if self._forwards.run_next():
                self._curve_file.save_now_and_then(self.profile)
            self._forwards.begin_aside()

    def _break(self, error: BaseException) -> None:
        """A fault of our own: tell everybody who waits, and take nothing more."""
        told = errors.EngineBroken(f"the engine stopped: {type(error).__name__}: {error}")
        told.__cause__ = error
        self._loop.drop()
        left = list(self._attempts.open)
        self._attempts.open.clear()
        self._attempts.unwind()
        for request in left:
            if not request.handle.done():
                request.handle.finish("failed", error=told)

    def to_pool(self, work: HostCall, then: Callable[[Future[Any]], None]) -> None:
        """Run host work in the thread pool and come back to the engine's thread with it."""
        self._pool.submit(work.run).add_done_callback(lambda done: self._loop.ask(lambda: then(done)))

    def then(self, awaited: Future[Any], what: Callable[[], None]) -> None:
        """Come back to the engine's thread once that is done."""
        awaited.add_done_callback(lambda _: self._loop.ask(what))
