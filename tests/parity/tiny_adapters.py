"""LoRA files with random weights for any tiny pipeline, and what diffusers itself makes of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj", "q", "v")
FEED_FORWARD = ("net.0.proj", "net.2", "fc1", "fc2")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "proj_in", "proj_out", "time_emb_proj")
SIZE = 0.05


def random_layers(pipe: Any, seed: int, rank: int, targets: Sequence[str]) -> dict[str, dict[str, torch.Tensor]]:
    """By component, peft's names."""
    found = {}
    for component in type(pipe)._lora_loadable_modules:
        module = getattr(pipe, component, None)
        names = [name for name, _ in module.named_modules()] if module is not None else []
        wanted = [name for name in names if any(name.endswith(f".{target}") for target in targets)]
        if wanted:
            own = copy.deepcopy(module)
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules=wanted, init_lora_weights=False)
            own.add_adapter(config, adapter_name="made")
            state = get_peft_model_state_dict(own, adapter_name="made")
            generator = torch.Generator().manual_seed(seed)
            found[component] = {
                name: SIZE * torch.randn(value.shape, generator=generator) for name, value in sorted(state.items())
            }
    return found


def save(pipe: Any, folder: Path, seed: int, *, rank: int = 4, targets: Sequence[str] = ATTENTION) -> Path:
    """A file of diffusers' own format."""
    folder.mkdir(parents=True, exist_ok=True)
    layers = random_layers(pipe, seed, rank, targets)
    state = {f"{component}.{name}": value for component, own in layers.items() for name, value in own.items()}
    save_file(state, folder / "pytorch_lora_weights.safetensors")
    return folder


class Plain:
    """The pipeline with the adapters injected by diffusers, on modules of its own."""

    def __init__(self, pipe: Any, files: Mapping[str, Path]) -> None:
        self.pipe = copy.deepcopy(pipe)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several adapters in one module, which is the point
            for name, path in files.items():
                self.pipe.load_lora_weights(str(path), adapter_name=name, local_files_only=True)

    def with_weights(self, weights: Mapping[str, float]) -> Any:
        """Ready for a plain call."""
        if weights:
            self.pipe.enable_lora()
            self.pipe.set_adapters(list(weights), list(weights.values()))
        else:
            self.pipe.disable_lora()
        return self.pipe
