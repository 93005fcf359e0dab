"""The README's examples run as they are written: those over HTTP at a gateway, the program's from the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.integration.gateway_site import Site, open_site
from tests.integration.openai_site import worker
from tests.missing import need

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8188"  # where `make serve` listens


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "house") as found:
        yield found


def example(language: str, word: str) -> str:
    """The one block of that language with that word."""
    [found] = [block for block in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if word in block]
    return str(found)


def at_the_site(site: Site, text: str) -> str:
    """The example, at the address where the service under test listens."""
    assert ADDRESS in text
    return text.replace(ADDRESS, site.url)


def test_the_curl_example_is_answered_with_a_picture_s_url(site: Site, tmp_path: Path) -> None:
    need("curl")
    command = at_the_site(site, example("sh", "curl "))
    with worker(site) as taken:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, check=False
        )
    assert ran.returncode == 0, ran.stderr
    job = json.loads(ran.stdout)
    assert (job["state"], job["model"], job["input"]["num_inference_steps"]) == ("succeeded", "landscapes", 10), job
    assert len(taken) == 1
    assert httpx.get(job["outputs"][0]["url"]).content[:4] == b"\x89PNG"


def test_the_client_example_writes_the_picture(site: Site, tmp_path: Path) -> None:
    program = at_the_site(site, example("python", "import Client"))
    with worker(site) as taken:
        ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(taken) == 1
    with Image.open(tmp_path / "sunset.png") as picture:
        assert picture.size == (256, 256)


@pytest.mark.slow
def test_the_python_example_makes_its_pictures(tmp_path: Path) -> None:
    program = example("python", "import Engine")
    (tmp_path / "src").symlink_to(CHECKOUT / "src")
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for name in re.findall(r'save\("(.*?)"\)', program):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (256, 256)
