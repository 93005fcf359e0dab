"""Decodes beside the denoiser: one batch at a time, in a thread of its own and on a CUDA stream of its own.

That thread waits for its stream before it hands rows over, so nobody else has to: who gets them finds them whole. What
the stream made may be freed while another reads it, so it is marked for the stream of the engine's thread; what it
reads is held by the calls until it is done.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from .attempts import Attempts
from .batcher import Batcher
from .call import Call, tensors_in
from .meter import Meter
from .resting import weights_device
from .runner import Crowded, Done, Runner
from .specs import Kind

CROWDED_S = 60.0  # decodes stay in turn for so long after memory ran out with one beside

Mark = tuple[torch.cuda.Stream, torch.cuda.Event]  # how far a stream has come


class Apart:
    """Says which calls run beside the engine's thread: decodes, where that was `said`; None: of weights on CUDA.

    Not those that draw random numbers, for all draw from one default generator, nor of modules that are moved about.
    """

    def __init__(self, said: bool | None) -> None:
        self._said, self._in_turn_until = said, 0.0

    def __call__(self, call: Call) -> bool:
        if self._said is False or call.kind != Kind.DECODE or not call.is_stackable or not call.hook.can_run_aside:
            return False
        is_there = bool(self._said) or weights_device(call.hook.module).type == "cuda"
        return is_there and time.monotonic() >= self._in_turn_until

    def rest(self) -> None:
        """For a while there is no room for two forwards at once."""
        self._in_turn_until = time.monotonic() + CROWDED_S


class Aside:
    """Runs the decodes that `attempts` keeps apart. Its methods are the engine's thread's; `ask` leads back to it."""

    def __init__(
        self,
        attempts: Attempts,
        runner: Runner,
        batcher: Batcher,
        ask: Callable[[Callable[[], None]], None],
        busy: Meter,
    ) -> None:
        self._attempts, self._batcher, self._ask, self._busy = attempts, batcher, ask, busy
        self._runner = copy.copy(runner)  # what is known is shared, and so is the meter; nobody else runs its methods
        self._pool = ThreadPoolExecutor(1, "darkroom-decode")
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._is_busy = False
        self._under_way: Future[Done | None] | None = None

    @property
    def uncharged_s(self) -> tuple[float, float]:
        """Seconds of its forwards that were checks, and of those that failed."""
        return self._runner.checking_s, self._runner.failed_s

    def begin(self, then: Callable[[list[Call], Done | None], None]) -> None:
        """Start the next batch, where none runs and one waits.

        `then` is told in the engine's thread; None: there was no room beside others, and it must run in turn.
        """
        if self._is_busy or not self._attempts.decodes:
            return
        batch = self._batcher.next_batch(list(self._attempts.decodes), time.monotonic())
        self._attempts.lend(batch)
        self._is_busy = True

        def came(done: Future[Done | None]) -> None:
            self._is_busy = False
            then(batch, done.result())

        self._under_way = self._pool.submit(self._run, batch, _marks_of(batch))
        self._under_way.add_done_callback(lambda done: self._ask(lambda: came(done)))

    def wait(self) -> None:
        """Until nothing runs."""
        if self._under_way is not None:
            wait([self._under_way])

    def close(self) -> None:
        """Once nothing runs any more."""
        self._pool.shutdown()

    def _run(self, batch: Sequence[Call], marks: Sequence[Mark]) -> Done | None:
        try:
            with self._busy.spending(), torch.no_grad(), self._on_own_stream(batch[0], marks):
                done = self._runner.run_told(batch)
        except Crowded:
            return None
        for tensor in tensors_in([outcome.output for outcome in done.outcomes]):
            for stream, _ in marks:
                if tensor.device == stream.device:
                    tensor.record_stream(stream)
        return done

    @contextlib.contextmanager
    def _on_own_stream(self, call: Call, marks: Sequence[Mark]) -> Iterator[None]:
        """Behind the marks; the host waits for it at the end."""
        device = weights_device(call.hook.module)
        if device.type != "cuda":
            for _, mark in marks:
                mark.synchronize()
            yield
            return
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        own = self._streams[device]
        for _, mark in marks:
            own.wait_event(mark)
        try:
            with torch.cuda.stream(own):
                yield
        finally:
            own.synchronize()


def _marks_of(batch: Sequence[Call]) -> list[Mark]:
    """What the calling thread has asked so far of the devices on which the calls' arguments and their module lie."""
    devices = {tensor.device for tensor in tensors_in([call.raw for call in batch])}
    devices |= {weights_device(call.hook.module) for call in batch}
    streams = [torch.cuda.current_stream(device) for device in devices if device.type == "cuda"]
    return [(stream, stream.record_event()) for stream in streams]
