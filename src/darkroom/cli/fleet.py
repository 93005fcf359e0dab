"""`darkroom fleet`: workers that come and go with the work."""

from __future__ import annotations

import typer

from . import fleet_cost, fleet_run, fleet_simulate, fleet_top

app = typer.Typer(help="Scale workers with the work.", no_args_is_help=True)
app.command("run")(fleet_run.run)
app.command("cost")(fleet_cost.cost)
app.command("top")(fleet_top.top)
app.command("simulate")(fleet_simulate.run)
