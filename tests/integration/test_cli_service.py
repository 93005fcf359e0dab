"""`darkroom serve | submit | jobs | cancel | logs | bench` as a person types them, against a real service."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from darkroom.cli import run

from .service import Service, free_port, served, wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # the command line itself silences the libraries


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def here(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_URL", service.url)
    return tmp_path


QUICK = ["--steps", "2", "--size", "192x192"]


def test_submit_with_an_output_waits_and_writes_the_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "a calm sea", *QUICK, "--seed", "7", "-o", "sea.png"]) == 0
    assert Image.open(here / "sea.png").size == (192, 192)
    said = capsys.readouterr().out
    assert "succeeded" in said
    assert str(here / "sea.png") in said


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".webp", "WEBP")])
def test_a_picture_is_what_its_name_says(here: Path, suffix: str, kind: str) -> None:
    assert run(["submit", "a calm sea", *QUICK, "-o", f"sea{suffix}"]) == 0
    assert Image.open(here / f"sea{suffix}").format == kind


def test_a_picture_of_the_service_made_again_may_differ(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "a calm sea", *QUICK, "-o", "sea.png"]) == 0
    capsys.readouterr()
    assert run(["generate", "--like", "sea.png", "-o", "again.png"]) == 0
    assert "warning: it was made outside of reproducible mode" in capsys.readouterr().err


def test_several_images_become_several_files(here: Path) -> None:
    assert run(["submit", "a calm sea", *QUICK, "--images", "2", "-o", "sea.png"]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["sea-0.png", "sea-1.png"]


def test_a_job_is_listed_shown_and_told_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "hills at dawn", *QUICK, "--wait", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert run(["jobs"]) == 0
    assert job["id"] in capsys.readouterr().out
    assert run(["jobs", job["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "succeeded"
    assert run(["logs", job["id"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "queued" in lines[0]
    assert "succeeded" in lines[-1]
    assert sum("progress" in line for line in lines) == 2


def test_a_cancelled_job_ends(here: Path, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "hills at dawn", "--steps", "900", "--solver", "ddim", "--json"]) == 0
    job_id = json.loads(capsys.readouterr().out)["id"]
    assert run(["cancel", job_id]) == 0
    wait_until(lambda: service.job(job_id)["state"] == "cancelled")


@pytest.mark.parametrize("wish", [["--wait"], ["-o", "hills.png"]])
def test_a_job_that_somebody_else_cancels_is_no_success(here: Path, service: Service, wish: list[str]) -> None:
    name = f"hills at dawn {wish[0]}"

    def cancel() -> None:
        def mine() -> list[str]:
            listed = httpx.get(f"{service.url}/v1/jobs").json()["data"]
            return [job["id"] for job in listed if job["input"]["prompt"] == name]

        wait_until(lambda: bool(mine()))
        httpx.post(f"{service.url}/v1/jobs/{mine()[0]}/cancel")

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(cancel)
        assert run(["submit", name, "--steps", "900", "--solver", "ddim", *wish]) == 1
        done.result(60)
    assert not (here / "hills.png").exists()


def test_a_bench_says_what_the_service_bore(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "--rate", "4", "--requests", "6", "--steps", "2,3", "--json", "bench.json", "--seed", "1"]
    assert run(words) == 0
    said = capsys.readouterr()
    assert "goodput" in said.out
    assert "alone: 2 steps take" in said.err
    found = json.loads((here / "bench.json").read_text())
    [ran] = found["runs"]
    summary, outcomes = ran["summary"], ran["outcomes"]
    assert (summary["requests"], summary["succeeded"], summary["errors"]) == (6, 6, {})
    assert set(found["solo_s"]) == {"2 steps", "3 steps"}
    assert ran["rate_per_s"] == 4
    assert [outcome["number"] for outcome in outcomes] == list(range(6))
    assert outcomes[-1]["at_s"] > 0
    for outcome in outcomes:
        assert outcome["at_s"] <= outcome["sent_s"] < outcome["first_step_s"] <= outcome["ended_s"]
        assert outcome["device_s"] > 0
    assert summary["latency_s"]["max"] == max(outcome["ended_s"] - outcome["at_s"] for outcome in outcomes)


def test_a_bench_measures_the_capacity_and_counts_what_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.bench.load.CAPACITY_REQUESTS", 4)
    words = ["bench", "--arrivals", "burst", "--burst-size", "3", "--requests", "3", "--load", "0.5", "--steps", "2"]
    words += ["--json", "burst.json"]
    assert run(words) == 0
    said = capsys.readouterr()
    assert "capacity" in said.out
    assert "burst arrivals" in said.out
    found = json.loads((here / "burst.json").read_text())
    assert found["runs"][0]["rate_per_s"] == 0.5 * found["capacity_per_s"]
    assert run(["bench", "--rate", "1", "--requests", "1", "--model", "nobody"]) == 2
    assert "[--model]" in capsys.readouterr().err


def benched(here: Path, *words: str) -> dict[str, Any]:
    """What a benchmark of which nothing failed has written."""
    assert run(["bench", *words, "--json", "run.json", "--html", "run.html"]) == 0
    assert "</html>" in (here / "run.html").read_text()
    found: dict[str, Any] = json.loads((here / "run.json").read_text())
    [ran] = found["runs"]
    assert [outcome["code"] for outcome in ran["outcomes"]] == [None] * len(ran["outcomes"])
    return found


@pytest.mark.slow
def test_a_bench_with_a_crowd_says_how_full_the_batches_were(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.bench.load.SOLO_TIMES", 1)
    found = benched(here, "--users", "2", "--duration", "2", "--steps", "1,2", "--size", "192x192")
    [ran] = found["runs"]
    assert found["dialect"] == "native"
    assert set(found["solo_s"]) == {"1 steps, 192x192", "2 steps, 192x192"}
    assert ran["batches"]["mean_rows"] >= 1
    assert ran["summary"]["first_step_s"]["count"] > 0
    first_end = min(outcome["ended_s"] for outcome in ran["outcomes"])
    assert sum(outcome["at_s"] < first_end for outcome in ran["outcomes"]) == 2
    assert run(["bench", "--compare", "run.json", "run.json", "--html", "both.html"]) == 0


@pytest.mark.slow
def test_a_bench_speaks_openai_s_dialect_and_what_a_template_says(
    here: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.bench.load.SOLO_TIMES", 1)
    words = ("--rate", "4", "--requests", "2", "--steps", "1", "--size", "192x192")
    found = benched(here, *words, "--api", "openai", "--images", "2")
    assert found["dialect"] == "openai"
    assert [outcome["images"] for outcome in found["runs"][0]["outcomes"]] == [2, 2]
    assert found["runs"][0]["summary"]["device_s"] > 0  # its answers name jobs of ours
    (here / "there.toml").write_text(
        f'url = "{service.url}/v1/images/generations"\nimage = "data.*.b64_json"\n[body]\nprompt = "{{prompt}}"\n'
        'size = "{width}x{height}"\nnum_inference_steps = "{steps}"\nseed = "{seed}"\n'
    )
    found = benched(here, *words, "--template", "there.toml")
    assert [outcome["images"] for outcome in found["runs"][0]["outcomes"]] == [1, 1]
    assert found["runs"][0]["batches"] is None
    assert "how full batches were is not known" in (here / "run.html").read_text().lower()


@pytest.mark.slow
def test_a_bench_replays_every_task_of_a_trace(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.bench.load.SOLO_TIMES", 1)
    rows = ["0,txt_2_img,1,9,26,m0", "4,img_2_img,2,40,,m1", "8,inpainting,2,40,,m1"]
    (here / "trace.csv").write_text("\n".join(["arrival_s,task,steps,prompt_chars,negative_chars,model", *rows]))
    words = ("--trace", "trace.csv", "--compress", "8", "--map", "*=landscapes", "--size", "192x192")
    outcomes = benched(here, *words)["runs"][0]["outcomes"]
    assert [outcome["kind"] for outcome in outcomes] == [
        "1 steps, 192x192, landscapes",
        "2 steps, 192x192, image-to-image, landscapes",
        "2 steps, 192x192, inpaint, landscapes",
    ]
    assert [outcome["at_s"] for outcome in outcomes] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--rate", "1", "--load", "1"], "--load"),
        (["--requests", "1", "--duration", "1"], "--duration"),
        (["--rate", "0"], "--rate"),
        (["--duration", "-1"], "--duration"),
        (["--burst-size", "0"], "--burst-size"),
        (["--steps", "4,x"], "--steps"),
        (["--steps", ""], "--steps"),
        (["--prompts", "missing.txt"], "--prompts"),
        (["--json", "missing/x.json"], "--json"),
        (["--images", "17", "--rate", "1"], "--images"),
        (["--size", "7x7", "--rate", "1"], "--size"),
        (["--url", "there"], "--url"),
    ],
)
def test_a_bench_that_cannot_be_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], flag: str
) -> None:
    assert run(["bench", *words]) == 2
    assert f"[{flag}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["submit", ""], "PROMPT"),
        (["submit", "x", "--steps", "0"], "--steps"),
        (["submit", "x", "--solver", "none"], "--solver"),
        (["submit", "x", "--size", "10x10"], "--size"),
        (["submit", "x", "--model", "nobody"], "--model"),
        (["submit", "x", "-o", "missing/x.png"], "--output"),
        (["jobs", "no such id"], "JOB_ID"),
        (["logs", "job-0"], "JOB_ID"),
        (["jobs", "--state", "asleep"], "--state"),
    ],
)
def test_what_the_service_refuses_is_said_with_the_flag(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], flag: str
) -> None:
    assert run(words) == 2
    assert f"[{flag}]" in capsys.readouterr().err


def test_nobody_there_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_URL", f"http://127.0.0.1:{free_port()}")
    assert run(["jobs"]) == 1
    assert "darkroom serve" in capsys.readouterr().err


def test_serving_where_others_reach_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--host", "0.0.0.0"]) == 2
    assert "--insecure" in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert "another --port" in said
    assert said.count(str(port)) == 1


@pytest.mark.parametrize(
    ("words", "flag"),
    [(["--port", "99999"], "[--port]"), (["--host", "203.0.113.9", "--insecure"], "[--host]")],
)
def test_an_address_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], flag: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["serve", *words]) == 2
    assert flag in capsys.readouterr().err


def test_the_screen_says_where_everything_is(service: Service) -> None:
    said = "".join(service.said)
    assert str(service.home) in said
    assert "landscapes" in said
    assert "Ctrl-C stops it" in said


def test_metrics_of_gateway_and_worker_are_there(service: Service) -> None:
    gateway = service.ask("GET", "/metrics", root=True).text
    for name in (
        "diffusion_requests_total",
        "diffusion_generation_duration_seconds_bucket",
        "diffusion_queue_size",
        "diffusion_batch_size_bucket",
        "gpu_memory_used_bytes",
        "gpu_utilization_percent",
    ):
        assert name in gateway
    (worker,) = service.ask("GET", "/workers").json()["data"]

    assert "darkroom_forward_seconds_bucket" in httpx.get(worker["facts"]["metrics_url"]).text
