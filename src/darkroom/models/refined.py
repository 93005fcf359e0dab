"""A base model and its refiner as one pipeline: the base's latents are handed over in the middle of the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STEPS = 50  # diffusers' own


class RefinedPipeline:
    """Two pipelines of diffusers, run one behind the other in one request; the engine finds both inside.

    `base` makes pictures from words, `refiner` goes on from latents.
    """

    def __init__(self, base: Any, refiner: Any) -> None:
        self.base = base
        self.refiner = refiner

    @property
    def components(self) -> dict[str, Any]:
        """Of both."""
        pairs = (("base", self.base), ("refiner", self.refiner))
        return {f"{name}_{part}": value for name, pipe in pairs for part, value in pipe.components.items()}

    @property
    def scheduler(self) -> Any:
        """The base's."""
        return self.base.scheduler

    @property
    def _callback_tensor_inputs(self) -> list[str]:
        return list(self.base._callback_tensor_inputs)

    def steps_of(self, arguments: Mapping[str, Any]) -> int:
        """Of both together, before either has begun."""
        return int(arguments.get("num_inference_steps", STEPS))

    def set_progress_bar_config(self, **said: Any) -> None:
        """Of both, as diffusers has it."""
        for pipe in (self.base, self.refiner):
            pipe.set_progress_bar_config(**said)

    def __call__(
        self,
        prompt: str | list[str],
        negative_prompt: str | list[str] | None = None,
        width: int | None = None,
        height: int | None = None,
        denoising_end: float = 0.8,
        num_inference_steps: int = STEPS,
        guidance_scale: float = 5.0,
        num_images_per_prompt: int = 1,
        generator: Any = None,
        output_type: str = "pil",
        callback_on_step_end: Any = None,
        callback_on_step_end_tensor_inputs: list[str] | None = None,
    ) -> Any:
        """What the refiner answers; arguments are diffusers', steps are those of both together."""
        shared = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "num_images_per_prompt": num_images_per_prompt,
            "generator": generator,
            "callback_on_step_end": callback_on_step_end,
            "callback_on_step_end_tensor_inputs": callback_on_step_end_tensor_inputs or ["latents"],
        }
        size = {"width": width, "height": height}
        begun = self.base(**shared, **size, denoising_end=denoising_end, output_type="latent").images
        return self.refiner(**shared, image=begun, denoising_start=denoising_end, output_type=output_type)
