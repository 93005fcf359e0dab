"""`darkroom submit | jobs | cancel | logs`: jobs of a running service."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client.blocking import Client
from ..client.nouns import Job, JobEvent
from ..client.wish import ABOUT_THE_JOB
from ..errors import BadInput
from ..storage import files
from . import say
from .card import card, line
from .formats import PictureFormat, format_of
from .generate import (
    ControlImageOption,
    ControlScaleOption,
    FramesOption,
    HandOverOption,
    InputOption,
    PromptImageOption,
    PromptScaleOption,
    RateOption,
    SecondsOption,
    WeightedOption,
    parse_adapters,
    parse_inputs,
    parse_size,
)
from .remote import connect
from .start import JsonOption

JobId = Annotated[str, typer.Argument(help="A job's id, as `submit` and `jobs` say it.")]


def submit(  # budget: a line for each flag
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
    adapter: Annotated[
        list[str] | None, typer.Option(help="NAME=WEIGHT of a LoRA; may be given again.", show_default=False)
    ] = None,
    control_image: ControlImageOption = None,
    control_scale: ControlScaleOption = None,
    ip_adapter_image: PromptImageOption = None,
    ip_adapter_scale: PromptScaleOption = None,
    denoising_end: HandOverOption = None,
    own_input: InputOption = None,
    frames: FramesOption = None,
    fps: RateOption = None,
    seconds: SecondsOption = None,
    is_weighted: WeightedOption = False,
    images: Annotated[int, typer.Option(help="Images, 1 to 16; image k has seed + k.")] = 1,
    picture_format: Annotated[
        PictureFormat | None,
        typer.Option("--format", help="Of the files.", show_default="as -o says, or the usual"),
    ] = None,
    priority: Annotated[int, typer.Option(help="Of your own jobs, higher goes first.")] = 0,
    deadline: Annotated[float | None, typer.Option(help="Seconds until it is of no use.", show_default=False)] = None,
    is_waited_for: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hand a job to a running service; says its id, or with `-o` waits and writes the image."""
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
        "control_image": control_image,
        "controlnet_conditioning_scale": control_scale,
        "ip_adapter_image": ip_adapter_image,
        "ip_adapter_scale": ip_adapter_scale,
        "denoising_end": denoising_end,
        "num_frames": frames,
        "frame_rate": fps,
        "audio_end_in_s": seconds,
        "prompt_style": "weighted" if is_weighted else None,
        "adapters": parse_adapters(adapter),
        "num_images_per_prompt": images,
        **parse_size(size),
    }
    wanted = format_of(output, picture_format)
    said["output"] = None if wanted is None else {"format": wanted}
    paths, own = _checked_paths(output, images), parse_inputs(own_input)
    with connect() as client:
        job = client.submit(prompt, **{**said, **_typed(client, model, own)})
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
            _show(client.get(job_id), card, as_json=as_json)
            return
        page = client.page(state=state, model=model, limit=limit)
        served = [] if page.jobs or model is None else [each.id for each in client.models()]
    for job in () if as_json else page.jobs:
        typer.echo(_line_now(job))
    if not page.jobs:
        say.note(_none_there(state, model, served))
    if as_json:
        say.result(page.raw)


def cancel(job_id: JobId, as_json: JsonOption = False) -> None:
    """Cancel a job; a running one ends within one step. One that has ended stays as it is."""
    with connect() as client:
        before = client.get(job_id)
        job = before if before.is_final else client.cancel(job_id)
    _show(job, _line_now, as_json=as_json)
    if before.is_final:
        verb = "was" if before.state == "cancelled" else "has"
        say.note(f"it {verb} {before.state} already")
    elif not job.is_final:
        say.note("it ends within one step")


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


def _typed(client: Client, model: str | None, own: Mapping[str, str]) -> dict[str, Any]:
    """A plain pipeline's own inputs, numbers among them as the model's schema says."""
    if not own:
        return {}
    if model is None:
        raise BadInput("input goes with --model, which says what each input is", field="--input")
    fields = client.model(model).raw["input"]["properties"]
    for name in own:
        if name == "prompt" or name in ABOUT_THE_JOB:
            raise BadInput(f"{name} has a place of its own on the command line", field="--input")
    return {name: _value(text, fields.get(name, {}).get("type")) for name, text in own.items()}


def _value(text: str, kind: str | None) -> Any:
    """What does not fit is sent as it is, and refused by name."""
    try:
        return text if kind in (None, "string") else json.loads(text)
    except ValueError:
        return text


def _none_there(state: str | None, model: str | None, served: Sequence[str]) -> str:
    """Why the list is empty; `served` are the models that there are, where one was named."""
    if model is not None and model not in served:
        return f"there is no model {model!r}, and no job of it; there are: {', '.join(served)}"
    of_model, in_state = f" of {model}" if model else "", f" in the state {state}" if state else ""
    return f"there are no jobs{of_model}{in_state}"


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


def _show(job: Job, words: Callable[[Job], str], *, as_json: bool) -> None:
    if as_json:
        say.result(job.raw)
    else:
        typer.echo(words(job))


def _line_now(job: Job) -> str:
    return line(job, time.time())


def _tell(job: Job, paths: list[Path], *, as_json: bool) -> None:
    _show(job, _line_now, as_json=as_json)
    for path in () if as_json else paths[: len(job.outputs)]:
        typer.echo(str(path.absolute()))
    for text in job.warnings:
        say.warning(text)
    if job.state == "cancelled":
        say.problem("it was cancelled")
    if job.state == "failed":
        say.problem((job.error or {"message": "it failed"})["message"])
        raise typer.Exit(1)


def _event_line(event: JobEvent) -> str:
    said = ", ".join(f"{name} {value}" for name, value in event.data.items() if value is not None)
    return f"{event.at}  {event.type:9}  {said}"
