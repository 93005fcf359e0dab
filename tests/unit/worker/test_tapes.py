"""Which tapes are stored and fetched, over a real engine and a real storage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.engine.engine import Engine
from darkroom.engine.tape import Tape
from darkroom.storage.objects import Storage, open_storage
from darkroom.storage.tapes import key_for_tape, remove_tapes, tapes_of
from darkroom.worker.attempt import Attempt
from darkroom.worker.tapes import Tapes, end_taping
from tests.parity.families import SIDE, sd_solvers

from .jobs import running_job

CALL = {"prompt": "a", "num_inference_steps": 3, "height": SIDE, "width": SIDE, "output_type": "np"}
ANY: Any = object()
WAIT_S = 60


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path))


@pytest.fixture
def tapes(storage: Storage) -> Iterator[Tapes]:
    with ThreadPoolExecutor(2) as pool:
        yield Tapes(storage, pool, 0)


def claimed(fence: int, images: int = 2) -> Attempt:
    return Attempt(running_job(fence=fence, attempt=fence), shots=(ANY,) * images)


def test_an_image_that_is_done_when_its_job_is_handed_back_is_only_decoded_again(tapes: Tapes) -> None:
    attempt, reached, gate = claimed(1), threading.Event(), threading.Event()

    def wait(_: Any, step: int, __: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if step == 1:
            reached.set()
            assert gate.wait(WAIT_S)
        return kept

    with Engine(sd_solvers()["ddim"], reproducible=True) as engine:
        attempt.join(engine.submit(**CALL, seed=1), lambda *_: None)
        pictures = attempt.handles[0].result(WAIT_S).images
        attempt.join(engine.submit(**CALL, seed=2, callback_on_step_end=wait), lambda *_: None)
        assert reached.wait(WAIT_S)
        tapes.store_all([attempt])
        gate.set()
        attempt.wait()
        found = tapes.fetch(claimed(2))
        done = Tape.from_bytes(found[0], **CALL)
        assert done.progress == 1.0
        before = engine.stats()["modules"]["unet"]["calls"]
        assert np.array_equal(engine.resume(done).result(WAIT_S).images, pictures)
        assert engine.stats()["modules"]["unet"]["calls"] == before
    assert sorted(found) == [0, 1]


def test_the_latest_tape_of_an_earlier_claim_is_fetched_and_all_go_with_the_job(tapes: Tapes, storage: Storage) -> None:
    left = {(1, 0): b"old", (1, 1): b"only", (3, 0): b"new", (9, 0): b"of a later claim", (3, 7): b"no image"}
    for (fence, number), data in left.items():
        storage.put(key_for_tape("j1", fence, number), data, "application/octet-stream")
    storage.put("outputs/j1/3-0.png", b"picture", "image/png")
    storage.put(key_for_tape("j2", 1, 0), b"another job's", "application/octet-stream")
    attempt = claimed(5)
    assert tapes.fetch(attempt) == {0: b"new", 1: b"only"}
    assert set(end_taping(attempt)) == set(tapes_of(storage, "j1"))
    assert sorted(tapes_of(storage, "j1").values()) == sorted(left)
    remove_tapes(storage, "j1")
    assert (tapes_of(storage, "j1"), len(tapes_of(storage, "j2"))) == ({}, 1)
    assert list(storage.list("outputs/j1")) == ["outputs/j1/3-0.png"]
