"""A job for people: one line in a list, or a card that says everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..client.nouns import Job, Output

MOMENTS = ("created", "scheduled", "queued", "started", "succeeded", "failed", "cancelled")
ASKED = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "seed": "seed",
    "solver": "solver",
    "strength": "strength",
    "num_images_per_prompt": "images",
}


def line(job: Job) -> str:
    """The job in one line: id, state with what ended it, place, progress, model, prompt."""
    place = f" place {job.queue_position}" if job.queue_position is not None else ""
    return f"{job.id}  {_state(job):9}{place}  {job.progress:4.0%}  {job.model}  {_flat(job.input.get('prompt'))[:60]}"


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
    yield "place", "" if job.queue_position is None else f"{job.queue_position} before it in the queue"
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
    return f"{output.artifact_id}  {output.content_type}{size}, {output.size} bytes{seed}"


def _error(said: Mapping[str, Any]) -> str:
    attempt = f"attempt {said['attempt']}: " if "attempt" in said else ""
    return f"{attempt}{said.get('code', 'error')}: {_flat(said.get('message'))}"


def _flat(said: Any) -> str:
    """One line, whatever it holds."""
    return " ".join(str(said or "").split())
