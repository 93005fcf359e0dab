"""A service that runs remote models for us, watched: whether it answers, what it serves, what it has in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import httpx

from ..errors import Unavailable
from ..models.catalogue import Entry
from ..models.remote import ASK_S, Described, connect, describe

log = logging.getLogger(__name__)

LOOK_S = 5.0
AWAY_S = (0.5, 10.0)  # between two looks while it is away: the first pause, and the longest
REQUEST_S = 30.0  # for a request about a job: connecting, and each silence after that


class Backend:
    """The remote `entries` of one service under one key; `changed` is called where something others plan with has."""

    def __init__(self, entries: Mapping[str, Entry], changed: Callable[[], None]) -> None:
        self.entries, self._changed = entries, changed
        first = next(iter(entries.values()))
        self._url = str(first.settings.remote).rstrip("/")
        self.client = connect(first, REQUEST_S)
        self.asking = connect(first, ASK_S)  # for what somebody waits for
        self.described: Mapping[str, Described] = {}
        self.is_ready = False
        self._problems: dict[str, str] = {}
        self._closed = threading.Event()

    @property
    def models(self) -> tuple[str, ...]:
        """Our names of those that jobs can be handed over for just now; none while it is away."""
        return tuple(self.described)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Those of them that one of its workers has in memory."""
        return tuple(name for name, described in self.described.items() if described.is_loaded)

    def watch(self) -> None:
        """Look again and again, until closed."""
        pause_s, longest_s = AWAY_S
        while not self._closed.is_set():
            self.look()
            self._closed.wait(LOOK_S if self.described else pause_s)
            pause_s = AWAY_S[0] if self.described else min(2 * pause_s, longest_s)

    def look(self) -> None:
        """Ask once what it serves, and whether one of its workers is ready."""
        before = (self.models, self.loaded, self.is_ready)
        found: dict[str, Described] = {}
        for name, entry in self.entries.items():
            try:
                found[name] = describe(entry, self.asking)
            except Unavailable as error:
                if self._problems.get(name) != error.message:  # once, and not at every look
                    log.warning("%s", error.message)
                self._problems[name] = error.message
            else:
                self._problems.pop(name, None)
        self.described, self.is_ready = found, bool(found) and self._is_ready()
        if (self.models, self.loaded, self.is_ready) != before:
            self._changed()

    def masked(self, text: str) -> str:
        """A text of whatever origin without the service's address."""
        place = self._url.partition("://")[2]
        return text.replace(self._url, "the service behind it").replace(place, "the service behind it")

    def close(self) -> None:
        """Watch no more, and let the connections go."""
        self._closed.set()
        self.client.close()
        self.asking.close()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self._url}/readyz", timeout=ASK_S).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def backends_of(entries: Sequence[Entry], changed: Callable[[], None]) -> list[Backend]:
    """One for each service and key among the remote models."""

    def place(entry: Entry) -> tuple[str, str, str]:
        said = entry.settings
        return str(said.remote), str(said.api_key_file), str(said.api_key_env)

    remote = sorted((entry for entry in entries if entry.is_remote), key=place)
    return [Backend({entry.name: entry for entry in group}, changed) for _, group in groupby(remote, key=place)]
