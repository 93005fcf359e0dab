"""What can be served, by name: where each model comes from, and the hash of what it is made of. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..config import ModelSettings, Settings
from ..errors import DarkroomError, InvalidConfig, MissingWeights, NotSupported, UnknownModel
from . import weights
from .adapters import Adapter, shipped_and_named
from .controlnet import ControlNet
from .form import Form, read_form
from .ip_adapter import IpAdapter
from .layout import config_of
from .refiner import check_refiner, with_refiners
from .revision import revision_of
from .t2i_adapter import T2iAdapter

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
BUNDLED, FOLDER, HUB, FILE, REMOTE, PLAIN = "bundled", "folder", "hub", "file", "remote", "plain"
UNDESCRIBED = (
    "a single file does not say what may be asked of it: in darkroom.toml, name as `config` a folder that holds the "
    "configuration files of its pipeline, or serve a folder (docs/guides/models.md)"
)


@dataclass(frozen=True)
class Entry:
    """One model that can be served; `source` says which of the six kinds it is, `home` where hashes are kept.

    `adapters` are those that ship for it, and those that darkroom.toml names. `refiner` is another model, which can
    take its last steps. `others` are all entries by name, for a
    plain pipeline to find the models that it calls.
    """

    name: str
    source: str
    settings: ModelSettings
    home: Path
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    refiner: Entry | None = None
    others: Mapping[str, Entry] = field(default_factory=dict, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """Where it came from, for people; the address of another Darkroom is not told."""
        said = self.settings
        if self.is_remote:
            return f"{self.remote_model} of another Darkroom"
        if self.source == HUB:
            return f"{said.hub}@{said.revision}" if said.revision else str(said.hub)
        return str(said.pipeline if self.is_plain else said.file or said.path)

    @property
    def folder(self) -> Path | None:
        """Its folder in diffusers layout; None for a single file, and for a hub model that is not downloaded yet."""
        if self.source == HUB:
            return weights.snapshot_of(str(self.settings.hub), self.settings.revision, "model_index.json")
        return self.settings.path

    @property
    def is_remote(self) -> bool:
        """Whether another Darkroom runs it."""
        return self.source == REMOTE

    @property
    def is_plain(self) -> bool:
        """Whether it is a user's function over other models."""
        return self.source == PLAIN

    @property
    def form(self) -> Form:
        """What a plain pipeline takes, and the models that it calls; raises `InvalidConfig`."""
        assert self.settings.function is not None, "only a plain pipeline has a form"
        return read_form(*self.settings.function)

    @property
    def parts(self) -> tuple[Entry, ...]:
        """The models that a plain pipeline calls; none of another model's. Raises `InvalidConfig`."""
        return tuple(map(self._part, self.form.models)) if self.is_plain else ()

    def _part(self, name: str) -> Entry:
        found, place = self.others.get(name), f"models.{self.name}.pipeline: {self.form.function}"
        if found is None:
            names = ", ".join(sorted(self.others))
            raise InvalidConfig(f"{place} names the model {name!r}; there are: {names}", field="pipeline")
        if found.is_remote or found.is_plain:
            why = "runs on another Darkroom" if found.is_remote else "is a plain pipeline itself"
            raise InvalidConfig(f"{place} cannot call {name}, which {why}", field="pipeline")
        return found

    @property
    def remote_model(self) -> str:
        """Its name over there."""
        return self.settings.remote_model or self.name

    @property
    def controlnet(self) -> ControlNet | None:
        """What reads control images beside its denoiser, where it has one."""
        said = self.settings
        place = said.controlnet
        return None if place is None else ControlNet(self.name, place, said.controlnet_revision, said.allow_pickle)

    @property
    def t2i_adapter(self) -> T2iAdapter | None:
        """What reads control images in a ControlNet's place, where it has one."""
        said = self.settings
        return None if said.t2i_adapter is None else T2iAdapter(self.name, said.t2i_adapter, said.allow_pickle)

    @property
    def ip_adapter(self) -> IpAdapter | None:
        """What has a picture prompt it, where it has one."""
        place = self.settings.ip_adapter
        return None if place is None else IpAdapter(self.name, place)

    @property
    def is_of_hub(self) -> bool:
        """Whether some of it is fetched at its first use."""
        has_own = self.source == HUB or (self.controlnet is not None and self.controlnet.is_hub)
        return has_own or any(other.is_of_hub for other in self._others())

    def _others(self) -> tuple[Entry, ...]:
        """Models that are loaded with it; none of a plain pipeline with a fault, which `check` tells."""
        try:
            return (*self.parts, *([] if self.refiner is None else [self.refiner]))
        except InvalidConfig:
            return ()

    @property
    def how_to_fetch(self) -> str:
        """For people, of one that `is_of_hub`: a service takes no jobs for it before."""
        named = f"a worker at its start where `models` of [serve] names {self.name}"
        return (
            f"`darkroom models pull {self.name}` fetches it; so does `darkroom generate` at its first use, and {named}"
        )

    @property
    def is_whole(self) -> bool:
        """Whether all that is fetched at its first use has been fetched; half a download is not."""
        try:
            self.check()
        except MissingWeights:
            return False
        except DarkroomError:
            return True  # what is wrong with it no download mends
        return True

    def check(self) -> None:
        """Raise `MissingWeights`, `CorruptWeights` or `UnsafeWeights` where it cannot be served as it lies there.

        `InvalidConfig` for a ControlNet that does not fit, `NotSupported` for what does not lie here at all.
        """
        if self.is_remote:
            raise NotSupported(f"{self.name} runs on another Darkroom: submit a job to the service", field="model")
        for part in self.parts:
            part.check()
        if self.is_plain:
            return
        self._check_files()
        if self.controlnet is not None:
            self.controlnet.check(*self.configs())
        if self.t2i_adapter is not None:
            self.t2i_adapter.check(self.configs()[0])
        if self.ip_adapter is not None:
            self.ip_adapter.check(self.configs()[0])
        if self.refiner is not None:
            check_refiner(self.name, self.folder, self.refiner)

    def configs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of its denoiser and its VAE, as its files say; empty where they are not here."""
        said = self.folder or self.settings.config
        return (config_of(said, "unet", "transformer"), config_of(said, "vae")) if said else ({}, {})

    def _check_files(self) -> None:
        said = self.settings
        if said.file is not None:
            weights.check_file(said.file, allow_pickle=said.allow_pickle)
            if said.config is not None and not (said.config / "model_index.json").is_file():
                raise MissingWeights(f"{said.config} holds no model_index.json", field="config")
            return
        folder = self.folder
        if folder is None:
            raise MissingWeights(f"{self.origin} is not downloaded yet: {self.how_to_fetch}", field="model")
        if not folder.is_dir():
            raise MissingWeights(f"{folder}: there is no such folder", field="model")
        weights.check_folder(folder, allow_pickle=said.allow_pickle, trust_remote_code=said.trust_remote_code)

    def revision(self) -> str:
        """The hash over weights, configurations and vocabularies; raises what `check` raises."""
        self.check()
        return revision_of({**self._files(), **self._files_beside()}, self.home)

    def _files_beside(self) -> dict[str, Path]:
        """Of its pieces that are no components of its pipeline."""
        pieces = {"control": self.controlnet, "t2i": self.t2i_adapter, "ip": self.ip_adapter}
        found = {kind: piece.files() for kind, piece in pieces.items() if piece is not None}
        if self.refiner is not None:
            found["refiner"] = self.refiner._files()
        return {f"{kind}/{name}": path for kind, files in found.items() for name, path in files.items()}

    def _files(self) -> dict[str, Path]:
        if self.settings.function is not None and self.is_plain:
            parts = [(part.name, {**part._files(), **part._files_beside()}) for part in self.parts]
            of_parts = {f"{part}/{name}": path for part, files in parts for name, path in files.items()}
            return {"function": self.settings.function[0], **of_parts}
        if self.settings.file is not None:
            configs = weights.files_of(self.settings.config) if self.settings.config else {}
            kept = {f"config/{name}": path for name, path in configs.items() if path.suffix != ".safetensors"}
            return {"weights": self.settings.file, **kept}
        assert self.folder is not None  # check has refused it
        return weights.files_of(self.folder)


@dataclass(frozen=True)
class Catalogue:
    """The models of one process, by name."""

    entries: Mapping[str, Entry]
    default: str
    home: Path

    def find(self, name: str | None) -> Entry:
        """The entry of that name, or of a model that lies at that path; None: the default one."""
        name = self.default if name is None else name
        if name in self.entries:
            return self.entries[name]
        path = Path(name).expanduser()
        if path.exists() and name:
            return _entry_at(path.absolute(), self.home)
        names = ", ".join(sorted(self.entries))
        raise UnknownModel(f"there is no model {name!r}; there are: {names}, or give a path", field="model")


def catalogue(settings: Settings) -> Catalogue:
    """What ships with Darkroom, and what darkroom.toml adds or puts in its place."""
    bundled = {path.name: path for path in sorted(BUNDLED_FOLDER.glob("*")) if (path / "model_index.json").exists()}
    bundled.setdefault("landscapes", BUNDLED_FOLDER / "landscapes")
    entries = {name: Entry(name, BUNDLED, ModelSettings(path=path), settings.home) for name, path in bundled.items()}
    for name, said in settings.models.items():
        entries[name] = Entry(name, _source_of(said), said, settings.home)
    for model, adapters in shipped_and_named(settings, entries).items():
        entries[model] = replace(entries[model], adapters=adapters)
    with_refiners(entries)
    for name in [name for name, entry in entries.items() if entry.is_plain]:
        entries[name] = replace(entries[name], others=entries)
    return Catalogue(entries, settings.default_model, settings.home)


def narrow(settings: Settings, model: str | None) -> Settings:
    """The settings with that model, a name or a path, as the only one served and the default; None: as they are."""
    if model is None:
        return settings
    known = catalogue(settings)
    entry = known.find(model)
    serve = settings.serve.model_copy(update={"models": (entry.name,)})
    # What the catalogue has stays what it is there: what ships brings more than its files.
    is_named = known.entries.get(entry.name) is entry
    models = settings.models if is_named else {**settings.models, entry.name: entry.settings}
    return settings.model_copy(update={"serve": serve, "models": models, "default_model": entry.name})


def narrow_to_pool(settings: Settings) -> Settings:
    """The settings with the models of the fleet's pool that this worker is of; as they are, where it is of none.

    Raises `InvalidConfig` where `[serve] models` leaves none of them.
    """
    pool = settings.fleet.pools.get(settings.pool or "") if settings.fleet else None
    if pool is None or not pool.models:
        return settings
    wanted = settings.serve.models
    models = tuple(name for name in pool.models if not wanted or name in wanted)
    if not models:
        said = (
            f"the pool has {', '.join(pool.models)}, and the service has {', '.join(wanted)}: name one that both have"
        )
        raise InvalidConfig(f"fleet.pools.{settings.pool}.models: {said}", field="fleet.pools")
    return settings.model_copy(update={"serve": settings.serve.model_copy(update={"models": models})})


def _source_of(said: ModelSettings) -> str:
    if said.path is None and said.function is not None and not (said.hub or said.file):
        return PLAIN
    return REMOTE if said.remote else HUB if said.hub else FILE if said.file else FOLDER


def served(settings: Settings) -> list[Entry]:
    """The models of `[serve] models`, or all; raises `UnknownModel`."""
    known = catalogue(settings)
    return [known.find(name) for name in settings.serve.models or tuple(known.entries)]


def check_described(settings: Settings) -> None:
    """Raise `InvalidConfig` where a model is served by name, and no gateway could say what may be asked of it."""
    for entry in served(settings) if settings.serve.models else ():
        if entry.settings.file is not None and entry.settings.config is None:
            raise InvalidConfig(f"models.{entry.name}.config: {UNDESCRIBED}", field="model")


def problem_of(entry: Entry) -> str | None:
    """What keeps an entry from being served, in words; None where nothing does."""
    try:
        entry.check()
    except DarkroomError as error:
        return error.message
    return None


def _entry_at(path: Path, home: Path) -> Entry:
    if path.is_dir():
        return Entry(path.name, FOLDER, ModelSettings(path=path), home)
    return Entry(path.stem, FILE, ModelSettings(file=path), home)
