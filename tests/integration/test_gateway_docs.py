"""docs/reference/http.md says what the gateway does: every route, event and code; and its examples run as they are."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import FINAL_EVENTS
from darkroom.gateway import schemas
from darkroom.gateway.input_schema import INPUT_SCHEMA
from tests.lora_files import lora
from tests.missing import need

from .gateway_site import WORKER, Site, open_site, picture

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
# curl as a reader types it, but that an answer of 400 and above ends the example.
PRELUDE = 'curl() { command curl --fail-with-body --silent --show-error --max-time 60 "$@"; }\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house")) as found:
        yield found


def described(site: Site) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in site.http.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_route_is_on_the_page(site: Site) -> None:
    for method, path, _ in described(site):
        shown = re.sub(r"\{\w+\}", "{id}", path)
        assert f"`{method} {shown}`" in PAGE, f"{method} {shown}"


def test_every_code_that_a_route_may_answer_with_is_on_the_page(site: Site) -> None:
    answers = [answer for _, _, operation in described(site) for answer in operation["responses"].values()]
    codes = {code for answer in answers for code in re.findall(r"`(\w+)`", answer["description"])}
    assert {"bad_input", "queue_full", "store_unavailable", "internal"} <= codes
    assert [code for code in sorted(codes) if f"`{code}`" not in PAGE] == []


def test_every_event_and_every_field_of_a_job_is_on_the_page() -> None:
    table = PAGE[PAGE.index("Every event has") : PAGE.index("Of the past you get")]
    assert set(schemas.EVENT_TYPES) >= FINAL_EVENTS
    for kind in schemas.EVENT_TYPES:
        assert f"| `{kind}` |" in table
    shown = PAGE[PAGE.index("### The job") : PAGE.index("stateDiagram")]
    for name in (*schemas.JobAnswer.model_fields, *schemas.Metrics.model_fields, *schemas.Links.model_fields):
        assert f'"{name}"' in shown, name
    for name in (*schemas.JobBody.model_fields, *INPUT_SCHEMA["properties"]):
        assert f"`{name}`" in PAGE, name


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_as_it_stands(site: Site, tmp_path: Path, example: str) -> None:
    need("curl")
    (tmp_path / "bay.png").write_bytes(picture())
    site.report(step_seconds={"landscapes": 0.01})
    job = site.submit()
    while (claimed := site.claim())[0].id != job["id"]:
        site.complete(claimed[1])
    site.complete(claimed[1])
    known = {
        "DARKROOM_URL": site.url,
        "JOB": job["id"],
        "WORKER": WORKER,
        "WAITING": site.submit(priority=-1)["id"],
        "ARTIFACT": site.http.post("/v1/uploads", content=picture()).json()["artifact_id"],
        "LORA": site.http.post("/v1/uploads", content=lora(1)).json()["artifact_id"],
        "UNUSED": site.http.post("/v1/uploads", content=picture()).json()["artifact_id"],
    }
    script = PRELUDE + example.replace("wait=60", "wait=1")  # nobody works on it here
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **known},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{example}\n{run.stdout}\n{run.stderr}"
