"""`darkroom models add | pull`: a new entry in darkroom.toml, and a hub model fetched before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer
from tomlkit.exceptions import TOMLKitError

from .. import config
from ..errors import BadInput, InvalidConfig, MissingWeights
from ..models.catalogue import HUB, problem_of
from ..storage import files
from . import say
from .start import ConfigOption, start

Name = Annotated[str, typer.Argument(help="The name it is served by.")]


def add(
    name: Name,
    path: Annotated[Path | None, typer.Option(help="A folder in diffusers' layout.", show_default=False)] = None,
    hub: Annotated[str | None, typer.Option(help="A model's id on the hub.", show_default=False)] = None,
    revision: Annotated[str | None, typer.Option(help="With --hub: commit or tag.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option(help="A single safetensors file.", show_default=False)] = None,
    config_file: ConfigOption = None,
) -> None:
    """Add a model to darkroom.toml; the file is checked before it is written, and its comments stay."""
    said = {"path": path and path.absolute(), "hub": hub, "revision": revision, "file": file and file.absolute()}
    entry = {key: str(value) for key, value in said.items() if value is not None}
    place = (config_file or Path(config.FILE_NAME)).absolute()
    text = _with_model(place, name, entry)
    _check(place, text)
    files.write_whole(place, text.encode())
    settings, catalogue = start(place)
    problem = problem_of(catalogue.find(name))
    say.note(f"{name} is in {settings.config_file}")
    if problem is not None:
        say.warning(problem)


def pull(name: Name, config_file: ConfigOption = None) -> None:
    """Fetch a hub model now, so that its first use does not wait for it."""
    settings, catalogue = start(config_file)
    entry = catalogue.find(name)
    if entry.source != HUB:
        entry.check()
        say.note(f"{name} lies here already: {entry.origin}")
        return
    if settings.offline:
        raise BadInput(f"{name} comes from the hub, and offline is set", field="offline")
    typer.echo(_fetch(str(entry.settings.hub), entry.settings.revision))


def _with_model(place: Path, name: str, entry: dict[str, str]) -> str:
    try:
        document = tomlkit.parse(place.read_text(encoding="utf-8")) if place.exists() else tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{place} is not valid TOML: {error}", field="config") from error
    except OSError as error:
        raise InvalidConfig(f"{place} cannot be read: {error.strerror}", field="config") from error
    models: Any = document.setdefault("models", tomlkit.table(is_super_table=True))
    if name in models:
        raise BadInput(f"{place} has a model {name!r} already: take another name, or edit it there", field="name")
    table = tomlkit.table()
    table.update(entry)
    models[name] = table
    return tomlkit.dumps(document)


def _check(place: Path, text: str) -> None:
    """Raise what loading the file would raise, before it stands there."""
    trial = place.with_name(f".{place.name}.trial")
    files.write_whole(trial, text.encode())
    try:
        config.load(trial)
    except InvalidConfig as error:
        raise InvalidConfig(error.message.replace(str(trial), str(place)), field=error.field) from error
    finally:
        trial.unlink()


def _fetch(hub: str, revision: str | None) -> str:
    from diffusers import DiffusionPipeline

    try:
        return str(DiffusionPipeline.download(hub, revision=revision, use_safetensors=True))
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{hub} could not be fetched: {error}", field="model") from error
