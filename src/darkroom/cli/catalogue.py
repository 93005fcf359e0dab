"""`darkroom models add | pull`: a new entry in darkroom.toml, and a hub model fetched before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomlkit
import typer
from tomlkit.exceptions import TOMLKitError

from .. import config
from ..errors import BadInput, DarkroomError, InvalidConfig, MissingWeights, UnknownModel
from ..models.catalogue import HUB, Entry, catalogue, problem_of
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
    """Add a model to darkroom.toml; it is checked before it is written, and the file's comments stay."""
    _check_name(name)
    said = {"path": path and path.absolute(), "hub": hub, "revision": revision, "file": file and file.absolute()}
    entry = {key: str(value) for key, value in said.items() if value is not None}
    place = (config_file or Path(config.FILE_NAME)).absolute()
    text = _with_model(place, name, entry)
    found = catalogue(checked(place, text)).entries[name]
    problem = _problem_of(found)
    files.write_whole(place, text.encode())
    say.note(f"{name} is in {place}")
    if problem is not None:
        say.warning(problem)


def pull(name: Name, config_file: ConfigOption = None) -> None:
    """Fetch a hub model: a service takes no jobs for it before, and `darkroom generate` need not wait for it."""
    settings, known = start(config_file)
    entry = known.entries.get(name)
    if entry is None:
        raise UnknownModel(f"there is no model {name!r}; there are: {', '.join(sorted(known.entries))}", field="name")
    if not entry.is_of_hub:
        entry.check()
        say.note(f"{name} lies here already: {entry.origin}")
        return
    if settings.offline:
        raise BadInput(f"{name} comes from the hub, and offline is set", field="offline")
    if entry.source == HUB:
        typer.echo(_fetch(str(entry.settings.hub), entry.settings.revision))
    if entry.controlnet is not None and entry.controlnet.is_hub:
        from ..models.loading import fetch_controlnet

        typer.echo(str(fetch_controlnet(entry)))
    if entry.refiner is not None and entry.refiner.source == HUB:
        said = entry.refiner.settings
        typer.echo(_fetch(str(said.hub), said.revision))


def read_document(place: Path) -> tomlkit.TOMLDocument:
    """darkroom.toml with its comments, an empty one where there is none; raises `InvalidConfig`."""
    try:
        return tomlkit.parse(place.read_text(encoding="utf-8")) if place.exists() else tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{place} is not valid TOML: {error}", field="config") from error
    except OSError as error:
        raise InvalidConfig(f"{place} cannot be read: {error.strerror}", field="config") from error


def _with_model(place: Path, name: str, entry: dict[str, str]) -> str:
    document = read_document(place)
    models: Any = document.setdefault("models", tomlkit.table(is_super_table=True))
    if name in models:
        raise BadInput(f"{place} has a model {name!r} already: take another name, or edit it there", field="name")
    table = tomlkit.table()
    table.update(entry)
    models[name] = table
    return tomlkit.dumps(document)


def _check_name(name: str) -> None:
    if not config.MODEL_NAME.fullmatch(name):
        said = "must have lower-case letters, digits, '.', '_' and '-', at most 64, the first a letter or a digit"
        raise BadInput(f"a model's name {said}, not {name[:80]!r}", field="name")


def _problem_of(entry: Entry) -> str | None:
    """What is to be warned of; raises `MissingWeights` for what is not there, but a hub model's files come later."""
    if entry.source == HUB:
        return problem_of(entry)
    try:
        entry.check()
    except MissingWeights as error:
        error.field = "file" if entry.settings.file else "path"
        raise
    except DarkroomError as error:
        return error.message
    return None


def checked(place: Path, text: str) -> config.Settings:
    """The settings that the file would hold; raises what loading it would raise, before it stands there."""
    trial = place.with_name(f".{place.name}.trial")
    files.write_whole(trial, text.encode())
    try:
        return config.load(trial)
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
