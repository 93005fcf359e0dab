"""Two worker processes over one Redis, one of them cut off past its lease while it finishes its job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from darkroom.core import FINAL_STATES, JobState
from darkroom.storage.objects import key_for_output, prefix_for_outputs

from .redis_site import Server, Wire
from .workers import Place, launched, place

pytestmark = pytest.mark.slow

LEASES = "lease_s = 2.0\nheartbeat_s = 0.4"
STEPS = 30


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with closing(Wire(server.port)) as wire:
        yield wire


def serve_at(url: str, storage: Path) -> str:
    """The `[serve]` of a worker whose way to the store is `url`."""
    return f'{LEASES}\nstore = "{url}"\nstorage = "{storage}"'


def keys(at: Place, job_id: str) -> set[str]:
    return set(at.storage.list(prefix_for_outputs(job_id)))


def test_a_zombie_that_comes_back_with_a_finished_picture_is_refused(
    tmp_path: Path, server: Server, wire: Wire
) -> None:
    storage = tmp_path / "artifacts"
    with (
        place(tmp_path / "near", serve_at(server.url, storage)) as near,
        place(tmp_path / "far", serve_at(wire.url, storage)) as far,
        launched(far, "zombie") as zombie,
    ):
        job_id = near.submit(num_inference_steps=STEPS)
        near.until(lambda: near.job(job_id).step > 0)
        wire.fall_silent()
        late = key_for_output(job_id, near.job(job_id).fence, 0, ".png")
        with launched(near, "heir"):
            near.until(lambda: late in keys(near, job_id))  # all that the zombie has left to do is to say so
            (job,) = near.wait(job_id, keep=True)
            assert keys(near, job_id) == {late, job.outputs[0].key}
            wire.speak_again()
            near.until(lambda: late not in keys(near, job_id))
        assert zombie.popen.poll() is None  # it goes on to serve
        assert near.job(job_id) == job
        assert (job.state, job.worker, job.attempt) == (JobState.SUCCEEDED, "heir", 2)
        assert keys(near, job_id) == {job.outputs[0].key}
        kinds = [event.type for event in near.store.events(job_id, 0)]
        assert [kind for kind in kinds if kind in FINAL_STATES] == ["succeeded"]
        told = [kind for kind in kinds if kind in ("started", "requeued", "output")]
        assert told == ["started", "requeued", "started", "output"]
