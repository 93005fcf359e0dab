"""A second on which two work is told once, and each has half of it."""

from __future__ import annotations

import contextlib
import random

import pytest

from darkroom.engine.meter import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_two_do_at_once_is_shared_and_what_one_does_alone_is_its_own() -> None:
    clock = Clock()
    meter = Meter(clock)
    step, decode = meter.spending(), meter.spending()
    stepping = step.__enter__()
    clock.now += 3.0
    decoding = decode.__enter__()
    clock.now += 2.0
    step.__exit__(None, None, None)
    clock.now += 4.0
    decode.__exit__(None, None, None)
    clock.now += 50.0
    assert (stepping.wall_s, stepping.share_s) == (5.0, 4.0)
    assert (decoding.wall_s, decoding.share_s) == (6.0, 5.0)
    assert meter.total_s == 9.0


def test_work_that_fails_is_counted() -> None:
    clock = Clock()
    meter = Meter(clock)
    with contextlib.suppress(ValueError), meter.spending() as spent:
        clock.now += 2.0
        raise ValueError
    assert spent.share_s == meter.total_s == 2.0


def test_shares_add_up_to_the_seconds_in_which_anybody_worked() -> None:
    clock, chance = Clock(), random.Random(0)
    meter, under_way, shares, busy_s = Meter(clock), [], [], 0.0
    for _ in range(500):
        if under_way and chance.random() < 0.5:
            work, spent = under_way.pop(chance.randrange(len(under_way)))
            work.__exit__(None, None, None)
            shares.append(spent.share_s)
        elif len(under_way) < 3:
            work = meter.spending()
            under_way.append((work, work.__enter__()))
        passed = chance.random()
        clock.now += passed
        busy_s += passed if under_way else 0.0
    for work, spent in under_way:
        work.__exit__(None, None, None)
        shares.append(spent.share_s)
    assert sum(shares) == pytest.approx(busy_s)
    assert meter.total_s == pytest.approx(busy_s)
