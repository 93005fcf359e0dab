"""What every driver promises, whatever starts its workers (src/darkroom/fleet/nouns.py: `Driver`)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from darkroom.errors import DriverUnavailable
from darkroom.fleet.nouns import Driver, Member, Phase, Pool

from .driver_kinds import KINDS, SLOW, Place, Stage, place, wait_until

_numbers = itertools.count(1)


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in KINDS]
)
def at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("drivers"), request.param) as made:
        yield made


@pytest.fixture(scope="module")
def stage(at: Place) -> Iterator[Stage]:
    assert at.settings.fleet is not None
    with KINDS[at.settings.fleet.driver](at) as made:
        yield made


@pytest.fixture(scope="module")
def driver(stage: Stage) -> Driver:
    return stage.open()


@pytest.fixture
def pool(at: Place, driver: Driver) -> Iterator[Pool]:
    """One of its own for each test, which leaves nobody in it."""
    made = Pool(f"pool-{next(_numbers)}", max_workers=8, price_per_hour_usd=0.25)
    yield made
    at.hold.unlink(missing_ok=True)
    driver.scale(made, 0)
    wait_until(lambda: not of(driver, made), "the pool is empty again")


def of(driver: Driver, pool: Pool) -> list[Member]:
    """The members of one pool."""
    return [member for member in driver.members() if member.pool == pool.name]


def names(members: list[Member], *phases: Phase) -> set[str]:
    """Of the members in these phases; without any, of all."""
    return {member.name for member in members if not phases or member.phase in phases}


def ready(driver: Driver, pool: Pool, workers: int) -> list[str]:
    """Scale to so many, and wait until all are ready."""
    driver.scale(pool, workers)
    wait_until(
        lambda: len(names(of(driver, pool), Phase.READY)) == workers, f"{workers} members of {pool.name} are ready"
    )
    return sorted(names(of(driver, pool)))


def test_workers_that_are_asked_for_are_members_at_once_and_run(driver: Driver, stage: Stage, pool: Pool) -> None:
    began = time.time()
    driver.scale(pool, 2)
    asked = of(driver, pool)
    assert [member.phase for member in asked] == [Phase.STARTING] * 2
    assert all(began - 2 <= member.since <= time.time() + 2 for member in asked)  # a cluster's stamps are whole seconds
    wait_until(lambda: names(of(driver, pool), Phase.READY) == names(asked), "both are ready")
    assert names(asked) <= stage.running()


def test_asked_again_for_what_holds_it_does_nothing(driver: Driver, pool: Pool) -> None:
    driver.scale(pool, 2)
    first = names(of(driver, pool))
    driver.scale(pool, 2)  # while they start
    assert names(of(driver, pool)) == first
    assert ready(driver, pool, 2) == sorted(first)
    driver.scale(pool, 2)
    assert names(of(driver, pool)) == first


def test_the_named_drain_first_and_are_members_until_they_are_gone(
    at: Place, driver: Driver, stage: Stage, pool: Pool
) -> None:
    one, two, three = ready(driver, pool, 3)
    at.hold.touch()
    driver.scale(pool, 1, leaving=["nobody-of-that-name", three, one, two])
    assert names(of(driver, pool), Phase.LEAVING) == {three, one}
    assert names(of(driver, pool), Phase.READY) == {two}
    assert {one, two, three} <= stage.running()  # they finish what they have
    driver.scale(pool, 1, leaving=[two])  # it holds already
    assert names(of(driver, pool), Phase.READY) == {two}
    at.hold.unlink()
    wait_until(lambda: names(of(driver, pool)) == {two}, "the drained are gone")
    wait_until(lambda: not {one, three} & stage.running(), "their programs have ended")
    assert two in stage.running()


def test_one_that_is_leaving_does_not_count(at: Place, driver: Driver, pool: Pool) -> None:
    (old,) = ready(driver, pool, 1)
    at.hold.touch()
    driver.scale(pool, 0)
    driver.scale(pool, 1)
    assert names(of(driver, pool), Phase.LEAVING) == {old}
    assert len(names(of(driver, pool), Phase.STARTING, Phase.READY)) == 1


def test_one_that_starts_can_be_let_go(driver: Driver, pool: Pool) -> None:
    driver.scale(pool, 1)
    driver.scale(pool, 0)
    assert not names(of(driver, pool), Phase.STARTING, Phase.READY)
    wait_until(lambda: not of(driver, pool), "it is gone")


def test_a_dead_worker_is_a_member_no_longer_and_can_be_replaced(driver: Driver, stage: Stage, pool: Pool) -> None:
    one, two = ready(driver, pool, 2)
    stage.kill(one)
    wait_until(lambda: one not in names(of(driver, pool)), "the dead one is gone")
    driver.scale(pool, 2)
    assert len(names(of(driver, pool))) == 2
    assert two in names(of(driver, pool))


def test_pools_are_scaled_apart(driver: Driver, pool: Pool) -> None:
    other = Pool(f"{pool.name}-beside", max_workers=8)
    driver.scale(pool, 1)
    driver.scale(other, 2)
    assert (len(of(driver, pool)), len(of(driver, other))) == (1, 2)
    driver.scale(other, 0)
    assert len(names(of(driver, pool), Phase.STARTING, Phase.READY)) == 1
    wait_until(lambda: not of(driver, other), "the other pool is empty")


def test_closing_drains_a_local_driver_s_workers_and_leaves_a_cluster_s(stage: Stage) -> None:
    pool = Pool(f"pool-{next(_numbers)}", max_workers=8)
    first = stage.open()
    members = ready(first, pool, 2)
    first.close()
    second = stage.open()
    try:
        if stage.lives_on:
            assert names(of(second, pool)) == set(members) <= stage.running()
            second.scale(pool, 2)
            assert names(of(second, pool)) == set(members)
        else:
            assert not of(second, pool)
            assert not set(members) & stage.running()
    finally:
        second.scale(pool, 0)
        wait_until(lambda: not of(second, pool), "the pool is empty")
        second.close()


def test_one_that_cannot_start_workers_says_so(stage: Stage) -> None:
    pool = Pool(f"pool-{next(_numbers)}")
    with pytest.raises(DriverUnavailable, match=stage.said_broken):
        scale_until_refused(stage.open_broken(), pool)


def scale_until_refused(driver: Driver, pool: Pool) -> None:
    """A driver may hear of it only after it has asked."""
    driver.scale(pool, 1)
    wait_until(lambda: not of(driver, pool), "it says so, or has nobody")
