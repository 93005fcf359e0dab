"""Adapters by row against diffusers' own: each row of one batch with others, several, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ZImagePipeline
from safetensors.torch import save_file

from darkroom.engine.engine import Engine
from tests.parity import families
from tests.parity.families import FAMILIES, quiet
from tests.parity.plain import generators, largest_difference, pixels
from tests.parity.tiny_adapters import ATTENTION, CONVOLUTIONS, FEED_FORWARD, Plain, random_layers, save
from tests.parity.tiny_inputs import randn
from tests.parity.tiny_text import WIDTH
from tests.parity.tiny_transformer_calls import z_image

OUT = {"output_type": "np"}
TOLERANCE = 1e-5  # the issue's, of pixels from 0 to 1
MIXES: tuple[Mapping[str, float], ...] = ({}, {"a": 1.0}, {"b": 0.7}, {"a": 0.5, "b": -0.4}, {"c": 1.3}, {})
NAMES = ("sd-solvers", "sdxl", "sd3", "flux", "sana", "ltx", "wan")


@pytest.fixture(scope="module", params=NAMES)
def family(request: pytest.FixtureRequest) -> families.Family:
    return families.FAMILIES[request.param]


@pytest.fixture(scope="module")
def pipe(family: families.Family) -> Any:
    return family.pipes()[family.requests[0].pipe]


@pytest.fixture(scope="module")
def files(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        "a": save(pipe, folder / "a", 1),
        "b": save(pipe, folder / "b", 2, rank=2, targets=(*ATTENTION, *FEED_FORWARD)),
        "c": save(pipe, folder / "c", 3, rank=8, targets=(*ATTENTION, *FEED_FORWARD, *CONVOLUTIONS)),
    }


@pytest.fixture(scope="module")
def plain(pipe: Any, files: dict[str, Path]) -> Plain:
    return Plain(pipe, files)


@pytest.fixture(scope="module")
def call(family: families.Family) -> dict[str, Any]:
    more = {name: value for name, value in family.requests[0].call.items() if "resolution" in name or "clean" in name}
    return {"prompt": "a red sky", "num_inference_steps": 2, "guidance_scale": 4.0, **OUT, **family.size, **more}


@pytest.fixture
def engine(pipe: Any, files: dict[str, Path]) -> Iterator[Engine]:
    with Engine(pipe) as opened:
        for name, path in files.items():
            opened.add_adapter(name, path)
        yield opened


def test_every_mix_in_one_batch_is_what_diffusers_makes_of_it(
    pipe: Any, call: dict[str, Any], plain: Plain, engine: Engine
) -> None:
    handles = [engine.submit(**call, seed=k, adapters=dict(mix)) for k, mix in enumerate(MIXES)]
    made = [pixels(handle.result(120)) for handle in handles]
    wanted = [pixels(plain.with_weights(mix)(**call, generator=generators(k, 1))) for k, mix in enumerate(MIXES)]
    worst = [largest_difference(one, other) for one, other in zip(made, wanted, strict=True)]
    print(f"{type(pipe).__name__}: largest difference by mix {[f'{each:.1e}' for each in worst]}")
    assert max(worst) <= TOLERANCE
    without = pixels(plain.with_weights({})(**call, generator=generators(1, 1)))
    assert largest_difference(made[1], without) > 100 * TOLERANCE  # they do something
    denoiser, stats = denoiser_of(engine), engine.stats()["modules"]
    assert denoiser["batches"] < denoiser["calls"]
    assert not [name for name, module in stats.items() if module["unbatched_because"]]


def denoiser_of(engine: Engine) -> dict[str, Any]:
    stats: dict[str, dict[str, Any]] = engine.stats()["modules"]
    return stats.get("unet") or stats["transformer"]


def test_reproducible_rows_do_not_depend_on_the_adapters_of_others(call: dict[str, Any], engine: Engine) -> None:
    asked = {**call, "seed": 5, "reproducible": True}
    alone = [pixels(engine.submit(**asked, adapters=dict(mix)).result(120)) for mix in MIXES[:5]]
    before = denoiser_of(engine)
    handles = [engine.submit(**asked, adapters=dict(mix)) for mix in MIXES[:5]]
    for one, handle in zip(alone, handles, strict=True):
        assert np.array_equal(one, pixels(handle.result(120)))
    after = denoiser_of(engine)
    assert after["batches"] - before["batches"] < after["calls"] - before["calls"]  # they did share forwards


def test_rows_in_lists_have_their_own_adapters_too(tmp_path: Path) -> None:
    """Z-Image, whose transformer takes a list with an entry a row; its prompts come embedded."""
    parts = FAMILIES["flux"].pipes()["flow-euler"].components
    transformer, *_ = z_image()
    pipe = quiet({"z": ZImagePipeline(parts["scheduler"], parts["vae"], None, None, transformer)})["z"]
    files = {"a": save(pipe, tmp_path / "a", 1), "b": save(pipe, tmp_path / "b", 2, rank=2)}
    call = {"num_inference_steps": 2, "guidance_scale": 4.0, "height": 32, "width": 32, **OUT}
    call |= {name: [randn(9, WIDTH)] for name in ("prompt_embeds", "negative_prompt_embeds")}
    mixes: list[dict[str, float]] = [{}, {"a": 1.0}, {"b": 0.7}, {"a": 0.5, "b": -0.4}]
    plain = Plain(pipe, files)
    with Engine(pipe) as engine:
        for name, path in files.items():
            engine.add_adapter(name, path)
        handles = [engine.submit(**call, seed=k, adapters=mix) for k, mix in enumerate(mixes)]
        made = [pixels(handle.result(120)) for handle in handles]
        assert denoiser_of(engine)["batches"] < denoiser_of(engine)["calls"]
    for k, mix in enumerate(mixes):
        wanted = pixels(plain.with_weights(mix)(**call, generator=generators(k, 1)))
        assert largest_difference(made[k], wanted) <= TOLERANCE
    without = pixels(plain.with_weights({})(**call, generator=generators(1, 1)))
    assert largest_difference(made[1], without) > 100 * TOLERANCE


@pytest.fixture(scope="module")
def sd() -> Any:
    return families.sd_solvers()["ddim"]


SD_CALL: dict[str, Any] = {"prompt": "a red sky", "num_inference_steps": 2, "guidance_scale": 4.0, **OUT}
SD_CALL |= {"height": families.SIDE, "width": families.SIDE}


def hold_one(pipe: Any, path: Path, weight: float = 0.8, **more: Any) -> np.ndarray:
    """The same picture from both; returns it."""
    with Engine(pipe) as engine:
        engine.add_adapter("one", path)
        made = pixels(engine.submit(**SD_CALL, **more, seed=3, adapters={"one": weight}).result(120))
    plain = Plain(pipe, {"one": path}).with_weights({"one": weight})
    assert largest_difference(made, pixels(plain(**SD_CALL, **more, generator=generators(3, 1)))) <= TOLERANCE
    return made


@pytest.mark.parametrize("alpha", [4.0, 1.0])
def test_kohyas_names_and_alphas_are_read_as_diffusers_reads_them(sd: Any, tmp_path: Path, alpha: float) -> None:
    state = {}
    for component, layers in random_layers(sd, 4, 4, (*ATTENTION, *FEED_FORWARD, *CONVOLUTIONS)).items():
        prefix = "lora_unet_" if component == "unet" else "lora_te_text_model_"
        for name, value in layers.items():
            path, kind = name.split(".lora_")
            own = prefix + path.removeprefix("text_model.").replace(".", "_")
            state[f"{own}.lora_{'down' if kind.startswith('A') else 'up'}.weight"] = value
            state[f"{own}.alpha"] = torch.tensor(alpha)
    save_file(state, tmp_path / "kohya.safetensors")
    hold_one(sd, tmp_path / "kohya.safetensors")


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"alpha_pattern": {"attn1.to_q": 1}}])
def test_pefts_own_alphas_count(sd: Any, tmp_path: Path, more: dict[str, Any]) -> None:
    layers = random_layers(sd, 4, 4, ATTENTION)["unet"]
    targets = sorted({name.split(".lora_")[0] for name in layers})
    said = {"r": 4, "lora_alpha": 12, "target_modules": targets, **more}
    type(sd).save_lora_weights(str(tmp_path), unet_lora_layers=layers, unet_lora_adapter_metadata=said)
    hold_one(sd, tmp_path)


def test_the_scale_of_attention_keywords_multiplies_the_weight(sd: Any, tmp_path: Path) -> None:
    path = save(sd, tmp_path, 1)
    scaled = hold_one(sd, path, cross_attention_kwargs={"scale": 0.5})
    assert largest_difference(scaled, hold_one(sd, path, 0.4)) <= TOLERANCE
