"""`darkroom models`: what can be served, and where it came from."""

from __future__ import annotations

from typing import Any

import typer

from ..errors import DarkroomError
from ..models.catalogue import Catalogue, Entry
from ..models.layout import read_layout
from ..models.offer import Offer, offer_of, plain_offer
from ..models.revision import short
from . import catalogue as catalogue_commands
from . import say
from .start import ConfigOption, JsonOption, start

app = typer.Typer(help="What can be served, and where it came from.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the models: those that ship, and those that darkroom.toml names."""
    context.obj = (as_json, config)  # flags may stand before or after `list`
    if context.invoked_subcommand is None:
        list_models(context)


@app.command("list")
def list_models(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the models: those that ship, and those that darkroom.toml names."""
    as_json, config = as_json or context.obj[0], config or context.obj[1]
    _, catalogue = start(config)
    found = describe(catalogue)
    if as_json:
        say.result({"models": found, "default": catalogue.default})
        return
    width = max(len(model["name"]) for model in found)
    for model in found:
        mark = " (default)" if model["name"] == catalogue.default else ""
        head = f"{model['name']:{width}}  {model['source']:8}  {short(model['revision'] or '') or '-':12}"
        typer.echo(f"{head}  {model['origin']}{mark}")
        pieces = [f"; {name} {model[key]}" for key, name in PIECES.items() if model[key]]
        presets = f"; presets {', '.join(model['presets'])}" if model["presets"] else ""
        said = model["problem"] or f"sizes {model['said_sizes']}{presets}{''.join(pieces)}"
        typer.echo(f"{'':{width}}  {said}")


app.command("add")(catalogue_commands.add)
app.command("pull")(catalogue_commands.pull)

PIECES = {"controlnet": "ControlNet", "t2i_adapter": "T2I-Adapter", "ip_adapter": "IP-Adapter", "refiner": "refiner"}


def describe(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Each model in words and numbers, with what is wrong with it, if anything; JSON."""
    return [_describe(entry) for entry in catalogue.entries.values()]


def _describe(entry: Entry) -> dict[str, Any]:
    head = {"name": entry.name, "source": entry.source, "origin": entry.origin, "problem": None, "revision": None}
    head["controlnet"] = None if entry.controlnet is None else entry.controlnet.origin
    for piece in ("t2i_adapter", "ip_adapter", "refiner"):
        said = getattr(entry.settings, piece)
        head[piece] = None if said is None else str(said)
    if entry.is_remote:
        return {**head, **_bounds(None), "said_sizes": "told by the Darkroom that runs it"}
    try:
        head["revision"] = entry.revision()
        if entry.is_plain:
            return {**head, **_bounds(plain_offer(entry)), "said_sizes": f"those of {', '.join(entry.form.models)}"}
        offer = offer_of(entry, read_layout(entry.folder)) if entry.folder else None
    except DarkroomError as error:
        head["problem"], offer = error.message, None
    return {**head, **_bounds(offer)}


def _bounds(offer: Offer | None) -> dict[str, Any]:
    """What may be asked; a single file tells that only once it is loaded."""
    if offer is None:
        return {"sizes": [], "said_sizes": "known once loaded", "presets": {}, "solvers": [], "fixed_rows": None}
    return {
        "sizes": [list(size) for size in offer.sizes],
        "said_sizes": offer.said_sizes,
        "presets": {name: preset.model_dump() for name, preset in offer.presets.items()},
        "solvers": list(offer.solvers),
        "fixed_rows": offer.fixed_rows,
    }
