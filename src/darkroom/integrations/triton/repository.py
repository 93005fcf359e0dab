"""Writes a model into a Triton model repository: NAME/config.pbtxt, and NAME/1 with what runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ...config import FILE_NAME, Settings
from ...errors import OutputNotWritable
from ...models.catalogue import Entry
from ..packing import Content, folder_for, pack, served_name, source_of

MODEL, VERSION = "model.py", "1"
TENSORS = {
    "prompt": "STRING",
    "negative_prompt": "STRING",
    "steps": "INT32",
    "guidance_scale": "FP32",
    "width": "INT32",
    "height": "INT32",
    "seed": "INT64",
    "preset": "STRING",
    "solver": "STRING",
    "reproducible": "BOOL",
}
# `max_batch_size: 0`: Triton hands over each request as it comes, and batches none itself. So many instances for each
# device; each holds the weights once, and they share no batches.
CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 0
input [
{inputs}
]
output [
  {{ name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }}
]
instance_group [ {{ kind: KIND_AUTO count: {instances} }} ]
"""


def write_repository(
    settings: Settings,
    entry: Entry,
    output: Path,
    *,
    name: str | None = None,
    has_weights: bool = False,
    instances: int = 1,
) -> Path:
    """Write the folder NAME into the folder `output`, over one that was exported before; returns its path.
    `instances`: processes with the model, on each device.

    Raises `BadInput` or one of its kind.
    """
    name = served_name(name, entry)
    contents: dict[str, Content] = {
        "config.pbtxt": config_of(name, instances).encode(),
        f"{VERSION}/{MODEL}": source_of("triton", MODEL),
        **{f"{VERSION}/{place}": each for place, each in pack(settings, entry, has_weights=has_weights).items()},
    }
    target = folder_for(output) / name
    if target.exists() and not (target / VERSION / FILE_NAME).is_file():
        raise OutputNotWritable(f"{target} is there, and was not exported: give another --name", field="name")
    try:
        # Whole, or not there: Triton may be watching the folder, and takes no notice of hidden ones.
        with tempfile.TemporaryDirectory(dir=output, prefix=f".{name}.") as partial:
            made = Path(partial) / name
            for place, content in contents.items():
                _put(made / place, content)
            if target.exists():
                os.replace(target, Path(partial) / "before")
            os.replace(made, target)
    except OSError as error:
        raise OutputNotWritable(f"{target} cannot be written: {error.strerror}", field="output") from error
    return target


def config_of(name: str, instances: int) -> str:
    """The model's configuration, in protobuf's text format; all inputs but the prompt may be left out."""
    inputs = ",\n".join(
        f'  {{ name: "{each}" data_type: TYPE_{kind} dims: [ 1 ]{"" if each == "prompt" else " optional: true"} }}'
        for each, kind in TENSORS.items()
    )
    return CONFIG.format(name=name, inputs=inputs, instances=instances)


def _put(place: Path, content: Content) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        shutil.copyfile(content, place)
