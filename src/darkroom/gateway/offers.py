"""Which models this gateway takes jobs for, and what each offers; read from their configuration files, no torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import Settings
from ..errors import BadInput, DarkroomError, StorageUnavailable, Unavailable, UnknownModel
from ..models.adapters import Adapter, by_name
from ..models.catalogue import UNDESCRIBED, Catalogue, Entry
from ..models.layout import read_layout
from ..models.offer import Offer, offer_of, plain_offer
from ..models.registered import Registered
from ..models.remote import Described, Remote
from ..models.window import Window, warnings_for, windows_of_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offered:
    """A model that jobs can be made for."""

    entry: Entry
    offer: Offer
    windows: Sequence[Window]
    remote_revision: str | None = None

    def warnings_for(self, texts: Mapping[str, str]) -> tuple[str, ...]:
        """What of these the model will not see."""
        return tuple(warnings_for({name: text for name, text in texts.items() if text}, self.windows))

    def tokens_of(self, prompt: str) -> int:
        """How many tokens the first text encoder would make of it, special ones among them; 0 where that is unknown."""
        return len(self.windows[0].tokenizer.encode(prompt).ids) if self.windows else 0


class Offers:
    """The models of `[serve] models`, or all; each is read once, when somebody first asks for it."""

    def __init__(self, catalogue: Catalogue, settings: Settings, registered: Registered) -> None:
        wanted = settings.serve.models or tuple(catalogue.entries)
        found = [catalogue.find(name) for name in wanted]
        self.entries: Mapping[str, Entry] = {entry.name: entry for entry in found}
        self._remotes = {entry.name: Remote(entry) for entry in found if entry.is_remote}
        self._default, self.registered = catalogue.default, registered
        self._known: dict[str, Offered] = {}
        self._reading = threading.Lock()

    @property
    def default(self) -> str:
        """The model for callers whose dialect knows no models."""
        return self._default if self._default in self.entries else next(iter(self.entries))

    @property
    def own(self) -> tuple[str, ...]:
        """The models that workers run; another Darkroom runs the others."""
        return tuple(name for name, entry in self.entries.items() if not entry.is_remote)

    def entry(self, name: str) -> Entry:
        """The entry of that name; never a path: what a stranger says must not reach the disk. `UnknownModel`."""
        if name not in self.entries:
            allowed = ", ".join(sorted(self.entries))
            raise UnknownModel(f"there is no model {name!r}; allowed: {allowed}", field="model")
        return self.entries[name]

    def choose(self, name: str | None) -> str:
        """The name of the model meant; None will do where only one is served."""
        if name is not None:
            return self.entry(name).name
        if len(self.entries) > 1:
            raise BadInput(f"model must be given; allowed: {', '.join(sorted(self.entries))}", field="model")
        return next(iter(self.entries))

    def known(self, name: str) -> Offered | None:
        """What it offers, if that has been read before, of a remote model lately; does not block."""
        if name in self._remotes:
            described = self._remotes[name].known()
            return None if described is None else self._offered(name, described)
        return self._known.get(name)

    def read(self, name: str) -> Offered:
        """What it offers, read from its files if need be; raises `Unavailable` while they do not say."""
        entry = self.entry(name)
        if name in self._remotes:
            return self._offered(name, self._remotes[name].read())
        with self._reading:
            if name not in self._known:
                self._known[name] = _read(entry)
            return self._known[name]

    def with_registered(self, name: str) -> Offered:
        """What it offers, with the adapters that were registered for it; blocks. What ships or is set stands above."""
        offered = self.read(name)
        registered = {} if offered.entry.is_remote else self.registered.for_model(name)
        adapters = by_name({**registered, **offered.offer.adapters}.values())
        return replace(offered, offer=replace(offered.offer, adapters=adapters))

    def listed(self, name: str) -> Offer:
        """The same to look at: while the storage is away, without what was registered."""
        try:
            return self.with_registered(name).offer
        except StorageUnavailable as error:
            log.warning("registered adapters are not listed: %s", error)
            return self.read(name).offer

    def adapters(self) -> list[Adapter]:
        """Every adapter of every model that says what it offers, by name; blocks."""
        found = [self.listed(name) for name in self.entries if self.problem(name) is None]
        return sorted((each for offer in found for each in offer.adapters.values()), key=lambda each: each.name)

    def problem(self, name: str) -> str | None:
        """Why no jobs can be made for it, in words; None where they can."""
        try:
            self.read(name)
        except DarkroomError as error:
            return error.message
        return None

    def revision(self, name: str) -> str | None:
        """The hash of its files; None where they are not here, and nobody says."""
        if name in self._remotes:
            known = self.known(name)
            return None if known is None else known.remote_revision
        try:
            return self.entry(name).revision()
        except DarkroomError:
            return None  # `problem` says why, or the worker has the files and this process does not

    def close(self) -> None:
        """Let go of the connections to other services."""
        for remote in self._remotes.values():
            remote.close()

    def _offered(self, name: str, described: Described) -> Offered:
        """Its tokenizer is over there, and so nobody here can say what of a long prompt it will not see."""
        return Offered(self.entries[name], described.offer, (), described.revision)


def _read(entry: Entry) -> Offered:
    if entry.is_plain:
        return Offered(entry, plain_offer(entry), ())  # what becomes of its texts only its function knows
    folder = _configuration_of(entry)
    if folder is None:
        why = UNDESCRIBED if entry.settings.file is not None else f"its files are not here: {entry.how_to_fetch}"
        raise Unavailable(f"what {entry.name} offers is not known yet: {why}", field="model")
    offer = offer_of(entry, read_layout(folder))
    for adapter in offer.adapters.values():
        if adapter.problem is not None:  # asked for here, where hashing may take its time
            log.warning("adapter %s cannot be used: %s", adapter.name, adapter.problem)
    return Offered(entry, offer, windows_of_folder(folder))


def _configuration_of(entry: Entry) -> Path | None:
    """The folder in diffusers layout that describes the model."""
    return entry.settings.config if entry.settings.file is not None else entry.folder
