"""Workers forked from a process that has imported torch: they make the pictures that any worker makes."""

from __future__ import annotations

import hashlib
import io
import os
import signal
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from PIL import Image

from darkroom.core import Job, JobState
from darkroom.fleet.drivers import open_driver
from darkroom.fleet.nouns import Phase, Pool

from .workers import Place, place, working

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="processes are forked on POSIX alone"),
]
SAID = {"seed": 3, "num_inference_steps": 4}
POOL = Pool("forked", max_workers=2)
HEAD = 'threads = 1\n[fleet.pools.forked]\ndevice = "cpu"\nmax_workers = 2'


def pixels(at: Place, job: Job) -> str:
    """A digest of what the job made."""
    assert job.state == JobState.SUCCEEDED, job.errors
    with Image.open(io.BytesIO(at.storage.get(job.outputs[0].key))) as image:
        return hashlib.sha256(image.tobytes()).hexdigest()


def test_forked_workers_make_the_same_pictures_and_a_killed_one_s_job_goes_on_at_once(tmp_path: Path) -> None:
    with place(tmp_path, "lease_s = 3000\nheartbeat_s = 1", head=HEAD) as at:
        with working(at):
            (usual,) = at.wait(at.submit(**SAID))
        with closing(open_driver(at.settings, at.store)) as driver:
            driver.scale(POOL, 1)
            at.until(lambda: [member.phase for member in driver.members()] == [Phase.READY])
            (first,) = driver.members()
            (same,) = at.wait(at.submit(**SAID))
            assert (same.worker, pixels(at, same)) == (first.name, pixels(at, usual))
            long = at.submit(num_inference_steps=60)
            at.until(lambda: at.job(long).step > 0)
            (report,) = [each for each in at.store.workers(0.0) if each.id == first.name]
            assert psutil.Process(report.facts["pid"]).nice() == os.getpriority(os.PRIO_PROCESS, 0) + 5
            os.kill(report.facts["pid"], signal.SIGKILL)
            at.until(lambda: not driver.members())
            assert at.job(long).state == JobState.QUEUED  # though its lease is long
            driver.scale(POOL, 1)
            (done,) = at.wait(long)
            (second,) = driver.members()
            assert (done.state, done.worker, done.attempt) == (JobState.SUCCEEDED, second.name, 2)
        assert not driver.members()
        (goodbye,) = [report for report in at.store.workers(0.0) if report.id == second.name]
        assert goodbye.state == "stopped"  # nobody plans with it any more
