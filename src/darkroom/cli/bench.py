"""`darkroom bench`: what a running service does under load."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..bench import report
from ..bench.bench import Asked, measure
from ..bench.load import Progress
from ..bench.plan import PROMPTS, Arrivals, Mix
from ..errors import BadInput, OutputNotWritable
from ..storage import files
from . import say

DEFAULT_LOAD = 0.7
DEFAULT_REQUESTS = 50


def bench(
    arrivals: Annotated[Literal["poisson", "burst"], typer.Option(help="How requests arrive.")] = "poisson",
    rate: Annotated[float | None, typer.Option(help="Requests a second.", show_default=False)] = None,
    load: Annotated[
        float | None, typer.Option(help="The share of the measured capacity to send.", show_default=str(DEFAULT_LOAD))
    ] = None,
    requests: Annotated[int | None, typer.Option(help="So many.", show_default=str(DEFAULT_REQUESTS))] = None,
    duration: Annotated[float | None, typer.Option(help="Or for so many seconds.", show_default=False)] = None,
    steps: Annotated[str, typer.Option(help="Step counts to draw from.")] = "4,8,20",
    model: Annotated[str | None, typer.Option(help="A model's name.", show_default=False)] = None,
    images: Annotated[int, typer.Option(help="Images of each request, 1 to 16.")] = 1,
    prompts: Annotated[Path | None, typer.Option(help="A text file, one prompt a line.", show_default=False)] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed sends the same requests; with --rate, at the same moments.")
    ] = 0,
    burst_size: Annotated[int, typer.Option(help="Requests of a burst.")] = 8,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write it all there, too.", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="The service.", show_default="DARKROOM_URL")] = None,
) -> None:
    """Send load to a running service, never waiting for answers, and say how it bore it."""
    for name, value in (("rate", rate), ("load", load), ("requests", requests), ("duration", duration)):
        _check_positive(name, value)
    _check_positive("burst-size", burst_size)
    _check_one("rate", rate, "load", load)
    _check_one("requests", requests, "duration", duration)
    _check_writable(json_file)
    count = DEFAULT_REQUESTS if requests is None and duration is None else requests
    share = DEFAULT_LOAD if rate is None and load is None else load
    mix = Mix(_parse_steps(steps), _read_prompts(prompts), images, model)
    plan = Arrivals(arrivals, rate or 1.0, count, duration, burst_size)
    found = asyncio.run(measure(Asked(plan, mix, share, seed, url), say.note, _tell))
    if sys.stderr.isatty():
        say.note("")
    typer.echo(report.table(found))
    warning = report.behind(found)
    if warning is not None:
        say.warning(warning)
    if json_file is not None:
        files.write_whole(json_file, json.dumps(found.as_json(), indent=1).encode())


def _tell(progress: Progress) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{report.progress_line(progress)} ", nl=False, err=True)


def _check_writable(path: Path | None) -> None:
    try:
        if path is not None:
            files.check_writable(path)
    except OutputNotWritable as error:
        error.field = "--json"
        raise


def _check_positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise BadInput(f"--{name} must be above 0, not {value:g}", field=f"--{name}")


def _check_one(first: str, one: float | None, second: str, other: float | None) -> None:
    if one is not None and other is not None:
        raise BadInput(f"give --{first} or --{second}, not both", field=f"--{second}")


def _parse_steps(said: str) -> tuple[int, ...]:
    parts = [part.strip() for part in said.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part[:9]) <= 1000 for part in parts):
        raise BadInput(f"--steps must be step counts from 1 to 1000 with commas between, not {said!r}", field="--steps")
    return tuple(int(part) for part in parts)


def _read_prompts(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return PROMPTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}", field="--prompts") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise BadInput(f"{path} has no prompt in it", field="--prompts")
    return found
