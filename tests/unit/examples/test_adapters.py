"""The recipe of the adapters that ship: its drawn styles, its data, the arithmetic of its steps, and its files."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from PIL import Image
from safetensors import safe_open

from examples.adapters import styled_pool
from examples.adapters.evaluate import colours_of, overlap
from examples.adapters.filters import INK, PAPER, RUST, STYLES
from examples.adapters.layers import ADAPTERS, TURBO_LAYERS, Layers, add_layers, load_bundled, save_layers
from examples.adapters.rotation import STEPS, find_velocity, step_angle, take_ddim_step, turbo_times
from examples.adapters.styled_pool import StyledPool, plan_shards, shard_path
from examples.adapters.trajectories import FINE_STEPS, GUIDANCE, follow_teacher, plan_trajectories
from examples.adapters.turbo_stage import Student
from examples.landscapes.draw import draw_scene
from examples.landscapes.networks import build_denoiser, build_schedule
from examples.landscapes.scene import sample_scene, scene_labels


def drawn(seed: int, size: int = 96) -> Image.Image:
    rng = random.Random(seed)
    return draw_scene(sample_scene(rng), size, size, rng)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_keeps_the_size_and_follows_from_the_drawing_alone(style: str) -> None:
    first, again = STYLES[style](drawn(1)), STYLES[style](drawn(1))
    assert first.size == (96, 96)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != STYLES[style](drawn(2)).tobytes()


def test_neon_is_dark_with_saturated_lights() -> None:
    pixels = np.stack([np.asarray(STYLES["neon"](drawn(seed, 192)), np.float32) / 255 for seed in range(8)])
    spread = pixels.max(-1) - pixels.min(-1)
    assert np.median(pixels.mean(-1)) < 0.25
    assert (spread > 0.6).mean() > 0.05


def test_a_woodcut_is_mostly_paper_ink_and_rust() -> None:
    inks = np.array([PAPER, INK, RUST])
    for seed in range(4):
        pixels = np.asarray(STYLES["woodcut"](drawn(seed, 192)), np.float32) / 255
        nearest = np.linalg.norm(pixels[:, :, None] - inks, axis=-1).min(-1)
        assert (nearest < 0.05).mean() > 0.4
    assert pixels.mean() > 0.3


def test_styles_are_far_apart_in_colour() -> None:
    plain = [drawn(seed) for seed in range(6)]
    seen = [colours_of(plain), *(colours_of([make(picture) for picture in plain]) for make in STYLES.values())]
    assert overlap(seen[0], seen[0]) == pytest.approx(1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert overlap(seen[i], seen[j]) < 0.4


def test_no_seed_serves_two_shards() -> None:
    planned = [
        *(seed for style in STYLES for _, seed in plan_shards(style)),
        *(seed for _, seed in plan_trajectories()),
    ]
    assert len(set(planned)) == len(planned)


def test_the_pool_hands_out_latents_with_captions_of_their_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(styled_pool, "DROPOUT", 0.5)
    (tmp_path / "pool").mkdir()
    labels = torch.tensor([scene_labels(sample_scene(random.Random(seed))) for seed in range(4)], dtype=torch.uint8)
    for size, seed in plan_shards("neon"):
        latents = torch.full((4, 12, size[1] // 16, size[0] // 16), 0.5, dtype=torch.float16)
        torch.save({"latents": latents, "labels": labels}, shard_path(tmp_path, "neon", size, seed))
    pool = StyledPool("neon", tmp_path, 1)
    texts = []
    for _ in range(8):
        latents, found = pool.draw()
        assert latents.dtype == torch.float32
        assert len(latents) == len(found)
        texts += found
    assert 0.3 < sum(text == "" for text in texts) / len(texts) < 0.7


def test_a_turbo_step_is_diffusers_own_ddim_step() -> None:
    schedule: DDIMScheduler = build_schedule()
    times = turbo_times(schedule)
    assert times == [999, 749, 499, 249, -1]
    source = torch.Generator().manual_seed(1)
    state, velocity = (torch.randn(2, 12, 4, 4, generator=source) for _ in range(2))
    for start, end in pairwise(times):
        angle = step_angle(schedule, start, end)
        ours, theirs = take_ddim_step(state, velocity, angle), schedule.step(velocity, start, state).prev_sample
        assert torch.allclose(ours, theirs, atol=1e-5)
        assert torch.allclose(find_velocity(state, ours, angle), velocity, atol=1e-5)
    assert sum(step_angle(schedule, *pair) for pair in pairwise(times)) == pytest.approx(math.pi / 2, abs=1e-3)


def test_the_record_is_the_guided_teachers_own_course() -> None:
    pipeline = load_bundled()
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    noise = torch.randn(1, 12, 4, 4, generator=torch.Generator().manual_seed(1))
    states = follow_teacher(pipeline, ["a lake at night"], noise.clone())
    wanted = pipeline(
        ["a lake at night"],
        height=64,
        width=64,
        latents=noise,
        num_inference_steps=FINE_STEPS,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images
    assert states.shape == (1, STEPS + 1, 12, 4, 4)
    assert torch.equal(states[:, 0], noise)
    assert torch.allclose(states[:, -1], wanted, atol=1e-5)
    assert {999, 749, 499, 249} <= set(pipeline.scheduler.timesteps.tolist())


@torch.no_grad()
def test_a_student_that_already_walks_the_record_has_nothing_to_learn() -> None:
    student = Student(build_denoiser().eval(), build_schedule(), torch.ones(1, 12, 1, 1))
    words, states = torch.randn(2, 48, 128), [torch.randn(2, 12, 4, 4)]
    for time, angle in zip(student.times, student.angles, strict=False):
        states.append(take_ddim_step(states[-1], student.predict(states[-1], time, words), angle))
    walked = torch.stack(states, dim=1)
    assert student.alone_loss(walked, words) < 1e-6
    assert student.together_loss(walked, words) < 1e-6
    walked[:, 1:] += 0.5
    assert student.alone_loss(walked, words) > 1e-2
    assert student.together_loss(walked, words) > 1e-2


def test_fresh_layers_change_nothing_and_are_saved_with_their_alpha(tmp_path: Path) -> None:
    model, layers = build_denoiser(), Layers(2, TURBO_LAYERS)
    state, words = torch.randn(1, 12, 8, 8), torch.randn(1, 48, 128)
    with torch.no_grad():
        before = model(state, 500, encoder_hidden_states=words).sample
        weights = add_layers(model, layers)
        assert torch.equal(model(state, 500, encoder_hidden_states=words).sample, before)
    assert all("lora" in name for name, weight in model.named_parameters() if weight.requires_grad)
    with safe_open(save_layers(model, layers, tmp_path), "pt") as file:
        names = list(file.keys())
        assert len(names) == len(weights)
        assert all(name.startswith("unet.") for name in names)
        assert '"unet.lora_alpha": 2' in file.metadata()["lora_adapter_metadata"]


@pytest.mark.parametrize(("name", "most_bytes"), [("neon", 1_000_000), ("woodcut", 1_000_000), ("turbo", 4_000_000)])
def test_a_shipped_adapter_is_small_has_a_card_and_fits_the_denoiser(name: str, most_bytes: int) -> None:
    file = ADAPTERS / name / "pytorch_lora_weights.safetensors"
    assert file.stat().st_size <= most_bytes
    assert "apache-2.0" in (ADAPTERS / name / "README.md").read_text()
    modules = {f"unet.{name}" for name, _ in build_denoiser().named_modules()}
    with safe_open(file, "pt") as weights:
        for key in weights.keys():  # noqa: SIM118 - not a mapping
            assert key.split(".lora")[0] in modules
            assert torch.isfinite(weights.get_tensor(key).float()).all()
