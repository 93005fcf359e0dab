"""The recipe of the model that ships: its drawings, its captions, what reads them back, and the map of its previews."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from examples.landscapes import checker
from examples.landscapes.caption import write_caption
from examples.landscapes.card import write_card
from examples.landscapes.draw import draw_scene
from examples.landscapes.export_stage import BUNDLED, PRESETS
from examples.landscapes.networks import TEXT_LENGTH
from examples.landscapes.preview_stage import KEY, latents_and_colours
from examples.landscapes.run import load_checkpoint
from examples.landscapes.scene import ATTRIBUTES, sample_scene, scene_labels

SEEDS = range(11_000_000, 11_000_024)


def drawn(seed: int) -> bytes:
    rng = random.Random(seed)
    return draw_scene(sample_scene(rng), 64, 64, rng).tobytes()


def test_a_drawing_follows_from_its_seed() -> None:
    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) == 4


def test_the_card_that_ships_tells_the_weights_presets_and_sizes_that_ship(tmp_path: Path) -> None:
    settings = {"count": "1", "steps": "1", "solver": "ddim", "guidance": "1"}
    write_card("", settings, tmp_path)
    shipped = (BUNDLED / "README.md").read_text(encoding="utf-8")
    written = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert told_of(shipped) == told_of(written)
    assert json.loads((BUNDLED / "presets.json").read_text(encoding="utf-8")) == PRESETS
    assert all(f"`{name}`: " in told_of(shipped) for name in PRESETS["presets"])


def told_of(card: str) -> str:
    """Revision, sizes and presets, as a card says them."""
    return card[card.index("- **Revision**") : card.index("- **Training data**")]


def test_captions_are_true_and_the_models_tokenizer_holds_them() -> None:
    words = CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer", local_files_only=True)
    for seed in range(100):
        rng = random.Random(seed)
        scene = sample_scene(rng)
        caption = write_caption(scene, rng)
        ids = words(caption.text).input_ids
        assert 2 < len(ids) <= TEXT_LENGTH
        own = dict(zip(ATTRIBUTES, scene_labels(scene), strict=True))
        for name, allowed in caption.mentions.items():
            assert ATTRIBUTES[name][own[name]] in allowed, caption


def test_the_checker_reads_drawings() -> None:
    pictures, wanted = [], []
    for seed in SEEDS:
        rng = random.Random(seed)
        scene = sample_scene(rng)
        pictures.append(draw_scene(scene, 192, 192, rng))
        wanted.append(scene_labels(scene))
    read = checker.read_attributes(checker.load_checker(), pictures)
    right = [
        ATTRIBUTES[name][label] == found[name]
        for labels, found in zip(wanted, read, strict=True)
        for name, label in zip(ATTRIBUTES, labels, strict=True)
    ]
    assert sum(right) / len(right) >= 0.95


def test_training_the_checker_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (torch.zeros(4, 3, checker.SIDE, checker.SIDE, dtype=torch.uint8), torch.zeros(4, len(ATTRIBUTES)).long())
    monkeypatch.setenv("DARKROOM_LANDSCAPES", str(tmp_path))
    monkeypatch.setattr(checker, "WEIGHTS", tmp_path / "checker.safetensors")
    monkeypatch.setattr(checker, "draw_labelled", lambda seed, count: data)
    monkeypatch.setattr("examples.landscapes.checker_pool.round_trips", lambda: data)
    monkeypatch.setattr(checker, "BATCH", 2)
    steps = []
    for budget_s in (0.2, 0.2, 0.4):
        checker.train_checker(budget_s)
        state: Any = load_checkpoint(tmp_path / "checker.pt", torch.device("cpu"))
        steps.append((state["step"], state["spent_s"]))
    assert steps[0] == steps[1], "its budget was spent"
    assert steps[2][0] > steps[1][0]
    assert steps[2][1] < 0.4 + steps[1][1], "it began from nothing"


def test_the_preview_map_shows_what_a_decode_shows() -> None:
    """On drawings that it was not fitted to."""
    model = AutoencoderKL.from_pretrained(BUNDLED / "vae", torch_dtype=torch.float32)
    latents, colours = latents_and_colours(model, SEEDS[0], 6)
    mapped = latents @ torch.tensor(model.config[KEY])
    together = torch.stack([mapped.flatten(), colours.flatten()])
    assert torch.corrcoef(together)[0, 1] > 0.95
    assert (mapped - colours).abs().mean() < 0.1
