"""`darkroom submit | jobs | cancel | logs`: jobs of a running service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from ..errors import BadInput
from ..storage import files
from . import say
from .remote import ask, connect, follow
from .start import JsonOption

FAILED_STATES = ("failed", "cancelled")
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

    said = {
        "prompt": prompt,
        "negative_prompt": negative,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "solver": solver,
        "preset": preset,
        "num_images_per_prompt": images,
        **parse_size(size),
    }
    inputs = {name: value for name, value in said.items() if value is not None}
    body: dict[str, Any] = {"model": model, "input": inputs, "priority": priority, "deadline_s": deadline}
    paths = _checked_paths(output, images)
    with connect() as client:
        job = ask(client, "POST", "/jobs", json={name: value for name, value in body.items() if value is not None})
        if paths or is_waited_for:
            job = _wait(client, job["id"], is_quiet=as_json)
            _write(client, job, paths)
    _tell(job, paths, as_json=as_json)


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
            say.result(ask(client, "GET", f"/jobs/{_checked_id(job_id)}"))
            return
        wanted = {name: value for name, value in (("state", state), ("model", model), ("limit", limit)) if value}
        page = ask(client, "GET", "/jobs", params=wanted)
    if as_json:
        say.result(page)
        return
    for job in page["data"]:
        typer.echo(_line(job))


def cancel(job_id: JobId, as_json: JsonOption = False) -> None:
    """Cancel a job; a running one ends within one step."""
    with connect() as client:
        job = ask(client, "POST", f"/jobs/{_checked_id(job_id)}/cancel")
    _tell(job, [], as_json=as_json)


def logs(job_id: JobId, as_json: JsonOption = False) -> None:
    """Say what happened to a job, and what happens to it until it ends."""
    with connect() as client:
        for kind, event in follow(client, _checked_id(job_id)):
            if kind == "preview":
                continue
            if as_json:
                say.result(event)
            else:
                typer.echo(_event_line(kind, event))


def _checked_id(job_id: str) -> str:
    if not job_id or not all(sign.isalnum() or sign in "-_" for sign in job_id):
        raise BadInput(f"{job_id!r} is no job's id: letters, digits, '-' and '_'", field="job_id")
    return job_id


def _checked_paths(output: Path | None, images: int) -> list[Path]:
    if output is None:
        return []
    paths = [output] if images == 1 else [output.with_name(f"{output.stem}-{k}{output.suffix}") for k in range(images)]
    for path in paths:
        files.check_writable(path)
    return paths


def _wait(client: httpx.Client, job_id: str, *, is_quiet: bool) -> Any:
    for kind, event in follow(client, job_id):
        if kind == "progress" and not is_quiet and sys.stderr.isatty():
            typer.echo(f"\rstep {event['step']} of {event['steps']} ", nl=False, err=True)
    if not is_quiet and sys.stderr.isatty():
        say.note("")
    return ask(client, "GET", f"/jobs/{job_id}")


def _write(client: httpx.Client, job: Any, paths: list[Path]) -> None:
    for output, path in zip(job["outputs"], paths, strict=False):
        answer = client.get(output["url"])
        answer.raise_for_status()
        files.write_whole(path, answer.content)


def _tell(job: Any, paths: list[Path], *, as_json: bool) -> None:
    if as_json:
        say.result(job)
    else:
        typer.echo(_line(job))
        for path in paths[: len(job["outputs"])]:
            typer.echo(str(path.absolute()))
    for text in job.get("warnings", []):
        say.warning(text)
    if job["state"] in FAILED_STATES:
        error = job.get("error") or {"message": "it was cancelled"}
        say.problem(error["message"])
        raise typer.Exit(1 if job["state"] == "failed" else 0)


def _line(job: Any) -> str:
    place = f" place {job['queue_position']}" if job.get("queue_position") is not None else ""
    said = " ".join(str(job["input"].get("prompt", "")).split())
    return f"{job['id']}  {job['state']:9}{place}  {job['progress']:4.0%}  {job['model']}  {said[:60]}"


def _event_line(kind: str, event: dict[str, Any]) -> str:
    left_out = {"seq", "at", "type"}
    said = ", ".join(f"{name} {value}" for name, value in event.items() if name not in left_out)
    return f"{event['at']}  {kind:9}  {said}"
