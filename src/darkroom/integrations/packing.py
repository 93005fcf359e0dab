"""What an archive for another server holds: a darkroom.toml with one model in it, and its weights where wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel

from ..config import FILE_NAME, MODEL_NAME, Settings
from ..errors import BadInput, NotSupported, OutputNotWritable
from ..models.adapters import Adapter
from ..models.catalogue import BUNDLED, Entry
from ..models.layout import read_layout
from ..models.offer import TEXT_TO_IMAGE, offer_of
from ..models.weights import files_of

SERVED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # both servers put it into URLs and file names
SERVE_KEYS = ("max_queued", "adapter_memory_mb", "decode_aside")  # what else of [serve] the engine's side reads
RULES, PRESETS = "rules.toml", "presets.json"
# No request can ask for these there: it brings no pictures, and no `denoising_end`; a cache of steps is one worker's.
UNUSED = ("controlnet", "controlnet_revision", "t2i_adapter", "ip_adapter", "refiner", "step_cache")
Content = bytes | Path


def served_name(said: str | None, entry: Entry) -> str:
    """The name that the server is asked for it by; raises `BadInput`."""
    name = name_of(entry) if said is None else said
    if not SERVED_NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-', at most 64, the first a letter or a digit"
        raise BadInput(f"name must have {allowed}, not {name[:80]!r}", field="name")
    return name


def name_of(entry: Entry) -> str:
    """Its name in the catalogue; of a path, what of it can be one."""
    if MODEL_NAME.fullmatch(entry.name):
        return entry.name
    return re.sub(r"[^a-z0-9._-]+", "-", entry.name.lower()).strip("-._")[:64] or "model"


def left_out(entry: Entry) -> list[str]:
    """Settings of the model that what is exported goes without."""
    return [name for name in UNUSED if getattr(entry.settings, name) is not None]


def pack(settings: Settings, entry: Entry, *, has_weights: bool) -> dict[str, Content]:
    """Files by their names in the archive, each its bytes or where it lies; raises what keeps it from being served.

    Without weights the model is looked for where it lies now.
    """
    _check(entry)
    entry = replace(entry, settings=entry.settings.model_copy(update=dict.fromkeys(UNUSED)), refiner=None)
    if has_weights or not entry.is_of_hub:  # else it is fetched where it runs
        entry.check()
    if entry.folder is not None:
        offer_of(entry, read_layout(entry.folder)).check_task(TEXT_TO_IMAGE, is_controlled=False)
    said = tomlkit.dumps(_said(settings, entry, has_weights=has_weights))
    return {FILE_NAME: said.encode(), **(dict(_weights(settings, entry)) if has_weights else {})}


def source_of(room: str, name: str) -> bytes:
    """A module of ours that runs from a copy in the archive."""
    return (files(__package__) / room / name).read_bytes()


def folder_for(output: Path) -> Path:
    """The folder that archives go to, made where it is not there; raises `OutputNotWritable`."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritable(f"{output} cannot be made: {error.strerror}", field="output") from error
    return output


def _check(entry: Entry) -> None:
    """Raise `NotSupported` for what would not start there."""
    if entry.is_plain:
        said = f"{entry.name} is a function over other models, and what is exported is one model: serve it here"
        raise NotSupported(said, field="model")
    for part, device in entry.settings.devices.items():
        if device.startswith("cuda:") and device != "cuda:0":
            field = f"models.{entry.name}.devices.{part}"
            said = f"{field}: these servers show a model one device, as cuda:0, and this is {device}"
            raise NotSupported(f"{said}; name cuda:0 or cpu, or leave it out", field=field)


def _said(settings: Settings, entry: Entry, *, has_weights: bool) -> dict[str, Any]:
    name, defaults = name_of(entry), type(settings.serve)()
    kept = {key: getattr(settings.serve, key) for key in SERVE_KEYS}
    safety = settings.safety
    if has_weights and safety.rules is not None:
        safety = safety.model_copy(update={"rules": Path(RULES)})
    said: dict[str, Any] = {
        "default_model": name,
        "offline": settings.offline,
        "home": None if has_weights else str(settings.home),  # elsewhere there may be no such folder
        "threads": settings.threads,
        "safety": _plain(safety),
        "serve": {"models": [name], **{key: each for key, each in kept.items() if each != getattr(defaults, key)}},
        "models": {name: _model(entry, has_weights=has_weights)} if has_weights or entry.source != BUNDLED else {},
        "adapters": {
            adapter.name: {"path": _adapter_place(adapter) if has_weights else str(adapter.place), "model": name}
            for adapter in entry.adapters.values()
            if has_weights or adapter.source != BUNDLED
        },
    }
    return {key: each for key, each in said.items() if each not in (None, {})}


def _model(entry: Entry, *, has_weights: bool) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if has_weights:
        changes |= {name: Path(place) for name, place in _places(entry).items()}
        changes |= {"hub": None, "revision": None}
        if entry.folder is not None:  # what ships has a row count that its files do not say
            changes["reproducible_rows"] = offer_of(entry, read_layout(entry.folder)).fixed_rows
    return _plain(entry.settings.model_copy(update=changes))


def _places(entry: Entry) -> dict[str, str]:
    """Names in the archive of what the settings of those names say."""
    said = entry.settings
    here = {"path": entry.folder, "file": said.file, "config": said.config, "safety_checker": said.safety_checker}
    places = {"path": "weights", "file": f"weights{said.file.suffix if said.file else ''}"}
    return {name: places.get(name, name) for name, place in here.items() if place is not None}


def _adapter_place(adapter: Adapter) -> str:
    return f"adapters/{adapter.name}.safetensors"


def _plain(said: BaseModel) -> dict[str, Any]:
    return said.model_dump(mode="json", exclude_defaults=True, exclude_none=True)


def _weights(settings: Settings, entry: Entry) -> Iterator[tuple[str, Path]]:
    """Each file by its name in the archive."""
    said, places = entry.settings, _places(entry)
    if entry.folder is not None:
        yield from _below(places["path"], files_of(entry.folder))
        if (presets := entry.folder / PRESETS).is_file():
            yield f"{places['path']}/{PRESETS}", presets
    if said.file is not None:
        yield places["file"], said.file
    for name, folder in (("config", said.config), ("safety_checker", said.safety_checker)):
        if folder is not None:
            found = (path for path in sorted(folder.rglob("*")) if path.is_file())
            yield from _below(places[name], {path.relative_to(folder).as_posix(): path for path in found})
    for adapter in entry.adapters.values():
        yield _adapter_place(adapter), adapter.file
    if settings.safety.rules is not None:
        yield RULES, settings.safety.rules


def _below(name: str, found: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for place, path in found.items():
        yield f"{name}/{place}", path
