"""The guides' examples run as they are written, at a gateway whose worker is the test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from standardwebhooks import WebhookVerificationError

from darkroom import config
from darkroom.config import ModelSettings
from darkroom.gateway.offers import Offers
from darkroom.jobs.store import Claimant
from darkroom.models.catalogue import BUNDLED_FOLDER, catalogue
from darkroom.models.registered import Registered
from tests.integration.callers import add_key, known
from tests.integration.gateway_site import Site, open_site, wait_until
from tests.integration.openai_site import worker
from tests.integration.test_webhooks import PRIVATE, end, receiving
from tests.lora_files import lora
from tests.missing import need

DOCS = Path(__file__).parents[2] / "docs"
LANDSCAPES = BUNDLED_FOLDER / "landscapes"


def example(page: str, language: str, word: str) -> str:
    """The one block of that language with that word."""
    text = (DOCS / page).read_text(encoding="utf-8")
    [found] = [block for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if word in block]
    return str(found)


def ran(command: list[str], folder: Path, **environment: str) -> str:
    """What it says; raises where it fails."""
    said = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "house") as found:
        yield found


def test_the_client_s_example_writes_the_picture(site: Site, tmp_path: Path) -> None:
    program = example("reference/python.md", "python", "with Client()")
    with worker(site) as taken:
        ran([sys.executable, "-c", program], tmp_path, DARKROOM_URL=site.url)
    [job] = taken
    assert job.input["num_inference_steps"] == 20
    with Image.open(tmp_path / "lighthouse.png") as picture:
        assert picture.size == (256, 256)


def test_the_adapter_s_example_registers_names_and_removes_it(tmp_path: Path) -> None:
    for program in ("curl", "jq"):
        need(program)
    (tmp_path / "ink.safetensors").write_bytes(lora(1))
    models = {"sdxl": ModelSettings(path=LANDSCAPES)}
    with open_site(tmp_path / "house", models=models, auth="keys") as site:
        ann = known(site, "ann", "operator", "user")
        command = example("guides/adapters.md", "sh", "jq ").replace("curl ", "curl --fail-with-body -sS ")
        environment = {"DARKROOM_URL": site.url, "DARKROOM_API_KEY": ann.shown}
        ran(["bash", "-euo", "pipefail", "-c", command], tmp_path, **environment)
        [job] = site.store.claim(Claimant("w", ("sdxl",), ("sdxl",)), 2, 2e9)
        assert job.input["adapters"] == {"ink": 0.8}
        listed = site.http.get("/v1/adapters", headers=ann.headers).json()["data"]
        assert "ink" not in {adapter["name"] for adapter in listed}


def test_the_receiver_s_example_takes_a_call_and_refuses_one_that_was_changed(tmp_path: Path) -> None:
    program = example("guides/webhooks.md", "python", "whsec_")
    with receiving() as receiver, open_site(tmp_path, **PRIVATE) as site:
        end(site, receiver.url())
        wait_until(lambda: len(receiver.calls) > 0)
        secret = site.http.get("/v1/webhooks/default/secret").json()["key"]
    [(_, headers, body)] = receiver.calls
    written = program.replace("whsec_…", secret)
    assert written != program

    def verify(content: bytes) -> Mapping[str, object]:
        names: dict[str, object] = {"request": SimpleNamespace(body=content.decode(), headers=headers)}
        exec(written, names)
        said = names["said"]
        assert isinstance(said, dict)
        return said

    assert verify(body)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        verify(body.replace(b"succeeded", b"succeedes"))


def test_the_hidden_backend_s_file_reaches_the_backend_with_its_key(tmp_path: Path) -> None:
    with open_site(tmp_path / "back", auth="keys") as back:
        front = tmp_path / "front"
        front.mkdir()
        text = example("guides/hidden-backend.md", "toml", "remote = ")
        (front / "darkroom.toml").write_text(text.replace("http://10.0.0.5:8188", back.url))
        (front / "backend.key").write_text(add_key(back.store, "front").shown)
        settings = config.load(front / "darkroom.toml")
        offers = Offers(catalogue(settings), settings, Registered(back.storage))
        try:
            offer = offers.read("landscapes").offer
        finally:
            offers.close()
        own = back.gateway.offers.read("landscapes").offer
        assert (offer.sizes, offer.tasks, dict(offer.presets)) == (own.sizes, own.tasks, dict(own.presets))
