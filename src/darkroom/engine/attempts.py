"""The requests in flight and their fibers: started, moved on, stopped and ended. Engine's thread only."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Protocol, cast

from .. import errors
from .cache import EncoderCache
from .call import Call, HostCall
from .fiber import Cancelled, Fiber, forget_frames
from .guard import ModuleMutated, versions_of
from .memory import Budget
from .request import Request
from .rows import is_finite
from .runner import Outcome, Runner
from .specs import Kind
from .urgency import Patience, in_order

log = logging.getLogger(__name__)

MAX_THROWS = 100  # a fiber that swallows its cancellation so often is given up
STARVE_S = 10.0  # a request that urgency kept waiting so long gets one start in four
REPLAY_S = 0.02  # of a tick, for requests that are answered from their tapes: others' steps wait for it
Move = Callable[[], Any]


class Host(Protocol):
    """What the engine does for its attempts from another thread."""

    def to_pool(self, work: HostCall, then: Callable[[Future[Any]], None]) -> None: ...
    def then(self, awaited: Future[Any], what: Callable[[], None]) -> None: ...


class Attempts:
    """Every call that is parked here has a fiber, every fiber a request, every request a handle."""

    def __init__(
        self,
        host: Host,
        runner: Runner,
        cache: EncoderCache,
        budget: Budget,
        *,
        batching: bool,
        apart: Callable[[Call], bool],
    ) -> None:
        self.guarded: set[int] = set()
        self.open: dict[Request, None] = {}  # submitted and not ended; the only one that other threads write to
        self.queue: deque[Request] = deque()
        self.running: dict[Request, None] = {}
        self.waiting: dict[Call, None] = {}
        self.decodes: dict[Call, None] = {}  # those that wait to run beside the engine's thread, as `apart` says
        self.lent: dict[Call, None] = {}  # those that do so now
        self.replaying: deque[tuple[Request, Move]] = deque()  # fibers with the answer to their parked call
        self._replay_until = 0.0
        self.finished = 0
        self._abandoned: list[Fiber] = []  # fibers that cannot be ended; dropping one would throw into it once more
        self.rows_in = self.rows_out = self._on_host = 0
        self._host, self._runner, self._cache, self._budget = host, runner, cache, budget
        self._batching, self._apart, self._patience = batching, apart, Patience(STARVE_S)

    def enqueue(self, request: Request) -> None:
        """Take a submitted request in."""
        request.forecast(self._runner.profile)
        request.handle.emit("queued")
        self._budget.expect(request.served.name, request.recording.predicted_bytes)
        self.queue.append(request)
        for loading in request.loan.waiting if request.loan else ():
            self._host.then(loading, functools.partial(self._adapter_came, request))

    def _adapter_came(self, request: Request) -> None:
        """One that it waits for was read, or could not be."""
        error = request.loan.error if request.loan else None
        if error is not None:
            self.stop(request, error)

    def can_admit(self) -> bool:
        """Whether one more fiber may start."""
        return any(request.is_ready for request in self.queue) and self._budget.admits(
            [request.served.name for request in self.running]
        )

    def admit(self) -> None:
        """Start as many fibers as predicted bytes allow, the urgent first."""
        while self.can_admit():
            request = self._next_to_start()
            self._leave_queue(request)
            self.running[request] = None
            request.handle.emit("started")
            self._start(request)

    def _next_to_start(self) -> Request:
        """The most urgent; what runs besides is not known here, so only what is late by itself is given up."""
        now = time.monotonic()
        order = in_order([request for request in self.queue if request.is_ready], now, lambda _: 0.0)
        return self._patience.first(order, now, lambda request: request.submitted_at)

    def replay(self) -> None:
        """Have those whose tapes answer them go on for a while, at least one of them."""
        self._replay_until = time.monotonic() + REPLAY_S
        while self.replaying:
            request, move = self.replaying.popleft()
            self._go_on(request, move if request.stop is None else _throw(request))
            if time.monotonic() >= self._replay_until:
                break

    def take(self, batch: Iterable[Call]) -> None:
        """These calls run now and no longer wait."""
        for call in batch:
            del self.waiting[call]

    def lend(self, batch: Iterable[Call]) -> None:
        """These decodes run now, beside the engine's thread, and no longer wait."""
        for call in batch:
            del self.decodes[call]
            self.lent[call] = None

    def bring_back(self) -> None:
        """Those that wait to run beside run in turn."""
        self.waiting.update(self.decodes)
        self.decodes.clear()

    def deliver(self, outcomes: Iterable[Outcome]) -> None:
        """Hand every fiber its rows or its error, and run it to its next call."""
        for outcome in map(_seen, outcomes):
            call, request = outcome.call, cast(Request, outcome.call.owner)
            self.rows_out += call.rows
            self.lent.pop(call, None)
            request.answered(call, self._batching and self._runner.can_batch(call))
            if outcome.is_unsteady:
                request.handle.doubt(call.hook.name)
            if request.stop is not None:  # it was told so while its decode ran
                self._go_on(request, _throw(request))
                continue
            if outcome.error is None:
                request.recording.record(outcome)
                request.saw(outcome)
                self._cache.put(call, outcome.output)
            self._go_on(request, _going_on(_fiber_of(request), outcome))

    def stop(self, request: Request, why: BaseException) -> None:
        """End a request at its call; one that works on the host, or whose decode runs, ends when that comes back."""
        if request.stop is not None or request.handle.done():
            return
        request.stop = why
        if request in self.queue:
            self._leave_queue(request)
            self._unwound(request, Cancelled())
        elif request.call is not None and request.call not in self.lent:
            self.rows_out += request.call.rows
            del (self.decodes if request.call in self.decodes else self.waiting)[request.call]
            request.call = None
            self._go_on(request, _throw(request))

    def stop_all(self, why: BaseException) -> None:
        """End every request."""
        for request in [*self.queue, *self.running]:
            self.stop(request, why)

    def stop_late(self, now: float) -> None:
        """End what is past its deadline (`now` on time.monotonic's clock)."""
        for request in [r for r in (*self.queue, *self.running) if r.deadline is not None and now >= r.deadline]:
            self.stop(request, errors.DeadlineExceeded("its deadline passed before it finished"))

    def unwind(self) -> None:
        """The engine has broken: let every fiber run its `finally` clauses, whatever they raise."""
        for request in self.running:
            if request.fiber is not None and not request.fiber.dead:
                with contextlib.suppress(BaseException):
                    request.fiber.throw_in(Cancelled())

    def next_deadline(self) -> float | None:
        """The earliest deadline of all that wait or run."""
        late = (r.deadline for r in (*self.queue, *self.running) if r.deadline is not None and r.stop is None)
        return min(late, default=None)

    def check_conservation(self) -> None:
        """Asked when no call waits here: every fiber is away for other work, and the rows that came in went out."""
        away = [*self.decodes, *self.lent]
        lost = self.rows_in - self.rows_out - sum(call.rows for call in away)
        stranded = len(self.running) - self._on_host - len(self.replaying) - len(away)
        if lost or stranded:
            raise errors.InvariantBroken(f"{stranded} requests wait for nothing, {lost} rows were lost")

    def _leave_queue(self, request: Request) -> None:
        self.queue.remove(request)
        request.handle.charge(queued_s=time.monotonic() - request.submitted_at)

    def _start(self, request: Request) -> None:
        self._go_on(request, lambda: request.start(self.guarded).resume())

    def _go_on(self, request: Request, move: Move) -> None:
        """Run a fiber until it waits for something or ends."""
        next_move: Move | None = move
        while next_move is not None:
            try:
                parked = next_move()
            except BaseException as error:  # budget: a fiber's outermost frame; its fault is its own request's
                self._unwound(request, error)
                return
            if _fiber_of(request).dead:
                self._returned(request, parked)
                return
            next_move = self._place(request, parked)

    def _place(self, request: Request, parked: Any) -> Move | None:
        """Put a parked call where it will be answered; or the move that answers it at once."""
        if request.stop is not None:
            return self._throw_again(request)
        if isinstance(parked, HostCall):
            self._on_host += 1
            self._host.to_pool(parked, functools.partial(self._answer, request, parked))
            return None
        call = cast(Call, parked)
        if (skipped := request.skipped(call)) is not None:
            self._runner.stats_of(call).skipped_calls += 1
            return functools.partial(_fiber_of(request).resume, skipped)
        if (taped := request.replayed(call)) is not None:
            request.answered(call, self._batching and self._runner.can_batch(call))
            if taped.is_unsteady:
                request.handle.doubt(call.hook.name)
            if taped.error is None:
                request.saw(taped)
            return self._replayed(request, _going_on(_fiber_of(request), taped))
        call.mix = request.mix_for(call)
        self._runner.stats_of(call).calls += 1
        if call.kind == Kind.DECODE and not is_finite(call.arguments):
            return functools.partial(_fiber_of(request).throw_in, _not_finite("the latents hold", "before"))
        cached = self._cache.get(call)
        if cached is not None:
            return functools.partial(_fiber_of(request).resume, cached)
        self._wait_in_line(request, call)
        return None

    def _replayed(self, request: Request, move: Move) -> Move | None:
        """The move itself, as long as this tick has time for it."""
        if time.monotonic() < self._replay_until:
            return move
        self.replaying.append((request, move))
        return None

    def _wait_in_line(self, request: Request, call: Call) -> None:
        call.owner, call.parked_at = request, time.monotonic()
        call.deadline, call.priority, call.follows_control = request.deadline, request.priority, request.ran_control
        request.forecast(self._runner.profile)
        call.due, call.remaining_s, call.is_begun = request.due, request.remaining_s, request.trip.step > 0
        request.call = call
        self._budget.learn(request.served.name, call, request.kept_bytes)
        self.rows_in += call.rows
        (self.decodes if self._apart(call) else self.waiting)[call] = None

    def _answer(self, request: Request, work: HostCall, done: Future[Any]) -> None:
        """What the thread pool came to; the fiber goes on with it."""
        self._on_host -= 1
        request.handle.charge(host_s=work.seconds)
        fiber, error = _fiber_of(request), done.exception()
        if request.stop is not None:
            self._go_on(request, _throw(request))
        elif error is not None:
            self._go_on(request, functools.partial(fiber.throw_in, error))
        else:
            self._go_on(request, functools.partial(fiber.resume, done.result()))

    def _throw_again(self, request: Request) -> Move | None:
        request.throws += 1
        if request.throws <= MAX_THROWS:
            return _throw(request)
        assert request.stop is not None
        log.warning("%s: a request swallows its cancellation; its fiber is left parked", request.served.name)
        self._abandoned.append(_fiber_of(request))
        self._stopped(request, request.stop)
        return None

    def _returned(self, request: Request, result: Any) -> None:
        if request.stop is not None:  # its pipeline swallowed what it was to end by
            self._stopped(request, request.stop)
        elif versions_of(request.served.weights) != request.versions:
            self._end(request, "failed", error=_written_in_place(request.served.name))
        else:
            self._end(request, "succeeded", result=result)

    def _stopped(self, request: Request, why: BaseException) -> None:
        self._end(request, "cancelled" if isinstance(why, errors.JobCancelled) else "failed", error=why)

    def _unwound(self, request: Request, error: BaseException) -> None:
        forget_frames(error)
        if isinstance(error, ModuleMutated) and request.own_pipe is None:
            log.info("%s: %s is written on by a request, which starts over on its own copy", request.served.name, error)
            request.wants_own = True
            self._start(request)
        elif request.stop is not None:
            self._stopped(request, request.stop)
        else:
            self._end(request, "failed", error=_told(error))

    def _end(self, request: Request, kind: str, *, result: Any = None, error: BaseException | None = None) -> None:
        self.running.pop(request, None)
        self.open.pop(request, None)
        request.fiber = None
        if kind == "succeeded":
            request.served.pace.finished(request.label, request.trip, time.monotonic())
        if request.own_pipe is not None:
            request.served.give_back(request.own_pipe)
        request.return_loan()
        self.finished += 1
        request.handle.finish(kind, result=result, error=error)


def _throw(request: Request) -> Move:
    return functools.partial(_fiber_of(request).throw_in, Cancelled())


def _going_on(fiber: Fiber, outcome: Outcome) -> Move:
    if outcome.error is not None:
        return functools.partial(fiber.throw_in, outcome.error)
    return functools.partial(fiber.resume, outcome.output)


def _fiber_of(request: Request) -> Fiber:
    assert request.fiber is not None, "a request in flight without a fiber"
    return request.fiber


def _told(error: BaseException) -> BaseException:
    if isinstance(error, ModuleMutated):
        return errors.InvariantBroken(f"a module that others use was changed: {error}")
    return error


def _written_in_place(model: str) -> errors.ModelNotServable:
    said = "its weights were written in place while this request ran, by it or by another one, and stay so"
    return errors.ModelNotServable(f"model {model!r}: {said}", field="model")


def _seen(outcome: Outcome) -> Outcome:
    """The same, or an error where a decoder made NaN of numbers: its picture would be black."""
    is_sound = outcome.error is not None or outcome.call.kind != Kind.DECODE or is_finite(outcome.output)
    if is_sound:
        return outcome
    return Outcome(outcome.call, error=_not_finite(f"{outcome.call.hook.name} made", "in"))


def _not_finite(who: str, when: str) -> errors.NotFinite:
    said = "try another dtype (float32), solver or guidance_scale"
    return errors.NotFinite(f"{who} NaN or infinity {when} decoding: {said}")
