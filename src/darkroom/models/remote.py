"""Models that another Darkroom runs: how to reach it, and what it says of them. No torch here.

Where it is and which key opens it are secrets: neither is in what is said here, in errors, or in logs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..client.blocking import Client
from ..config import PresetSettings, Size, read_api_key
from ..errors import DarkroomError, NotFound, Unavailable, UnknownModel
from .adapters import REMOTE, Adapter, Facts
from .catalogue import Entry
from .layout import Layout
from .offer import Offer

ASK_S = 5.0  # for a description: somebody waits at the door
FRESH_S = 30.0  # a description is not asked for again
KEEP_S = 3600.0  # how long the latest one counts while nobody answers: jobs for it are kept, and forwarded later
STRANGE = "the service behind it describes it in words that this release does not know"


class _Said(BaseModel):
    # What a later release adds is passed over.
    model_config = ConfigDict(frozen=True, extra="ignore")


class LayoutSaid(_Said):
    """`layout` of GET /v1/models/{id}."""

    pipeline: str
    scheduler: dict[str, Any]
    size_multiple: int = Field(ge=1, le=8192)
    native_size: Size
    frame_step: int = Field(default=1, ge=1, le=1024)  # an earlier release makes no videos
    longest_s: float | None = Field(default=None, gt=0)


class ModelSaid(_Said):
    """What is read of GET /v1/models/{id}; docs/reference/http.md describes it."""

    sizes: tuple[Size, ...]
    default_size: Size
    adapters: tuple[str, ...] = ()
    presets: dict[str, dict[str, Any]] = Field(min_length=1)
    layout: LayoutSaid
    has_controlnet: bool = False
    has_ip_adapter: bool = False
    has_refiner: bool = False
    revision: str | None


@dataclass(frozen=True)
class Described:
    """What a remote model offers, the hash of its files there, and whether one of its workers has it in memory."""

    offer: Offer
    revision: str | None
    is_loaded: bool


def connect(entry: Entry, timeout_s: float) -> Client:
    """A client of the service that runs a remote model; it asks once, and its caller decides what to do about an error.

    Raises `InvalidConfig` where its key cannot be read.
    """
    said = entry.settings
    assert said.remote is not None, "a model that is not remote has nobody to ask"
    key = read_api_key(entry.name, said)
    # An empty key, or the client would show the one that the environment holds for somebody else.
    return Client(said.remote, key.get_secret_value() if key else "", timeout_s=timeout_s, retries=0)


def describe(entry: Entry, client: Client) -> Described:
    """What the service behind it says of the model; raises `Unavailable`, in words that are fit for a stranger."""
    try:
        said = client.model(entry.remote_model)
    except (NotFound, UnknownModel) as error:
        raise _unavailable(entry, "the service behind it does not know it") from error
    except DarkroomError as error:
        # Its own words may hold its address.
        raise _unavailable(entry, f"the service behind it cannot be asked just now ({error.code})") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # JSON of another shape, or none
        raise _unavailable(entry, STRANGE) from error
    if said.problem is not None:
        raise _unavailable(entry, "the service behind it cannot serve it just now")
    try:
        return Described(offer_said(entry.name, said.raw), said.revision, said.is_loaded)
    except ValidationError as error:
        raise _unavailable(entry, STRANGE) from error


def offer_said(name: str, said: Mapping[str, Any]) -> Offer:
    """The offer that an answer of GET /v1/models/{id} tells of; raises ValidationError."""
    model = ModelSaid.model_validate(said)
    known = PresetSettings.model_fields
    presets = {
        preset: PresetSettings.model_validate({key: value for key, value in values.items() if key in known})
        for preset, values in model.presets.items()
    }
    bounds = Layout(**model.layout.model_dump())
    adapters = {each: Adapter(each, name, REMOTE, told=Facts("", 0)) for each in model.adapters}
    return Offer(
        *(name, bounds, model.sizes, model.default_size, presets, 1, adapters),
        has_controlnet=model.has_controlnet,
        has_ip_adapter=model.has_ip_adapter,
        has_refiner=model.has_refiner,
    )


class Remote:
    """One remote model as its service described it lately; `read` may be called from any thread, and may block."""

    def __init__(self, entry: Entry, clock: Callable[[], float] = time.monotonic) -> None:
        self.entry, self._clock = entry, clock
        self._client = connect(entry, ASK_S)
        self._latest: Described | None = None
        self._read_at = self._ask_at = float("-inf")
        self._failure = ""
        self._asking = threading.Lock()

    def known(self) -> Described | None:
        """The description where it is fresh; does not block."""
        return self._latest if self._clock() - self._read_at < FRESH_S else None

    def read(self) -> Described:
        """The description, asked for if need be; raises `Unavailable` where it never came, or too long ago."""
        with self._asking:
            if self._clock() - self._read_at >= FRESH_S and self._clock() >= self._ask_at:
                self._ask()
            if self._latest is None or self._clock() - self._read_at >= KEEP_S:
                raise Unavailable(self._failure, field="model")
            return self._latest

    def close(self) -> None:
        """Let its connections go."""
        self._client.close()

    def _ask(self) -> None:
        began = self._clock()
        try:
            self._latest = describe(self.entry, self._client)
        except Unavailable as error:
            self._failure, now = error.message, self._clock()
            self._ask_at = now + (now - began)  # for as long as it took others are refused at once: they would wait too
        else:
            self._read_at = self._clock()


def _unavailable(entry: Entry, why: str) -> Unavailable:
    return Unavailable(f"no job can be made for {entry.name}: {why}", field="model")
