"""What runs on an accelerator runs through here, at small widths; how fast it is says nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench.gpu.__main__ import main
from bench.gpu.loads import asks_of
from bench.gpu.parts import flops_of
from bench.gpu.shapes import SHAPES, build

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own


@pytest.mark.slow
def test_every_shape_is_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    small = ["--small", "--repeats", "1", "--rows", "1", "2", "--requests", "3", "--loads", "1.5", "--out", str(out)]
    assert main(small) == 0
    told = json.loads(out.read_text())["shapes"]
    assert set(told) == set(SHAPES)
    for one in told.values():
        assert one["flops"]["image"] > one["flops"]["row"] > 0
        assert set(one["alone_s"]) == {"plain", "engine"}
        assert [load["workload"] for load in one["loads"]] == ["W1", "W2", "W3"]
        assert all(set(rows) == {"1", "2"} for rows in one["curve_s"].values())
    assert "of the floor" in capsys.readouterr().out


@pytest.mark.slow
def test_the_floor_of_sdxl_is_the_one_that_is_known() -> None:
    flops = flops_of(build("sdxl", torch.device("meta"), torch.bfloat16, small=False))
    known = {"row": 6.76e12, "decode": 10.5e12, "image": 416e12}
    assert flops == pytest.approx(known, rel=0.01)


def test_what_is_asked_is_the_same_each_time_and_of_its_kind() -> None:
    shape = build("sdxl", torch.device("cpu"), torch.float32, small=True)
    assert asks_of("W2", shape, 20, 1.0, 0) == asks_of("W2", shape, 20, 1.0, 0)
    assert len({ask.side for ask in asks_of("W3", shape, 40, 1.0, 0)}) == 4
    assert len({(ask.steps, ask.guidance) for ask in asks_of("W2", shape, 40, 1.0, 0)}) == 8
