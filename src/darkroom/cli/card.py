"""A job for people: one line in a list, or a card that says everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..client.nouns import Job, Output

MOMENTS = ("created", "scheduled", "queued", "started", "succeeded", "failed", "cancelled")
AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
ASKED = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "seed": "seed",
    "solver": "solver",
    "strength": "strength",
    "num_images_per_prompt": "images",
    "num_frames": "frames",
    "frame_rate": "fps",
    "audio_end_in_s": "seconds",
}


def line(job: Job, now: float) -> str:
    """The job in one line: id, state with what ended it, place among those that wait (1 is the next), progress, age at
    `now` (seconds since the epoch), model, prompt."""
    before = _before(job)
    place = "" if before is None else f" place {1 + before}"
    said = f"{job.progress:4.0%}  {_age(job, now):>7}  {job.model}  {_flat(job.input.get('prompt'))[:60]}"
    return f"{job.id}  {_state(job):9}{place}  {said}"


def card(job: Job) -> str:
    """The job in full, a fact a line; what is not known yet is left out."""
    facts = [(name, said) for name, said in _facts(job) if said]
    return "\n".join([job.id, *(f"  {name:9} {said}" for name, said in facts)])


def _facts(job: Job) -> Iterator[tuple[str, str]]:
    yield "state", _state(job) + (", being cancelled" if job.is_cancelling else "")
    yield "model", f"{job.model}, {job.task}"
    yield "prompt", _flat(job.input.get("prompt"))
    yield "negative", _flat(job.input.get("negative_prompt"))
    yield "asked for", _asked(job.input)
    yield "progress", f"step {job.step} of {job.steps}, attempt {job.attempt} of {job.max_attempts}"
    yield "place", "" if (before := _before(job)) is None else f"{before} before it in the queue"
    yield "worker", job.worker or ""
    yield "tenant", job.tenant
    for name in MOMENTS:
        yield name, str(job.raw.get(f"{name}_at") or "")
    yield "not until", str(job.raw.get("run_at") or "")
    yield "deadline", str(job.raw.get("deadline_at") or "")
    yield "took", _metrics(job.metrics)
    for output in job.outputs:
        yield "output", _output(output)
    for warning in job.warnings:
        yield "warning", _flat(warning)
    for error in job.errors:
        yield "error", _error(error)
    if job.error and job.error not in job.errors:
        yield "error", _error(job.error)


def _age(job: Job, now: float) -> str:
    """How long ago it was made; this machine's clock may be behind the service's."""
    if job.created_at is None:
        return ""
    seconds = max(0.0, now - job.created_at.timestamp())
    unit, name = next(((unit, name) for unit, name in AGES if seconds >= 2 * unit), AGES[-1])
    return f"{seconds // unit:.0f} {name}"


def _before(job: Job) -> int | None:
    """How many go before one that waits."""
    return job.queue_position if job.state == "queued" else None


def _state(job: Job) -> str:
    return f"{job.state} ({job.error['code']})" if job.error and "code" in job.error else job.state


def _asked(said: Mapping[str, Any]) -> str:
    size = [f"{said['width']}x{said['height']}"] if "width" in said and "height" in said else []
    given = {word: said.get(name) for name, word in ASKED.items()}
    adapters = [f"{name} {weight:g}" for name, weight in (said.get("adapters") or {}).items()]
    exact = ["reproducible"] if said.get("reproducible") else []
    return ", ".join(
        size + [f"{word} {value}" for word, value in given.items() if value not in (None, "")] + adapters + exact
    )


def _metrics(said: Mapping[str, float | None]) -> str:
    seconds = [
        f"{name.removesuffix('_s')} {value:.3f} s" for name, value in said.items() if value and name[-2:] == "_s"
    ]
    cost = said.get("cost_usd")
    return ", ".join([*seconds, *([f"${cost:.4f}"] if cost else [])])


def _output(output: Output) -> str:
    size = f" {output.width}x{output.height}" if output.width is not None else ""
    seed = f", seed {output.seed}" if output.seed is not None else ""
    size += f", {output.frames} frames at {output.fps:g} a second" if output.frames and output.fps else ""
    return f"{output.artifact_id}  {output.content_type}{size}, {output.size} bytes{seed}"


def _error(said: Mapping[str, Any]) -> str:
    attempt = f"attempt {said['attempt']}: " if "attempt" in said else ""
    return f"{attempt}{said.get('code', 'error')}: {_flat(said.get('message'))}"


def _flat(said: Any) -> str:
    """One line, whatever it holds."""
    return " ".join(str(said or "").split())
