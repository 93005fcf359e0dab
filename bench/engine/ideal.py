"""What the measured curve allows; plain arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DEFINITION = (
    "serial: plain diffusers, one request after another, measured. engine: the same requests submitted at once to an"
    " engine that has served one such load before, with prompts it has not seen, until the last result. ideal: in each"
    " round every unfinished request takes one step; their rows (two each) run in whatever forwards the measured curve"
    " makes cheapest for that many rows; to that is added what plain diffusers spent in the text encoder and the"
    " decoder; everything else (solvers, tokenizer, image conversion, Python) counts as free."
    " share = (serial - engine) / (serial - ideal), in each interleaved pair with the curve measured around it; the"
    " median over pairs."
)


def denoise_s(steps: Sequence[int], curve: Mapping[int, float], rows_each: int = 2) -> float:
    """Seconds of all denoiser forwards when every unfinished request steps together, as the curve makes cheapest."""
    best = cheapest_s(len(steps), curve, rows_each)
    return sum(best[sum(1 for count in steps if count > step)] for step in range(max(steps)))


def cheapest_s(most: int, curve: Mapping[int, float], rows_each: int = 2) -> list[float]:
    """By number of requests, 0 to `most`: the least seconds in which one step of each can run, in any split."""
    best = [0.0]
    for count in range(1, most + 1):
        splits = (best[count - part] + seconds_at(curve, part * rows_each) for part in range(1, count + 1))
        best.append(min(splits))
    return best


def seconds_at(curve: Mapping[int, float], rows: int) -> float:
    """Between two measured row counts: on the line between them; past the last: never better than the last."""
    if rows in curve:
        return curve[rows]
    below = max((known for known in curve if known < rows), default=None)
    above = min((known for known in curve if known > rows), default=None)
    if below is None or above is None:
        nearest = below or above
        assert nearest is not None, "an empty curve"
        return curve[nearest] * max(1.0, rows / nearest)
    return curve[below] + (curve[above] - curve[below]) * (rows - below) / (above - below)
