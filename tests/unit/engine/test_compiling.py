"""Compiled denoisers: the same images as without, one graph for any rows, and nothing left behind."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from darkroom.engine import compiling
from darkroom.engine.engine import Engine, Options
from darkroom.errors import ModelNotServable, NotSupported
from tests.missing import need
from tests.parity.families import flux, sd3, sd_solvers

# Compiling tells of torch's own deprecated parts.
pytestmark = pytest.mark.filterwarnings("ignore")
COMPILED = Options(compile=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A compiler, and a folder of its own for what it makes."""
    need("g++")
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path_factory.mktemp("inductor"))
    yield
    torch._dynamo.reset()
    if before is None:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    else:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def served(pipe: Any, calls: list[dict[str, Any]], **settings: Any) -> list[np.ndarray]:
    with Engine(pipe, **settings) as engine:
        handles = [engine.submit(**call) for call in calls]
        return [handle.result(600).images[0] for handle in handles]


def calls_like(call: dict[str, Any], count: int) -> list[dict[str, Any]]:
    return [{**call, "seed": seed, "num_inference_steps": 2 + seed % 3} for seed in range(count)]


@pytest.mark.slow
def test_compiled_blocks_make_the_same_images_at_any_row_count_in_one_graph_a_width(
    cache: None, pipe: Any, call: dict[str, Any]
) -> None:
    calls = calls_like(call, 5)
    plain = served(pipe, calls)
    counters.clear()
    for one, other in zip(plain, served(pipe, calls, options=COMPILED), strict=True):
        assert np.abs(one - other).max() < 5e-4
    graphs = counters["stats"]["unique_graphs"]
    blocks = compiling.repeated_blocks(pipe.unet)
    assert 0 < graphs <= 2 * len({tuple(p.shape for p in block.parameters()) for block in blocks})
    counters.clear()
    served(pipe, calls_like(call, 7), options=COMPILED)  # other row counts
    assert counters["stats"]["unique_graphs"] <= 1
    assert all(block._compiled_call_impl is None for block in blocks)


@pytest.mark.slow
def test_after_two_requests_at_once_nothing_is_compiled_for_any_other_number(cache: None, call: dict[str, Any]) -> None:
    with Engine(flux()["flow-euler"], options=COMPILED) as engine:
        for count in (2, 1, 3, 4):
            handles = [engine.submit(**each) for each in calls_like(call, count)]
            assert all(handle.result(600).images is not None for handle in handles)
            if count == 2:
                assert counters["stats"]["unique_graphs"] > 0
                counters.clear()
        assert counters["stats"]["unique_graphs"] == 0


@pytest.mark.slow
def test_reproducible_requests_have_the_bits_that_they_have_without_compiling(
    cache: None, pipe: Any, call: dict[str, Any]
) -> None:
    calls = calls_like(call, 3)
    plain = served(pipe, calls, reproducible=True)
    for one, other in zip(plain, served(pipe, calls, reproducible=True, options=COMPILED), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_what_was_compiled_is_found_by_the_next_process(cache: None, tmp_path: Path) -> None:
    program = (
        "import json, torch\n"
        "from torch._dynamo.utils import counters\n"
        "from darkroom.engine.engine import Engine, Options\n"
        "from tests.parity.families import SIDE, sd_solvers\n"
        "with Engine(sd_solvers()['ddim'], options=Options(compile=True)) as engine:\n"
        "    engine.submit(prompt='a hill', num_inference_steps=2, height=SIDE, width=SIDE, seed=1).result(600)\n"
        "print(json.dumps(dict(counters['inductor'])))\n"
    )
    paths = os.pathsep.join((str(Path.cwd()), str(Path.cwd() / "src")))
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": paths}
    told = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        told.append(json.loads(done.stdout.splitlines()[-1]))
    assert told[0].get("fxgraph_cache_miss", 0) > 0
    assert told[1].get("fxgraph_cache_miss", 0) == 0
    assert told[1].get("fxgraph_cache_hit", 0) > 0


def test_modules_that_arrive_compiled_are_refused_whole_or_in_part() -> None:
    whole, part = (copy.deepcopy(sd_solvers()["ddim"]) for _ in range(2))
    whole.unet.compile()
    part.unet.compile_repeated_blocks()
    for pipe in (whole, part):
        with pytest.raises(ModelNotServable, match="arrives compiled"):
            Engine(pipe)


def test_only_denoisers_are_compiled_and_nothing_is_left_on_them(pipe: Any) -> None:
    engine = Engine(pipe, options=COMPILED)
    blocks = compiling.repeated_blocks(pipe.unet)
    assert blocks
    assert all(block._compiled_call_impl is not None for block in blocks)
    others = [inner for part in (pipe.text_encoder, pipe.vae) for inner in part.modules()]
    assert all(inner._compiled_call_impl is None for inner in others)
    engine.add(pipe, "plain", compiled=False)
    engine.add(pipe, "again")
    engine.remove("default")
    assert all(block._compiled_call_impl is not None for block in blocks)  # `again` serves them compiled
    engine.close()
    assert all(inner._compiled_call_impl is None for inner in pipe.unet.modules())


def test_every_family_repeats_blocks() -> None:
    pipes = (sd_solvers()["ddim"], *flux().values(), *sd3().values())
    for pipe in pipes:
        denoiser = getattr(pipe, "unet", None) or pipe.transformer
        assert len(compiling.repeated_blocks(denoiser)) > 1, type(denoiser).__name__


def test_without_a_compiler_it_says_so(pipe: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NotSupported, match=r"needs a C\+\+ compiler"):
        Engine(pipe, options=COMPILED)
    assert "forward" not in pipe.unet.__dict__
