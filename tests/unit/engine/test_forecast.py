"""What is still to do, over toy curves and on a real engine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.engine.engine import Engine, Options, Tick
from darkroom.engine.forecast import Work, joining, left, one_step, rows_of, seconds_of
from darkroom.engine.handle import Handle
from darkroom.engine.pace import LABELS, Pace, Seen, Trip
from darkroom.engine.profile import TRUSTED, Profile
from darkroom.engine.request import Request
from darkroom.engine.served import Served
from darkroom.errors import EngineBroken
from tests.unit.engine.test_engine import hold

KEY = "unet"
CURVE = {2: 1.0, 4: 1.5, 6: 2.0, 8: 2.5}  # half a second a forward, a quarter a row


def profile(ceiling: int = 8, curve: dict[int, float] = CURVE) -> Profile:
    made = Profile(ceiling)
    for rows, seconds in curve.items():
        for _ in range(TRUSTED + 1):
            made.record(KEY, rows, seconds)
    return made


def seen(kind: str = "denoise", **more: Any) -> Seen:
    given = {"shape_key": KEY, "rows": 2, "fixed_rows": 0, "is_shared": True, "calls": 10, "seconds": 5.0, **more}
    return Seen(kind, **given)


def work(calls: float, **more: Any) -> Work:
    return Work(KEY, seen(**more), calls)


def test_a_lone_request_costs_its_own_forwards() -> None:
    assert seconds_of([work(10)], profile()) == pytest.approx(10 * 1.0)


def test_requests_share_forwards_until_the_shorter_is_done() -> None:
    assert seconds_of([work(10), work(4)], profile()) == pytest.approx(4 * 1.5 + 6 * 1.0)


def test_more_than_a_forward_takes_is_laid_out_in_several() -> None:
    assert seconds_of([work(1)] * 5, profile()) == pytest.approx(2.5 + 1.0)


def test_requests_join_while_forwards_that_run_anyway_have_free_rows() -> None:
    assert joining([work(10)], [work(1)], profile()) == 3  # two of eight rows are taken
    assert joining([work(10)] * 4, [work(1)], profile()) == 0
    assert joining([work(10)] * 5, [work(1)], profile()) == 3  # the second forward's
    assert joining([work(10)], [work(1, rows=4)], profile()) == 1


def test_nothing_joins_forwards_that_do_not_run_or_are_not_shared_or_do_not_pay() -> None:
    assert joining([], [work(1)], profile()) == 0
    assert joining([work(10, is_shared=False)], [work(1, is_shared=False)], profile()) == 0
    flat = {2: 1.0, 4: 2.0, 8: 4.0}
    assert joining([work(10)], [work(1)], profile(curve=flat)) == 0
    assert joining([work(10)], [work(1, kind="decode")], profile()) == 0


def test_rows_that_nobody_has_tried_are_not_counted_on() -> None:
    assert (
        joining([work(10)], [work(1)], profile(32, {2: 1.0})) == 1
    )  # four rows at most, though thirty-two are allowed


def test_reproducible_forwards_have_room_up_to_their_fixed_rows() -> None:
    assert joining([work(10, fixed_rows=8)], [work(1, fixed_rows=8)], profile()) == 3


def test_what_is_not_shared_runs_one_after_another() -> None:
    assert seconds_of([work(3, is_shared=False), work(3, is_shared=False)], profile()) == pytest.approx(6 * 1.0)


def test_reproducible_forwards_cost_their_fixed_rows() -> None:
    assert seconds_of([work(2, fixed_rows=8)], profile()) == pytest.approx(2 * 2.5)
    assert seconds_of([work(2, fixed_rows=8)] * 5, profile()) == pytest.approx(2 * 2 * 2.5)


def test_without_a_curve_what_it_cost_so_far_is_what_it_costs() -> None:
    assert seconds_of([work(4), work(6)], Profile(8)) == pytest.approx(10 * 5.0 / 10)


def test_nothing_known_is_nothing() -> None:
    assert seconds_of([], profile()) == 0.0
    assert list(left(Trip(0.0), Trip(0.0), 20)) == []


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 50))
def test_one_more_request_never_makes_the_work_less(calls: list[int], more: int) -> None:
    some = [work(each) for each in calls]
    assert seconds_of([*some, work(more)], profile()) >= seconds_of(some, profile()) - 1e-9


def trip(step: int, steps: int | None, **calls: int) -> Trip:
    """A run with so many calls of each kind."""
    return Trip(0.0, {kind: seen(kind, calls=number) for kind, number in calls.items()}, step, steps)


def test_what_is_left_follows_from_a_run_like_it() -> None:
    """Two denoiser calls a step, a ControlNet in every second one, two decodes, and an encoder that does not count."""
    known = trip(10, 10, denoise=20, control=5, decode=2, encode=3)
    own = trip(4, 16, denoise=8, encode=3)
    assert {each.key: each.calls for each in left(own, known, 16)} == {"denoise": 24, "control": 6, "decode": 2}


def test_what_is_done_is_not_left() -> None:
    known = trip(10, 10, denoise=10, decode=1)
    own = trip(16, 16, denoise=16, decode=1)
    assert sum(each.calls for each in left(own, known, 16)) == 0


def test_a_pipeline_that_reports_no_steps_is_measured_by_its_calls() -> None:
    known = trip(0, None, other=6)
    assert [each.calls for each in left(trip(0, None, other=2), known, 0)] == [4]


def test_a_step_carries_its_share_of_the_decode() -> None:
    known = trip(10, 10, denoise=20, decode=1)
    assert {each.key: each.calls for each in one_step(known)} == {"denoise": 2, "decode": 0.1}
    assert [each.key for each in one_step(known, with_decode=False)] == ["denoise"]


def test_rows_are_those_of_the_largest_denoiser_forward() -> None:
    works = [work(1), work(1), Work("decode", seen("decode", rows=20), 1)]
    assert rows_of(works, profile()) == 4
    assert rows_of(works * 4, profile()) == 8
    assert rows_of([], profile()) == 0


def test_the_seconds_beside_the_steps_are_told_from_them() -> None:
    """Encoded for 3 s, four steps of 2 s, decoded for 1 s."""
    run = Trip(100.0)
    for step in range(1, 5):
        run.stepped(step, 4, 103.0 + 2 * step)
    assert run.rest_s(112.0) == pytest.approx(4.0)
    assert Trip(100.0).rest_s(105.0) is None


def test_a_run_is_known_by_its_like_or_by_itself_or_by_any() -> None:
    pace, mine, other, own = Pace(), trip(5, 5), trip(6, 6), trip(2, 5)
    fresh = Trip(0.0)
    assert pace.like("mine", fresh) is fresh
    pace.finished("other", other, 1.0)
    assert pace.like("mine", fresh) is other
    assert pace.like("mine", own) is own
    pace.finished("mine", mine, 1.0)
    assert pace.like("mine", own) is mine


def test_only_so_many_kinds_of_request_are_remembered() -> None:
    pace, first = Pace(), trip(1, 1)
    pace.finished("first", first, 1.0)
    for number in range(LABELS):
        pace.finished(number, trip(1, 1), 1.0)
    own = trip(1, 1)
    assert pace.like("first", own) is own


def device_s(engine: Engine, *kinds: str) -> float:
    modules = engine.stats()["modules"]
    return sum(modules[kind]["seconds"] for kind in kinds if kind in modules)


def test_an_engine_predicts_the_forwards_that_its_requests_then_take(pipe: Any, call: dict[str, Any]) -> None:
    """Each forward at what the curve said then: how long it takes afterwards is the machine's affair."""
    asked = {**call, "output_type": "latent"}
    ticks: list[Tick] = []
    with Engine(pipe, options=Options(on_tick=ticks.append)) as engine:
        assert engine.predict_seconds() == 0.0
        for count in (1, 2, 3, 3):
            for handle in [engine.submit(**{**asked, "num_inference_steps": 8}) for _ in range(count)]:
                handle.result(60)
        callback, reached, go = hold(9)
        handles = [engine.submit(**{**asked, "num_inference_steps": steps}) for steps in (40, 50)]
        handles += [engine.submit(**{**asked, "num_inference_steps": 60}, callback_on_step_end=callback)]
        assert reached.wait(30)
        predicted, seen = engine.predict_seconds(), len(ticks)
        curve = next(curve for key, curve in engine.profile.table().items() if "UNet" in key)
        go.set()
        for handle in handles:
            handle.result(60)
        assert engine.predict_seconds() == 0.0
    taken = [curve[tick.rows] for tick in ticks[seen:] if tick.kind == "denoise"]
    assert len(taken) == 50
    assert predicted == pytest.approx(sum(taken), rel=0.05)


def test_queued_requests_are_predicted_before_they_start(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, options=Options(memory_bytes=1)) as engine:
        engine.submit(**{**call, "num_inference_steps": 12}).result(60)
        callback, reached, go = hold()
        engine.submit(**call, callback_on_step_end=callback)
        assert reached.wait(30)
        before = engine.predict_seconds()
        engine.submit(**{**call, "num_inference_steps": 100})
        one = engine.predict_seconds() - before
        engine.submit(**{**call, "num_inference_steps": 100}, num_images_per_prompt=2)
        go.set()
        engine.close(cancel=True)
    assert before > 0
    assert one > 5 * before


@pytest.mark.parametrize(
    ("one", "other", "is_like"),
    [
        ({"prompt": "a"}, {"prompt": "b", "num_inference_steps": 9, "guidance_scale": 7.0}, True),
        ({"prompt": "a"}, {"prompt": ["a"]}, False),
        ({"prompt": ["a", "b"]}, {"prompt": ("c", "d")}, True),
        ({"height": 16}, {"height": 32}, False),
        ({"num_images_per_prompt": 1}, {"num_images_per_prompt": 2}, False),
        ({"guidance_scale": 1.0}, {"guidance_scale": 4.0}, False),
        ({"height": object()}, {"height": object()}, True),  # somebody's own pipeline may take anything
    ],
)
def test_a_label_tells_requests_of_other_costs_apart(
    pipe: Any, one: dict[str, Any], other: dict[str, Any], is_like: bool
) -> None:
    asked = {"seed": 1, "fixed_rows": 0, "priority": 0, "deadline": None, "handle": Handle(), "preview_every": 0}
    served = Served("default", pipe, {})
    labels = [Request(served, {"guidance_scale": 4.0, **call}, **asked).label for call in (one, other)]
    assert (labels[0] == labels[1]) == is_like
    assert len({*labels}) == 2 - is_like


def test_steps_of_an_image_task_are_the_part_that_its_strength_says(call: dict[str, Any]) -> None:
    from tests.parity.families import picture, sd_tasks

    sized = {name: value for name, value in call.items() if name not in ("height", "width")}
    with Engine(options=Options(memory_bytes=1)) as engine:
        engine.add(sd_tasks()["image"], name="image")
        for _ in range(2):
            engine.submit(**{**sized, "num_inference_steps": 12}, image=picture(1), strength=0.5).result(60)
        callback, reached, go = hold()
        engine.submit(**sized, image=picture(1), callback_on_step_end=callback)
        assert reached.wait(30)
        costs = [engine.predict_seconds()]
        for strength in (0.2, 0.8):
            engine.submit(**{**sized, "num_inference_steps": 500}, image=picture(1), strength=strength)
            costs.append(engine.predict_seconds())
        go.set()
        engine.close(cancel=True)
    assert costs[2] - costs[1] > 2 * (costs[1] - costs[0]) > 0


def test_the_pace_of_a_model_is_that_of_its_company(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        assert engine.step_seconds() == {}
        for handle in [engine.submit(**{**call, "num_inference_steps": 8}) for _ in range(2)]:
            handle.result(60)
        alone = engine.step_seconds()["default"]
        callback, reached, go = hold()
        handles = [engine.submit(**call, callback_on_step_end=callback), *(engine.submit(**call) for _ in range(3))]
        assert reached.wait(30)
        beside = engine.step_seconds()["default"]
        go.set()
        for handle in handles:
            handle.result(60)
    assert set(alone) == {"rows", "step_s", "rest_s"}
    assert (alone["rows"], beside["rows"]) == (2.0, 10.0)
    assert min(alone["step_s"], beside["step_s"], alone["rest_s"]) > 0


def test_a_listener_hears_of_every_batch(pipe: Any, call: dict[str, Any]) -> None:
    ticks: list[Tick] = []
    with Engine(pipe, options=Options(on_tick=ticks.append)) as engine:
        handles = [engine.submit(**call), engine.submit(**call, reproducible=True, num_images_per_prompt=2)]
        for handle in handles:
            handle.result(60)
        modules = engine.stats()["modules"]
    for name, module in modules.items():
        told = [tick for tick in ticks if tick.module == name]
        assert sum(tick.rows for tick in told) == module["rows"]
        assert sum(tick.padded_rows for tick in told) == module["padded_rows"] >= 0
        assert sum(tick.seconds for tick in told) == pytest.approx(module["seconds"])
    assert {tick.kind for tick in ticks} == {"encode", "denoise", "decode"}
    assert max(tick.requests for tick in ticks) <= 2
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


def test_a_listener_that_fails_is_called_no_more_and_ends_nobodys_request(
    pipe: Any, call: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Tick] = []

    def fail(tick: Tick) -> None:
        heard.append(tick)
        raise OSError("exporter gone")

    with Engine(pipe, options=Options(on_tick=fail)) as engine:
        assert engine.submit(**call).result(60).images.shape[0] == 1
    assert len(heard) == 1
    assert "exporter gone" in caplog.text


def test_a_step_count_beyond_any_forecast_is_its_own_requests_affair(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe) as engine:
        engine.submit(**call).result(60)  # from here on there is something to forecast by
        absurd = engine.submit(**{**call, "num_inference_steps": 10**400})
        assert engine.submit(**call).result(60).images is not None
        with pytest.raises((OverflowError, ValueError, RuntimeError)) as failed:
            absurd.result(60)
        assert not isinstance(failed.value, EngineBroken)
