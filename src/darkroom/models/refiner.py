"""A refiner: another model of the catalogue that takes the last steps of a base model's pictures. No torch here.

SDXL's was trained on the last fifth of the noise alone (Podell et al. 2023, arXiv:2307.01952).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput, InvalidConfig, NotSupported
from .layout import pipeline_of, read_json
from .pipelines import REFINED

if TYPE_CHECKING:
    from .catalogue import Entry

FIELD = "refiner"


def with_refiners(entries: dict[str, Entry]) -> None:
    """Put the entries that others name as their refiner into those; raises `InvalidConfig`."""
    for name, entry in list(entries.items()):
        named = entry.settings.refiner
        if named is None:
            continue
        found = entries.get(named)
        if found is None or named == name or found.is_remote or found.settings.refiner is not None:
            allowed = "another model of this settings file, that runs here and has no refiner itself"
            raise InvalidConfig(f"models.{name}.refiner: {named!r} is none: it must name {allowed}", field=FIELD)
        entries[name] = replace(entry, refiner=found)


def check_refiner(model: str, folder: Path | None, refiner: Entry) -> None:
    """Raise what is wrong with its files, or `NotSupported` for models that do not hand over to one another."""
    try:
        refiner.check()
    except BadInput as error:
        raise type(error)(f"models.{model}.refiner: {error.message}", field=FIELD) from error
    for where, allowed in ((folder, REFINED[:1]), (refiner.folder, REFINED)):
        found = allowed[0] if where is None else pipeline_of(read_json(where / "model_index.json"))
        if found not in allowed:
            said = f"a {REFINED[0]} hands over to a {REFINED[1]} or to its like, and there is a {found}"
            raise NotSupported(f"models.{model}.refiner: {said}", field=FIELD)
