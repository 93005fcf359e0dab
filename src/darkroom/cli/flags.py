"""Which flag of a command to blame: a refusal names a field as the API or the settings call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DarkroomError, InvalidConfig

# The parameter of the commands that gives such a field its value, where the names differ.
PARAMETERS = {
    "negative_prompt": "negative",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "width": "size",
    "height": "size",
    "num_images_per_prompt": "images",
    "image": "init-image",
    "mask_image": "mask",
    "control_image": "control-image",
    "controlnet_conditioning_scale": "control-scale",
    "ip_adapter_image": "ip-adapter-image",
    "ip_adapter_scale": "ip-adapter-scale",
    "denoising_end": "denoising-end",
    "num_frames": "frames",
    "frame_rate": "fps",
    "audio_end_in_s": "seconds",
    "prompt_style": "weighted",
    "adapters": "adapter",
    "deadline_s": "deadline",
    "prompts_file": "prompts-file",
    "output.format": "format",
}
JSON = "--json"


def command_in(root: Any, arguments: Sequence[str]) -> Any:
    """The command, or the group of them, that the arguments name."""
    found = root
    for word in arguments:
        found = getattr(found, "commands", {}).get(word, found)
    return found


def wants_json(command: Any, arguments: Sequence[str]) -> bool:
    """Whether a program reads the answer; to some commands `--json` is a file."""
    takes_file = any(JSON in parameter.opts and not parameter.is_flag for parameter in command.params)
    return JSON in arguments and not takes_file


def flag_of(command: Any, error: DarkroomError) -> str | None:
    """The flag or the argument of the command to blame; None where it has none for that."""
    field = error.field
    if field is None or (isinstance(error, InvalidConfig) and field != "config"):  # else it is a key of darkroom.toml
        return None
    return field if field.startswith("--") else _named(command).get(PARAMETERS.get(field, field))


def _named(command: Any) -> Mapping[str, str]:
    named = {}
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            named[parameter.name] = (parameter.metavar or parameter.name).upper()
        else:
            named |= {each.removeprefix("--"): each for each in parameter.opts if each.startswith("--")}
    return named
