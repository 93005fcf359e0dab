"""What resuming costs others, in turns and in memory; and what a tape holds of adapters and of a finished run."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkroom import errors
from darkroom.engine import attempts
from darkroom.engine.digests import digest_of
from darkroom.engine.engine import Engine
from darkroom.engine.recording import Recording
from darkroom.engine.tape import STEP, Entry, Tape
from tests.parity.tiny_adapters import save

from .test_tape import taken

LONG = 40
WAIT_S = 60


def replays_a_call_a_tick(engine: Engine, tape: Tape) -> tuple[list[int], Any]:
    """How far the resumed request had come at each step of a running one; and its result."""
    seen, resumed = list[int](), list[Any]()

    def beside(_: Any, step: int, __: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            resumed.append(engine.resume(tape))
        else:
            seen.append(sum(request.trip.step for request in engine._attempts.running if request.trip.steps == LONG))
        return kept

    call = {**tape.asked.arguments, "num_inference_steps": 12, "callback_on_step_end": beside}
    engine.submit(**call, seed=3).result(WAIT_S)
    return seen, resumed[0].result(WAIT_S)


def test_others_take_their_steps_while_a_long_tape_is_replayed(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, result = taken(engine, {**call, "num_inference_steps": LONG}, LONG - 1)
        monkeypatch.setattr(attempts, "REPLAY_S", 0.0)  # one answer a tick
        seen, again = replays_a_call_a_tick(engine, tape)
        assert np.array_equal(again.images, result.images)
    steps = [later - before for before, later in pairwise([0, *seen])]
    assert max(steps) <= 1
    assert seen[-1] > 3


def test_a_request_that_is_cancelled_while_its_tape_is_replayed_ends(
    pipe: Any, call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(pipe) as engine:
        tape, _ = taken(engine, {**call, "num_inference_steps": LONG}, LONG - 1)
        monkeypatch.setattr(attempts, "REPLAY_S", 0.0)
        stopped = list[Any]()

        def stop(_: Any, step: int, __: Any, kept: dict[str, Any]) -> dict[str, Any]:
            if step == 0:
                stopped.append(engine.resume(tape))
            if step == 5:
                assert engine._attempts.replaying
                stopped[0].cancel()
            return kept

        engine.submit(**{**call, "num_inference_steps": 9}, callback_on_step_end=stop).result(WAIT_S)
        with pytest.raises(errors.JobCancelled):
            stopped[0].result(WAIT_S)
        assert (engine.stats()["running"], len(engine._attempts.replaying)) == (0, 0)


# Memory.


def entries(steps: int, of: int) -> list[Entry]:
    """Two calls a step, 16 bytes each."""
    log = list[Entry]()
    for step in range(1, steps + 1):
        log += [Entry("unet.forward", b"", (torch.ones(4),))] * 2
        log.append(Entry(STEP, digest_of((step, of)), (step, of)))
    return log


def test_a_tape_counts_for_what_it_becomes_from_its_first_step_on() -> None:
    recording = Recording(entries(0, 0), by_content=False)
    assert recording.predicted_bytes == 0
    assert Recording(entries(1, 30)[:2], by_content=False).predicted_bytes == 32  # nobody knows yet how many steps
    assert [Recording(entries(k, 30), by_content=False).predicted_bytes for k in (1, 7, 30)] == [30 * 32] * 3


def test_a_request_with_a_tape_is_expected_to_need_it_before_it_starts(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        tape, _ = taken(engine, {**call, "num_inference_steps": LONG}, 4)
        gate, known = threading.Event(), engine._budget._bytes_per_fiber
        engine._loop.ask(lambda: gate.wait(WAIT_S) and known.clear())
        handle, expected = engine.resume(tape), dict[str, float]()
        engine._loop.ask(lambda: expected.update(known))  # before it is admitted
        gate.set()
        handle.result(WAIT_S)
        assert expected == {"default": pytest.approx(tape.held_bytes * LONG / 4)}


# Adapters.


def test_the_scale_of_attention_keywords_is_on_the_tape(pipe: Any, call: dict[str, Any], tmp_path: Path) -> None:
    asked = {**call, "cross_attention_kwargs": {"scale": 0.5}}
    with Engine(pipe, reproducible=True) as engine:
        engine.add_adapter("one", save(pipe, tmp_path, 1))
        tape, result = taken(engine, {**asked, "adapters": {"one": 0.8}}, 2)
        assert tape.asked.adapters == {"one": 0.8}
        given = {name: value for name, value in asked.items() if name != "seed"}
        for again in (Tape.from_bytes(tape.to_bytes()), Tape.from_bytes(tape.to_bytes(with_arguments=False), **given)):
            assert np.array_equal(engine.resume(again).result(WAIT_S).images, result.images)
        other = {**given, "cross_attention_kwargs": {"scale": 0.6}}
        with pytest.raises(errors.TapeRefused, match="arguments"):
            Tape.from_bytes(tape.to_bytes(with_arguments=False), **other)


# Finished runs.


def test_a_finished_run_whose_tape_is_kept_only_decodes_again(pipe: Any, call: dict[str, Any]) -> None:
    with Engine(pipe, reproducible=True) as engine:
        handle = engine.submit(**call)
        handle.keep_tape()
        result = handle.result(WAIT_S)
        tape = Tape.from_bytes(handle.checkpoint().to_bytes())
        assert tape.progress == 1.0
        calls = {name: module["calls"] for name, module in engine.stats()["modules"].items()}
        assert np.array_equal(engine.resume(tape).result(WAIT_S).images, result.images)
        after = {name: module["calls"] for name, module in engine.stats()["modules"].items()}
        assert {name for name in after if after[name] != calls[name]} == {"text_encoder", "vae.decode"}
        failed = engine.submit(**{**call, "callback_on_step_end": lambda *_: 1 / 0})
        failed.keep_tape()
        with pytest.raises(ZeroDivisionError):
            failed.result(WAIT_S)
        with pytest.raises(errors.Conflict, match="has ended"):
            failed.checkpoint()
