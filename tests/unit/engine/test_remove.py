"""Pipelines that come and go while an engine runs, and listening to a request."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from darkroom import errors
from darkroom.core import Event
from darkroom.engine import engine as engine_module
from darkroom.engine import hook
from darkroom.engine.engine import Engine, Options, Tick
from darkroom.engine.served import settled_stand_in
from tests.parity.families import sd_solvers, sdxl_parts
from tests.unit.engine.test_engine import hold, same

WAIT_S = 120.0


def is_hooked(module: torch.nn.Module) -> bool:
    return isinstance(module.__dict__.get("forward"), hook.HookedMethod)


def test_a_removed_pipeline_is_served_no_longer_and_its_modules_are_as_before(call: dict[str, Any]) -> None:
    first, second = copy.deepcopy(sd_solvers()["ddim"]), sd_solvers()["euler"]
    with Engine() as engine:
        engine.add(first, "first")
        engine.add(second, "second")
        engine.submit(model="first", **call).result(WAIT_S)
        engine.remove("first")
        assert not is_hooked(first.unet)
        assert is_hooked(second.unet)
        with pytest.raises(errors.UnknownModel):
            engine.submit(model="first", **call)
        engine.submit(**call).result(WAIT_S)  # the only one left needs no name


def test_modules_that_another_pipeline_shares_stay_hooked(call: dict[str, Any]) -> None:
    pipes = sd_solvers()
    with Engine() as engine:
        engine.add(pipes["ddim"], "one")
        engine.add(pipes["euler"], "two")
        before = engine.submit(model="two", **call).result(WAIT_S)
        engine.remove("one")
        assert is_hooked(pipes["euler"].unet)
        assert same(engine.submit(model="two", **call).result(WAIT_S), before)


def test_a_pipeline_in_use_cannot_be_removed(pipe: Any, call: dict[str, Any]) -> None:
    held, reached, go = hold()
    with Engine() as engine:
        engine.add(pipe, "busy")
        handle = engine.submit(model="busy", **call, callback_on_step_end=held)
        assert reached.wait(WAIT_S)
        try:
            with pytest.raises(errors.Conflict):
                engine.remove("busy")
        finally:
            go.set()
        handle.result(WAIT_S)


def test_modules_that_another_pipeline_serves_stay_in_eval_mode(call: dict[str, Any]) -> None:
    pipes = {name: copy.copy(pipe) for name, pipe in sd_solvers().items()}
    unet = pipes["ddim"].unet
    unet.train()
    try:
        with Engine() as engine:
            engine.add(pipes["ddim"], "one")
            engine.add(pipes["euler"], "two")
            other = Engine(pipes["euler"])
            engine.remove("one")
            assert not unet.training
            engine.close()
            assert not unet.training, "another engine serves it"
            other.close()
            assert unet.training
    finally:
        unet.eval()


def test_a_pipeline_that_is_removed_while_a_request_comes_takes_it_no_more(
    call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine() as engine:
        engine.add(sd_solvers()["ddim"], "gone")
        monkeypatch.setattr(engine._models["gone"], "check_keywords", lambda _: engine.remove("gone"))
        with pytest.raises(errors.UnknownModel, match="removed"):
            engine.submit(**call)
        assert engine.stats()["waiting"] == 0


def half_vae() -> Any:
    half = copy.deepcopy(sdxl_parts()["vae"]).half()
    half.register_to_config(force_upcast=True)
    return half


def with_vae(vae: Any, **more: Any) -> Any:
    return StableDiffusionXLPipeline(**{**sdxl_parts(vae=vae), **more})


def test_a_refused_pipeline_leaves_nothing_behind() -> None:
    vae, unet = half_vae(), copy.deepcopy(sdxl_parts()["unet"])
    unet._hf_hook = object()
    with Engine() as engine:
        with pytest.raises(errors.ModelNotServable):
            engine.add(with_vae(vae, unet=unet))
        assert not engine._settled
        assert not is_hooked(unet)


def test_pipelines_that_share_a_half_precision_autoencoder_share_its_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(engine_module, "settled_stand_in", lambda vae: made.append(vae) or settled_stand_in(vae))
    vae = half_vae()
    with Engine(with_vae(vae)) as engine:
        engine.add(with_vae(vae))
        assert made == [vae]
        assert len({id(stand_in) for served in engine._models.values() for stand_in in served.settled.values()}) == 1


def test_what_is_known_of_a_method_goes_with_its_hook(call: dict[str, Any]) -> None:
    pipe = sd_solvers()["ddim"]
    with Engine() as engine:
        sizes = []
        for _ in range(3):
            engine.add(pipe, "again")
            for handle in [engine.submit(**call) for _ in range(2)]:
                handle.result(WAIT_S)
            engine.remove("again")
            gc.collect()
            sizes.append(len(engine._runner._known))
    assert sizes[0] == sizes[2]


def test_what_a_removed_pipeline_held_is_let_go(call: dict[str, Any]) -> None:
    pipe = copy.deepcopy(sd_solvers()["ddim"])
    with Engine() as engine:
        engine.add(pipe, "gone")
        engine.submit(model="gone", **call).result(WAIT_S)
        engine.remove("gone")
        unet = weakref.ref(pipe.unet)
        del pipe
        until = time.monotonic() + WAIT_S
        while unet() is not None:  # the engine's thread may still be on its way out of the last tick
            assert time.monotonic() < until
            gc.collect()
            time.sleep(0.01)


def test_each_pipeline_has_the_row_count_that_it_was_added_with(call: dict[str, Any]) -> None:
    rows: list[tuple[int, int]] = []

    def note(tick: Tick) -> None:
        if tick.kind == "denoise":
            rows.append((tick.rows, tick.padded_rows))

    pipes = sd_solvers()
    with Engine(fixed_rows=8, options=Options(on_tick=note)) as engine:
        engine.add(pipes["ddim"], "four", fixed_rows=4)
        engine.add(pipes["euler"], "as the engine")
        engine.submit(model="four", reproducible=True, **call).result(WAIT_S)
        assert {used + padded for used, padded in rows} == {4}
        rows.clear()
        engine.submit(model="as the engine", reproducible=True, **call).result(WAIT_S)
        assert {used + padded for used, padded in rows} == {8}
        with pytest.raises(errors.BadInput):
            engine.add(pipes["ddim"], "odd", fixed_rows=3)


def test_a_listener_hears_every_event_once_and_in_order(pipe: Any, call: dict[str, Any]) -> None:
    heard: list[Event] = []
    ended = threading.Event()

    def listen(event: Event) -> None:
        heard.append(event)
        if event.type == "succeeded":
            ended.set()

    with Engine(pipe) as engine:
        handle = engine.submit(**call)
        handle.listen(listen)
        handle.result(WAIT_S)
        assert ended.wait(WAIT_S)
    assert heard == list(handle.events())
    late: list[Event] = []
    handle.listen(late.append)
    assert late == heard


def test_while_requests_wait_for_memory_no_more_fit(pipe: Any, call: dict[str, Any]) -> None:
    submitted, counts = threading.Event(), list[int]()
    engine = Engine(pipe, options=Options(memory_bytes=1))

    def count(*_: Any) -> dict[str, Any]:
        assert submitted.wait(WAIT_S)
        counts.append(engine.room().fits)
        return {}

    with engine:
        handles = [engine.submit(**call, callback_on_step_end=count), *(engine.submit(**call) for _ in range(2))]
        submitted.set()
        for handle in handles:
            handle.result(WAIT_S)
        assert max(counts) == 0
        assert engine.room().fits == 1  # the first always does
