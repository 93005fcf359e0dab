"""`darkroom adapters`: the LoRAs that requests can name; those of darkroom.toml added and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer

from .. import config
from ..errors import BadInput, UnknownAdapter
from ..model_settings import MODEL_NAME, SAID_NAME
from ..models.adapters import Adapter
from ..models.catalogue import Catalogue, catalogue
from ..models.revision import short
from ..storage import files
from ..wording import did_you_mean
from . import say
from .catalogue import checked, read_document
from .start import ConfigOption, JsonOption, start

app = typer.Typer(help="LoRAs that requests can name.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The name that requests give.")]


@app.callback(invoke_without_command=True)
def adapters(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the adapters: those that ship, and those that darkroom.toml names."""
    context.obj = (as_json, config)  # flags may stand before or after `list`
    if context.invoked_subcommand is None:
        list_adapters(context)


@app.command("list")
def list_adapters(context: typer.Context, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the adapters: those that ship, and those that darkroom.toml names. GET /v1/adapters lists a service's."""
    as_json, config = as_json or context.obj[0], config or context.obj[1]
    found = describe(start(config)[1])
    if as_json:
        say.result({"adapters": found})
        return
    if not found:
        say.note("there are none: `darkroom adapters add NAME PATH` adds one")
    width = max((len(adapter["name"]) for adapter in found), default=0)
    for adapter in found:
        known = f"{short(adapter['digest'] or '') or '-':12}  {adapter['size'] or 0:>9} bytes"
        typer.echo(f"{adapter['name']:{width}}  {adapter['source']:7}  {known}  {adapter['path']}")
        typer.echo(f"{'':{width}}  {adapter['problem'] or 'for ' + adapter['model']}")


@app.command("add")
def add(
    name: Name,
    path: Annotated[Path, typer.Argument(help="A safetensors file, or a folder with one.")],
    model: Annotated[str | None, typer.Option(help="The model that it is for.", show_default="the default one")] = None,
    config_file: ConfigOption = None,
) -> None:
    """Add an adapter to darkroom.toml; it is checked before it is written, and the file's comments stay."""
    if not MODEL_NAME.fullmatch(name):
        raise BadInput(f"an adapter's name must have {SAID_NAME}, not {name[:80]!r}", field="name")
    place = (config_file or Path(config.FILE_NAME)).absolute()
    document = read_document(place)
    table: Any = document.setdefault("adapters", tomlkit.table(is_super_table=True))
    if name in table:
        said = f"{place} has an adapter {name!r} already: take another name, or remove it first"
        raise BadInput(said, field="name")
    entry = tomlkit.table()
    entry.update({"path": str(path.absolute()), **({} if model is None else {"model": model})})
    table[name] = entry
    text = tomlkit.dumps(document)
    known = catalogue(checked(place, text))
    adapter = next(each for each in _all(known) if each.name == name)
    adapter.facts()
    files.write_whole(place, text.encode())
    say.note(f"{name} for {adapter.model} is in {place}")


@app.command("remove")
def remove(name: Name, config_file: ConfigOption = None) -> None:
    """Take an adapter out of darkroom.toml; its file stays where it is."""
    place = (config_file or Path(config.FILE_NAME)).absolute()
    document = read_document(place)
    table: Any = document.get("adapters", {})
    if name not in table:
        there = f"there are: {', '.join(table) or 'none'}"
        raise UnknownAdapter(f"{place} has no adapter {name!r}{did_you_mean(name, table)}; {there}", field="name")
    del table[name]
    if not table:
        del document["adapters"]
    text = tomlkit.dumps(document)
    catalogue(checked(place, text))
    files.write_whole(place, text.encode())
    say.note(f"{name} is no longer in {place}")


def describe(known: Catalogue) -> list[dict[str, Any]]:
    """Each adapter in words and numbers, with what is wrong with it, if anything; JSON."""
    return [_describe(adapter) for adapter in _all(known)]


def _all(known: Catalogue) -> list[Adapter]:
    found = [adapter for entry in known.entries.values() for adapter in entry.adapters.values()]
    return sorted(found, key=lambda adapter: adapter.name)


def _describe(adapter: Adapter) -> dict[str, Any]:
    problem = adapter.problem
    facts = None if problem else adapter.facts()
    return {
        "name": adapter.name,
        "model": adapter.model,
        "source": adapter.source,
        "path": str(adapter.place),
        "digest": facts and facts.digest,
        "size": facts and facts.size,
        "problem": problem,
    }
