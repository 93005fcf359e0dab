"""The adapters that ship go on where only what Darkroom itself needs is installed: without peft."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ADAPTERS = Path(__file__).parents[2] / "src" / "darkroom" / "models" / "bundled" / "adapters"
PROGRAM = """
import sys, warnings
sys.modules["peft"] = None  # as where it is not installed
warnings.simplefilter("ignore")
from diffusers import StableDiffusionPipeline
from darkroom import Engine

folder, *names = sys.argv[1:]
pipe = StableDiffusionPipeline.from_pretrained(f"{folder}/../landscapes", local_files_only=True)
pipe.set_progress_bar_config(disable=True)
with Engine(pipe) as engine:
    for name in names:
        engine.add_adapter(name, f"{folder}/{name}")
    asked = dict(prompt="a lake", num_inference_steps=1, guidance_scale=1.0, seed=1, height=192, width=192)
    handles = [engine.submit(**asked, output_type="np", adapters=mix) for mix in ({}, *({name: 1.0} for name in names))]
    plain, *worn = [handle.result(120).images for handle in handles]
    print(*(float(abs(each - plain).max()) > 0.05 for each in worn))
"""


@pytest.mark.slow
def test_they_change_pictures_without_peft() -> None:
    names = sorted(path.name for path in ADAPTERS.iterdir())
    run = subprocess.run([sys.executable, "-c", PROGRAM, str(ADAPTERS), *names], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (names, run.stdout.split()) == (["neon", "turbo", "woodcut"], ["True"] * 3)


@pytest.mark.parametrize("said", ["to_q", r"mid_block\..*\.to_q", "^mid_block.attentions.0.to_q"])
def test_alphas_go_by_expressions_as_pefts_do(said: str) -> None:
    from peft.utils.other import get_pattern_key

    from darkroom.engine.lora_file import _factor_by_metadata

    metadata = {"lora_alpha": 8, "alpha_pattern": {"down": 3, said: 2}}
    for path in ("mid_block.attentions.0.to_q", "mid_block.attentions.0.to_k", "mid_block.attentions.0.into_q"):
        alpha = metadata["alpha_pattern"].get(get_pattern_key(metadata["alpha_pattern"], path), 8)
        assert _factor_by_metadata(metadata, path, 4) == alpha / 4


def test_an_expression_that_is_none_is_refused_by_name() -> None:
    from darkroom import errors
    from darkroom.engine.lora_file import _factor_by_metadata

    with pytest.raises(errors.BadInput, match="alpha_pattern holds '\\(', no regular expression"):
        _factor_by_metadata({"lora_alpha": 8, "alpha_pattern": {"(": 1}}, "a.to_q", 4)
