"""The simulated fleet: nothing is lost, nothing is free, and the figures are those of the events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.errors import BadInput
from darkroom.fleet.autoscaler import open_policy
from darkroom.fleet.compared import caption, figures_of, table
from darkroom.fleet.nouns import Observation, Phase, Plan, Pool, Target
from darkroom.fleet.picture import columns_of
from darkroom.fleet.simulation import Model, Run, Sample, simulate
from darkroom.fleet_settings import FleetSettings, PoolSettings
from darkroom.traces import Request, compressed, read_trace, synthetic

GPU = Pool("gpu", price_per_hour_usd=3.6, max_workers=8, ready_s=10)


def run(
    requests: list[Request], policy: str = "darkroom", pool: Pool = GPU, model: Model | None = None, **said: float
) -> Run:
    chosen = FleetSettings(policy=policy, pools={pool.name: PoolSettings()}, **{"idle_s": 20, "wait_s": 30} | said)
    return simulate(requests, [pool], open_policy(chosen), model)


def one_worker(seen: Observation) -> Plan:
    return {pool.name: Target(1) for pool in seen.pools}


def steady(every_s: float, exec_s: float, count: int) -> list[Request]:
    return [Request(number * every_s, exec_s) for number in range(count)]


def test_one_worker_takes_jobs_in_turn_and_is_paid_from_when_it_is_asked_for() -> None:
    found = simulate([Request(0, 20), Request(5, 10)], [GPU], one_worker)
    assert [(job.started_at, job.ended_at) for job in found.jobs] == [(10, 30), (30, 40)]
    figures = figures_of("one", found, [GPU])
    assert figures.cost_usd == pytest.approx(40 * 3.6 / 3600)
    assert figures.cost_per_image_usd == pytest.approx(0.02)
    assert figures.busy == pytest.approx(30 / 40)
    assert (figures.wait_mean_s, figures.wait_p50_s, figures.wait_p99_s) == (17.5, 10, 25)
    assert figures.attained == 0.5  # 30 s of the 50 it is promised, and 35 s of 30
    assert (figures.cold_starts, figures.most_workers) == (1, 1)


def test_jobs_at_once_share_the_worker_s_speed() -> None:
    both = [Request(0, 20), Request(0, 20)]
    found = simulate(both, [GPU], one_worker, Model(speeds=(1.0, 1.6)))
    assert [job.ended_at for job in found.jobs] == [pytest.approx(10 + 40 / 1.6)] * 2


def test_higher_classes_and_nearer_deadlines_are_claimed_first() -> None:
    asked = [Request(0, 10), Request(1, 10), Request(1, 10, deadline_s=100), Request(2, 10, priority=1000)]
    found = simulate(asked, [GPU], one_worker)
    assert [job.started_at for job in found.jobs] == [30, 40, 20, 10]


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.builds(Request, st.floats(0, 3000), st.floats(0.5, 90)), min_size=1, max_size=40),
    st.sampled_from(["fixed", "reactive", "darkroom"]),
    st.sampled_from([0.0, 20.0]),
)
def test_every_request_ends_once_and_every_busy_second_is_paid(
    asked: list[Request], policy: str, losses: float
) -> None:
    asked = sorted(asked, key=lambda request: request.arrival_s)
    pool = replace(GPU, is_spot=bool(losses))
    found = run(asked, policy, pool, Model(losses_per_hour=losses))
    assert [job.request for job in found.jobs] == asked
    for job in found.jobs:
        assert job.started_at is not None
        assert job.ended_at is not None
        assert job.started_at >= job.request.arrival_s
        assert job.ended_at >= job.started_at + job.request.exec_s - 1e-6
    assert sum(worker.busy_s for worker in found.workers) == pytest.approx(sum(each.exec_s for each in asked))
    assert all(worker.busy_s <= (worker.gone_at or 0) - worker.member.since + 1e-6 for worker in found.workers)
    assert max(sample.workers for sample in found.samples) <= pool.max_workers + 8 * bool(losses)


def test_the_same_seed_gives_the_same_run() -> None:
    asked = synthetic(1, seed=3)[:150]
    pool = replace(GPU, is_spot=True)
    first, again = (figures_of("p", run(asked, pool=pool, model=Model(losses_per_hour=5)), [pool]) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("policy", ["reactive", "darkroom"])
def test_a_constant_load_makes_no_workers_come_and_go(policy: str) -> None:
    found = run(steady(10, 25, 400), policy, idle_s=120)
    assert max(worker.member.since for worker in found.workers) < 600
    assert min(worker.gone_at or 0.0 for worker in found.workers if worker.phase is Phase.READY) == found.ended_at
    assert sum(worker.gone_at == found.ended_at for worker in found.workers) in (3, 4)


@pytest.mark.parametrize("policy", ["reactive", "darkroom"])
def test_a_fleet_sleeps_between_jobs_and_each_first_job_wakes_it(policy: str) -> None:
    found = run(steady(1000, 5, 4), policy)
    assert len(found.workers) == 4
    assert [(job.started_at or 0) - job.request.arrival_s for job in found.jobs] == [pytest.approx(10, abs=0.1)] * 4
    for worker in found.workers[:-1]:
        assert (worker.gone_at or 0) - worker.member.since == pytest.approx(10 + 5 + 20, abs=5)


def test_darkroom_costs_less_than_a_fixed_fleet_and_keeps_its_promises() -> None:
    asked = synthetic(1, seed=1)[:250]
    fixed, ours = (figures_of(name, run(asked, name, idle_s=0), [GPU]) for name in ("fixed", "darkroom"))
    assert ours.cost_usd < 0.3 * fixed.cost_usd
    assert ours.busy > 0.6
    assert ours.attained > 0.95


def test_a_trace_is_read_by_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(
        "arrival_s,task,status,exec_s,tenant,prompt_chars,negative_chars,images,steps,model,loras\n"
        "9,txt_2_img,succeed,32,G0,63,26,4,40,M1,0\n3,txt_2_img,succeed,8.5,G1,63,,,30,M0,1\n5,a,pending,,G1,3,,1,30,M0,\n"
    )
    first = Request(3, 8.5, "M0", 1, 30, "G1", loras=1, prompt_chars=63)
    assert read_trace(file) == [first, Request(9, 32, "M1", 4, 40, "G0", prompt_chars=63, negative_chars=26)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arrival_s,model\n1,m\n", "no column exec_s"),
        ("arrival_s,exec_s\n1,soon\n", "line 2: exec_s must be a number, not 'soon'"),
        ("arrival_s,exec_s\n1,2\nnan,2\n", "line 3: arrival_s"),
        ("arrival_s,exec_s\n1,\n", "no request that ran"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_trace(file)
    with pytest.raises(BadInput, match="cannot be read"):
        read_trace(tmp_path / "absent.csv")


def test_compressed_requests_come_faster_and_take_as_long() -> None:
    assert compressed([Request(100, 5), Request(160, 7)], 10) == [Request(0, 5), Request(6, 7)]


def test_drawn_requests_are_like_the_published_trace() -> None:
    drawn = synthetic(21)  # its hours need so many
    per_hour = [0] * (21 * 24)
    for request in drawn:
        per_hour[int(request.arrival_s // 3600)] += 1
    seconds = sorted(request.exec_s for request in drawn)
    models = [request.model for request in drawn]
    top = sorted((models.count(name) for name in set(models)), reverse=True)[:10]
    assert sum(seconds) / (21 * 86400) == pytest.approx(0.386, rel=0.1)
    assert seconds[len(seconds) // 2] == pytest.approx(23, rel=0.05)
    assert 6 <= max(per_hour) / (len(drawn) / len(per_hour)) <= 14
    assert sum(request.images == 1 for request in drawn) / len(drawn) == pytest.approx(0.58, abs=0.02)
    assert sum(request.steps == 30 for request in drawn) / len(drawn) == pytest.approx(0.91, abs=0.02)
    assert sum(top) / len(drawn) == pytest.approx(0.87, abs=0.02)
    assert len(set(models)) == 86


def test_a_picture_s_columns_have_the_mean_of_workers_and_the_most_that_waited() -> None:
    found = columns_of([Sample(0, 2, 0), Sample(5, 4, 3), Sample(20, 0, 0)], 40, 4)
    assert [(column.workers, column.waiting) for column in found] == [(3, 3), (4, 3), (0, 0), (0, 0)]


def test_the_table_names_every_policy_in_a_line() -> None:
    found = figures_of("darkroom", simulate([Request(0, 20)], [GPU], one_worker), [GPU])
    heads, line = table([found]).splitlines()
    assert heads.split()[0] == "policy"
    assert line.split()[0] == "darkroom"
    assert "66.7%" in line
    assert caption(found) == "wait 10 s, p95 10 s   100.0% in time   $0.03   66.7% busy"
