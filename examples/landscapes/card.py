"""The model card, written from the last evaluation."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from darkroom.models.revision import revision_of
from darkroom.models.weights import files_of

from .export_stage import BUNDLED, PRESETS
from .run import cache_folder

CARD = """---
library_name: diffusers
pipeline_tag: text-to-image
license: apache-2.0
---

# Landscapes

A small latent diffusion model that draws poster-like landscapes from everyday English: five times of day, sun or moon,
clouds, stars, rain, snow, mountains, hills, lake or sea, pines, palms, a house, a lighthouse, a sailboat.

- **Revision**: `{revision}`, as every picture that it makes carries it: SHA-256 over the names and hashes of
  the files beside this card.
- **Layout**: `StableDiffusionPipeline` with a CLIP tokenizer and text model (4 layers, 128 wide), a
  `UNet2DConditionModel` of 16.9 million weights and an `AutoencoderKL` with 16-fold down-sampling and 12 latent
  channels. Half precision on disk; loads in any precision.
- **Sizes** (width x height): {sizes}.
- **Presets**: {presets}.
- **Training data**: none collected. Scenes are drawn by `examples/landscapes`, endlessly and from seeds, and captioned
  from a small grammar; nothing is copied from anybody's pictures.
- **Training**: `make train-landscapes` repeats it; see `examples/landscapes/README.md`.

## Evaluation

{count} held-out captions, one picture each across all sizes, {steps} steps of {solver} at guidance {guidance}. The
attributes are read back from the pixels by a small network; only what a caption mentions counts. "Checker on drawings"
is how often that network reads fresh drawings right.

{table}

`python -m examples.landscapes.evaluate` repeats the table and fails when the average is under 85 % or the checker under
97 %.

## Limits

It knows the things listed above and nothing else: other nouns are ignored. Counts beyond two mean "several". Places are
left, middle and right for sun and moon, left and right for buildings. Details smaller than a sixteenth of the picture
are soft. It is meant for trying and testing software, not as a general picture maker.
"""


def write_card(table: str, settings: dict[str, str], folder: Path = BUNDLED) -> None:
    """Put the card beside the weights."""
    sizes = ", ".join(f"{width}x{height}" for width, height in PRESETS["sizes"])
    presets = ";\n  ".join(_told(name, preset) for name, preset in PRESETS["presets"].items())
    said = CARD.format(sizes=sizes, presets=presets, table=table, revision=find_revision(), **settings)
    (folder / "README.md").write_text(said)


def find_revision(folder: Path = BUNDLED) -> str:
    """The hash of the files that decide the pixels: weights, configurations, vocabularies."""
    with tempfile.TemporaryDirectory() as home:
        return revision_of(files_of(folder), Path(home))


def _told(name: str, preset: dict[str, Any]) -> str:
    steps, solver, guidance = (preset[each] for each in ("num_inference_steps", "solver", "guidance_scale"))
    adapters = "".join(f" with the adapter `{adapter}`, where that is" for adapter in preset.get("adapters", {}))
    return f"`{name}`: {steps} steps of {solver} at guidance {guidance}{adapters}"


def main() -> None:
    """Write the card from the evaluation kept in the cache folder."""
    record = json.loads((cache_folder() / "evaluation.json").read_text())
    write_card(record["table"], record["settings"])


if __name__ == "__main__":
    main()
