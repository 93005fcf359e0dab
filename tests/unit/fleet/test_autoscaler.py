"""What the policies promise, whatever they see."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.errors import InvalidConfig
from darkroom.fleet.autoscaler import open_policy
from darkroom.fleet.nouns import Member, Observation, Phase, Plan, Pool, Seen, Waiting
from darkroom.fleet.simulation import Model, simulate
from darkroom.fleet_settings import FleetSettings, PoolSettings, RuleSettings
from darkroom.traces import Request

NOW = 1_800_000_000.0  # a Friday, 08:00 UTC
HOUR_S = 3600.0
POLICIES = ("fixed", "reactive", "darkroom")
SPOT = Pool("spot", is_spot=True, price_per_hour_usd=0.3, max_workers=20, ready_s=60)
DEMAND = Pool("demand", price_per_hour_usd=1.0, max_workers=20, ready_s=40)


def policy_of(name: str = "darkroom", rules: Sequence[RuleSettings] = (), wait_s: float = 30.0, idle_s: float = 120.0):
    """A new policy, whose memory is empty."""
    pools = {name: PoolSettings() for name in ("spot", "demand", "gpu")}
    return open_policy(FleetSettings(policy=name, wait_s=wait_s, idle_s=idle_s, pools=pools, rules=tuple(rules)))


def waiting(jobs: int, each_s: float = 20.0, priority: int = 0, model: str = "m", age_s: float = 0.0) -> Waiting:
    return Waiting(model, priority, jobs, jobs * each_s, NOW - age_s)


def due(*seconds: tuple[float, float]) -> Waiting:
    """Jobs with deadlines: seconds from now, and their work."""
    deadlines = tuple(sorted((NOW + due_s, work_s) for due_s, work_s in seconds))
    return Waiting("m", 0, len(seconds), sum(work_s for _, work_s in seconds), NOW, deadlines)


def worker(name: str, pool: str = "gpu", phase: Phase = Phase.READY, jobs: int = 0, ahead_s: float = 0.0) -> Seen:
    return Seen(Member(name, pool, phase, NOW - 500), in_flight=jobs, ahead_s=ahead_s)


def gpu(max_workers: int = 10, min_workers: int = 0, ready_s: float = 20.0) -> Pool:
    return Pool("gpu", max_workers=max_workers, min_workers=min_workers, ready_s=ready_s, price_per_hour_usd=1.0)


def workers_of(plan: Plan) -> dict[str, int]:
    return {name: target.workers for name, target in plan.items()}


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    pools = []
    for number in range(draw(st.integers(1, 3))):
        most = draw(st.integers(1, 6))
        models = draw(st.sampled_from([(), ("m",), ("n", "m")]))
        least, is_spot = draw(st.integers(0, most)), draw(st.booleans())
        price, ready_s = draw(st.floats(0, 5)), draw(st.floats(1, 300))
        pools.append(Pool(f"p{number}", "cpu", is_spot, price, models, least, most, ready_s))
    groups = draw(st.lists(st.builds(
        waiting, st.integers(1, 30), st.floats(0.1, 200), st.sampled_from([-1000, 0, 5, 1000]),
        st.sampled_from(["m", "n", "o"]), st.floats(0, 500)), max_size=4))  # fmt: skip
    urgent = draw(st.lists(st.tuples(st.floats(-50, 500), st.floats(0.1, 100)), max_size=4))
    names = st.sampled_from([pool.name for pool in pools])
    drawn = draw(st.lists(st.tuples(names, st.sampled_from(Phase), st.integers(0, 3)), max_size=8))
    workers = [worker(f"w{number}", *facts, ahead_s=10.0 * facts[2]) for number, facts in enumerate(drawn)]
    load = draw(st.floats(0, 20000))
    arrivals = {NOW // HOUR_S * HOUR_S - hour * HOUR_S: load for hour in range(0, 60, 6)}
    seen = [*groups, due(*urgent)] if urgent else groups
    return Observation(NOW, tuple(pools), tuple(seen), tuple(workers), arrivals)


@settings(max_examples=60, deadline=None)
@given(observations(), st.sampled_from(POLICIES))
def test_every_target_is_within_its_pool_s_bounds_and_says_why(seen: Observation, name: str) -> None:
    policy = policy_of(name)
    for later_s in (0.0, 5.0, 400.0):
        plan = policy(replace(seen, now=seen.now + later_s))
        assert set(plan) == {pool.name for pool in seen.pools}
        for pool in seen.pools:
            target = plan[pool.name]
            assert pool.min_workers <= target.workers <= pool.max_workers
            assert target.reasons
            assert all(reason.strip() for reason in target.reasons)
            there = [w for w in seen.workers if w.member.pool == pool.name and w.member.phase is not Phase.LEAVING]
            assert len(target.leaving) == max(0, len(there) - target.workers)
            assert set(target.leaving) <= {w.member.name for w in there}


@settings(max_examples=40, deadline=None)
@given(observations())
def test_a_worker_with_jobs_stays_while_its_pool_may_have_it(seen: Observation) -> None:
    plan = policy_of(idle_s=0.0)(seen)
    for pool in seen.pools:
        there = [w for w in seen.workers if w.member.pool == pool.name and w.member.phase is not Phase.LEAVING]
        busy = {w.member.name for w in there if w.in_flight}
        assert len(busy & set(plan[pool.name].leaving)) == max(0, len(busy) - pool.max_workers)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 300), st.floats(1, 100)), min_size=1, max_size=12))
def test_deadlines_that_a_new_worker_can_meet_are_met(asked: list[tuple[float, float]]) -> None:
    pool = gpu(max_workers=20)
    jobs = sorted((pool.ready_s + slack_s + work_s, work_s) for slack_s, work_s in asked)
    count = policy_of()(Observation(NOW, (pool,), (due(*jobs),)))["gpu"].workers
    assert max(lateness(jobs, count, pool.ready_s)) <= 0.01


def lateness(jobs: list[tuple[float, float]], workers: int, ready_s: float) -> list[float]:
    """Seconds after its deadline that each job ends: the most urgent first, on the fullest worker that is in time."""
    free, late = [ready_s] * workers, []
    for due_s, work_s in jobs:
        on_time = [at for at in free if at + work_s <= due_s + 0.01]
        start = max(on_time) if on_time else min(free)
        free[free.index(start)] = start + work_s
        late.append(start + work_s - due_s)
    return late


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 10), st.floats(1, 100), st.sampled_from(["reactive", "darkroom"]))
def test_more_work_never_means_fewer_workers(jobs: int, more: int, each_s: float, name: str) -> None:
    counts = [
        policy_of(name)(Observation(NOW, (gpu(30),), (waiting(count, each_s),) if count else ()))["gpu"].workers
        for count in (jobs, jobs + more)
    ]
    assert counts[0] <= counts[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.floats(1, 100), st.floats(1, 200), st.floats(0, 200))
def test_who_may_wait_longer_never_gets_more_workers(jobs: int, each_s: float, wait_s: float, more_s: float) -> None:
    seen = Observation(NOW, (gpu(30, ready_s=60),), (waiting(jobs, each_s),))
    sooner, later = (policy_of(wait_s=wait)(seen)["gpu"].workers for wait in (wait_s, wait_s + more_s))
    assert later <= sooner


def test_short_jobs_share_a_worker_that_takes_long_to_come() -> None:
    assert policy_of(wait_s=60)(Observation(NOW, (gpu(ready_s=60),), (waiting(30, 1.0),)))["gpu"].workers == 1


@pytest.mark.parametrize("name", ["reactive", "darkroom"])
def test_the_first_job_wakes_a_fleet_of_nobody(name: str) -> None:
    plan = policy_of(name)(Observation(NOW, (gpu(),), (waiting(1, 0.5),)))
    assert plan["gpu"].workers == 1


@pytest.mark.parametrize("name", ["reactive", "darkroom"])
def test_the_last_worker_leaves_after_idle_s_and_not_before(name: str) -> None:
    policy, busy = policy_of(name, idle_s=120), worker("w", jobs=1, ahead_s=5)
    assert policy(Observation(NOW, (gpu(),), workers=(busy,)))["gpu"].workers == 1
    idle = Observation(NOW, (gpu(),), workers=(worker("w"),))
    assert policy(replace(idle, now=NOW + 5))["gpu"].workers == 1
    assert policy(replace(idle, now=NOW + 124))["gpu"].workers == 1
    assert policy(replace(idle, now=NOW + 125))["gpu"].leaving == ("w",)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 60), st.floats(0.1, 10), st.floats(0, 60), st.sampled_from(["reactive", "darkroom"]))
def test_idle_s_counts_from_the_end_of_the_last_job(work_s: float, look_s: float, idle_s: float, name: str) -> None:
    asked, policy = [Request(0, work_s), Request(1000, 5)], policy_of(name, idle_s=idle_s)
    first, _ = simulate(asked, [gpu(1)], policy, Model(look_s=look_s)).workers
    idle_found_s = (first.gone_at or 0.0) - (20 + work_s)
    # A look late to see that it is ready, one more to see that its job has ended, and the last to let it go.
    assert idle_s - 0.001 <= idle_found_s <= idle_s + 3 * look_s + 0.001


@pytest.mark.parametrize("name", ["reactive", "darkroom"])
def test_a_worker_whose_work_was_done_before_it_came_stays_for_idle_s_all_the_same(name: str) -> None:
    """It was asked for, and the next job would only start another."""
    policy, pools = policy_of(name, idle_s=15), (gpu(),)
    assert policy(Observation(NOW, pools, (waiting(1),)))["gpu"].workers == 1
    policy(Observation(NOW + 1, pools, workers=(worker("w", phase=Phase.STARTING),)))
    idle = Observation(NOW + 20, pools, workers=(worker("w"),))
    assert policy(replace(idle, workers=(worker("w", phase=Phase.STARTING),), now=NOW + 10))["gpu"].workers == 1
    assert policy(idle)["gpu"].workers == 1
    assert policy(replace(idle, now=NOW + 34))["gpu"].workers == 1
    assert policy(replace(idle, now=NOW + 50))["gpu"].leaving == ("w",)


def test_a_new_leader_holds_the_workers_it_finds_for_idle_s() -> None:
    policy, idle = policy_of(idle_s=60), Observation(NOW, (gpu(),), workers=(worker("a"), worker("b")))
    assert policy(idle)["gpu"].workers == 2
    assert policy(replace(idle, now=NOW + 61))["gpu"].workers == 0


def test_workers_are_added_for_the_estimated_wait_and_the_reason_has_the_figures() -> None:
    busy = worker("w", jobs=1, ahead_s=20)
    few = policy_of()(Observation(NOW, (gpu(),), (waiting(1),), (busy,)))["gpu"]
    assert few.workers == 1  # it starts in 20 s of the 30 that it may wait
    many = policy_of()(Observation(NOW, (gpu(),), (waiting(6),), (busy,)))["gpu"]
    assert many.workers > 1
    said = "120 s of work waits in 6 jobs; with 1 worker a job of m would start in 40 s, and it may wait 30 s: "
    assert any(reason.startswith(said) for reason in many.reasons)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (
            waiting(1, age_s=32),
            "waits in 1 job; with none a job of m would never start, and it has waited 2 s too long",
        ),
        (due((-3, 20)), "and it was to end 3 s ago: 1 more"),
        (due((300, 20)), "and it is to end in 300 s: 1 more"),
    ],
)
def test_the_reason_for_a_worker_says_what_is_late_already(group: Waiting, said: str) -> None:
    [reason] = [each for each in policy_of()(Observation(NOW, (gpu(),), (group,)))["gpu"].reasons if "more" in each]
    assert said in reason


def test_a_reason_does_not_count_one_as_many() -> None:
    busy = worker("w", jobs=1, ahead_s=5)
    policy, seen = policy_of(idle_s=60), Observation(NOW, (gpu(),), workers=(busy,))
    assert policy(seen)["gpu"].reasons[0] == "1 worker can do the work that is there within its promises"
    later = policy(replace(seen, now=NOW + 5, workers=(worker("w"),)))
    assert later["gpu"].reasons[0] == "1 worker was needed 0 s ago, less than idle_s"


def test_those_on_their_way_count() -> None:
    starting = replace(worker("w", phase=Phase.STARTING), member=Member("w", "gpu", Phase.STARTING, NOW - 15))
    assert policy_of()(Observation(NOW, (gpu(),), (waiting(1),), (starting,)))["gpu"].workers == 1


def test_a_pool_whose_workers_do_not_come_is_not_waited_for() -> None:
    overdue = Seen(Member("s", "spot", Phase.STARTING, NOW - 600))
    seen = Observation(NOW, (replace(SPOT, max_workers=1), DEMAND), (waiting(1),), (overdue,))
    assert workers_of(policy_of()(seen)) == {"spot": 1, "demand": 1}


def test_spot_is_for_normal_work_and_on_demand_for_high_priority() -> None:
    normal = policy_of(wait_s=90)(Observation(NOW, (SPOT, DEMAND), (waiting(1),)))
    assert workers_of(normal) == {"spot": 1, "demand": 0}
    high = policy_of(wait_s=90)(Observation(NOW, (SPOT, DEMAND), (waiting(1, priority=1000),)))
    assert workers_of(high) == {"spot": 0, "demand": 1}


@pytest.mark.parametrize(("due_s", "pool"), [(400, "spot"), (110, "demand"), (70, "demand")])
def test_a_deadline_that_the_loss_of_a_spot_worker_would_miss_is_not_left_to_one(due_s: float, pool: str) -> None:
    plan = policy_of(wait_s=90)(Observation(NOW, (SPOT, DEMAND), (due((due_s, 20)),)))
    assert workers_of(plan) == {"spot": 0, "demand": 0} | {pool: 1}


def test_a_running_spot_worker_does_not_keep_a_close_deadline_from_its_on_demand_worker() -> None:
    seen = Observation(NOW, (SPOT, DEMAND), (due((70, 20)),), (worker("s", "spot"),))
    assert policy_of()(seen)["demand"].workers == 1


def test_the_cheapest_pool_that_keeps_the_promise_is_taken() -> None:
    slow = Pool("slow", price_per_hour_usd=0.1, ready_s=300, max_workers=5)
    quick = Pool("quick", price_per_hour_usd=1.0, ready_s=10, max_workers=5)
    dear = replace(quick, name="dear", price_per_hour_usd=2.0)
    plan = policy_of()(Observation(NOW, (dear, slow, quick), (waiting(1),)))
    assert workers_of(plan) == {"dear": 0, "slow": 0, "quick": 1}


def test_price_counts_by_the_work_done_for_it() -> None:
    slow, quick = gpu(), replace(gpu(), name="quick", price_per_hour_usd=2.0)
    seen = Observation(NOW, (slow, quick), (waiting(1),), speeds={"quick": 3.0})
    assert workers_of(policy_of()(seen)) == {"gpu": 0, "quick": 1}


def test_work_goes_to_pools_that_serve_its_model() -> None:
    other = replace(gpu(), name="other", models=("n",), price_per_hour_usd=0.1)
    assert workers_of(policy_of()(Observation(NOW, (other, gpu()), (waiting(3),)))) == {"other": 0, "gpu": 3}
    lone = policy_of()(Observation(NOW, (other,), (waiting(3),)))["other"]
    assert lone.workers == 0
    assert any("no pool serves" in reason for reason in lone.reasons)


def test_of_too_many_the_idle_leave_and_the_busy_stay() -> None:
    there = (worker("busy", jobs=1, ahead_s=5), worker("idle"), worker("coming", phase=Phase.STARTING))
    target = policy_of(idle_s=0)(Observation(NOW, (gpu(),), workers=there))["gpu"]
    assert (target.workers, target.leaving) == (1, ("coming", "idle"))


def test_work_moves_to_the_cheaper_of_two_like_pools() -> None:
    cheap, dear = gpu(), replace(gpu(), name="dear", price_per_hour_usd=5.0)
    there = (worker("dear-1", "dear", jobs=1, ahead_s=10), worker("gpu-1"))
    policy = policy_of(idle_s=60)
    policy(Observation(NOW, (cheap, dear), workers=there))
    assert workers_of(policy(Observation(NOW + 61, (cheap, dear), workers=there))) == {"gpu": 1, "dear": 1}
    idle = (worker("dear-1", "dear"), worker("gpu-1", jobs=1, ahead_s=10))
    assert workers_of(policy(Observation(NOW + 62, (cheap, dear), workers=idle))) == {"gpu": 1, "dear": 0}


def test_a_rule_keeps_workers_warm_and_starts_them_before_its_time() -> None:
    rules = [RuleSettings(pool="gpu", days=("fri",), start="09:00", end="17:00", min_workers=3)]
    counts = {}
    for minutes in (0, 58, 60, 300, 9 * 60 + 2, 24 * 60 + 90):
        seen = Observation(NOW + 60 * minutes, (gpu(ready_s=180),))
        counts[minutes] = policy_of(rules=rules, idle_s=0)(seen)["gpu"].workers
    assert counts == {0: 0, 58: 3, 60: 3, 300: 3, 9 * 60 + 2: 0, 24 * 60 + 90: 0}


def test_a_rule_over_midnight_is_of_the_day_it_starts_on() -> None:
    rules = [RuleSettings(pool="gpu", days=("fri",), start="22:00", end="06:00", min_workers=1)]
    hours = {hour: policy_of(rules=rules)(Observation(NOW + HOUR_S * hour, (gpu(),)))["gpu"].workers
             for hour in (-7, 15, 21, 23, 39)}  # fmt: skip
    assert hours == {-7: 0, 15: 1, 21: 1, 23: 0, 39: 0}


def test_an_unknown_time_zone_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfig, match="Mars/Olympus"):
        open_policy(FleetSettings(time_zone="Mars/Olympus", pools={"gpu": PoolSettings()}))


def test_what_past_days_foresee_is_there_before_the_first_job_where_a_start_takes_long() -> None:
    arrivals = {NOW - day * 24 * HOUR_S: 3.0 * HOUR_S for day in range(1, 15)}
    early = Observation(NOW - 100, (gpu(ready_s=180),), arrivals=arrivals)
    assert policy_of()(early)["gpu"].workers >= 3
    assert policy_of()(replace(early, now=NOW - HOUR_S))["gpu"].workers == 0
    assert policy_of()(replace(early, pools=(gpu(ready_s=10),)))["gpu"].workers == 0  # the first job itself is in time


def test_what_is_foreseen_is_met_by_pools_that_serve_all_models_where_pools_differ() -> None:
    arrivals = {NOW - day * 24 * HOUR_S: 3.0 * HOUR_S for day in range(1, 15)}
    every, one = gpu(ready_s=180), replace(gpu(ready_s=180), name="one", models=("m",), price_per_hour_usd=0.1)
    other = replace(one, name="other", models=("n",))

    def foreseen(*pools: Pool) -> dict[str, int]:
        return workers_of(policy_of()(Observation(NOW - 100, pools, arrivals=arrivals)))

    assert foreseen(one, other) == {"one": 0, "other": 0}
    assert foreseen(every, one)["one"] == 0 < foreseen(every, one)["gpu"]
    assert foreseen(one)["one"] >= 3


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nowhere_at_all:plan", "cannot be imported"),
        ("own_broken:plan", "ZeroDivisionError"),
        ("own_fleet:absent", "has no such name"),
        ("own_fleet:NUMBER", "cannot be called"),
        ("own_fleet:Sized", "is a class"),
    ],
)
def test_a_wrong_path_of_an_own_policy_is_refused_with_its_reason(
    path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _own(tmp_path, monkeypatch)
    with pytest.raises(InvalidConfig, match=said) as raised:
        open_policy(FleetSettings(policy=path, pools={"gpu": PoolSettings()}))
    assert raised.value.field == "fleet.policy"


def test_an_own_policy_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _own(tmp_path, monkeypatch)
    policy = open_policy(FleetSettings(policy="own_fleet:plan", pools={"gpu": PoolSettings()}))
    assert policy(Observation(NOW, (gpu(),)))["gpu"].workers == 7


def _own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own_broken.py").write_text("1 / 0\n")
    (folder / "own_fleet.py").write_text(
        "from darkroom.fleet.nouns import Target\nNUMBER = 3\n\n\nclass Sized:\n    pass\n\n\n"
        "def plan(seen):\n    return {pool.name: Target(7) for pool in seen.pools}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_fleet", raising=False)
