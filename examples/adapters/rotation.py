"""The arithmetic of one deterministic (DDIM) step with velocity predictions, which is a rotation.

With x = alpha * picture + sigma * noise and v = alpha * noise - sigma * picture (Salimans and Ho, 2022), the step from
t to s is x_s = cos(angle) * x_t - sin(angle) * v, where angle = phi_t - phi_s and (alpha, sigma) = (cos phi, sin phi).
"""

from __future__ import annotations

import math

from diffusers import DDIMScheduler
from torch import Tensor

STEPS = 4


def turbo_times(schedule: DDIMScheduler, steps: int = STEPS) -> list[int]:
    """The timesteps that a sampler of so many steps visits, noisiest first, and -1 for the finished picture."""
    schedule.set_timesteps(steps)
    return [*(int(t) for t in schedule.timesteps), -1]


def step_angle(schedule: DDIMScheduler, start: int, end: int) -> float:
    """How far the step from one timestep to a less noisy one turns, in radians; -1 is the finished picture."""
    return _angle(schedule, start) - _angle(schedule, end)


def take_ddim_step(state: Tensor, velocity: Tensor, angle: float) -> Tensor:
    """The state after turning by the angle."""
    return math.cos(angle) * state - math.sin(angle) * velocity


def find_velocity(state: Tensor, after: Tensor, angle: float) -> Tensor:
    """The velocity with which a step of this angle ends exactly in `after`."""
    return (math.cos(angle) * state - after) / math.sin(angle)


def _angle(schedule: DDIMScheduler, time: int) -> float:
    kept = 1.0 if time < 0 else float(schedule.alphas_cumprod[time])
    return math.acos(math.sqrt(kept))
