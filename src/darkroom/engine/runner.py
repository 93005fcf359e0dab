"""All tensor work: stack rows, forward once, split into copies; check what batching does; halve what fails."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from . import lora, rows
from .batcher import Waiting
from .call import Call, in_state
from .compiling import eagerly, is_compiled
from .fiber import forget_frames
from .hook import HookedMethod
from .meter import Meter, Spent
from .options import Tick
from .profile import Profile
from .resting import weights_device

log = logging.getLogger(__name__)

CHECK_EVERY = 1000  # after the first batch of a shape, so many batches between shadow checks
# Honest noise of a forward when the row count changes, relative to its largest value. A wrongly stacked argument is
# off by the order of one.
NOISE = {torch.float64: 1e-6, torch.float32: 2e-3, torch.bfloat16: 8e-2, torch.float16: 3e-2}


@dataclass
class Outcome:
    """What a call came to: its output, or the error that is its own."""

    call: Call
    output: Any = None
    error: BaseException | None = None
    is_unsteady: bool = False  # it ran alone at its own row count, for company would have changed its bits


class Crowded(BaseException):
    """Memory ran out while another forward ran beside: alone there may be enough. No retry in halves swallows it."""


class Done(NamedTuple):
    """A batch that ran: what became of its calls, and the tick that tells of it."""

    outcomes: list[Outcome]
    tick: Tick


@dataclass
class ModuleStats:
    """Counters of one hooked method."""

    calls: int = 0
    batches: int = 0
    rows: int = 0
    padded_rows: int = 0
    seconds: float = 0.0  # of the device: where a decode runs beside a step, each has its share
    unbatched_because: str | None = None
    skipped_calls: int = 0  # answered without running, where the model has an EasyCache
    unsteady_calls: int = 0  # reproducible ones that ran alone at their own row count


@dataclass
class _Known:
    """What is known of one hooked method; it goes when the hook goes."""

    unbatched: str | None = None  # why its calls run one at a time
    steady: dict[Any, bool] = field(default_factory=dict)  # regime -> rows keep their bits at R
    since: dict[Any, int] = field(default_factory=dict)  # regime -> batches since the last shadow check

    def is_due(self, calls: Sequence[Call]) -> bool:
        key = (_regime(calls[0]), any(call.mix for call in calls))  # what adapters do is checked by itself
        seen = self.since.get(key, CHECK_EVERY)
        self.since[key] = 1 if seen >= CHECK_EVERY else seen + 1
        return seen >= CHECK_EVERY


class Runner:
    """Runs batches of calls that share a key; `check` compares the first batch of each shape with single calls."""

    def __init__(self, profile: Profile, *, check: bool = True) -> None:
        self.profile = profile
        self.modules: dict[str, ModuleStats] = {}
        self.meter, self.checking_s, self.failed_s = Meter(), 0.0, 0.0
        self._check = check
        self._is_counting = True
        self._known: weakref.WeakKeyDictionary[HookedMethod, _Known] = weakref.WeakKeyDictionary()

    def can_batch(self, call: Call) -> bool:
        """Whether calls like this one may share a forward."""
        return call.is_stackable and self._known_of(call).unbatched is None

    def forecast(self, call: Waiting, count: int) -> float | None:
        """Seconds of a forward of `count` rows like this call's; reproducible ones come at their own row count only."""
        assert isinstance(call, Call)
        fixed = call.key.fixed_rows
        seconds = self.profile.seconds(call.shape_key, fixed or count)
        return seconds * -(-count // fixed) if fixed and seconds is not None else seconds

    def _known_of(self, call: Call) -> _Known:
        return self._known.setdefault(call.hook, _Known())

    def run_told(self, calls: Sequence[Call]) -> Done:
        """Run a batch, and say how many rows its forwards had and what they took."""
        stats = self.stats_of(calls[0])
        rows, padded, seconds = stats.rows, stats.padded_rows, stats.seconds
        outcomes = self.run(calls)
        forwards = (stats.rows - rows, stats.padded_rows - padded, stats.seconds - seconds)
        return Done(outcomes, Tick.of(calls, *forwards))

    def run(self, calls: Sequence[Call]) -> list[Outcome]:
        """Every call's outcome, in order; one call's fault stays its own."""
        try:
            return self._run_checked(calls)
        except rows.Unsplittable as error:
            self._stop_batching(calls[0], f"its output holds {error}")
            return [outcome for call in calls for outcome in self._run_alone(call)]
        except Exception as error:  # budget: whatever a user's module raises is retried in halves, then told
            failed = error
        forget_frames(failed)  # the failed forward's activations must be gone before the next one
        return self._halve(calls, failed)

    def _run_checked(self, calls: Sequence[Call]) -> list[Outcome]:
        first = calls[0]
        if first.is_stackable and first.key.fixed_rows:  # its row count holds whatever becomes of batching
            outcomes = self._run_fixed(calls)
            return self._check_company(calls, outcomes) if self._is_check_due(calls) else outcomes
        if len(calls) == 1 or not self.can_batch(first):  # nothing to stack: as its pipeline calls it, with no copies
            return [outcome for call in calls for outcome in self._run_alone(call)]
        outcomes = self._run_stacked(calls)
        return self._shadow_check(calls, outcomes) if self._is_check_due(calls) else outcomes

    def _is_check_due(self, calls: Sequence[Call]) -> bool:
        is_shared = len(calls) > 1 and calls[0].key.fixed_rows != 1
        return self._check and is_shared and self._known_of(calls[0]).is_due(calls)

    def _halve(self, calls: Sequence[Call], error: Exception) -> list[Outcome]:
        """Retry a failed forward in halves, so that only the call that fails alone fails its request."""
        self._learn_from(error, calls)
        if len(calls) == 1:
            return [Outcome(calls[0], error=error)]
        if calls[0].key.fixed_rows:  # the row count must not change: each alone at R
            return [outcome for call in calls for outcome in self.run([call])]
        middle = len(calls) // 2
        return self.run(calls[:middle]) + self.run(calls[middle:])

    def _learn_from(self, error: Exception, calls: Sequence[Call]) -> None:
        total = sum(call.rows for call in calls)
        if isinstance(error, torch.OutOfMemoryError) and total > 1:
            self.profile.lower_limit(calls[0].shape_key, total // 2)

    def _run_alone(self, call: Call) -> list[Outcome]:
        args, kwargs = ((), call.arguments) if _is_fixed(call) else call.raw
        try:
            with _random_of(call):
                output = self._forward([(call, call.rows)], 0, lambda: call.hook.run(*args, **kwargs))
        except Exception as error:  # budget: a module's fault is its request's, not the engine's
            self._learn_from(error, [call])
            return [Outcome(call, error=error)]
        return [Outcome(call, output)]

    def _run_stacked(self, calls: Sequence[Call]) -> list[Outcome]:
        first, counts = calls[0], [call.rows for call in calls]
        arguments = rows.stack(calls)
        output = self._forward(list(zip(calls, counts, strict=True)), 0, lambda: first.hook.run(**arguments))
        parts = rows.split(output, counts, is_listed=_is_listed(first))
        return _outcomes(calls, parts)

    def _run_fixed(self, calls: Sequence[Call]) -> list[Outcome]:
        """At exactly R rows a forward, so that a row's bits depend on neither company nor position."""
        first, fixed = calls[0], calls[0].key.fixed_rows
        steady = self._known_of(first).steady
        if steady.get(_regime(first)) is False:
            self.stats_of(first).unsteady_calls += len(calls) if self._is_counting else 0
            outcomes = [outcome for call in calls for outcome in self._run_stacked([call])]
            return [replace(outcome, is_unsteady=True) for outcome in outcomes]
        counts, arguments = [call.rows for call in calls], rows.stack(calls)
        chunks = [self._run_chunk(calls, arguments, start) for start in range(0, sum(counts), fixed)]
        if _regime(first) not in steady:
            steady[_regime(first)] = self._is_steady(calls, arguments, chunks[0])
            if not steady[_regime(first)]:
                return self._run_fixed(calls)
        return _joined(calls, chunks)

    def _run_chunk(self, calls: Sequence[Call], arguments: dict[str, Any], start: int) -> Any:
        first, fixed = calls[0], calls[0].key.fixed_rows
        assert first.hook.spec is not None
        chunk = rows.take(first.hook.spec, arguments, start, start + fixed, sum(call.rows for call in calls))
        shares = _within(calls, start, start + fixed)
        used = sum(count for _, count in shares)
        output = self._forward(shares, fixed - used, lambda: first.hook.run(**chunk))
        return rows.split(output, [used, fixed - used], is_listed=_is_listed(first))[0]

    def _is_steady(self, calls: Sequence[Call], arguments: dict[str, Any], output: Any) -> bool:
        """Once for each shape: R copies of the last row must all come out as it did in its company."""
        first, total = calls[0], sum(call.rows for call in calls)
        spec, fixed = first.hook.spec, first.key.fixed_rows
        assert spec is not None
        if fixed == 1:
            return True
        # the last row: where a wrong spec hands the first row's value to all, it is not the first that shows it
        last, is_listed = min(fixed, total) - 1, _is_listed(first)
        alike = rows.take(spec, rows.take(spec, arguments, last, last + 1, total), 0, fixed, 1)
        with self._uncounted():
            owner = _within(calls, last, last + 1)[0][0]  # with its adapters
            made = self._forward([(owner, fixed)], 0, lambda: first.hook.run(**alike))
        copies = rows.split(made, [1] * fixed, is_listed=is_listed)
        original = rows.split(output, [last, 1], is_listed=is_listed)[1]
        is_steady = all(rows.largest_difference(copy, original) == 0.0 for copy in copies)
        if not is_steady:
            _warn_of_change(first)
        return is_steady

    def _check_company(self, calls: Sequence[Call], outcomes: list[Outcome]) -> list[Outcome]:
        """Compare a reproducible batch with each call by itself at R rows; where bits differ none shares rows again."""
        known = self._known_of(calls[0])
        if not known.steady[_regime(calls[0])]:
            return outcomes
        with self._uncounted():
            singles = [self._run_fixed([call])[0] for call in calls]
        if _worst(outcomes, singles) == 0.0:
            return outcomes
        known.steady[_regime(calls[0])] = False
        _warn_of_change(calls[0])
        return self._run_fixed(calls)

    def _shadow_check(self, calls: Sequence[Call], outcomes: list[Outcome]) -> list[Outcome]:
        """Compare a real batch with single calls; a method that batching changes is no longer batched."""
        with self._uncounted():
            singles = [self._run_stacked([call])[0] for call in calls]
        worst = _worst(outcomes, singles)
        if worst <= _noise_of(calls[0]):
            return outcomes
        self._stop_batching(calls[0], f"a batch differed from single calls by {worst:.1e} of the largest value")
        return singles

    @contextlib.contextmanager
    def _uncounted(self) -> Iterator[None]:
        """Forwards of a check are nobody's."""
        self._is_counting = False
        try:
            yield
        finally:
            self._is_counting = True

    def _stop_batching(self, call: Call, why: str) -> None:
        self._known_of(call).unbatched = why
        self.stats_of(call).unbatched_because = why
        log.warning("%s runs one call at a time: %s", call.hook.name, why)

    def _forward(self, shares: Sequence[tuple[Call, int]], padded: int, function: Callable[[], Any]) -> Any:
        """One forward that holds so many rows of each call; its seconds are theirs."""
        call = shares[0][0]
        is_plain = call.key.fixed_rows or any(each.mix for each, _ in shares)
        eager = eagerly(bool(is_plain) and is_compiled(call.hook.module))
        try:
            with self.meter.spending() as spent:
                with in_state(call.state), eager, _adapted(shares, padded):
                    output = function()
                _wait_for(call)
        except BaseException as error:
            self.failed_s += spent.share_s
            if spent.is_shared and isinstance(error, torch.OutOfMemoryError):
                forget_frames(error)
                raise Crowded from None
            raise
        self._count(shares, padded, spent)
        return output

    def _count(self, shares: Sequence[tuple[Call, int]], padded: int, spent: Spent) -> None:
        if not self._is_counting:
            self.checking_s += spent.share_s
            return
        call, used = shares[0][0], sum(count for _, count in shares)
        self.profile.record(call.shape_key, used + padded, spent.share_s)  # as alone: forecasts add them up
        stats = self.stats_of(call)
        stats.batches += 1
        stats.rows += used
        stats.padded_rows += padded
        stats.seconds += spent.share_s
        for each, count in shares:
            each.wall_s += spent.wall_s
            each.device_s += spent.share_s * count / used  # what is padded is paid for by those it was padded for

    def stats_of(self, call: Call) -> ModuleStats:
        """The counters of the method it calls."""
        return self.modules.setdefault(call.hook.name, ModuleStats())


def _adapted(shares: Sequence[tuple[Call, int]], padded: int) -> contextlib.AbstractContextManager[None]:
    """The forward's adapters, row by row; what is padded repeats the last row."""
    if not any(call.mix for call, _ in shares):
        return contextlib.nullcontext()
    mixes = [call.mix for call, count in shares for _ in range(count)]
    call = shares[0][0]
    return lora.adapted(call.hook.module, [*mixes, *mixes[-1:] * padded], by_row=bool(call.key.fixed_rows))


def _outcomes(calls: Sequence[Call], parts: list[Any]) -> list[Outcome]:
    return [Outcome(call, part) for call, part in zip(calls, parts, strict=True)]


def _joined(calls: Sequence[Call], chunks: list[Any]) -> list[Outcome]:
    """The outcomes of calls whose stacked rows went through several forwards."""
    is_listed = _is_listed(calls[0])
    parts = rows.split(rows.join(chunks, is_listed=is_listed), [call.rows for call in calls], is_listed=is_listed)
    return _outcomes(calls, parts)


def _worst(outcomes: list[Outcome], others: list[Outcome]) -> float:
    pairs = zip(outcomes, others, strict=True)
    return max(rows.largest_difference(one.output, other.output) for one, other in pairs)


def _warn_of_change(call: Call) -> None:
    said = "%s: rows change their bits at %d rows; reproducible calls run alone"
    log.warning(said, call.hook.name, call.key.fixed_rows)


def _within(calls: Sequence[Call], start: int, stop: int) -> list[tuple[Call, int]]:
    """The calls that have rows between `start` and `stop` of the stacked rows, and how many."""
    shares, end = [], 0
    for call in calls:
        begin, end = end, end + call.rows
        count = min(stop, end) - max(start, begin)
        if count > 0:
            shares.append((call, count))
    return shares


def _is_listed(call: Call) -> bool:
    return bool(call.hook.spec and call.hook.spec.listed)


def _is_fixed(call: Call) -> bool:
    return bool(call.arguments and call.hook.spec and call.hook.spec.fixed)


def _regime(call: Call) -> Any:
    """What decides which kernels run, for one hooked method; autocast is part of the state."""
    return (call.key.shapes, call.key.state, call.key.fixed_rows)


def _noise_of(call: Call) -> float:
    """That of the weights' dtype, or of autocast's where it is on."""
    dtypes = [weight.dtype for weight in call.hook.module.parameters()][:1]
    dtypes += [dtype for _, dtype in call.key.state[2]]
    return max((NOISE.get(dtype, max(NOISE.values())) for dtype in dtypes), default=NOISE[torch.float32])


def _random_of(call: Call) -> contextlib.AbstractContextManager[None]:
    """A module that draws in its forward draws what its request would have drawn there; what stacks does not draw."""
    fiber = getattr(call.owner, "fiber", None)
    return contextlib.nullcontext() if fiber is None or call.is_stackable else fiber.drawing()


def _wait_for(call: Call) -> None:
    # Seconds are measured on the host; work of an accelerator must be done before the clock is read. What other threads
    # have on streams of their own is not waited for.
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    if call.key.state[1] == "cuda":
        torch.cuda.current_stream().synchronize()
    own = weights_device(call.hook.module)
    if own.type == "cuda" and own.index != torch.cuda.current_device():
        torch.cuda.current_stream(own).synchronize()
