"""What `reproducible` promises: the same pixels alone, in any company, at any place, in any process."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from darkroom import errors
from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle
from tests.missing import need_file
from tests.parity.families import BUNDLED, LAKE, LANDSCAPES, NIGHT, SIDE, SKY, sd_solvers

pytestmark = [pytest.mark.parity, pytest.mark.slow]

REQUESTS = 1000
KINDS = 12  # that differ in prompt, steps, guidance, solver, seed and images
WAVES = (1, 2, 3, 5, 8, 13, 24)  # submitted at once; each wave waits for the one before last
CANCELLED, OTHER = 0.1, 0.15  # parts of what is submitted: ended early; not reproducible


def kinds() -> list[dict[str, Any]]:
    """The same in every process."""
    chance = random.Random(5)
    solvers = sorted(sd_solvers())[:4]
    return [
        {
            "model": chance.choice(solvers),
            "prompt": chance.choice((SKY, LAKE, NIGHT)),
            "num_inference_steps": chance.choice((1, 1, 2, 3)),
            "guidance_scale": chance.choice((1.0, 4.0, 7.5)),
            "num_images_per_prompt": chance.choice((1, 1, 1, 2)),
            "seed": 40 + place,
            "height": SIDE,
            "width": SIDE,
            "output_type": "np",
        }
        for place in range(KINDS)
    ]


def engine_of_tiny() -> Engine:
    engine = Engine()
    pipes = sd_solvers()
    for name in sorted(pipes)[:4]:
        engine.add(pipes[name], name)
    return engine


def digest(images: Any) -> str:
    return hashlib.sha256(images.tobytes()).hexdigest()


def alone(engine: Engine, requests: Sequence[dict[str, Any]]) -> list[str]:
    return [digest(engine.submit(**request, reproducible=True).result(60).images) for request in requests]


def under_load(engine: Engine, requests: Sequence[dict[str, Any]], count: int) -> list[tuple[int, str]]:
    """Which request, and its digest, of all that were to end: in waves, beside others, some of which are cancelled."""
    chance, found, before = random.Random(9), list[tuple[int, str]](), list[tuple[int, Handle]]()
    while len(found) + len(before) < count:
        wave = _wave(engine, requests, chance)
        found += [(place, digest(handle.result(60).images)) for place, handle in before]
        before = wave
    return found + [(place, digest(handle.result(60).images)) for place, handle in before]


def _wave(engine: Engine, requests: Sequence[dict[str, Any]], chance: random.Random) -> list[tuple[int, Handle]]:
    wave, doomed = [], []
    for _ in range(chance.choice(WAVES)):
        place, what = chance.randrange(len(requests)), chance.random()
        urgency = {"priority": chance.choice((-1, 0, 0, 0, 1))}
        handle = engine.submit(**requests[place], **urgency, reproducible=what >= CANCELLED + OTHER or what < CANCELLED)
        if what < CANCELLED:
            doomed.append(handle)
        elif what >= CANCELLED + OTHER:
            wave.append((place, handle))
    for handle in doomed:
        handle.cancel()
    return wave


def in_another_process() -> list[str]:
    script = "from tests.parity import test_promise as t; print(*t.alone_in_a_new_engine())"
    environment = os.environ | {"PYTHONHASHSEED": "77"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()


def alone_in_a_new_engine() -> list[str]:
    """In another order, too."""
    torch.set_num_threads(1)
    with engine_of_tiny() as engine:
        return alone(engine, kinds()[::-1])[::-1]


def test_a_thousand_requests_have_the_bytes_that_they_have_alone() -> None:
    requests = kinds()
    with engine_of_tiny() as engine:
        expected = alone(engine, requests)
        found = under_load(engine, requests, REQUESTS)
        shared = engine.stats()["modules"]["unet"]
    assert len(found) >= REQUESTS
    assert [place for place, each in found if each != expected[place]] == []
    assert len(set(expected)) == KINDS
    assert shared["batches"] < 0.9 * shared["calls"], "the load was to share forwards"
    assert in_another_process() == expected


def test_neighbours_that_end_early_change_no_bytes() -> None:
    """All of its company is cancelled in the middle of its run."""
    requests = kinds()
    probe = {**requests[0], "num_inference_steps": 6}
    with engine_of_tiny() as engine:
        expected = alone(engine, [probe])
        others: list[Handle] = []

        def leave(_: Any, step: int, __: Any, kept: dict[str, Any]) -> dict[str, Any]:
            if step == 2:
                for other in others:
                    other.cancel()
            return kept

        long = {**requests[1], "num_inference_steps": 50, "model": probe["model"]}
        others += [engine.submit(**{**long, "seed": seed}, reproducible=True) for seed in range(6)]
        handle = engine.submit(**probe, callback_on_step_end=leave, reproducible=True)
        assert digest(handle.result(60).images) == expected[0]
        for other in others:
            with pytest.raises(errors.JobCancelled):
                other.result(60)


def test_the_bundled_model_keeps_the_promise() -> None:
    need_file(BUNDLED / "model_index.json", "the bundled model")
    pipe = LANDSCAPES.pipes()[LANDSCAPES.requests[0].pipe]
    requests = [
        {"prompt": prompt, "num_inference_steps": steps, "seed": steps, "output_type": "np"}
        for prompt, steps in ((SKY, 1), (LAKE, 2), (NIGHT, 3))
    ]
    with Engine(pipe) as engine:
        expected = alone(engine, requests)
        found = under_load(engine, requests, 24)
    assert [place for place, each in found if each != expected[place]] == []
