"""Seconds of device work that requests still ask for, from the measured curves; no torch.

Requests of one method and shape run together as far as the row cap allows, and each leaves when it is done. So the work
is laid out in stretches: while all are there, while all but the shortest are, and so on. Encoders are left out: they
are short, and their outputs are kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .pace import Seen, Trip
from .profile import Profile


@dataclass(frozen=True)
class Work:
    """What one request asks of one method at one shape: so many calls like those that were `seen`.

    Calls of equal keys may share forwards.
    """

    key: Hashable
    seen: Seen
    calls: float


def left(own: Trip, known: Trip, steps: float) -> Iterator[Work]:
    """What is left of a run of `steps` steps, as far as a `known` one tells."""
    for key, seen in _device_work(known):
        done = own.seen[key].calls if key in own.seen else 0
        if seen.kind == "decode" or not known.step:
            yield Work(key, seen, max(0, seen.calls - done))
        else:
            yield Work(key, seen, max(0.0, steps - own.step) * seen.calls / known.step)


def one_step(known: Trip, *, with_decode: bool = True) -> Iterator[Work]:
    """What one denoising step of such a run asks for, its decode spread over its steps."""
    for key, seen in _device_work(known):
        if with_decode or seen.kind != "decode":
            yield Work(key, seen, seen.calls / max(1, known.step))


def _device_work(trip: Trip) -> Iterator[tuple[Hashable, Seen]]:
    return ((key, seen) for key, seen in trip.seen.copy().items() if seen.kind != "encode")


def seconds_of(works: Iterable[Work], profile: Profile) -> float:
    """Device seconds of all of it."""
    by_key: dict[Hashable, list[Work]] = {}
    for work in works:
        by_key.setdefault(work.key, []).append(work)
    return sum(_together(sorted(those, key=lambda work: work.calls), profile) for those in by_key.values())


def rows_of(works: Sequence[Work], profile: Profile) -> int:
    """The rows of the largest forward of a denoiser among these works."""
    denoised = {work.key for work in works if work.seen.kind == "denoise"}
    company = {key: [work.seen for work in works if work.key == key] for key in denoised}
    return max((rows for seen in company.values() for rows in _forwards(seen, profile)), default=0)


def joining(company: Iterable[Work], one: Iterable[Work], profile: Profile) -> int:
    """How many requests that ask for `one` step's work find rows in the forwards that the `company`'s steps take."""
    rows: dict[Hashable, int] = {}
    for work in company:
        rows[work.key] = rows.get(work.key, 0) + work.seen.rows
    denoised = [work for work in one if work.seen.kind == "denoise"]
    return min(
        (_free_rows(work.seen, rows.get(work.key, 0), profile) // work.seen.rows for work in denoised), default=0
    )


def _free_rows(seen: Seen, taken: int, profile: Profile) -> int:
    """Of the last forward that `taken` rows take; none where no forward runs, or where calls run alone."""
    if not taken or not seen.is_shared:
        return 0
    return -taken % (seen.fixed_rows or profile.proven(seen.shape_key))


def _together(works: Sequence[Work], profile: Profile) -> float:
    """Works of one key, the shortest first."""
    total, done = 0.0, 0.0
    for place, work in enumerate(works):
        turn_s = _turn_s([each.seen for each in works[place:]], profile)
        if turn_s is None:  # no curve yet: each costs what its like has cost so far
            return sum(each.calls * each.seen.seconds / max(1, each.seen.calls) for each in works)
        total += (work.calls - done) * turn_s
        done = work.calls
    return total


def _turn_s(company: Sequence[Seen], profile: Profile) -> float | None:
    """Seconds until each of the company has had one call."""
    key = company[0].shape_key
    seconds = [profile.seconds(key, rows) for rows in _forwards(company, profile)]
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None


def _forwards(company: Sequence[Seen], profile: Profile) -> list[int]:
    """The rows of each forward that it takes."""
    if not company[0].is_shared or company[0].kind == "decode":  # few end at the same time, so most decode alone
        return [seen.rows for seen in company]
    fixed = company[0].fixed_rows
    most = fixed or profile.usual(company[0].shape_key)
    full, rest = divmod(sum(seen.rows for seen in company), most)
    return [most] * full + ([fixed or rest] if rest else [])
