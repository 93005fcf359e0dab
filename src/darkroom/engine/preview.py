"""Pictures of a request on its way: a cheap linear map from latents to RGB, or a real decode where none is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

if TYPE_CHECKING:
    from .handle import Handle
    from .served import Served

# Least-squares maps of one latent pixel to RGB in -1..1, rows are latent channels, by (channels, scaling factor).
RGB_FACTORS: dict[tuple[int, float], list[list[float]]] = {
    (4, 0.18215): [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]],
    (4, 0.13025): [[0.365, 0.423, 0.434], [-0.253, -0.004, 0.107], [0.108, 0.111, -0.036], [-0.317, -0.249, -0.219]],
}


def listen(served: Served, arguments: dict[str, Any], handle: Handle, every: int) -> None:
    """Have the call's step callback emit a preview each `every` steps, the user's own callback kept."""
    allowed = getattr(served.pipe, "_callback_tensor_inputs", ())
    if "callback_on_step_end" not in served.parameters or "latents" not in allowed:
        return
    own = arguments.get("callback_on_step_end")
    wanted = list(getattr(own, "tensor_inputs", None) or arguments.get("callback_on_step_end_tensor_inputs") or [])
    arguments["callback_on_step_end_tensor_inputs"] = [*wanted, *({"latents"} - set(wanted))]
    arguments["callback_on_step_end"] = _callback(own, arguments, handle, every)


def _callback(own: Any, arguments: dict[str, Any], handle: Handle, every: int) -> Callable[..., dict[str, Any]]:
    def on_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        answer = own(pipe, step, timestep, tensors) if own is not None else {}
        if (step + 1) % every == 0:
            picture = picture_of(pipe, tensors["latents"], arguments)
            if picture is not None:
                handle.emit("preview", step=step + 1, image=picture)
        return answer

    return on_step_end


def picture_of(pipe: Any, latents: torch.Tensor, arguments: dict[str, Any]) -> Image.Image | None:
    """The first image's latents as a small RGB picture; None for latents that are no single picture."""
    latents = _unpacked(pipe, latents[:1], arguments)
    if latents.dim() != 4 or not hasattr(getattr(getattr(pipe, "vae", None), "config", None), "scaling_factor"):
        return None
    factors = _factors(pipe, latents.shape[1])
    rgb = _decoded(pipe, latents) if factors is None else torch.einsum("chw,cr->rhw", latents[0].float(), factors)
    pixels = ((rgb.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _unpacked(pipe: Any, latents: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    """Flux and kin keep latents as a sequence of 2x2 patches."""
    if latents.dim() != 3 or not (hasattr(pipe, "_unpack_latents") and hasattr(pipe, "default_sample_size")):
        return latents
    size = pipe.default_sample_size * pipe.vae_scale_factor
    height, width = arguments.get("height") or size, arguments.get("width") or size
    unpacked: torch.Tensor = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    return unpacked


def _factors(pipe: Any, channels: int) -> torch.Tensor | None:
    own = getattr(pipe, "latent_rgb_factors", None)
    known = own if own is not None else RGB_FACTORS.get((channels, float(pipe.vae.config.scaling_factor)))
    return None if known is None or len(known) != channels else torch.tensor(known, device=pipe.vae.device)


def _decoded(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    config = pipe.vae.config
    scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    decoded: torch.Tensor = pipe.vae.decode(scaled.to(next(pipe.vae.parameters()).dtype), return_dict=False)[0]
    return decoded[0]
