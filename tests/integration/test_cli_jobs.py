"""What `darkroom submit | jobs | cancel` say, against a gateway whose worker is played by the test."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import run

from .gateway_site import Site, open_site

Said = pytest.CaptureFixture[str]
ERROR = {"code": "not_finite", "message": "NaN reached\nthe decoder", "field": None}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    with open_site(tmp_path) as site:
        monkeypatch.setenv("DARKROOM_URL", f"{site.url}/v1/")  # as OpenAI's package wants it
        yield site


def failed(site: Site) -> dict[str, Any]:
    job: dict[str, Any] = site.submit({"seed": 0})
    _, lease = site.claim()
    site.store.fail(lease, ERROR, {"denoise_s": 0.25}, time.time(), None)
    return job


def submitted(capsys: Said, *words: str) -> dict[str, Any]:
    assert run(["submit", "a calm sea", "--json", *words]) == 0
    job: dict[str, Any] = json.loads(capsys.readouterr().out)
    return job


@pytest.mark.parametrize(("words", "expected"), [([], "png"), (["--format", "jpeg"], "jpeg")])
def test_a_format_is_asked_for(site: Site, capsys: Said, words: list[str], expected: str) -> None:
    assert submitted(capsys, *words)["output"]["format"] == expected


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["submit", "x", "-o", "x.bmp"], "[--output]"),
        (["submit", "x", "-o", "x.jpg", "--format", "png"], "[--format]"),
        (["submit", "x", "--format", "gif"], "'--format': 'gif' is not one of 'png', 'jpeg', 'webp', 'mp4', 'wav'"),
        (["submit", "x", "--priority", "1000"], "priority must be less than or equal to 100, not 1000 [--priority]"),
        (["submit", "x", "--deadline", "-1"], "[--deadline]"),
        (["submit", "x", "--size", "100x100"], "offers 192x192, 320x192, 192x320, 256x256 [--size]"),
        (["jobs", "--state", "asleep"], "[--state]"),
        (["jobs", "--limit", "0"], "[--limit]"),
        (["jobs", "no such id"], "[JOB_ID]"),
    ],
)
def test_a_refusal_names_the_flag(site: Site, capsys: Said, words: list[str], flag: str) -> None:
    assert run(words) == 2
    assert flag in capsys.readouterr().err
    assert site.http.get("/v1/jobs").json()["data"] == []


def test_a_list_says_why_jobs_failed(site: Site, capsys: Said) -> None:
    job = failed(site)
    assert run(["jobs"]) == 0
    [said] = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{job['id']}  failed (not_finite)")


def test_one_job_is_shown_for_people_and_for_programs(site: Site, capsys: Said) -> None:
    job = failed(site)
    assert run(["jobs", job["id"]]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    said = {line[2:12].strip(): line[12:] for line in lines}
    assert head == job["id"]
    assert said["state"] == "failed (not_finite)"
    assert said["model"] == "landscapes, text-to-image"
    assert said["prompt"] == job["input"]["prompt"]
    assert "steps 4" in said["asked for"]
    assert "seed 0" in said["asked for"]
    assert "denoise 0.250 s" in said["took"]
    assert said["error"].endswith("not_finite: NaN reached the decoder")
    assert {"created", "started", "failed"} <= set(said)
    assert run(["jobs", job["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "failed"


def test_a_card_tells_the_pictures(site: Site, capsys: Said) -> None:
    job = site.submit()
    _, lease = site.claim()
    artifact = site.complete(lease).outputs[0]
    assert run(["jobs", job["id"]]) == 0
    said = capsys.readouterr().out
    assert f"{artifact.id}  image/png 256x256, {artifact.size} bytes, seed 7" in said


def test_an_empty_list_says_so(site: Site, capsys: Said) -> None:
    for words, said in (
        ([], "there are no jobs\n"),
        (["--state", "failed"], "there are no jobs in the state failed\n"),
        (["--model", "landscapes"], "there are no jobs of landscapes\n"),
        (["--model", "nope"], "there is no model 'nope', and no job of it; there are: landscapes\n"),
    ):
        assert run(["jobs", *words]) == 0
        assert capsys.readouterr() == ("", said)


def test_cancelling_twice_is_no_error(site: Site, capsys: Said) -> None:
    job_id = site.submit()["id"]
    assert run(["cancel", job_id]) == 0
    assert capsys.readouterr().err == ""
    assert run(["cancel", job_id]) == 0
    assert capsys.readouterr().err == "it was cancelled already\n"


def test_a_job_that_has_ended_stays_as_it_is(site: Site, capsys: Said) -> None:
    job = failed(site)
    assert run(["cancel", job["id"]]) == 0
    said = capsys.readouterr()
    assert said.err == "it has failed already\n"
    assert "failed (not_finite)" in said.out


def test_a_running_job_is_said_to_end_soon(site: Site, capsys: Said) -> None:
    job_id = site.submit()["id"]
    site.claim()
    assert run(["cancel", job_id]) == 0
    assert capsys.readouterr().err == "it ends within one step\n"


def test_what_is_no_address_is_said_of_the_variable(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setenv("DARKROOM_URL", "box:8188")
    assert run(["jobs"]) == 2
    assert "DARKROOM_URL must begin with http://" in capsys.readouterr().err


def test_without_a_key_it_is_said_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    with open_site(tmp_path, auth="keys") as site:
        monkeypatch.setenv("DARKROOM_URL", site.url)
        for key in (None, "dk_1", f"dk_{'0' * 12}_{'0' * 64}"):
            if key is not None:
                monkeypatch.setenv("DARKROOM_API_KEY", key)
            assert run(["jobs"]) == 1
            said = capsys.readouterr().err
            for word in ("darkroom keys create", "DARKROOM_API_KEY", "Authorization: Bearer"):
                assert word in said


def test_a_bench_that_could_not_be_written_sends_nothing(site: Site, capsys: Said) -> None:
    assert run(["bench", "--json", "missing/run.json"]) == 2
    said = capsys.readouterr()
    assert "[--json]" in said.err
    assert said.out == ""  # here it is a file, and no program reads stdout
    assert site.http.get("/v1/jobs").json()["data"] == []
