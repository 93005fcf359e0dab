"""`darkroom fleet cost`: what workers were paid for, and what for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import BadInput
from ..fleet.cost import By
from ..jobs.allowances import COSTS_KEPT_DAYS
from . import say
from .remote import connect
from .start import JsonOption

UNITS = {"d": 1, "w": 7}  # in days
SAID = {
    "jobs": "jobs",
    "uncharged": "charged to no job yet",
    "between": "between forwards",
    "load": "loading models",
    "start": "starting",
    "idle": "idle",
}
WIDE = 100  # columns, from which on figures may stand apart
LEAST_USD, LEAST_S = 1e-4, 0.05  # that are said


def cost(
    since: Annotated[
        str, typer.Option(help="So many days of UTC, today the last of them: 7d, 4w.", metavar="DAYS")
    ] = "7d",
    by: Annotated[By, typer.Option(help="What a row stands for.")] = By.POOL,
    as_json: JsonOption = False,
) -> None:
    """Say what the workers of a running service were paid for; for operators."""
    days = days_of(since)
    with connect() as client:
        said = client.cost(days, by.value)
    if as_json:
        say.result(dict(said))
        return
    console = Console(highlight=False)
    console.print(report(said, console.width))
    if not said["total"]["paid_s"]:
        say.note("no worker has told of its time: costs are kept from this release on")
    elif not said["total"]["paid_usd"]:
        say.note("no price is set: price_per_hour_usd of [serve], or of a pool in [fleet.pools]")


def days_of(said: str) -> int:
    """How many days that is; raises `BadInput`."""
    found = re.fullmatch(r"([0-9]{1,3})([dw])", said)
    days = int(found[1]) * UNITS[found[2]] if found else 0
    if not 1 <= days <= COSTS_KEPT_DAYS:
        raise BadInput(f"--since takes 1d to {COSTS_KEPT_DAYS}d, or weeks such as 4w, not {said!r}", field="--since")
    return days


def report(said: Mapping[str, Any], width: int) -> RenderableType:
    """The answer for people, on so many columns."""
    head = Text(f"{said['since'][:10]} to {said['at'][:16].replace('T', ' ')} UTC, by {said['by']}", style="bold")
    parts: list[RenderableType] = [head, Text(), _rows(said, 1 if width < WIDE else 3)]
    if said["total"]["paid_s"]:
        parts += [Text(), _parts(said["total"])]
    return Group(*parts)


def _table(gap: int, name: str, *figures: str) -> Table:
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False, header_style="bold cyan")
    table.add_column(name, overflow="fold", min_width=12)
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table


def _rows(said: Mapping[str, Any], gap: int) -> Table:
    is_paid = said["by"] in (By.POOL, By.DAY)
    workers = ("paid", "idle") if is_paid else ()
    table = _table(gap, said["by"].upper(), "jobs", "images", "device", "cost", "per image", "per 1000", *workers)
    for row in said["rows"]:
        table.add_row(row["name"], *_cells(row, is_paid=is_paid))
    table.add_row("total", *_cells(said["total"], is_paid=is_paid), style="bold")
    return table


def _cells(row: Mapping[str, Any], *, is_paid: bool) -> Iterator[str]:
    yield from (f"{row['jobs']:,}", f"{row['images']:,}", duration(row["device_s"]), dollars(row["cost_usd"]))
    yield from (dollars(row["cost_per_image"]), dollars(row["cost_per_1000_images"]))
    if is_paid:
        yield dollars(row["paid_usd"])
        yield "–" if row["idle_share"] is None else percent(row["idle_share"], 0)


def _parts(total: Mapping[str, Any]) -> Table:
    table = _table(3, "WORKERS' TIME", "", "share", "paid")
    for part in total["parts"]:
        share = percent(part["seconds"] / total["paid_s"], 1)
        table.add_row(SAID[part["part"]], duration(part["seconds"]), share, dollars(part["usd"]))
    table.add_row("all", duration(total["paid_s"]), "", dollars(total["paid_usd"]), style="bold")
    return table


def dollars(amount: float | None) -> str:
    """US dollars with figures that say something."""
    if amount is None:
        return "–"
    if abs(amount) < LEAST_USD:
        return "$0.00" if abs(amount) < LEAST_USD / 100 else f"<${LEAST_USD:.4f}"
    places = 2 if abs(amount) >= 0.1 else 3 if abs(amount) >= 0.01 else 5
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{places}f}"


def percent(share: float, places: int) -> str:
    """`12.5%`; what rounds to nothing has no sign."""
    return f"{round(share, places + 2) + 0.0:.{places}%}"


def duration(seconds: float) -> str:
    """`3.2 s`, `12.0 min`, `4.5 h`."""
    if abs(seconds) < 60:
        return f"{seconds if abs(seconds) >= LEAST_S else 0.0:.1f} s"
    return f"{seconds / 60:.1f} min" if abs(seconds) < 3600 else f"{seconds / 3600:,.1f} h"
