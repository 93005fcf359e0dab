"""Traces as plans, latencies alone that were not measured, and how full batches were."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from darkroom.bench.occupancy import Watch, added
from darkroom.bench.plan import Mix, Wanted
from darkroom.bench.replay import Replay, prompt_of, replay_notes, replay_plan
from darkroom.bench.solo import Solo, kinds_in, with_estimates, work_of
from darkroom.errors import BadInput
from darkroom.traces import Request

MIX = Mix((1,), prompts=("a bay", "tall hills at dawn"), adapters=("ink", "neon"))
TRACE = [
    Request(100, 5, "m0", 4, 30, "t1", loras=1, prompt_chars=40, negative_chars=9),
    Request(110, 5, "m1", 1, 20, "t2", task="inpaint"),
    Request(130, 0, "m0", 1, 30, "t1", loras=3),
    Request(190, 5, "m2", 1, 30, "t1"),
]


def plan(trace: list[Request] = TRACE, mix: Mix = MIX, **said: object) -> list[Wanted]:
    return replay_plan(trace, Replay("trace.csv", **{"compress": 10.0, **said}), mix, seed=1)  # type: ignore[arg-type]


def test_a_replay_asks_for_what_the_trace_did_so_many_times_as_fast() -> None:
    found = plan()
    assert [each.at_s for each in found] == [0.0, 1.0, 3.0, 9.0]
    assert [(each.steps, each.images, each.model, each.tenant) for each in found[:2]] == [
        (30, 4, "m0", "t1"),
        (20, 1, "m1", "t2"),
    ]
    assert [each.task for each in found[:2]] == ["text-to-image", "inpaint"]
    assert (len(found[0].prompt), len(found[0].negative_prompt or "")) == (40, 9)
    assert found[1].negative_prompt is None
    assert [len(each.adapters) for each in found] == [1, 0, 2, 0]  # no more than there are
    assert found == plan()


def test_a_replay_takes_the_first_requests_or_those_of_a_time() -> None:
    assert len(plan(requests=2)) == 2
    assert [each.at_s for each in plan(duration_s=3.5)] == [0.0, 1.0, 3.0]


def test_models_of_a_trace_are_mapped_and_those_left_take_turns() -> None:
    mapped = plan(models={"m0": ("a",), "*": ("b", "c")})
    assert [each.model for each in mapped] == ["a", "b", "a", "c"]
    assert {each.model for each in plan(mix=Mix((1,), model="one"))} == {"one"}
    unnamed = [Request(0, 1)]
    assert [each.model for each in plan(unnamed)] == [None]


def test_a_model_without_a_stand_in_and_a_task_without_a_name_are_refused() -> None:
    with pytest.raises(BadInput, match=r"m1, m2, which --map does not name") as refused:
        plan(models={"m0": ("a",)})
    assert refused.value.field == "--map"
    with pytest.raises(BadInput, match="'upscale'; allowed: txt_2_img"):
        plan([Request(0, 1, task="upscale")])


@pytest.mark.parametrize("chars", [1, 2, 5, 6, 7, 63, 2000])
def test_a_prompt_has_the_length_that_was_recorded(chars: int) -> None:
    found = prompt_of(chars, MIX.prompts, random.Random(chars))
    assert len(found) == chars
    assert found == found.strip()


def test_a_prompt_is_never_longer_than_may_be() -> None:
    assert len(prompt_of(5000, MIX.prompts, random.Random(1))) == 2000


def test_what_of_a_trace_is_not_sent_as_it_was_is_said() -> None:
    assert replay_notes(TRACE, Replay("t"), MIX) == [
        "1 requests had more LoRAs than --adapters names: the others are left out",
        "2 tenants are told as metadata alone: one key sends all of it",
    ]
    assert replay_notes(TRACE, Replay("t"), Mix((1,)))[0].startswith("2 requests had more LoRAs")
    assert "above 2000 characters" in replay_notes([Request(0, 1, prompt_chars=2001)], Replay("t"), MIX)[0]
    assert replay_notes([Request(0, 1)], Replay("t"), MIX) == []


def test_a_guided_step_is_twice_the_work() -> None:
    base = Wanted(0, 0.0, 10, "x", 0)
    assert work_of(replace(base, guidance=7.5)) == 2 * work_of(replace(base, guidance=1.0)) == 2 * work_of(base)


def wanted(steps: int, images: int = 1, model: str | None = None) -> Wanted:
    return Wanted(0, 0.0, steps, "x", 0, images=images, model=model)


def test_kinds_come_by_how_often_they_are() -> None:
    found = kinds_in([wanted(4), wanted(8), wanted(8), wanted(8, 2)])
    assert [each.kind for each in found] == ["8 steps", "4 steps", "8 steps, 2 images"]


def test_what_was_not_measured_lies_on_the_line_of_its_model() -> None:
    kinds = [wanted(10, 1, "a"), wanted(20, 1, "a"), wanted(10, 1, "b"), wanted(10, 3, "a"), wanted(20, 1, "b")]
    known = {kinds[0].kind: Solo(1.5, (1.5,)), kinds[1].kind: Solo(2.5, (2.5,)), kinds[2].kind: Solo(4.0, (4.0,))}
    found = with_estimates(kinds, known)
    assert found[kinds[3].kind].typical_s == pytest.approx(3.5)  # half a second, and a tenth each step
    assert found[kinds[4].kind].typical_s == pytest.approx(8.0)  # one point: in proportion
    assert [found[each.kind].is_estimate for each in kinds] == [False, False, False, True, True]


def test_forwards_are_counted_from_where_the_worker_stood() -> None:
    assert added({"w": {1: 5, 4: 2}}, {"w": {1: 6, 4: 2, 8: 3}}) == Counter({1: 1, 8: 3})
    assert added({"w": {1: 50}}, {"w": {1: 2}, "new": {2: 1}}) == Counter({1: 2, 2: 1})  # w was started anew


def test_a_watch_adds_up_what_came_between_and_a_worker_that_goes_away_takes_nothing() -> None:
    watch = Watch(100.0, {"w": {2: 10}})
    watch.note({"w": {2: 12}}, 101.0)
    watch.note(None, 101.5)
    watch.note({}, 102.0)
    watch.note({"w": {2: 13, 6: 1}}, 103.0)
    found = watch.batches
    assert found is not None
    assert (found.rows, found.mean_rows) == ({2: 3, 6: 1}, 3.0)
    assert [(sample.at_s, sample.forwards, sample.rows) for sample in found.samples] == [(1.0, 2, 4), (3.0, 2, 8)]


def test_a_service_that_does_not_tell_has_no_batches() -> None:
    watch = Watch(0.0, None)
    watch.note({"w": {2: 12}}, 1.0)
    assert watch.batches is None
