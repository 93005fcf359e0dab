"""Solvers by name: which fit a model's family, how many steps they can take, and diffusers' scheduler for each.

The table knows class names only, so that a request can be judged without torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..errors import UnknownSolver
from .layout import DIFFUSION, FLOW, family_of

MAX_STEPS = 1000
# In the configuration of schedulers that are EDM's (arXiv 2206.00364), whose models no other can solve for.
SIGMAS_OF_ITS_OWN = "sigma_data"
NOISE_SETTINGS = (
    "rescale_betas_zero_snr",
    "trained_betas",
    "num_train_timesteps",
    "beta_schedule",
    "beta_start",
    "beta_end",
)


@dataclass(frozen=True)
class Solver:
    """A scheduler class and what is set on top of the model's own configuration.

    `looks_ahead` marks solvers that divide by the distance to the next timestep. `most_steps` is where rounding makes
    two neighbours one. `most_noise` is the sigma that a model's schedule may end in: above it, the first step of
    these solvers in diffusers is lost to rounding (NaN, or an index past the end).
    """

    scheduler: str
    family: str = DIFFUSION
    settings: Mapping[str, Any] = field(default_factory=dict)
    looks_ahead: bool = False
    most_steps: int = MAX_STEPS
    most_noise: float = math.inf


SOLVERS: dict[str, Solver] = {
    "ddim": Solver("DDIMScheduler"),
    "ddpm": Solver("DDPMScheduler"),
    "euler": Solver("EulerDiscreteScheduler"),
    "euler-a": Solver("EulerAncestralDiscreteScheduler", most_noise=1000),
    "dpm++2m": Solver("DPMSolverMultistepScheduler", settings={"use_karras_sigmas": False}, looks_ahead=True),
    "dpm++2m-karras": Solver(
        "DPMSolverMultistepScheduler",
        settings={"use_karras_sigmas": True},
        looks_ahead=True,
        most_steps=500,
        most_noise=1000,
    ),
    "unipc": Solver("UniPCMultistepScheduler", looks_ahead=True),
    "lcm": Solver("LCMScheduler"),
    "pndm": Solver("PNDMScheduler", settings={"skip_prk_steps": True}),  # with them, four steps are the fewest
    "heun": Solver("HeunDiscreteScheduler"),
    "flow-euler": Solver("FlowMatchEulerDiscreteScheduler", FLOW),
    "flow-heun": Solver("FlowMatchHeunDiscreteScheduler", FLOW),
}


def offered(scheduler: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the solvers that fit a model, by its own scheduler's configuration; none for one with its own."""
    if SIGMAS_OF_ITS_OWN in scheduler:
        return ()
    family = family_of(scheduler)
    noise = final_noise(scheduler) if family == DIFFUSION else 1.0
    return tuple(name for name, solver in SOLVERS.items() if solver.family == family and noise <= solver.most_noise)


def check(name: str, scheduler: Mapping[str, Any], model: str) -> None:
    """Raise `UnknownSolver` unless the solver fits the model."""
    allowed = offered(scheduler)
    if name in allowed:
        return
    family = family_of(scheduler)
    if SIGMAS_OF_ITS_OWN in scheduler:
        raise UnknownSolver(f"{model} has no solver to choose: its own is the only one that fits", field="solver")
    if name not in SOLVERS:
        what = "is no solver"
    elif SOLVERS[name].family != family:
        what = f"does not fit {model}, a {family} model"
    else:
        what = f"does not fit {model}, whose noise schedule ends in almost nothing but noise"
    raise UnknownSolver(f"{name!r} {what}; {model} takes: {', '.join(allowed)}", field="solver")


def final_noise(scheduler: Mapping[str, Any]) -> float:
    """Sigma at the last timestep that a diffusion model was trained on; infinite at zero terminal SNR."""
    return _final_noise(json.dumps({name: scheduler.get(name) for name in NOISE_SETTINGS}))


@cache  # a thousand products, asked for at every request's door
def _final_noise(said: str) -> float:
    scheduler = {name: value for name, value in json.loads(said).items() if value is not None}
    if scheduler.get("rescale_betas_zero_snr"):
        return math.inf
    kept = math.prod(1.0 - beta for beta in scheduler.get("trained_betas") or _betas(scheduler))
    return math.sqrt((1.0 - kept) / kept) if kept > 0 else math.inf


def _betas(scheduler: Mapping[str, Any]) -> list[float]:
    """Diffusers' named noise schedules; one that is not known here counts as linear."""
    count = int(scheduler.get("num_train_timesteps", MAX_STEPS))
    if scheduler.get("beta_schedule") == "squaredcos_cap_v2":
        bar = [math.cos((i / count + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(count + 1)]
        return [min(1.0 - bar[i + 1] / bar[i], 0.999) for i in range(count)]
    power = 0.5 if scheduler.get("beta_schedule") == "scaled_linear" else 1.0
    first, last = float(scheduler.get("beta_start", 0.0001)) ** power, float(scheduler.get("beta_end", 0.02)) ** power
    return [(first + (last - first) * i / max(1, count - 1)) ** (1 / power) for i in range(count)]


def max_steps(name: str | None, scheduler: Mapping[str, Any]) -> int:
    """The most steps that a solver (None: the model's own) can take over the timesteps the model was trained on."""
    trained = int(scheduler.get("num_train_timesteps", MAX_STEPS))
    solver = SOLVERS.get(name or "")
    class_name = solver.scheduler if solver else str(scheduler.get("_class_name", ""))
    if class_name == "LCMScheduler":
        return int(scheduler.get("original_inference_steps", 50))
    if family_of(scheduler) == FLOW:
        return MAX_STEPS
    spacing = scheduler.get("timestep_spacing")
    offset = 0 if spacing in ("trailing", "linspace") else int(scheduler.get("steps_offset", 0))
    looks_ahead = any(other.looks_ahead for other in SOLVERS.values() if other.scheduler == class_name)
    most = trained - offset - int(looks_ahead and spacing != "trailing")
    return min(most, solver.most_steps if solver else MAX_STEPS)


def build(name: str | None, scheduler: Any, model: str) -> Any:
    """A fresh diffusers scheduler of that name from the pipeline's own one's configuration; None: that one itself."""
    if name is None:
        return scheduler
    config = {"_class_name": type(scheduler).__name__, **scheduler.config}
    check(name, config, model)
    import diffusers

    solver = SOLVERS[name]
    said: dict[str, Any] = {}
    if solver.family == FLOW and "shift" not in config and "flow_shift" in config:
        said["shift"] = config["flow_shift"]  # the multistep solvers' name for the same number
    return getattr(diffusers, solver.scheduler).from_config(config, **said, **solver.settings)
