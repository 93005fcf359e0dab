"""A real Prometheus over a real service, with the configuration and the rules of deploy/prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from darkroom.fleet.told import FleetNote, PoolNote, write_note
from darkroom.jobs.opening import open_store
from tests.integration.service import FINAL, IS_TLS, PATIENCE_S, QUICK, Service, free_port, served, wait_until
from tests.missing import need

from .cluster import DEPLOY

CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
EVERY = "1s"  # in place of a quarter of a minute: two looks make a rate
PRICE = "1.5"
LOOK_S = 120.0  # so seldom that the note is fresh as long as the tests run
TARGETS = 5  # each has its rule


class Watched:
    """`ask` asks Prometheus, whose looks at the service saw jobs of every end."""

    def __init__(self, service: Service, key: str, folder: Path) -> None:
        self.service, self._headers = service, {"Authorization": f"Bearer {key}"}
        self._key, self._folder = key, folder
        self.url = f"http://127.0.0.1:{free_port()}"

    def call(self, method: str, path: str, **what: Any) -> Any:
        """What the service answers."""
        url = f"{self.service.url}/v1{path}"
        answer = httpx.request(method, url, headers=self._headers, verify=IS_TLS, timeout=60, **what)
        assert answer.is_success, answer.text
        return answer.json()

    def ask(self, path: str, **parameters: str) -> Any:
        """What Prometheus answers."""
        answer = httpx.get(f"{self.url}/api/v1{path}", params=parameters, verify=IS_TLS, timeout=60).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """Of each series that the expression gives, now; what is no number is left out."""
        found = [float(each["value"][1]) for each in self.ask("/query", query=expression)["result"]]
        return [value for value in found if value == value]

    def write_config(self) -> Path:
        """Ours, with the addresses of this machine, a shorter pause, and the key's file."""
        config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        config["global"] = dict.fromkeys(config["global"], EVERY)
        config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
        key_file = self._folder / "metrics-key"
        key_file.write_text(self._key)
        worker_urls = [each["metrics_url"] for each in (one["facts"] for one in self.call("GET", "/workers")["data"])]
        places = {"darkroom-gateway": [self.service.url], "darkroom-worker": worker_urls}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [urlsplit(url).netloc for url in places[job["job_name"]]]}]
            if "authorization" in job:
                job["authorization"]["credentials_file"] = str(key_file)
        path = self._folder / "prometheus.yml"
        path.write_text(json.dumps(config))
        return path

    def scale(self) -> None:
        """Tell of a fleet, as who scales one does."""
        store = open_store(f"sqlite:///{self.service.home / 'jobs.sqlite3'}")
        try:
            pool = PoolNote("warm", wanted=1, ready_s=9.0)
            store.note_fleet(write_note(FleetNote(time.time(), "local", "fixed", LOOK_S, (pool,))))
        finally:
            store.close()

    def work(self) -> None:
        """Jobs that succeed, fail and are cancelled, each kind also after a first look has seen it."""
        for _ in range(2):
            made = [self._submit(**QUICK, seed=seed) for seed in range(2)]
            made.append(self._submit(**QUICK, deadline_s=0.001))
            cancelled = self._submit(**{**QUICK, "num_inference_steps": 50})
            self.call("POST", f"/jobs/{cancelled}/cancel")
            self._wait([*made, cancelled])
            looked = self._looks()
            wait_until(lambda looked=looked: self._looks() >= looked + 2)  # type: ignore[misc]
        wait_until(lambda: len(self.values("darkroom:target_met")) == TARGETS)

    def _looks(self) -> float:
        return sum(self.values('count_over_time(up{job="darkroom-gateway"}[10m])'))

    def _submit(self, deadline_s: float | None = None, **inputs: Any) -> str:
        job: dict[str, Any] = self.call("POST", "/jobs", json={"input": inputs, "deadline_s": deadline_s})
        return str(job["id"])

    def _wait(self, ids: list[str]) -> None:
        until = time.monotonic() + PATIENCE_S
        while {self.call("GET", f"/jobs/{job_id}")["state"] for job_id in ids} - FINAL:
            assert time.monotonic() < until
            time.sleep(0.1)


@contextmanager
def prometheus(watched: Watched, folder: Path) -> Iterator[None]:
    """The process, once it has seen every target."""
    words = [f"--config.file={watched.write_config()}", f"--storage.tsdb.path={folder / 'series'}"]
    words.append(f"--web.listen-address={urlsplit(watched.url).netloc}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([need("prometheus"), *words], stdout=log, stderr=log)
    try:
        wait_until(_answers(watched, process, folder / "log"))
        yield
    finally:
        process.kill()
        process.wait()


def _answers(watched: Watched, process: subprocess.Popen[bytes], log: Path) -> Callable[[], bool]:
    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            is_up = httpx.get(f"{watched.url}/-/ready", verify=IS_TLS).is_success
        except httpx.TransportError:
            is_up = False
        return is_up and sum(watched.values("up")) == 2

    return answers


@contextmanager
def watched_run(folder: Path) -> Iterator[Watched]:
    """A service that asks for keys, watched while it works."""
    need("prometheus")
    home = folder / "home"
    home.mkdir()
    environment = {"DARKROOM_HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "darkroom", "keys", "create", "prometheus", "--role", "operator"]
    made = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
    [key] = re.findall(r"\bdk_\w+", made.stdout)
    with served(home, DARKROOM_PRICE_PER_HOUR_USD=PRICE) as service:
        watched = Watched(service, key, folder)
        with prometheus(watched, folder):
            watched.scale()
            watched.work()
            yield watched
