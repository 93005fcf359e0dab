"""Many boxes: a gateway and two workers, each with a home of its own, over one Redis and one bucket."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from .redis_server import RedisServer
from .s3_server import SECRETS, s3_server
from .service import FINAL, IS_TLS, QUICK, free_port, wait_until

pytestmark = [pytest.mark.slow]

JOBS = 8
QUICK_LEASES = "[serve]\nlease_s = 3.0\nheartbeat_s = 0.5\nclaim_ahead_s = 1.0\n"


@pytest.fixture
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The flags that name store and storage."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        with s3_server() as endpoint:
            storage = f"s3://darkroom/boxes?endpoint={endpoint}&region=us-east-1"
            yield ["--store", server.url, "--storage", storage]
    finally:
        server.kill()


@contextlib.contextmanager
def box(home: Path, command: str, places: Sequence[str], *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """One process on a box of its own: another home, and another folder to work in."""
    home.mkdir()
    (home / "darkroom.toml").write_text(QUICK_LEASES)
    environment = {**os.environ, **SECRETS, "DARKROOM_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE"}
    with (home / "log").open("wb") as log:
        words = [sys.executable, "-m", "darkroom", command, *places, *more]
        process = subprocess.Popen(words, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_box_takes_no_job_with_it(tmp_path: Path, places: list[str]) -> None:
    port = free_port()
    with (
        box(tmp_path / "front", "gateway", places, "--port", str(port)),
        box(tmp_path / "one", "worker", places, "--id", "one") as one,
        box(tmp_path / "two", "worker", places, "--id", "two"),
        httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=60, verify=IS_TLS) as client,
    ):

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                workers = client.get("/workers").json().get("data", [])
                return sorted(each["id"] for each in workers if each["state"] == "ready") == ["one", "two"]
            return False

        def jobs() -> dict[str, dict[str, object]]:
            return {job["id"]: job for job in client.get("/jobs", params={"limit": 100}).json()["data"]}

        wait_until(answers)
        asked = [{"input": {**QUICK, "num_inference_steps": 20, "seed": seed}} for seed in range(JOBS)]
        ids = [client.post("/jobs", json=body).json()["id"] for body in asked]
        wait_until(lambda: {"one", "two"} <= {job["worker"] for job in jobs().values() if job["state"] == "running"})
        one.kill()
        wait_until(lambda: all(job["state"] in FINAL for job in jobs().values()))
        ended = jobs()
        assert sorted(ended) == sorted(ids)
        assert {job["state"] for job in ended.values()} == {"succeeded"}
        rescued = []
        for job_id in ids:
            text = client.get(f"/jobs/{job_id}/events").text
            kinds = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
            assert [kind for kind in kinds if kind in FINAL] == ["succeeded"]
            rescued += [job_id] if "requeued" in kinds else []
            [output] = client.get(f"/jobs/{job_id}").json()["outputs"]
            assert httpx.get(output["url"], trust_env=False).headers["content-type"] == "image/png"
    assert rescued
    assert {ended[job_id]["worker"] for job_id in rescued} == {"two"}
    for home in ("front", "one", "two"):
        assert not (tmp_path / home / "jobs.sqlite3").exists()
        assert not (tmp_path / home / "artifacts").exists()
