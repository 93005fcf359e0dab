"""`darkroom bench`: what a running service does under load."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ..bench import compare as comparing
from ..bench import report
from ..bench.bench import Asked, Listening, measure
from ..bench.dialects import Dialect
from ..bench.load import Progress
from ..bench.page import page, page_of_two
from ..bench.record import Report, as_json, read_report
from ..storage import files
from ..traces import write_trace
from . import say
from .bench_flags import (
    DEFAULT_LOAD,
    DEFAULT_REQUESTS,
    Said,
    asked_of,
    check_alone,
    check_outputs,
    dialect_of,
    trace_of,
)


def bench(  # budget: a line for each flag
    arrivals: Annotated[
        Literal["poisson", "burst", "ramp", "spike"] | None,
        typer.Option(help="How requests arrive.", show_default="poisson"),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Requests a second; several with commas are tried in turn.", show_default=False)
    ] = None,
    load: Annotated[
        str | None,
        typer.Option(help="The share of the measured capacity to send; or several.", show_default=str(DEFAULT_LOAD)),
    ] = None,
    requests: Annotated[int | None, typer.Option(help="So many.", show_default=str(DEFAULT_REQUESTS))] = None,
    duration: Annotated[float | None, typer.Option(help="Or for so many seconds.", show_default=False)] = None,
    burst_size: Annotated[int, typer.Option(help="Requests of a burst.")] = 8,
    ramp_from: Annotated[float, typer.Option(help="The share of the rate that a ramp begins at.")] = 0.0,
    spike: Annotated[float, typer.Option(help="Times the rate in the middle third of a spike.")] = 10.0,
    users: Annotated[
        int | None, typer.Option(help="Instead: so many users, each waiting for its answer.", show_default=False)
    ] = None,
    think: Annotated[float, typer.Option(help="Seconds between a user's answer and next request.")] = 0.0,
    trace: Annotated[
        str | None, typer.Option(help="Instead: replay a CSV file, or synthetic[:DAYS].", show_default=False)
    ] = None,
    compress: Annotated[float, typer.Option(help="Replay so many times as fast.")] = 1.0,
    map_models: Annotated[
        list[str] | None, typer.Option("--map", help="NAME=MODEL of a trace; * is the others.", show_default=False)
    ] = None,
    save_trace: Annotated[
        Path | None, typer.Option(help="Write the trace as CSV, and stop.", show_default=False)
    ] = None,
    steps: Annotated[str, typer.Option(help="Step counts to draw from.")] = "4,8,20",
    guidance: Annotated[str | None, typer.Option(help="Guidance scales to draw from.", show_default=False)] = None,
    size: Annotated[str | None, typer.Option(help="Sizes to draw from, as 512x512.", show_default=False)] = None,
    adapters: Annotated[str | None, typer.Option(help="LoRAs to draw from.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="A model's name.", show_default=False)] = None,
    images: Annotated[int, typer.Option(help="Images of each request, 1 to 16.")] = 1,
    prompts: Annotated[Path | None, typer.Option(help="A text file, one prompt a line.", show_default=False)] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed sends the same requests; with --rate, at the same moments.")
    ] = 0,
    api: Annotated[
        Literal["native", "openai"] | None, typer.Option(help="What the service speaks.", show_default="native")
    ] = None,
    template: Annotated[
        Path | None, typer.Option(help="Instead: a TOML file that says what to send.", show_default=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="The service.", show_default="DARKROOM_URL")] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(help="US dollars of the machine, for its cost an image.", show_default=False)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write it all there, too.", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.", show_default=False)] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Two files that --json wrote, instead of measuring.", show_default=False),
    ] = None,
) -> None:
    """Send load to a running service, and say how it bore it."""
    said = Said(**locals())
    check_outputs(said)
    if said.compare is not None:
        check_alone(said, "--compare")
        _compare(said.compare, html)
        return
    if save_trace is not None:
        check_alone(said, "--save-trace")
        files.write_whole(save_trace, write_trace(trace_of(said)).encode())
        return
    asked = asked_of(said)
    found = _measured(asked, dialect_of(said))
    typer.echo(report.table(found))
    warning = report.behind(found)
    if warning is not None:
        say.warning(warning)
    if json_file is not None:
        files.write_whole(json_file, json.dumps(as_json(found), indent=1).encode())
    if html is not None:
        files.write_whole(html, page(found).encode())
    if not any(run.summary.succeeded for run in found.runs):
        say.problem("every request failed")
        raise typer.Exit(1)


class _Screen:
    """What is told meanwhile, on stderr: notes, and on a terminal a table that lives while a load goes on."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None

    def note(self, text: str) -> None:
        """A line that stays."""
        self.close()
        say.note(text)

    def tell(self, progress: Progress) -> None:
        """How far the load is."""
        if not self._console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(_live_table(progress), refresh=True)

    def close(self) -> None:
        """Take the table away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _live_table(progress: Progress) -> Table:
    cells = report.progress_cells(progress)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in cells:
        table.add_column(
            name, justify="right", no_wrap=True, style="red" if name == "failed" and progress.failed else ""
        )
    table.add_row(*cells.values())
    return table


def _measured(asked: Asked, dialect: Dialect) -> Report:
    screen = _Screen()

    async def run() -> Report:
        try:
            return await measure(asked, dialect, Listening(screen.note, screen.tell))
        finally:
            await dialect.close()

    try:
        return asyncio.run(run())
    finally:
        screen.close()


def _compare(paths: tuple[Path, Path], html: Path | None) -> None:
    first, second = (read_report(path, "--compare") for path in paths)
    names = _names(paths)
    typer.echo(comparing.table(names, first, second))
    for each in comparing.differences(first, second):
        say.warning(each)
    if html is not None:
        files.write_whole(html, page_of_two(names, first, second).encode())


def _names(paths: tuple[Path, Path]) -> tuple[str, str]:
    """What to call them: the shortest that tells them apart."""
    first, second = paths
    if first.stem != second.stem:
        return first.stem, second.stem
    return (str(first), str(second)) if first != second else (f"{first} (1)", f"{second} (2)")
