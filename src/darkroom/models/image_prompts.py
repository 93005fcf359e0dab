"""Pipelines that a picture prompts beside the text: over a UNet of their own that shares the weights of the model's.

An IP-Adapter changes the UNet's attention processors, and a UNet that has them can no longer do without a picture. So
the pipeline gets a copy of the UNet over the same parameters, and everybody else keeps the one that there was.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.utils import is_accelerate_available

from .ip_adapter import ENCODER, IpAdapter


class RowScaled(IPAdapterAttnProcessor2_0):  # type: ignore[misc]
    """Diffusers' processor with the scale as an argument, which rows of one forward may have each its own of.

    It comes as `ip_adapter_masks`, the one attention keyword that UNets hand to these processors and keep quiet about
    before all others; masks themselves are not served.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        scale: float = 1.0,
        ip_adapter_masks: Any = None,
    ) -> torch.Tensor:
        """`ip_adapter_masks`: a number, or `engine.rows.RowFactors`; None: the processor's own scale."""
        own = self
        if ip_adapter_masks is not None:
            own = copy.copy(self)  # the one on the UNet stays as it is
            own.__dict__["scale"] = [ip_adapter_masks]
        made: torch.Tensor = super(RowScaled, own).__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb, scale
        )
        return made


def prompted(pipe: Any, adapter: IpAdapter) -> Any:
    """A pipeline like this one with the adapter; raises what diffusers and the libraries below it raise."""
    own = copy.copy(pipe)
    own.__dict__["unet"] = _sharing_weights(pipe.unet)
    own.load_ip_adapter(
        str(adapter.file.parent),
        subfolder="",
        weight_name=adapter.file.name,
        image_encoder_folder=ENCODER,
        local_files_only=True,
        low_cpu_mem_usage=is_accelerate_available(),
    )
    for processor in own.unet.attn_processors.values():
        if type(processor) is IPAdapterAttnProcessor2_0:
            processor.__class__ = RowScaled
    for part in (own.unet, own.image_encoder):
        part.eval().requires_grad_(False)
    return own


def _sharing_weights(unet: torch.nn.Module) -> torch.nn.Module:
    """Parameters are objects of their own over the same storage: a cast assigns to them, and must not reach others."""
    memo: dict[int, Any] = {id(p): torch.nn.Parameter(p.detach(), p.requires_grad) for p in unet.parameters()}
    memo.update((id(buffer), buffer) for buffer in unet.buffers())
    return copy.deepcopy(unet, memo)
