"""Four steps without guidance: the student's steps are fitted onto the recorded course of the guided teacher.

First each step alone, from the teacher's states (progressive distillation, Salimans and Ho 2022, with the guidance
folded in as by Meng et al. 2023, gone to four steps at once); then all four in a row from the noise, so that each
learns to start from where the one before really ends.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from ..landscapes.importance import weigh_channels
from ..landscapes.run import pick_device
from .layers import ADAPTERS, TURBO_LAYERS, Layers, add_layers, load_bundled
from .rotation import STEPS, find_velocity, step_angle, take_ddim_step, turbo_times
from .style_stage import open_course, read_captions, take_step, write_adapter
from .trajectories import TrajectoryPool, record_trajectories

LAYERS = Layers(16, TURBO_LAYERS)
PEAK_RATE = 2e-3
ALONE = 0.5  # the share of the budget in which each step is fitted by itself
ROWS_ALONE, ROWS_TOGETHER = 8, 3


class Student:
    """The denoiser with its layers, and the four steps that it takes."""

    def __init__(self, model: UNet2DConditionModel, schedule: DDIMScheduler, balance: Tensor) -> None:
        self.model, self.balance = model, balance
        self.times = turbo_times(schedule)
        self.angles = [step_angle(schedule, *pair) for pair in pairwise(self.times)]

    def predict(self, state: Tensor, times: Tensor | int, words: Tensor) -> Tensor:
        """The velocity at a state, without guidance."""
        made: Tensor = self.model(state, times, encoder_hidden_states=words).sample
        return made

    def alone_loss(self, states: Tensor, words: Tensor) -> Tensor:
        """Each row at a random step from the teacher's own state; (n, STEPS + 1, ...) states."""
        steps = torch.randint(STEPS, (len(states),))
        rows = torch.arange(len(states))
        wanted = torch.stack(
            [find_velocity(states[row, k], states[row, k + 1], self.angles[k]) for row, k in enumerate(steps.tolist())]
        )
        times = torch.tensor(self.times)[steps].to(states.device)
        return self._error(self.predict(states[rows, steps], times, words), wanted)

    def together_loss(self, states: Tensor, words: Tensor) -> Tensor:
        """All four steps in a row from the noise, each held against the teacher's state after it."""
        state, total = states[:, 0], states.new_zeros(())
        for k, angle in enumerate(self.angles):
            velocity = self.predict(state, self.times[k], words)
            total = total + self._error(velocity, find_velocity(state, states[:, k + 1], angle))
            state = take_ddim_step(state, velocity, angle)
        return total / STEPS

    def _error(self, made: Tensor, wanted: Tensor) -> Tensor:
        return (self.balance * (made - wanted).square()).mean()


def train_turbo(budget_s: float, folder: Path, out: Path = ADAPTERS) -> None:
    """Train for a number of seconds of work, or go on where the last run stopped, and save what there is."""
    pipeline = load_bundled().to(pick_device())
    record_trajectories(pipeline, folder)
    weights = add_layers(pipeline.unet, LAYERS)
    course = open_course("turbo", weights, PEAK_RATE, folder)
    pool = TrajectoryPool(folder, 16_000_000 + course.step)
    sample = pool.draw(12)[0][:, -1].to(pipeline.device)
    student = Student(pipeline.unet, pipeline.scheduler, weigh_channels(pipeline.vae, sample))
    course.begin(budget_s)
    while course.prepare():
        alone = course.share < ALONE
        states, texts = pool.draw(ROWS_ALONE if alone else ROWS_TOGETHER)
        words = read_captions(pipeline, texts)
        loss = (student.alone_loss if alone else student.together_loss)(states.to(pipeline.device), words)
        course.record(take_step(loss, weights, course.optimiser))
    write_adapter(pipeline, LAYERS, weights, course, out / "turbo")
