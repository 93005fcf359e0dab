"""Settings that make a model faster or smaller: what they change, what they leave, and where they are refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.engine.host_copy import tensors_of
from darkroom.errors import InvalidConfig, NotSupported
from darkroom.models.loading import load
from darkroom.models.record import conditions_of
from darkroom.models.tuning import tune
from tests.parity.families import SIDE, flux, sd_solvers
from tests.unit.models.conftest import entry_at

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own, as under the command line
CALL = {"prompt": "a red sky", "num_inference_steps": 3, "height": SIDE, "width": SIDE, "output_type": "np"}


def tuned(pipe: Any, **said: Any) -> Any:
    own = copy.deepcopy(pipe)
    tune(own, ModelSettings(path=Path(), **said), "mine", torch.float32, {})
    return own


def images(pipe: Any) -> list[np.ndarray]:
    with Engine(pipe) as engine:
        handles = [engine.submit(**{**CALL, "num_inference_steps": 2 + seed % 2}, seed=seed) for seed in range(3)]
        return [handle.result(120).images[0] for handle in handles]


def largest_difference(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def test_channels_last_changes_where_weights_lie_and_no_image() -> None:
    pipe = sd_solvers()["ddim"]
    own = tuned(pipe, channels_last=True)
    for part in (own.unet, own.vae):
        kernels = [weight for weight in part.parameters() if weight.dim() == 4]
        assert kernels
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels)
    assert largest_difference(images(pipe), images(own)) < 1e-4


def test_an_attention_backend_is_used_and_changes_no_image() -> None:
    pipe = flux()["flux"] if "flux" in flux() else next(iter(flux().values()))
    own = tuned(pipe, attention="_native_math")
    chosen = {inner.processor._attention_backend for inner in own.transformer.modules() if hasattr(inner, "processor")}
    assert [str(each.value) for each in chosen] == ["_native_math"]
    assert largest_difference(images(pipe), images(own)) < 1e-4


@pytest.mark.parametrize(
    ("backend", "said"),
    [("nativ", "there is no 'nativ'; allowed: "), ("flash_hub", "allowed: "), ("xformers", "does not run here")],
)
def test_an_attention_backend_that_is_not_here_is_refused(backend: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as refused:
        tuned(next(iter(flux().values())), attention=backend)
    assert refused.value.field == "models.mine.attention"


def test_a_denoiser_that_has_no_choice_of_attention_is_refused_one() -> None:
    with pytest.raises(InvalidConfig, match="the unet is a UNet2DConditionModel, which has no choice"):
        tuned(sd_solvers()["ddim"], attention="native")


def test_eight_bits_take_a_quarter_of_thirty_two_batch_as_ever_and_make_nearly_the_same_image(
    tmp_path: Path, folder: Path
) -> None:
    plain = load(entry_at(folder, dtype="float32", device="cpu"), is_offline=True)
    small = load(entry_at(folder, dtype="float32", device="cpu", float8=True), is_offline=True)
    taken = [sum(t.nbytes for t in tensors_of([each.pipe.unet])) for each in (plain, small)]
    assert taken[1] < 0.35 * taken[0]
    call = {"prompt": "a lake at night", "num_inference_steps": 6, "output_type": "np", "width": 192, "height": 192}
    made = []
    for loaded in (plain, small):
        with Engine(loaded.pipe) as engine:
            handles = [engine.submit(**call, seed=seed) for seed in (1, 2)]
            made.append([handle.result(300).images[0] for handle in handles])
            stats = engine.stats()["modules"]["unet"]
            assert stats["unbatched_because"] is None
    assert np.abs(made[0][0] - made[1][0]).mean() < 0.05
    lone = small.pipe(**call, generator=torch.Generator().manual_seed(2)).images[0]
    assert np.abs(lone - made[1][1]).max() < 1e-3  # company changes nothing
    assert conditions_of(small, 8, 1)["tuning"] == {"float8": True}
    assert "tuning" not in conditions_of(plain, 8, 1)


def test_a_model_in_eight_bits_takes_no_adapters() -> None:
    from darkroom.engine.lora_file import _fitted

    own = tuned(sd_solvers()["ddim"], float8=True)
    path = next(name for name, layer in own.unet.named_modules() if name.endswith("to_q"))
    layer = own.unet.get_submodule(path)
    down, up = torch.zeros(2, layer.in_features), torch.zeros(layer.out_features, 2)
    with pytest.raises(NotSupported, match="such a model takes no adapters"):
        _fitted(own.unet, f"unet.{path}", path, down, up)


def test_without_a_compiler_a_model_that_is_to_be_compiled_is_refused_as_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NotSupported, match="compiler"):
        tuned(sd_solvers()["ddim"], compile=True)
