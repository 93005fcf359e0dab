"""Prompts whose words have weights: `(word:1.3)`, as people know it from AUTOMATIC1111's web UI. No torch here.

One pass over the text, whatever stands in it: a stranger's prompt is read while others wait.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import BadInput, NotSupported
from .pipelines import SERVED

PLAIN, WEIGHTED = "plain", "weighted"
STYLES = (PLAIN, WEIGHTED)
MORE = 1.1  # of a bracket without a number; a square one divides by it
MOST = 5.0  # of one word, its brackets multiplied
MOST_ALONE = 100.0  # of one bracket's number: others around it may weigh less
MOST_DEEP = 16
# An escaped character, a weight at a bracket's end, a bracket, or words; a backslash before anything else is one.
PARTS = re.compile(
    r"\\(?P<escaped>[()\[\]\\])"
    r"|:\s*+(?P<weight>[0-9]++(?:\.[0-9]++)?|\.[0-9]++)\s*+\)"
    r"|(?P<bracket>[()\[\]])|(?P<text>.)",
    re.S,
)
OPENING = {")": "(", "]": "["}


@dataclass(frozen=True)
class Fragment:
    """Words of one weight."""

    text: str
    weight: float = 1.0


def takes_weights(pipeline: str) -> bool:
    """Whether words can be weighted for a pipeline of that class: its text encoders must be CLIP's, and no others."""
    is_clip = pipeline.startswith("StableDiffusion") and not pipeline.startswith("StableDiffusion3")
    return is_clip and pipeline in SERVED


def check_pipeline(pipeline: str, model: str) -> None:
    """Raise `NotSupported` where they cannot."""
    if not takes_weights(pipeline):
        said = f"{model} ({pipeline}) takes no weighted prompts: only models of Stable Diffusion 1, 2 and XL do"
        raise NotSupported(said, field="prompt_style")


def fragments_of(prompt: str, field: str = "prompt") -> list[Fragment]:
    """The prompt's words with their weights, in order; raises `BadInput` for brackets that do not match."""
    texts: list[str] = []
    weights: list[float] = []  # of each text, by the brackets around it that have ended
    open_: list[tuple[str, int, int]] = []  # bracket, where it stands, how many texts before it
    for part in PARTS.finditer(prompt):
        bracket = ")" if part["weight"] else part["bracket"]
        if bracket in ("(", "["):
            open_.append((bracket, part.start(), len(texts)))
            _check_depth(open_, field)
        elif bracket:
            _close(bracket, part, open_, weights, field)
        else:
            texts.append(part["escaped"] or part[0])
            weights.append(1.0)
    if open_:
        raise BadInput(_unmatched(field, *open_[-1][:2]), field=field)
    return list(_joined(texts, weights, field))


def plain_text(prompt: str) -> str:
    """The words alone."""
    return "".join(fragment.text for fragment in fragments_of(prompt))


def _close(
    bracket: str, part: re.Match[str], open_: list[tuple[str, int, int]], weights: list[float], field: str
) -> None:
    if not open_ or open_[-1][0] != OPENING[bracket]:
        raise BadInput(_unmatched(field, bracket, part.end() - 1), field=field)
    _, _, first = open_.pop()
    weight = float(part["weight"]) if part["weight"] else MORE if bracket == ")" else 1 / MORE
    if weight > MOST_ALONE:
        said = f"{field}: the weight at character {part.start() + 1} is {weight:g}; at most {MOST_ALONE:g}"
        raise BadInput(said, field=field)
    weights[first:] = [each * weight for each in weights[first:]]


def _joined(texts: list[str], weights: list[float], field: str) -> Iterator[Fragment]:
    """Neighbours of the same weight as one."""
    begin = 0
    for at in range(1, len(texts) + 1):
        if at < len(texts) and weights[at] == weights[begin]:
            continue
        if weights[begin] > MOST:
            said = f"{field}: {''.join(texts[begin:at])[:40]!r} has the weight {weights[begin]:g}; at most {MOST:g}"
            raise BadInput(said, field=field)
        yield Fragment("".join(texts[begin:at]), weights[begin])
        begin = at


def _check_depth(open_: list[tuple[str, int, int]], field: str) -> None:
    if len(open_) > MOST_DEEP:
        raise BadInput(f"{field}: brackets may be {MOST_DEEP} deep at most", field=field)


def _unmatched(field: str, bracket: str, at: int) -> str:
    return f"{field}: {bracket!r} at character {at + 1} has no other half; \\{bracket} is the character itself"
