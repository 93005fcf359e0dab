"""The cards beside the adapters, written from the last evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .layers import ADAPTERS
from .train import adapters_folder

HEAD = """---
library_name: diffusers
base_model: landscapes
tags: [lora]
license: apache-2.0
---

# {title}

"""
STYLE = """{what} A LoRA of rank 8 for the bundled model `landscapes`; no trigger word.

- **Layers**: all attention and feed-forward projections of the denoiser and the convolutions of its finest level, in
  half precision; alpha equals the rank.
- **Training data**: none collected. The landscapes' own drawings passed through a drawn filter, with their captions.
- **Training**: `make train-adapters` repeats it; see `examples/adapters/README.md`.
- **Use**: weight 1.0, any solver and guidance that suit the base; weights add up with other adapters'.

## Evaluation

32 held-out captions, 10 steps of dpm++2m at guidance 4. How much of their colours the pictures share with drawings of
the same scenes, from 0 to 1: {styled:.2f} with styled drawings, {plain:.2f} with plain ones.

`python -m examples.adapters.evaluate {name}` repeats it and fails under 0.5.
"""
TURBO = """The bundled model `landscapes` in four steps: a LoRA of rank 16 with the guidance built in.

- **Use**: solver `ddim`, 4 steps, `guidance_scale` 1, weight 1.0. Other settings are not what it was fitted to.
- **Layers**: every projection and convolution of the denoiser, in half precision; alpha equals the rank.
- **Training**: the base with guidance 4 is the teacher; its way from noise to picture is recorded at the four moments
  that the sampler visits, and the student's steps are fitted onto it (progressive distillation gone to four steps at
  once, with guidance folded in). `make train-adapters` repeats it; see `examples/adapters/README.md`.
- **Training data**: none collected; captions come from the landscapes' grammar.

## Evaluation

{count} held-out captions across all sizes; the share of mentioned attributes that a small network reads back right,
averaged over attributes.

| model | attributes right |
| --- | ---: |
{table}

`python -m examples.adapters.evaluate turbo` repeats it and fails under 88 %.
"""
WHAT = {
    "neon": "Landscapes whose rims glow in pure colours on a dark ground.",
    "woodcut": "Landscapes as prints in ink and rust on paper, with cut lines.",
}


def write_card(name: str, scores: Mapping[str, float], count: int, folder: Path = ADAPTERS) -> None:
    """Put an adapter's card beside its weights."""
    if name in WHAT:
        body = STYLE.format(name=name, what=WHAT[name], **scores)
    else:
        table = "\n".join(f"| {row} | {value:.1%} |" for row, value in scores.items())
        body = TURBO.format(count=count, table=table)
    (folder / name / "README.md").write_text(HEAD.format(title=name.capitalize()) + body)


def main() -> None:
    """Write the cards from the evaluation kept in the cache folder."""
    record = json.loads((adapters_folder() / "evaluation.json").read_text())
    for name in [name for name in (*WHAT, "turbo") if name in record]:
        write_card(name, record[name], record["count"])


if __name__ == "__main__":
    main()
