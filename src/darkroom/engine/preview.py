"""Pictures of a request on its way: a cheap linear map from latents to RGB, or a real decode where none is known."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

if TYPE_CHECKING:
    from .handle import Handle
    from .served import Served

log = logging.getLogger(__name__)

# Least-squares maps of one latent pixel to RGB in -1..1, by (channels, scaling factor): a row a latent channel, and
# with some one more that is added to every pixel. An autoencoder that brings a map of its own has it in its
# configuration, as OWN_FACTORS.
RGB_FACTORS: dict[tuple[int, float], list[list[float]]] = {
    (4, 0.18215): [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]],
    (4, 0.13025): [[0.365, 0.423, 0.434], [-0.253, -0.004, 0.107], [0.108, 0.111, -0.036], [-0.317, -0.249, -0.219]],
    # Stable Diffusion 3 and Flux, as ComfyUI publishes them (comfy/latent_formats.py); the last row is their bias.
    (16, 1.5305): [
        [-0.0922, -0.0175, 0.0749],
        [0.0311, 0.0633, 0.0954],
        [0.1994, 0.0927, 0.0458],
        [0.0856, 0.0339, 0.0902],
        [0.0587, 0.0272, -0.0496],
        [-0.0006, 0.1104, 0.0309],
        [0.0978, 0.0306, 0.0427],
        [-0.0042, 0.1038, 0.1358],
        [-0.0194, 0.002, 0.0669],
        [-0.0488, 0.013, -0.0268],
        [0.0922, 0.0988, 0.0951],
        [-0.0278, 0.0524, -0.0542],
        [0.0332, 0.0456, 0.0895],
        [-0.0069, -0.003, -0.081],
        [-0.0596, -0.0465, -0.0293],
        [-0.1448, -0.1463, -0.1189],
        [0.2394, 0.2135, 0.1925],
    ],
    (16, 0.3611): [
        [-0.0346, 0.0244, 0.0681],
        [0.0034, 0.021, 0.0687],
        [0.0275, -0.0668, -0.0433],
        [-0.0174, 0.016, 0.0617],
        [0.0859, 0.0721, 0.0329],
        [0.0004, 0.0383, 0.0115],
        [0.0405, 0.0861, 0.0915],
        [-0.0236, -0.0185, -0.0259],
        [-0.0245, 0.025, 0.118],
        [0.1008, 0.0755, -0.0421],
        [-0.0515, 0.0201, 0.0011],
        [0.0428, -0.0012, -0.0036],
        [0.0817, 0.0765, 0.0749],
        [-0.1264, -0.0522, -0.1103],
        [-0.028, -0.0881, -0.0499],
        [-0.1262, -0.0982, -0.0778],
        [-0.0329, -0.0718, -0.0851],
    ],
}


# Private to diffusers, which keeps it and passes it by; from a setting without the underscore it would warn.
OWN_FACTORS = "_latent_rgb_factors"


def listen(
    served: Served, arguments: dict[str, Any], handle: Handle, every: int, is_silent: Callable[[], bool]
) -> None:
    """Have the call's step callback emit a preview each `every` steps, the user's own callback kept.

    None while `is_silent`: those of steps that were taken before.
    """
    allowed = getattr(served.pipe, "_callback_tensor_inputs", ())
    if "callback_on_step_end" not in served.parameters or "latents" not in allowed:
        return
    own = arguments.get("callback_on_step_end")
    wanted = list(getattr(own, "tensor_inputs", None) or arguments.get("callback_on_step_end_tensor_inputs") or [])
    arguments["callback_on_step_end_tensor_inputs"] = [*wanted, *({"latents"} - set(wanted))]
    arguments["callback_on_step_end"] = _callback(own, arguments, handle, every, is_silent)


def _callback(
    own: Any, arguments: dict[str, Any], handle: Handle, every: int, is_silent: Callable[[], bool]
) -> Callable[..., dict[str, Any]]:
    def on_step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        answer = own(pipe, step, timestep, tensors) if own is not None else {}
        if (step + 1) % every == 0 and not is_silent():
            picture = _picture_if_any(pipe, tensors["latents"], arguments)
            if picture is not None:
                handle.emit("preview", step=step + 1, image=picture)
        return answer

    return on_step_end


def _picture_if_any(pipe: Any, latents: torch.Tensor, arguments: dict[str, Any]) -> Image.Image | None:
    try:
        return picture_of(pipe, latents, arguments)
    except Exception:  # budget: whatever a pipeline keeps in its latents, a picture by the way must not end its request
        log.warning("%s: no preview", type(pipe).__name__, exc_info=True)
        return None


def picture_of(pipe: Any, latents: torch.Tensor, arguments: dict[str, Any]) -> Image.Image | None:
    """The first image's latents as a small RGB picture; None for latents that are no single picture."""
    latents = _unpacked(pipe, latents[:1], arguments)
    if latents.dim() != 4 or not _makes_pictures(pipe):
        return None
    factors = _factors(pipe, latents.shape[1])
    rgb = _decoded(pipe, latents) if factors is None else _mapped(latents[0].float(), factors)
    if rgb.shape[0] != 3:
        return None
    pixels = (rgb.float() * 127.5 + 127.5).clamp(0, 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _makes_pictures(pipe: Any) -> bool:
    config = getattr(getattr(pipe, "vae", None), "config", None)
    return hasattr(config, "scaling_factor") and getattr(config, "out_channels", 3) == 3


def _unpacked(pipe: Any, latents: torch.Tensor, arguments: dict[str, Any]) -> torch.Tensor:
    """Flux and kin keep latents as a sequence of 2x2 patches; left packed where the size is not what was asked for.

    Pipelines that edit a picture take the size from that.
    """
    if latents.dim() != 3 or not (hasattr(pipe, "_unpack_latents") and hasattr(pipe, "default_sample_size")):
        return latents
    size = pipe.default_sample_size * pipe.vae_scale_factor
    height, width = arguments.get("height") or size, arguments.get("width") or size
    patch = 2 * pipe.vae_scale_factor
    if latents.shape[1] != (height // patch) * (width // patch):
        return latents
    unpacked: torch.Tensor = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
    return unpacked


def _factors(pipe: Any, channels: int) -> torch.Tensor | None:
    """A map for these latents: the autoencoder's own, by its configuration, or a known one."""
    config = pipe.vae.config
    known = config.get(OWN_FACTORS) or RGB_FACTORS.get((channels, float(config.scaling_factor)))
    return None if known is None or len(known) not in (channels, channels + 1) else _matrix(tuple(map(tuple, known)))


@functools.cache
def _matrix(rows: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    return torch.tensor(rows)


def _mapped(latents: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """A last row more than there are channels is added to every pixel."""
    channels, factors = latents.shape[0], factors.to(latents.device)
    rgb = factors[:channels].T @ latents.flatten(1)  # an einsum takes three times as long for so few numbers
    return (rgb + factors[channels:].sum(0)[:, None]).reshape(-1, *latents.shape[1:])


def _decoded(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    config = pipe.vae.config
    scaled = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    decoded: torch.Tensor = pipe.vae.decode(scaled.to(next(pipe.vae.parameters()).dtype), return_dict=False)[0]
    return decoded[0]
