"""One worker, several models: more than fit, loaded as they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.core import JobState
from darkroom.worker.events import BatchRan, ModelLeft, ModelLoaded

from .workers import LANDSCAPES, place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

TWO = f'[models.one]\npath = "{LANDSCAPES}"\n[models.two]\npath = "{LANDSCAPES}"\n'


def test_models_that_do_not_fit_together_take_turns_and_every_job_is_made(tmp_path: Path) -> None:
    with place(tmp_path, "model_memory_mb = 100", head=TWO) as at, working(at) as running:
        jobs = [at.submit(model=name, seed=k) for k, name in enumerate(("one", "two", "one", "landscapes", "two"))]
        ended = at.wait(*jobs)
        assert {job.state for job in ended} == {JobState.SUCCEEDED}
        assert {job.model for job in ended} == {"one", "two", "landscapes"}
        assert len(running.heard.of(ModelLeft)) >= 2
        at.until(lambda: all(len(report.loaded) <= 1 for report in at.store.workers(0.0)))
        assert ended[0].metrics["load_s"] > 0


def test_each_model_is_tried_before_the_worker_is_ready_when_it_was_asked_for(tmp_path: Path) -> None:
    with place(tmp_path, head=TWO) as at, working(at, "one", "two") as running:
        assert [event.model for event in running.heard.of(ModelLoaded)] == ["one", "two"]
        assert {event.kind for event in running.heard.of(BatchRan)} == {"encode", "denoise", "decode"}
        at.until(lambda: any(set(report.step_seconds) == {"one", "two"} for report in at.store.workers(0.0)))
        (report,) = at.store.workers(0.0)
        assert set(report.models) == {"one", "two"}
        assert all(seconds["disk"] > 0 for seconds in report.facts["activation_s"].values())
        assert set(report.facts["activation_s"]) == {"one", "two"}
        assert report.facts["resting"] == []  # on a CPU there is no such place
        assert report.facts["memory"]["models_bytes"] <= report.facts["memory"]["models_budget_bytes"]
