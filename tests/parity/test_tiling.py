"""A tiled VAE in service gives the pictures of diffusers' own tiled one, batched or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, WuerstchenDecoderPipeline

from darkroom.cli.recall import CONDITIONS
from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.errors import InvalidConfig
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.loading import Loaded, _tile, load
from darkroom.models.record import conditions_of
from tests.parity.families import quiet, sd_parts

pytestmark = pytest.mark.parity

SIDE = 96  # pixels; a tile of the tiny VAE has 32
CALL: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 3.0, "width": SIDE, "height": SIDE}
PROMPTS = ("a red sky over hills", "two pines by a lake", "night, full moon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    StableDiffusionPipeline(**sd_parts()).save_pretrained(folder)
    return folder


def opened(folder: Path, **said: Any) -> Loaded:
    settings = ModelSettings(path=folder, dtype="float32", device="cpu", **said)
    return load(Entry("tiny", FOLDER, settings, folder.parent / "home"), is_offline=True)


def plain(folder: Path, *, is_tiled: bool) -> list[np.ndarray]:
    pipe = quiet({"own": StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)})["own"]
    if is_tiled:
        pipe.vae.enable_tiling()
    made = (
        pipe(prompt=prompt, **CALL, output_type="np", generator=torch.Generator().manual_seed(seed))
        for seed, prompt in enumerate(PROMPTS)
    )
    return [each.images[0] for each in made]


def test_pictures_are_those_of_diffusers_own_tiles(folder: Path) -> None:
    loaded = opened(folder, vae_tiling=True)
    with Engine(loaded.pipe) as engine:
        handles = [
            engine.submit(prompt=prompt, seed=seed, **CALL, output_type="np") for seed, prompt in enumerate(PROMPTS)
        ]
        made = [handle.result(60).images[0] for handle in handles]
        decodes = engine.stats()["modules"]["vae.decode"]
    tiled, whole = plain(folder, is_tiled=True), plain(folder, is_tiled=False)
    assert max(float(np.abs(one - other).max()) for one, other in zip(made, tiled, strict=True)) < 5e-6
    assert min(float(np.abs(one - other).max()) for one, other in zip(made, whole, strict=True)) > 1e-3
    assert (decodes["calls"], decodes["unbatched_because"]) == (3, None)


def test_a_shared_decode_gives_each_row_as_alone(folder: Path) -> None:
    vae = opened(folder, vae_tiling=True).pipe.vae
    latents = torch.randn(3, 4, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together = vae.decode(latents, return_dict=False)[0]
        alone = [vae.decode(row[None], return_dict=False)[0] for row in latents]
    assert torch.equal(together, torch.cat(alone))


def test_a_model_is_tiled_only_where_it_is_asked_for_and_a_picture_says_so(folder: Path) -> None:
    tiled, whole = opened(folder, vae_tiling=True), opened(folder)
    assert (tiled.pipe.vae.use_tiling, tiled.pipe.vae.use_slicing) == (True, True)
    assert (whole.pipe.vae.use_tiling, whole.pipe.vae.use_slicing) == (False, False)
    assert conditions_of(tiled, 1, 1)["vae_tiling"] is True
    assert "vae_tiling" not in conditions_of(whole, 1, 1)
    assert "vae_tiling" in CONDITIONS  # of which --like tells a change


def test_what_has_no_tiles_is_refused_by_name() -> None:
    class NoTiles:
        """A pipeline whose VAE knows nothing of them."""

        vae = torch.nn.Identity()

    for pipe, said in ((NoTiles(), "Identity has no tiles"), (WuerstchenDecoderPipeline, "has no VAE")):
        with pytest.raises(InvalidConfig, match=f"models.m.vae_tiling: .*{said}") as caught:
            _tile(pipe, "m")
        assert caught.value.field == "vae_tiling"
