"""Models from the hub, and those that `serve --model` names: fetched when the guides say so, and served then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom import config
from darkroom.cli import run
from darkroom.config import ModelSettings
from darkroom.errors import MissingWeights, Unavailable
from darkroom.gateway.offers import Offers
from darkroom.models import weights
from darkroom.models.catalogue import BUNDLED_FOLDER, HUB, Catalogue, Entry, catalogue
from darkroom.models.registered import Registered
from darkroom.storage.objects import open_storage
from darkroom.worker.serving import entries_of

from .hub_server import COMMIT, Hub, hub_server
from .service import free_port, served

pytestmark = pytest.mark.filterwarnings("ignore")  # the command line itself silences the libraries

LANDSCAPES = BUNDLED_FOLDER / "landscapes"
NAMED = '[models.far]\nhub = "somebody/far"\nsizes = [[192, 192]]\n'


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server("somebody/far", LANDSCAPES) as found:
        yield found


def darkroom(here: Path, hub: Hub, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub.environment(here), "DARKROOM_HOME": str(here / "home")}
    command = [sys.executable, "-m", "darkroom", *words]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.slow
def test_a_pulled_model_lies_here_whole(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text(NAMED)
    pulled = darkroom(tmp_path, hub, "models", "pull", "far")
    assert pulled.returncode == 0, pulled.stderr
    place = Path(pulled.stdout.strip())
    assert place.name == COMMIT
    for name in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "model_index.json"):
        assert (place / name).read_bytes() == (LANDSCAPES / name).read_bytes()
    weights = [name for name in hub.fetched if name.endswith(".safetensors")]
    assert len(weights) == len(set(weights)) == 3


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_said(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text('[models.gone]\nhub = "somebody/gone"\n')
    pulled = darkroom(tmp_path, hub, "models", "pull", "gone")
    assert pulled.returncode == 2
    assert "somebody/gone could not be fetched" in pulled.stderr
    assert "Traceback" not in pulled.stderr


@pytest.mark.slow
def test_a_worker_fetches_at_its_start_what_the_settings_name(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text(f'[serve]\nmodels = ["far"]\n{NAMED}')
    with served(tmp_path, **hub.environment(tmp_path)) as service:
        [job] = service.wait_all([service.submit("far")])
        assert (job["state"], job["model"]) == ("succeeded", "far"), job["errors"]


def test_a_hub_model_that_is_not_here_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "darkroom.toml"
    path.write_text(NAMED)
    settings = config.load(path)
    offers = Offers(catalogue(settings), settings, Registered(open_storage(str(tmp_path / "artifacts"))))
    with pytest.raises(Unavailable, match="`darkroom models pull far` fetches it"):
        offers.read("far")


def test_half_a_download_is_fetched_whole_by_a_worker(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("far", HUB, ModelSettings(hub="somebody/far"), tmp_path)
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(LANDSCAPES / "model_index.json", half)
    monkeypatch.setattr(weights, "snapshot_of", lambda *_: half)
    assert not entry.is_whole
    assert entries_of(Catalogue({"far": entry}, "far", tmp_path), ["far"], is_offline=False) == {"far": entry}
    with pytest.raises(MissingWeights, match="scheduler is missing"):
        entries_of(Catalogue({"far": entry}, "far", tmp_path), ["far"], is_offline=True)


@pytest.mark.slow
def test_a_folder_is_served_by_its_path(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LANDSCAPES, tmp_path / "models" / "poster", copy_function=os.symlink))
    with served(tmp_path, "--model", str(folder)) as service:
        assert [model["id"] for model in service.ask("GET", "/models").json()["data"]] == ["poster"]
        [job] = service.wait_all([service.submit("poster")])
        assert (job["state"], job["model"]) == ("succeeded", "poster"), job["errors"]


FILE = str(LANDSCAPES / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize("command", ["serve", "gateway"])
@pytest.mark.parametrize("is_named", [False, True])
def test_a_single_file_that_no_gateway_could_describe_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, is_named: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [command, "--port", str(free_port())]
    if is_named:
        (tmp_path / "darkroom.toml").write_text(f'[serve]\nmodels = ["ink"]\n[models.ink]\nfile = "{FILE}"\n')
    else:
        words += ["--model", FILE]
    assert run(words) == 2
    said = capsys.readouterr().err
    assert "`config`" in said
    assert f"models.{'ink' if is_named else 'diffusion_pytorch_model'}.config" in said
