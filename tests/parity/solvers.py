"""The noise schedulers that parity is shown for, each as a function that makes a fresh one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_UNCLIPPED: dict[str, Any] = {**_BETAS, "clip_sample": False}

DIFFUSION: dict[str, Callable[..., Any]] = {
    "ddim": partial(DDIMScheduler, **_UNCLIPPED, set_alpha_to_one=False),
    "ddpm": partial(DDPMScheduler, **_UNCLIPPED),
    "euler": partial(EulerDiscreteScheduler, **_BETAS),
    "euler-ancestral": partial(EulerAncestralDiscreteScheduler, **_BETAS),
    "dpm++2m": partial(DPMSolverMultistepScheduler, **_BETAS),
    "dpm++2m-karras": partial(DPMSolverMultistepScheduler, **_BETAS, use_karras_sigmas=True),
    "dpm++2m-sde": partial(DPMSolverMultistepScheduler, **_BETAS, algorithm_type="sde-dpmsolver++"),
    "unipc": partial(UniPCMultistepScheduler, **_BETAS),
    "lcm": partial(LCMScheduler, **_UNCLIPPED),
    "pndm": partial(PNDMScheduler, **_BETAS, skip_prk_steps=True),
    "heun": partial(HeunDiscreteScheduler, **_BETAS),
}

FLOW: dict[str, Callable[..., Any]] = {
    "flow-euler": partial(FlowMatchEulerDiscreteScheduler, shift=3.0),
    "flow-heun": partial(FlowMatchHeunDiscreteScheduler, shift=3.0),
    "flow-dpm++2m": partial(
        DPMSolverMultistepScheduler, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
    "flow-unipc": partial(
        UniPCMultistepScheduler, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
}
