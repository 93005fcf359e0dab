"""What the cells add up to: a row for each system, and the targets; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.engine.figure import Figure
from darkroom.bench.figures import GOOD_FACTOR, Goodput, Outcome, Spread, goodput_of, spread, within

from .cells import Found, Run
from .size import TAIL_LOAD

GOOD_SHARE = 0.9


@dataclass(frozen=True)
class Rung:
    """One load of a workload, all repeats of it together."""

    load: float
    rate: float  # requests a second that the load stands for
    outcomes: Sequence[Outcome]
    attained: float  # the share that ended in time
    each: Sequence[float] = ()  # that share in each repeat


@dataclass(frozen=True)
class Row:
    """A system's figures; None where they were not measured. Rates are requests a second."""

    system: str
    failure: str | None = None
    rungs: Sequence[Rung] = ()  # of W2
    sized: Rung | None = None  # of W3, at the lowest load
    sized_goodput: Goodput | None = None
    goodput: Goodput | None = None
    tail: Spread | None = None  # latencies of W2 at 0.9, of what failed infinite
    spike_attained: float | None = None
    spike: Spread | None = None
    crowd: int | None = None  # users
    served: int | None = None
    crowd_s: float | None = None  # until the last was served
    failed: int = 0  # requests of all workloads
    goodputs: Sequence[Goodput] = ()  # of each repeat of W2
    tails: Sequence[float] = ()  # worst of each repeat of W2 at 0.9

    @property
    def throughput(self) -> float | None:
        """Pictures a second while a crowd waits."""
        return self.served / self.crowd_s if self.served and self.crowd_s else None

    @property
    def lowest_rate(self) -> float | None:
        """Of W2, that was tried."""
        return self.rungs[0].rate if self.rungs else None


def row_of(system: str, found: Iterable[Found], alone: Mapping[str, float]) -> Row:
    """One system's cells; `alone` is seconds of each kind, the same for every system."""
    every = list(found)
    failure = next((each.failure for each in every if each.failure is not None), None)
    runs = {name: [run for each in every if each.cell.workload == name for run in each.runs] for name in _names(every)}
    mixed, sized = _ladder(runs.get("W2", ()), alone), _ladder(runs.get("W3", ()), alone)
    spike = [outcome for run in runs.get("W5", ()) for outcome in run.outcomes]
    crowd = [outcome for run in runs.get("W6", ()) for outcome in run.outcomes]
    done = [each.latency_s for each in crowd if each.has_succeeded]
    tail = [_waited_s(each) for rung in mixed if rung.load == TAIL_LOAD for each in rung.outcomes]
    return Row(
        system,
        failure,
        mixed,
        sized[0] if sized else None,
        _goodput(sized),
        _goodput(mixed) if any(each.has_succeeded for rung in mixed for each in rung.outcomes) else None,
        spread(tail) if tail else None,
        within(spike, alone, GOOD_FACTOR) / len(spike) if spike else None,
        spread(_waited_s(each) for each in spike) if spike else None,
        len(crowd) if crowd else None,
        len(done) if crowd else None,
        max(done, default=None),
        sum(not each.has_succeeded for each_runs in runs.values() for run in each_runs for each in run.outcomes),
        [goodput for each in _w2(every) if (goodput := _goodput(_ladder(each.runs, alone))) is not None],
        [
            spread(_waited_s(outcome) for outcome in run.outcomes).worst
            for each in _w2(every)
            for run in each.runs
            if run.load == TAIL_LOAD
        ],
    )


def targets(ours: Row, peers: Sequence[Row], missing: Sequence[str] = ()) -> list[tuple[Figure, str]]:
    """What was to be reached, and what it was held against; none of it that was not measured. `missing` are peers who
    might have been the best."""
    held = [*_goodput_target(ours, peers), *_tail_target(ours, peers)]
    but = f"; of the peers measured, without {', '.join(missing)}" if missing else ""
    return [*((figure, said + but) for figure, said in held), *_crowd_target(ours)]


def _goodput_target(ours: Row, peers: Sequence[Row]) -> Iterable[tuple[Figure, str]]:
    """A peer that is late at the lowest rate already counts with that rate: the truth is further from ours."""
    rates = {
        peer.system: (peer.goodput.rate or peer.lowest_rate or 0.0, peer.goodput.rate is None)
        for peer in peers
        if peer.goodput is not None
    }
    if rates and ours.goodput is not None:
        name = max(rates, key=lambda each: rates[each][0])
        rate, is_bound = rates[name]
        said = f"{ours.goodput.rate or 0:.3f} against {'below ' if is_bound else ''}{rate:.3f} a second ({name})"
        yield Figure("", "W2: goodput over the best peer's", (ours.goodput.rate or 0.0) / rate, "x", 1.5, 2.5), said


def _tail_target(ours: Row, peers: Sequence[Row]) -> Iterable[tuple[Figure, str]]:
    tails = {peer.system: peer.tail.worst for peer in peers if peer.tail is not None}
    tails = {name: worst for name, worst in tails.items() if math.isfinite(worst)}  # nobody wins against who fails
    if tails and ours.tail is not None:
        name = min(tails, key=lambda each: tails[each])
        said = f"{ours.tail.worst:.2f} s against {tails[name]:.2f} s ({name})"
        ratio = ours.tail.worst / tails[name]
        yield Figure("", "W2: p99 at 0.9, over the best peer's", ratio, "x", 0.5, is_more_better=False), said


def _crowd_target(ours: Row) -> Iterable[tuple[Figure, str]]:
    if ours.crowd and ours.served is not None:
        said = f"{ours.served} of {ours.crowd}"
        yield Figure("", "W6: users served", ours.served / ours.crowd, "%", 1.0), said


def _w2(found: Iterable[Found]) -> list[Found]:
    return [each for each in found if each.cell.workload == "W2"]


def _names(found: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(each.cell.workload for each in found))


def _ladder(runs: Sequence[Run], alone: Mapping[str, float]) -> list[Rung]:
    loads = sorted({run.load for run in runs if run.load is not None})
    return [_rung(load, [run for run in runs if run.load == load], alone) for load in loads]


def _rung(load: float, runs: Sequence[Run], alone: Mapping[str, float]) -> Rung:
    """A rate that were counted, not reckoned from the load, would differ by repeat with the kinds that came."""
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    work_s = sum(alone[outcome.kind] for outcome in outcomes)
    return Rung(
        load,
        load * len(outcomes) / work_s,
        outcomes,
        _kept(outcomes, alone),
        [_kept(run.outcomes, alone) for run in runs],
    )


def _goodput(rungs: Sequence[Rung]) -> Goodput | None:
    return goodput_of([(rung.rate, rung.attained) for rung in rungs], GOOD_SHARE) if rungs else None


def _kept(outcomes: Sequence[Outcome], alone: Mapping[str, float]) -> float:
    return within(outcomes, alone, GOOD_FACTOR) / len(outcomes)


def _waited_s(outcome: Outcome) -> float:
    """For ever, where it failed: a server that refuses what it would serve late must not look quick."""
    return outcome.latency_s if outcome.has_succeeded else math.inf
