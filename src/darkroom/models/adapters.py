"""Adapters by name: those that ship, and those that darkroom.toml names; what a file must be to be one. No torch here.

Those that were registered with a running service are in registered.py; a model's own are all listed in its `Offer`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Settings
from ..engine.lora_names import LORA, check_names, find_file
from ..errors import BadInput, CorruptWeights, DarkroomError, InvalidConfig, UnknownAdapter, UnsafeWeights
from ..wording import did_you_mean
from .revision import hash_of
from .weights import read_names

if TYPE_CHECKING:
    from .catalogue import Entry

BUNDLED_FOLDER = Path(__file__).parent / "bundled" / "adapters"
BUNDLED_MODEL = "landscapes"
DIGEST = re.compile(r"[0-9a-f]{64}")  # SHA-256
BUNDLED, FOLDER, REGISTERED, REMOTE = "bundled", "folder", "registered", "remote"
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how pickle's protocols begin
ZIP, PICKLE_IN_ZIP = b"PK\x03\x04", b"data.pkl"  # as torch.save writes
LOOKED_AT = 4096  # bytes, for that name


@dataclass(frozen=True)
class Facts:
    """A file's SHA-256 (hex) and its bytes; "" and 0 where only another Darkroom knows."""

    digest: str
    size: int


@dataclass(frozen=True)
class Adapter:
    """A LoRA that requests to `model` may name; `source`: bundled, folder, registered, remote.

    `place` is its file here, or the folder with it, and `home` where hashes are kept; of others `told` has the facts.
    """

    name: str
    model: str
    source: str
    place: Path | None = None
    home: Path | None = None
    told: Facts | None = None

    @property
    def file(self) -> Path:
        """Its file here; raises `MissingWeights` or `UnsafeWeights`."""
        assert self.place is not None, "it lies elsewhere"
        return find_file(self.place)

    def facts(self) -> Facts:
        """As its file is now; raises what is wrong with it: `BadInput` or one of its kind."""
        if self.told is not None:
            return self.told
        file = self.file
        stat = file.stat()
        return _facts_of(file, self.home or file.parent, stat.st_size, stat.st_mtime_ns)

    @property
    def problem(self) -> str | None:
        """Why it cannot be used, in words; None where it can."""
        try:
            self.facts()
        except DarkroomError as error:
            return error.message
        return None


def shipped_and_named(settings: Settings, models: Mapping[str, Entry]) -> dict[str, dict[str, Adapter]]:
    """By model and name, those that ship and those of darkroom.toml; raises `InvalidConfig`."""
    home = settings.home
    found = [*_shipped(models, home)] if BUNDLED_MODEL in models else []
    for name, said in settings.adapters.items():
        model = said.model or settings.default_model
        _check_model(name, model, models)
        found = [each for each in found if each.name != name]  # darkroom.toml stands above what ships
        found.append(Adapter(name, model, FOLDER, said.path, home))
    by_model: dict[str, dict[str, Adapter]] = {}
    for adapter in found:
        by_model.setdefault(adapter.model, {})[adapter.name] = adapter
    return by_model


def check_lora_file(path: Path) -> None:
    """Raise `CorruptWeights`, `NotSupported` or `BadInput` unless it looks like a LoRA by its header alone."""
    try:
        with path.open("rb") as file:
            keys = read_names(file, path.stat().st_size)
    except (OSError, ValueError) as error:
        raise CorruptWeights(f"{path.name!r} is no whole safetensors file: {error}", field="path") from error
    _check_keys(keys, repr(path.name))


def check_lora(data: bytes) -> None:
    """The same for bytes that came from outside, which nobody unpickles: `UnsafeWeights` where that is their form."""
    refuse_pickle(data)
    try:
        keys = read_names(BytesIO(data), len(data))
    except ValueError as error:
        raise BadInput(f"the body is no whole safetensors file: {error}", field="body") from error
    try:
        _check_keys(keys, "the file")
    except BadInput as error:
        error.field = "body"
        raise


def looks_like_safetensors(data: bytes) -> bool:
    """Whether it begins as such a file does: the length of a JSON header, and that header."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data)


def refuse_pickle(data: bytes) -> None:
    """Raise `UnsafeWeights` for what torch.save and pickle write."""
    is_zipped = data.startswith(ZIP) and PICKLE_IN_ZIP in data[:LOOKED_AT]
    if is_zipped or data.startswith(PICKLES):
        said = "the body is a pickle, which may run code when it is read"
        raise UnsafeWeights(f"{said}: convert it to safetensors first", field="body")


def find_adapter(name: str, known: Mapping[str, Adapter], model: str) -> Adapter:
    """The model's adapter of that name; raises `UnknownAdapter` with the nearest name, and what is allowed."""
    if name not in known:
        allowed = ", ".join(sorted(known)) or "none"
        said = f"{model} has no adapter {name[:64]!r}{did_you_mean(name, known)}; allowed: {allowed}"
        raise UnknownAdapter(said, field="adapters")
    return known[name]


def by_name(adapters: Iterable[Adapter]) -> dict[str, Adapter]:
    """In the order of their names."""
    return {adapter.name: adapter for adapter in sorted(adapters, key=lambda each: each.name)}


@functools.lru_cache(maxsize=1024)
def _facts_of(file: Path, home: Path, size: int, modified_ns: int) -> Facts:
    """Kept: requests name adapters at the door, which must not read files for each."""
    check_lora_file(file)
    return Facts(hash_of(file, home), size)


def _shipped(models: Mapping[str, Entry], home: Path) -> list[Adapter]:
    if models[BUNDLED_MODEL].source != BUNDLED:  # darkroom.toml has put another in its place
        return []
    folders = [path for path in sorted(BUNDLED_FOLDER.glob("*")) if any(path.glob("*.safetensors"))]
    return [Adapter(path.name, BUNDLED_MODEL, BUNDLED, path, home) for path in folders]


def _check_model(name: str, model: str, models: Mapping[str, Entry]) -> None:
    place = f"adapters.{name}.model"
    if model not in models:
        allowed = ", ".join(sorted(models))
        meant = did_you_mean(model, models)
        raise InvalidConfig(f"{place}: there is no model {model!r}{meant}; allowed: {allowed}", field=place)
    if models[model].is_remote:
        said = f"{model} runs on another Darkroom, which has adapters of its own: register it there"
        raise InvalidConfig(f"{place}: {said}", field=place)


def _check_keys(keys: list[str], said: str) -> None:
    check_names(keys, said)
    if not any(LORA in key for key in keys):
        raise BadInput(f"{said} holds no LoRA: none of its {len(keys)} tensors is one's factor", field="path")
