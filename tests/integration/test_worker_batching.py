"""`[serve] batching` and `decode_aside`: the same jobs with them and without."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.models.catalogue import BUNDLED_FOLDER
from darkroom.storage.images import read_settings
from darkroom.worker.events import BatchRan

from .workers import place, working

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # the libraries' own, at loading

ONE_LEVEL = 1  # of 255: a row of a batch and a row alone are rounded apart in float32


def _made(folder: Path, said: str) -> tuple[list[np.ndarray], list[int]]:
    """Pictures of jobs that wait together, and how many requests each forward of the denoiser served."""
    with place(folder, said) as at:
        ids = at.submit_all([{"seed": seed, "num_inference_steps": 3} for seed in range(4)])
        with working(at, "landscapes") as running:
            jobs = at.wait(*ids)
            threads = {thread.name for thread in threading.enumerate()}
        contents = [at.storage.get(job.outputs[0].key) for job in jobs]
    pictures = [np.asarray(Image.open(io.BytesIO(content)), dtype=int) for content in contents]
    if "decode_aside" in said:
        assert ("darkroom-decode_0" in threads) == ("decode_aside = true" in said)
    return pictures, [each.requests for each in running.heard.of(BatchRan) if each.kind == "denoise"]


def test_without_batching_no_two_jobs_share_a_forward_and_the_pictures_are_the_same(tmp_path: Path) -> None:
    alone, counts_alone = _made(tmp_path / "off", "batching = false")
    together, counts = _made(tmp_path / "on", "")
    assert set(counts_alone) == {1}
    assert max(counts) > 1
    assert max(np.abs(one - other).max() for one, other in zip(alone, together, strict=True)) <= ONE_LEVEL


def test_decodes_beside_the_denoiser_give_the_same_pictures(tmp_path: Path) -> None:
    in_turn, _ = _made(tmp_path / "off", "decode_aside = false")
    aside, _ = _made(tmp_path / "on", "decode_aside = true")
    assert max(np.abs(one - other).max() for one, other in zip(in_turn, aside, strict=True)) <= ONE_LEVEL


def test_a_model_with_an_easy_cache_runs_fewer_calls_and_says_so_in_the_record(tmp_path: Path) -> None:
    with place(tmp_path, f'[models.landscapes]\npath = "{BUNDLED_FOLDER / "landscapes"}"\neasy_cache = 0.3') as at:
        (job_id,) = at.submit_all([{"seed": 1, "num_inference_steps": 12}])
        with working(at, "landscapes") as running:
            (job,) = at.wait(job_id)
        made = tmp_path / "made.png"
        made.write_bytes(at.storage.get(job.outputs[0].key))
    ran = [each for each in running.heard.of(BatchRan) if each.kind == "denoise"]
    assert len(ran) < 12
    assert read_settings(made)["tuning"] == {"easy_cache": 0.3}
