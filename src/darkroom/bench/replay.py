"""A trace as a plan: models mapped to those that are served, prompts of the lengths that were recorded; pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import BadInput
from ..traces import TASKS, Request
from .plan import MAX_SEED, Mix, Wanted

ANY = "*"
MOST_CHARS = 2000  # that a prompt may have


@dataclass(frozen=True)
class Replay:
    """How a trace is sent: `compress` times as fast, the first `requests` of it or those within `duration_s` of it, so
    compressed. `models` says which stand in for each of the trace's; `*` is for the others. Several take turns."""

    name: str
    compress: float = 1.0
    requests: int | None = None
    duration_s: float | None = None
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)


def replay_plan(trace: Sequence[Request], replay: Replay, mix: Mix, seed: int) -> list[Wanted]:
    """The trace's requests, in the order of arrival, with prompts, seeds and LoRAs drawn from the mix.

    LoRAs are left out where the mix has no adapters. Raises `BadInput` for a model that has no stand-in, and for a task
    that nobody knows.
    """
    rng = random.Random(f"replay {seed}")
    taken = _taken(trace, replay)
    models = _stand_ins([request.model for request in taken], replay.models, mix.model)
    return [
        _wanted(number, at_s, request, models, mix, rng) for number, (at_s, request) in enumerate(_at(taken, replay))
    ]


def replay_notes(trace: Sequence[Request], replay: Replay, mix: Mix) -> list[str]:
    """What of the trace is not sent as it was, a line each."""
    taken = _taken(trace, replay)
    loras = sum(request.loras > len(mix.adapters) for request in taken)
    tenants = {request.tenant for request in taken if request.tenant}
    cut = sum(max(request.prompt_chars or 0, request.negative_chars or 0) > MOST_CHARS for request in taken)
    told = [
        (loras, f"{loras} requests had more LoRAs than --adapters names: the others are left out"),
        (len(tenants), f"{len(tenants)} tenants are told as metadata alone: one key sends all of it"),
        (cut, f"{cut} requests had prompts above {MOST_CHARS} characters: they are cut there"),
    ]
    return [note for count, note in told if count]


def prompt_of(chars: int, phrases: Sequence[str], rng: random.Random) -> str:
    """A prompt of exactly so many characters, 1 to 2000, made of phrases."""
    wanted = max(1, min(chars, MOST_CHARS))
    said = rng.choice(phrases)
    while len(said) < wanted:
        said += f", {rng.choice(phrases)}"
    cut = said[:wanted]
    return cut if cut[-1] != " " else f"{cut[:-1]}."


def _taken(trace: Sequence[Request], replay: Replay) -> list[Request]:
    first = trace[0].arrival_s
    last_s = float("inf") if replay.duration_s is None else replay.duration_s * replay.compress
    return [request for request in trace if request.arrival_s - first < last_s][: replay.requests]


def _at(taken: Sequence[Request], replay: Replay) -> list[tuple[float, Request]]:
    return [((request.arrival_s - taken[0].arrival_s) / replay.compress, request) for request in taken]


def _stand_ins(names: Sequence[str], said: Mapping[str, Sequence[str]], otherwise: str | None) -> dict[str, str | None]:
    """Which model each of the trace's becomes. Those that share several take them in turn, the most asked for first."""
    asked = [name for name, _ in Counter(names).most_common()]
    if otherwise is not None:
        said = {ANY: (otherwise,), **said}
    if not said:
        return {name: name or None for name in asked}
    missing = [name for name in asked if name not in said] if ANY not in said else []
    if missing:
        told = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise BadInput(f"the trace asks for {told}, which --map does not name: add --map '*=MODEL'", field="--map")
    turns: Counter[str] = Counter()
    found: dict[str, str | None] = {}
    for name in asked:
        key = name if name in said else ANY
        found[name] = said[key][turns[key] % len(said[key])]
        turns[key] += 1
    return found


def _wanted(
    number: int, at_s: float, request: Request, models: Mapping[str, str | None], mix: Mix, rng: random.Random
) -> Wanted:
    if request.task not in TASKS.values():
        allowed = ", ".join((*TASKS, *TASKS.values()))
        raise BadInput(f"the trace has a task {request.task!r}; allowed: {allowed}", field="--trace")
    prompt = rng.choice(mix.prompts) if not request.prompt_chars else prompt_of(request.prompt_chars, mix.prompts, rng)
    negative = prompt_of(request.negative_chars, mix.prompts, rng) if request.negative_chars else None
    return Wanted(
        number,
        at_s,
        request.steps,
        prompt,
        rng.randint(0, MAX_SEED),
        images=request.images,
        model=models[request.model],
        negative_prompt=negative,
        task=request.task,
        guidance=rng.choice(mix.guidance) if mix.guidance else None,
        size=rng.choice(mix.sizes) if mix.sizes else None,
        adapters=tuple(rng.sample(mix.adapters, min(request.loras, len(mix.adapters)))),
        tenant=request.tenant,
    )
