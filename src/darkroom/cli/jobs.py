"""`darkroom submit | jobs | cancel | logs`: jobs of a running service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client.blocking import Client
from ..client.nouns import Job, JobEvent
from ..storage import files
from . import say
from .remote import connect
from .start import JsonOption

JobId = Annotated[str, typer.Argument(help="A job's id, as `submit` and `jobs` say it.")]


def submit(
    prompt: Annotated[str, typer.Argument(help="What to draw; quote it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Wait, and write the image here.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's name.", show_default=False)] = None,
    negative: Annotated[str | None, typer.Option(help="What not to draw.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", show_default=False)] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.", show_default=False)] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Drawn if left out.", show_default=False)] = None,
    solver: Annotated[str | None, typer.Option(help="How the noise is solved for.", show_default=False)] = None,
    preset: Annotated[str | None, typer.Option(help="fast, quality or another one.", show_default=False)] = None,
    images: Annotated[int, typer.Option(help="Images, 1 to 16; image k has seed + k.")] = 1,
    priority: Annotated[int, typer.Option(help="Higher goes first.")] = 0,
    deadline: Annotated[float | None, typer.Option(help="Seconds until it is of no use.", show_default=False)] = None,
    is_waited_for: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hand a job to a running service; says its id, or with `-o` waits and writes the image."""
    from .generate import parse_size

    said: dict[str, Any] = {
        "model": model,
        "priority": priority,
        "deadline_s": deadline,
        "negative_prompt": negative,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "solver": solver,
        "preset": preset,
        "num_images_per_prompt": images,
        **parse_size(size),
    }
    paths = _checked_paths(output, images)
    with connect() as client:
        job = client.submit(prompt, **said)
        if paths or is_waited_for:
            job = _wait(client, job, is_quiet=as_json)
            for made, path in zip(job.outputs, paths, strict=False):
                client.download(made, path)
    _tell(job, paths, as_json=as_json)
    if job.state == "cancelled":  # by somebody else: what was asked for is not there
        raise typer.Exit(1)


def jobs(
    job_id: Annotated[str | None, typer.Argument(help="Show this one alone.", show_default=False)] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="So many, the newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the jobs of a running service, or show one."""
    with connect() as client:
        if job_id is not None:
            say.result(client.get(job_id).raw)
            return
        page = client.page(state=state, model=model, limit=limit)
    if as_json:
        say.result(page.raw)
        return
    for job in page.jobs:
        typer.echo(_line(job))


def cancel(job_id: JobId, as_json: JsonOption = False) -> None:
    """Cancel a job; a running one ends within one step."""
    with connect() as client:
        job = client.cancel(job_id)
    _tell(job, [], as_json=as_json)


def logs(job_id: JobId, as_json: JsonOption = False) -> None:
    """Say what happened to a job, and what happens to it until it ends."""
    with connect() as client:
        for event in client.events(job_id):
            if event.type == "preview":
                continue
            if as_json:
                say.result({"seq": event.seq, "at": event.at, "type": event.type, **event.data})
            else:
                typer.echo(_event_line(event))


def _checked_paths(output: Path | None, images: int) -> list[Path]:
    if output is None:
        return []
    paths = [output] if images == 1 else [output.with_name(f"{output.stem}-{k}{output.suffix}") for k in range(images)]
    for path in paths:
        files.check_writable(path)
    return paths


def _wait(client: Client, job: Job, *, is_quiet: bool) -> Job:
    is_shown = not is_quiet and sys.stderr.isatty()

    def show(event: JobEvent) -> None:
        typer.echo(f"\rstep {event.data['step']} of {event.data['steps']} ", nl=False, err=True)

    ended = client.wait(job, on_progress=show if is_shown else None)
    if is_shown:
        say.note("")
    return ended


def _tell(job: Job, paths: list[Path], *, as_json: bool) -> None:
    if as_json:
        say.result(job.raw)
    else:
        typer.echo(_line(job))
        for path in paths[: len(job.outputs)]:
            typer.echo(str(path.absolute()))
    for text in job.warnings:
        say.warning(text)
    if job.state == "cancelled":
        say.problem("it was cancelled")
    if job.state == "failed":
        say.problem((job.error or {"message": "it failed"})["message"])
        raise typer.Exit(1)


def _line(job: Job) -> str:
    place = f" place {job.queue_position}" if job.queue_position is not None else ""
    said = " ".join(str(job.input.get("prompt", "")).split())
    return f"{job.id}  {job.state:9}{place}  {job.progress:4.0%}  {job.model}  {said[:60]}"


def _event_line(event: JobEvent) -> str:
    said = ", ".join(f"{name} {value}" for name, value in event.data.items() if value is not None)
    return f"{event.at}  {event.type:9}  {said}"
