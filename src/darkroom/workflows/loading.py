"""Plain pipelines that darkroom.toml names: the function imported from its file, and put over models in memory."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ..errors import InvalidConfig
from ..models import loading
from ..models.catalogue import Entry
from ..models.checking import EXTRACTOR_FOLDER, OWN, Checker, has_own
from ..models.loading import Loaded
from .plain import PlainPipeline


class Composer:
    """What a worker's residency asks of the models that it may load; see `models.loading.Composing`."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries

    def parts(self, name: str) -> Sequence[str]:
        """See `Composing`."""
        return [part.name for part in self._entries[name].parts]

    def compose(self, name: str, parts: Sequence[Loaded]) -> Loaded:
        """See `Composing`."""
        return compose(self._entries[name], parts)


def with_parts(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Those, and the models that plain pipelines among them call."""
    return {**{part.name: part for entry in entries.values() for part in entry.parts}, **entries}


def load(entry: Entry, *, is_offline: bool) -> Loaded:
    """As `models.loading.load`; of a plain pipeline all that it calls, and then itself."""
    if not entry.is_plain:
        return loading.load(entry, is_offline=is_offline)
    return compose(entry, [loading.load(part, is_offline=is_offline) for part in entry.parts])


def compose(entry: Entry, parts: Sequence[Loaded]) -> Loaded:
    """A plain pipeline over its models. Raises `InvalidConfig` for a file that cannot be imported.

    What it hands out is checked by the safety checker of the first of them that has one; what it makes on the way is
    not.
    """
    function = function_of(entry)
    pipe = function.over({part.entry.name: part.without_checker(part.pipe) for part in parts})
    checker = next((found for part in parts if (found := _checker_of(part)) is not None), None)
    return Loaded(entry, pipe, parts[0].placement, entry.revision(), checker)


def function_of(entry: Entry) -> PlainPipeline:
    """The decorated function that the entry names; raises `InvalidConfig`."""
    form = entry.form
    assert entry.settings.function is not None
    file, name = entry.settings.function
    found = getattr(_imported(file, f"models.{entry.name}.pipeline"), name, None)
    if not isinstance(found, PlainPipeline) or found.models != form.models:
        said = f"{name} in {file} is another one once the file has run than it is to read: decorate it once, and last"
        raise InvalidConfig(f"models.{entry.name}.pipeline: {said}", field="pipeline")
    return found


def _imported(file: Path, place: str) -> ModuleType:
    """Under a name of its own: nothing that is installed can be meant. What lies beside it can be imported by it."""
    known_as = f"darkroom_pipeline_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    if known_as in sys.modules:
        return sys.modules[known_as]
    spec = importlib.util.spec_from_file_location(known_as, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # last: it hides nothing that is installed
    sys.modules[known_as] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # budget: whatever a user's file does when it is imported
        del sys.modules[known_as]
        raise InvalidConfig(f"{place}: {file} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _checker_of(part: Loaded) -> Checker | None:
    if part.checker is None and has_own(part.pipe):
        return Checker(getattr(part.pipe, OWN), getattr(part.pipe, EXTRACTOR_FOLDER))
    return part.checker
