"""Which batch runs next, and runs it: encoders, denoisers and decodes in the engine's thread, or decodes beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from .aside import Apart, Aside
from .attempts import Attempts
from .batcher import Batcher, Waiting
from .call import Call
from .meter import Meter
from .options import Tick
from .runner import Crowded, Done, Runner
from .specs import Kind

log = logging.getLogger(__name__)

ENCODER_ROUNDS = 8  # encoder batches a tick may run before it denoises
DECODE_ROWS = 2  # decoding many images at once saves little time and costs much memory


class Forwards:
    """Chooses batches and runs them. Engine's thread only.

    `ask` has that thread do something later. `apart` says what runs beside it. `busy` counts
    what they take, `on_tick` is told of each batch.
    """

    def __init__(
        self,
        attempts: Attempts,
        runner: Runner,
        ask: Callable[[Callable[[], None]], None],
        busy: Meter,
        *,
        batching: bool,
        apart: Apart,
        on_tick: Callable[[Tick], None] | None,
    ) -> None:
        self.count = 0  # of batches beside those of encoders
        self._attempts, self._runner, self._on_tick = attempts, runner, on_tick
        self._batcher = Batcher(self._cap, batching, runner.forecast)
        self._encoders = Batcher(self._cap, batching)
        self._apart = apart
        self._aside = Aside(attempts, runner, Batcher(self._cap, batching, runner.forecast), ask, busy)

    @property
    def uncharged_s(self) -> tuple[float, float]:
        """Seconds of forwards that were checks, and of those that failed, wherever they ran."""
        checking_s, failed_s = self._aside.uncharged_s
        return self._runner.checking_s + checking_s, self._runner.failed_s + failed_s

    def encode(self) -> None:
        """Encoders are short, and everything waits for them."""
        for _ in range(ENCODER_ROUNDS):
            calls = [call for call in self._attempts.waiting if call.kind == Kind.ENCODE]
            if not calls:
                return
            self._run(self._encoders.next_batch(calls, time.monotonic()))

    def run_next(self) -> bool:
        """Run one batch, if any waits; whether any did."""
        batch = self._batcher.next_batch(list(self._attempts.waiting), time.monotonic())
        if batch:
            self._run(batch)
            self.count += 1
        return bool(batch)

    def begin_aside(self) -> None:
        """Have the next batch of decodes run beside, where they do."""
        self._aside.begin(self._came)

    def close(self) -> None:
        """Once nothing runs any more."""
        self._aside.close()

    def _run(self, batch: list[Call]) -> None:
        self._attempts.take(batch)
        self._deliver(self._done(batch))

    def _came(self, batch: list[Call], done: Done | None) -> None:
        self.count += 1
        if done is None:
            self._make_room()
        self._deliver(self._done(batch) if done is None else done)

    def _done(self, batch: list[Call]) -> Done:
        try:
            return self._runner.run_told(batch)
        except Crowded:
            self._make_room()
            return self._runner.run_told(batch)

    def _make_room(self) -> None:
        """What ran out of memory runs again with nothing beside it, and decodes take turns for a while."""
        log.warning("memory ran out while a decode ran beside the denoiser: decodes take turns for a while")
        self._apart.rest()
        self._attempts.bring_back()
        self._aside.wait()

    def _deliver(self, done: Done) -> None:
        self._tell(done.tick)
        self._attempts.deliver(done.outcomes)

    def _tell(self, tick: Tick) -> None:
        if self._on_tick is None:
            return
        try:
            self._on_tick(tick)
        except Exception:  # budget: a listener's fault must not end everybody's requests
            log.exception("on_tick failed and is called no more")
            self._on_tick = None

    def _cap(self, call: Waiting) -> int:
        assert isinstance(call, Call)
        if not self._runner.can_batch(call):
            return 0
        if call.key.fixed_rows and call.kind in (Kind.DENOISE, Kind.CONTROL):
            return call.key.fixed_rows
        if call.kind == Kind.DECODE:
            # turns are what decodes are short of: a flat curve must not leave a turn half used
            return min(DECODE_ROWS, self._runner.profile.limit(call.shape_key))
        return self._runner.profile.cap(call.shape_key)
