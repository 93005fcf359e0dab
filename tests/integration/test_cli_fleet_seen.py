"""`darkroom fleet cost | top` and the route behind them, against a gateway whose workers the test plays."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import run
from darkroom.core import WorkerReport
from darkroom.jobs.allowances import COSTS_KEPT_DAYS, DAY_S, day_of

from .callers import add_key
from .gateway_site import PATIENCE_S, WORKER, Site, open_site

Said = pytest.CaptureFixture[str]
PRICE = 3.6  # a tenth of a cent a second
ERROR = {"code": "not_finite", "message": "NaN reached the decoder", "field": None}
SPENT = {"alive_s": 500.0, "start_s": 20.0, "load_s": 5.0, "busy_s": 300.0, "forward_s": 290.0}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two workers, one of a pool; jobs that ended, one that runs and one that waits."""
    home = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch, open_site(home) as site:
        patch.chdir(home)
        patch.setenv("DARKROOM_URL", site.url)
        patch.setenv("COLUMNS", "140")
        heartbeats(site)
        for seconds in (100.0, 150.0):
            site.submit()
            _, lease = site.claim()
            took = {"device_s": seconds, "cost_usd": seconds * PRICE / 3600}
            site.store.complete(lease, [site.put_output(lease)], took, time.time())
        site.submit()
        _, lease = site.claim()
        site.store.fail(lease, ERROR, {"device_s": 30.0, "cost_usd": 0.03}, time.time(), None)
        site.submit()
        _, lease = site.claim()
        site.step(lease, 1)
        site.submit()
        yield site


def heartbeats(site: Site) -> None:
    """Two workers tell where their time went: one of them ended yesterday."""
    now, today = time.time(), day_of(time.time())
    memory = {"used_bytes": 9 * 2**30, "total_bytes": 24 * 2**30}
    facts = {"pool": "spot", "device_name": "NVIDIA L4", "busy_share": 0.85, "memory": memory}
    facts |= {"price_per_hour_usd": PRICE}
    mine = {"day": today, "began_at": now - 500, "price_per_hour_usd": PRICE, "pool": "spot", **SPENT}
    gone = {"day": today - 1, "began_at": now - DAY_S, "price_per_hour_usd": 1.8, "alive_s": 1000.0}
    old = WorkerReport("gone", "stopped", now - DAY_S, facts={"times": [gone]})
    site.store.heartbeat(old, [], now - DAY_S)
    site.report(in_flight=1, facts={**facts, "times": [mine]})


def costs(site: Site, query: str = "") -> dict[str, Any]:
    answer = site.http.get(f"/v1/fleet/cost{query}")
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


# The route


def test_an_operator_is_told_what_was_paid_and_for_what(site: Site) -> None:
    said = costs(site)
    assert (said["days"], said["by"]) == (7, "pool")
    assert [(row["name"], row["paid_usd"]) for row in said["rows"]] == [("spot", 0.5), ("(no pool)", 0.5)]
    total = said["total"]
    assert {part["part"]: part["seconds"] for part in total["parts"]} == {
        "jobs": 280.0,
        "uncharged": 10.0,
        "between": 10.0,
        "load": 5.0,
        "start": 20.0,
        "idle": 1175.0,
    }
    assert (total["jobs"], total["images"], total["paid_s"], total["idle_share"]) == (3, 2, 1500.0, 0.7833)
    assert (total["cost_usd"], total["cost_per_image"], total["cost_per_1000_images"]) == (0.28, 0.14, 140.0)
    assert total["paid_per_image"] == 0.5


def test_days_are_whole_and_begin_where_it_says(site: Site) -> None:
    said = costs(site, "?days=1&by=day")
    assert said["since"] == f"{said['at'][:10]}T00:00:00.000Z"
    assert [(row["name"], row["paid_s"]) for row in said["rows"]] == [(said["at"][:10], 500.0)]
    assert [row["paid_s"] for row in costs(site, "?days=2&by=day")["rows"]] == [1000.0, 500.0]


def test_by_tenant_and_model_idle_time_is_nobodys(site: Site) -> None:
    for by, name in (("tenant", "local"), ("model", "landscapes")):
        [row] = costs(site, f"?by={by}")["rows"]
        assert (row["name"], row["cost_usd"], row["paid_usd"], row["parts"]) == (name, 0.28, None, [])


@pytest.mark.parametrize(
    ("query", "field"), [("days=0", "days"), (f"days={COSTS_KEPT_DAYS + 1}", "days"), ("by=moon", "by")]
)
def test_bad_questions_are_refused_by_name(site: Site, query: str, field: str) -> None:
    status, error = site.refused("GET", f"/v1/fleet/cost?{query}")
    assert (status, error["field"]) == (400, field)


def test_it_is_for_operators(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        user, boss = add_key(site.store, "owl"), add_key(site.store, "boss", "operator")
        assert site.refused("GET", "/v1/fleet/cost", headers=user.headers)[0] == 403
        answer = site.http.get("/v1/fleet/cost", headers=boss.headers)
        assert (answer.status_code, answer.json()["rows"], answer.json()["total"]["paid_s"]) == (200, [], 0.0)


# darkroom fleet cost


def test_the_command_says_it_for_people(site: Site, capsys: Said) -> None:
    assert run(["fleet", "cost"]) == 0
    said = capsys.readouterr().out
    [spot] = [line.split() for line in said.splitlines() if line.startswith("spot")]
    assert spot == ["spot", "3", "2", "4.7", "min", "$0.28", "$0.14", "$140.00", "$0.50", "35%"]
    [idle] = [line.split() for line in said.splitlines() if line.startswith("idle")]
    assert idle == ["idle", "19.6", "min", "78.3%", "$0.68"]


def test_the_command_says_it_for_programs(site: Site, capsys: Said) -> None:
    assert run(["fleet", "cost", "--since", "1w", "--by", "model", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["days"], said["by"], said["total"]["paid_s"]) == (7, "model", 1500.0)


@pytest.mark.parametrize("since", ["7", "0d", "101d", "1h", "monday"])
def test_a_span_that_is_none_names_the_flag(site: Site, capsys: Said, since: str) -> None:
    assert run(["fleet", "cost", "--since", since]) == 2
    assert f"--since takes 1d to 100d, or weeks such as 4w, not '{since}' [--since]" in capsys.readouterr().err


# darkroom fleet top


def test_one_frame_shows_queue_workers_jobs_cost_and_failures(site: Site, capsys: Said) -> None:
    site.report(in_flight=1, facts=site.store.workers(time.time() - 60)[0].facts)
    site.store.heartbeat(WorkerReport("left", "stopped", time.time()), [], time.time())  # paid and counted no more
    assert run(["fleet", "top", "--once"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 140
    assert "1/1 ready  85% busy  1 running  1 queued (oldest" in said
    assert "2 done, 1 failed  2 images" in said
    assert "workers $3.60/h" in said
    [worker] = [line for line in said.splitlines() if line.startswith(WORKER)]
    for word in ("spot", "L4", "ready", "85%", "9.0/24G", "landscapes", "$3.60"):
        assert word in worker
    running, failed = [line for line in said.splitlines() if line.startswith("job")]
    assert "25%" in running
    assert " 1/4 " in running
    assert "NaN reached the decoder" in failed
    assert "not_finite" in failed


def test_a_narrow_frame_leaves_columns_out_and_no_line_breaks(
    site: Site, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["fleet", "top", "--once"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith("work")]) == 1


def read_some(terminal: int) -> bytes:
    """What has come within a moment; nothing once the other end is closed."""
    if not select.select([terminal], [], [], 0.2)[0]:
        return b""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_in_a_terminal_it_goes_on_until_q(site: Site) -> None:
    here, there = pty.openpty()
    environment = {**os.environ, "DARKROOM_URL": site.url, "TERM": "xterm-256color", "LINES": "40"}
    command = [sys.executable, "-m", "darkroom", "fleet", "top"]
    process = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=environment)
    os.close(there)
    seen, end = b"", time.monotonic() + PATIENCE_S
    try:
        while seen.count(b"QUEUE BY MODEL") < 2 and time.monotonic() < end and process.poll() is None:
            seen += read_some(here)
        os.write(here, b"q")
        while process.poll() is None and time.monotonic() < end:
            seen += read_some(here)
        assert process.poll() == 0, seen.decode()
        assert seen.count(b"QUEUE BY MODEL") >= 2
    finally:
        process.kill()
        process.wait()
        os.close(here)


def test_a_service_that_is_away_is_said(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_URL", "http://127.0.0.1:9")
    assert run(["fleet", "top", "--once"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
