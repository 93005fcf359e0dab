"""Solvers by name: every one that is offered runs, at the fewest steps and at the most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler

from darkroom.errors import UnknownSolver
from darkroom.models import solvers
from darkroom.models.layout import FLOW

CONFIGS = {
    "stable-diffusion": {"beta_schedule": "scaled_linear", "steps_offset": 1, "set_alpha_to_one": False},
    "no-offset": {"timestep_spacing": "leading"},
    "landscapes": {
        "beta_schedule": "squaredcos_cap_v2",
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
        "steps_offset": 1,
    },
    "linspace": {"timestep_spacing": "linspace"},
    "zero-snr": {
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
    },
}


def run(scheduler: Any, steps: int) -> torch.Tensor:
    """A whole loop with a made-up model."""
    generator = torch.Generator().manual_seed(0)
    scheduler.set_timesteps(steps)
    sample = torch.randn((1, 4, 4, 4), generator=generator) * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(sample, timestep) if hasattr(scheduler, "scale_model_input") else sample
        noise = 0.9 * seen + 0.1 * torch.randn(sample.shape, generator=generator)
        sample = scheduler.step(noise, timestep, sample, return_dict=False)[0]
    return sample


def pairs(configs: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, config) for config in configs for name in solvers.offered(CONFIGS[config])]


@pytest.mark.parametrize(("name", "config"), pairs(CONFIGS))
def test_a_solver_runs_from_one_step_on(name: str, config: str) -> None:
    own = DDIMScheduler(clip_sample=False, **CONFIGS[config])
    for steps in (1, 2, 3, 4, 25):
        assert torch.isfinite(run(solvers.build(name, own, "m"), steps)).all(), steps


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), pairs(["stable-diffusion", "landscapes", "zero-snr"]))
def test_a_solver_runs_at_the_most_steps_that_are_allowed(name: str, config: str) -> None:
    own = DDIMScheduler(clip_sample=False, **CONFIGS[config])
    assert torch.isfinite(run(solvers.build(name, own, "m"), solvers.max_steps(name, own.config))).all()


@pytest.mark.parametrize("name", ["flow-euler", "flow-heun"])
def test_a_flow_solver_runs_at_its_fewest_and_at_its_most_steps(name: str) -> None:
    own = FlowMatchEulerDiscreteScheduler(shift=3.0)
    for steps in (1, 2, 25, solvers.max_steps(name, own.config)):
        built = solvers.build(name, own, "m")
        assert built.config.shift == 3.0
        assert torch.isfinite(run(built, steps)).all()


@pytest.mark.parametrize("config", CONFIGS)
def test_final_noise_is_that_of_diffusers(config: str) -> None:
    kept = DDIMScheduler(**CONFIGS[config]).alphas_cumprod[-1].item()
    expected = ((1 - kept) / kept) ** 0.5 if kept > 0 else float("inf")
    assert solvers.final_noise(CONFIGS[config]) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", ["euler-a", "dpm++2m-karras"])
def test_a_solver_that_loses_its_first_step_to_rounding_is_refused(name: str) -> None:
    with pytest.raises(UnknownSolver, match=r"almost nothing but noise; m takes: ddim, ddpm, euler, dpm\+\+2m, unipc"):
        solvers.build(name, DDIMScheduler(**CONFIGS["landscapes"]), "m")


@pytest.mark.parametrize("name", solvers.SOLVERS)
def test_a_solver_is_built_from_the_models_own_configuration(name: str) -> None:
    solver = solvers.SOLVERS[name]
    own = FlowMatchEulerDiscreteScheduler(shift=5.0) if solver.family == FLOW else DDIMScheduler(beta_end=0.0123)
    built = solvers.build(name, own, "m")
    assert type(built).__name__ == solver.scheduler
    assert (
        built.config["shift" if solver.family == FLOW else "beta_end"]
        == own.config["shift" if solver.family == FLOW else "beta_end"]
    )


def test_none_is_the_models_own_solver() -> None:
    own = DDIMScheduler()
    assert solvers.build(None, own, "m") is own


def test_karras_is_what_the_name_says_whatever_the_model_says() -> None:
    own = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    assert not solvers.build("dpm++2m", own, "m").config.use_karras_sigmas
    assert solvers.build("dpm++2m-karras", DPMSolverMultistepScheduler(), "m").config.use_karras_sigmas


def test_pndm_takes_fewer_steps_than_its_warm_up() -> None:
    assert solvers.build("pndm", PNDMScheduler(skip_prk_steps=False), "m").config.skip_prk_steps


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("euler", FlowMatchEulerDiscreteScheduler()),
        ("dpm++2m", DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)),
        ("flow-euler", DDIMScheduler()),
        ("nonsense", DDIMScheduler()),
    ],
)
def test_a_solver_of_the_other_family_is_refused_with_those_that_fit(name: str, own: Any) -> None:
    with pytest.raises(UnknownSolver, match=r"m takes: ") as caught:
        solvers.build(name, own, "m")
    assert caught.value.field == "solver"


def test_flow_shift_is_carried_over_under_its_other_name() -> None:
    own = DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    assert solvers.build("flow-euler", own, "m").config.shift == 3.0
