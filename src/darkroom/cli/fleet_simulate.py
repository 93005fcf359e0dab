"""`darkroom fleet simulate`: what policies would have done with a trace."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from ..config import load
from ..errors import BadInput, OutputNotWritable
from ..fleet.autoscaler import open_policy
from ..fleet.compared import caption, figures_of, promise_s, table
from ..fleet.nouns import Policy, Pool
from ..fleet.picture import draw
from ..fleet.prices import pools_of
from ..fleet.simulation import Model, Run, simulate
from ..fleet_settings import FleetSettings, PoolSettings
from ..storage import files
from ..traces import Request, compressed, read_trace, synthetic
from ..wording import counted
from . import say
from .start import ConfigOption

POLICIES = ("fixed", "reactive", "darkroom")
FIXED_LOOK_S = 60.0  # it always answers the same
STANDS_IN = FleetSettings(
    look_s=2.0, wait_s=30.0, idle_s=0.0, pools={"gpu": PoolSettings(device="A10G", max_workers=8, ready_s=10.0)}
)  # where the settings have no [fleet]


def run(
    trace: Annotated[Path | None, typer.Option(help="Requests as CSV; else drawn ones.", show_default=False)] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="One to try; may be said again.", show_default=", ".join(POLICIES))
    ] = None,
    compress: Annotated[float, typer.Option(help="Let them come so many times as fast.")] = 1.0,
    deadlines: Annotated[bool, typer.Option("--deadlines", help="Each asks for the end it is promised.")] = False,
    speeds: Annotated[str, typer.Option(help="A worker's speed with 1, 2, ... jobs at once.")] = "1",
    losses: Annotated[float, typer.Option(help="How often an hour each spot worker is lost.")] = 0.0,
    days: Annotated[int, typer.Option(help="Without --trace: days to draw, 1 to 60.")] = 7,
    seed: Annotated[int, typer.Option(help="Draws and losses.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="A PNG of workers, waiting jobs and the figures.", show_default=False)
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Replay requests against the fleet of the settings, policy by policy, and compare waits, cost and use."""
    _check_plot(plot)
    loaded = load(config)
    settings = loaded.fleet or STANDS_IN
    pools = pools_of(settings, loaded.serve.price_per_hour_usd)
    model = Model(_parse_speeds(speeds), _checked("losses", losses), settings.look_s, seed)
    policies = {name: _open(name, settings) for name in policy or POLICIES}
    requests = _requests(trace, days, seed, compress)
    if deadlines:
        cold_s = min(pool.ready_s for pool in pools)
        requests = [replace(each, deadline_s=promise_s(each.exec_s, cold_s)) for each in requests]
    runs = {name: _simulate(name, each, requests, pools, model) for name, each in policies.items()}
    figures = [figures_of(name, each, pools) for name, each in runs.items()]
    if plot is not None:
        files.write_whole(plot, draw(runs, [caption(each) for each in figures]))
    if as_json:
        say.result({"requests": len(requests), "policies": [asdict(each) for each in figures]})
    else:
        typer.echo(table(figures))


def _open(name: str, settings: FleetSettings) -> Policy:
    if ":" not in name and name not in POLICIES:
        allowed = f"allowed: {', '.join(POLICIES)}, or package.module:name"
        raise BadInput(f"--policy: there is no policy {name!r}; {allowed}", field="--policy")
    return open_policy(settings.model_copy(update={"policy": name}))


def _simulate(name: str, policy: Policy, requests: list[Request], pools: tuple[Pool, ...], model: Model) -> Run:
    say.note(f"{name}: {counted(len(requests), 'request')}")
    return simulate(requests, pools, policy, replace(model, look_s=FIXED_LOOK_S) if name == "fixed" else model)


def _requests(trace: Path | None, days: int, seed: int, compress: float) -> list[Request]:
    if not 1 <= days <= 60:
        raise BadInput(f"--days must be 1 to 60, not {days}", field="--days")
    if not 0 < compress <= 1000:
        raise BadInput(f"--compress must be above 0 and at most 1000, not {compress:g}", field="--compress")
    found = synthetic(days, seed=seed) if trace is None else read_trace(trace, "--trace")
    return found if compress == 1.0 else compressed(found, compress)


def _parse_speeds(said: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in said.split(","))
    except ValueError:
        found = ()
    if not 1 <= len(found) <= 64 or not all(0 < speed < 1000 for speed in found):
        raise BadInput(f"--speeds must be numbers above 0 with commas between, not {said!r}", field="--speeds")
    return found


def _checked(name: str, value: float) -> float:
    if not 0 <= value < 1000:
        raise BadInput(f"--{name} must be 0 to 1000, not {value:g}", field=f"--{name}")
    return value


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise BadInput(f"--plot must end in .png, not {path.name!r}", field="--plot")
    try:
        files.check_writable(path)
    except OutputNotWritable as error:
        error.field = "--plot"
        raise
