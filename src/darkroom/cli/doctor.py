"""`darkroom doctor`: what is there, and what is wrong."""

from __future__ import annotations

import contextlib
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from .. import __version__
from ..config import Settings, gateway_key
from ..errors import DarkroomError
from ..jobs.opening import hide_password, look_at_store
from ..models.catalogue import HUB, Catalogue
from ..models.revision import short
from ..storage.link import Link, is_gateway_url
from ..storage.objects import open_storage
from ..worker.joining import ask
from . import say
from .adapters import describe as describe_adapters
from .models import describe
from .start import ConfigOption, JsonOption, start

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "greenlet", "pillow", "pydantic")
WIDEST = 12  # characters: transformers


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and whether Darkroom can work with it."""

    what: str
    said: str
    is_good: bool = True


def doctor(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Say what device, versions and models are there, and what is wrong; exits with 1 where something is."""
    findings = []
    for finding in examine(config):
        findings.append(finding)
        if not as_json:
            typer.echo(line(finding))
    is_good = all(finding.is_good for finding in findings)
    if as_json:
        say.result({"ok": is_good, "findings": [asdict(finding) for finding in findings]})
    raise typer.Exit(0 if is_good else 1)


def line(finding: Finding) -> str:
    """The finding in a line; the name of a model or an adapter stands before what was found, whatever its length."""
    kind, _, name = finding.what.partition(" ")
    said = f"{name}: {finding.said}" if name else finding.said
    return f"{'ok   ' if finding.is_good else 'wrong'}  {kind:{WIDEST}}  {said}"


def examine(config_file: Path | None) -> Iterator[Finding]:
    """Everything looked at, in the order in which it is needed."""
    yield Finding("darkroom", f"{__version__} on Python {platform.python_version()}, {platform.platform(terse=True)}")
    yield from (_package(name) for name in PACKAGES)
    try:
        settings, catalogue = start(config_file)
    except DarkroomError as error:
        yield Finding("config", error.message, is_good=False)
        return
    yield Finding("config", str(settings.config_file or "no darkroom.toml here: defaults"))
    yield _home(settings.home)
    yield Finding("offline", "yes: nothing is downloaded" if settings.offline else "no: models may be downloaded")
    yield from [_gateway(settings)] if is_gateway_url(settings.store_url) else [_store(settings), _storage(settings)]
    yield _device(settings)
    yield _memory(settings)
    yield from _models(settings, catalogue)
    yield from _adapters(catalogue)


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "is not installed", is_good=False)


def _home(home: Path) -> Finding:
    """DARKROOM_HOME, or the folder it would be made in."""
    existing = next(path for path in (home, *home.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Finding("home", f"{home}, writable" + ("" if existing == home else "; made when first needed"))
    except OSError as error:
        return Finding("home", f"{home}: {error.strerror}; set DARKROOM_HOME", is_good=False)


def _gateway(settings: Settings) -> Finding:
    """Where a worker here would join; it stands for store and storage."""
    try:
        with contextlib.closing(Link(settings.store_url, gateway_key(settings))) as link:
            said = ask(link)
    except DarkroomError as error:
        return Finding("gateway", error.message, is_good=False)
    return Finding("gateway", f"{settings.store_url}, release {said.version}; it knows {', '.join(said.models)}")


def _store(settings: Settings) -> Finding:
    """Where jobs are kept; an SQLite file is looked at, a Redis asked."""
    url = hide_password(settings.store_url)
    try:
        is_there, risks = look_at_store(settings.store_url)
    except DarkroomError as error:
        return Finding("store", f"{url}: {error.message}", is_good=False)
    return Finding("store", " ".join([f"{url}{'' if is_there else '; made when first needed'}.", *risks]).rstrip("."))


def _storage(settings: Settings) -> Finding:
    """Where artifacts are kept; a few bytes are written there, read and removed."""
    url = hide_password(settings.storage_url)
    if settings.serve.storage is None and not Path(settings.storage_url).exists():
        return Finding("storage", f"{url}; made when first needed")
    try:
        open_storage(settings.storage_url).check()
    except DarkroomError as error:
        return Finding("storage", f"{url}: {error.message}", is_good=False)
    return Finding("storage", f"{url}, writable")


def _device(settings: Settings) -> Finding:
    from ..models.device import device_name, devices, fix_threads, place

    try:
        placement = place()
    except (DarkroomError, RuntimeError) as error:
        return Finding("device", str(error), is_good=False)
    others = [f"{kind} ({device_name(kind)})" for kind in devices() if kind != placement.kind]
    beside = f"; also {', '.join(others)}" if others else ""
    return Finding("device", f"{placement}; {fix_threads(settings.threads, 1)} CPU threads{beside}")


def _memory(settings: Settings) -> Finding:
    """How much models may take, and where they go that make room."""
    from ..fleet.devices import accelerators, most_on_one
    from ..models.device import best_device
    from ..models.footprint import budgets

    kind, said = best_device(), settings.serve
    try:
        devices = len(accelerators())
    except DarkroomError as error:
        return Finding("memory", error.message, is_good=False)
    workers = said.workers or max(1, devices)
    most = budgets(kind, said, workers, most_on_one(workers, devices))
    device, host = most.device >> 20, most.host >> 20
    if host:
        return Finding("memory", f"{device} MiB of the device for models, then {host} MiB of the host, then the disk")
    why = "`host_memory_mb` is 0" if kind == "cuda" else "the host's memory is the device's"
    return Finding("memory", f"{device} MiB for models, then the disk: {why}")


def _adapters(catalogue: Catalogue) -> Iterator[Finding]:
    for adapter in describe_adapters(catalogue):
        said = adapter["problem"] or f"{short(adapter['digest'])}, {adapter['size']} bytes, for {adapter['model']}"
        place = f"{said}: {adapter['path']}"
        yield Finding(f"adapter {adapter['name']}", place, is_good=adapter["problem"] is None)


def _models(settings: Settings, catalogue: Catalogue) -> Iterator[Finding]:
    for model in describe(catalogue):
        entry = catalogue.entries[model["name"]]
        place = f"{model['source']}, {model['origin']}"
        if model["problem"] is None:
            revision = f"{short(model['revision'])}, " if model["revision"] else ""
            yield Finding(f"model {entry.name}", f"{revision}{place}")
        elif entry.source == HUB and entry.folder is None and not settings.offline:
            yield Finding(f"model {entry.name}", f"{place}: {entry.how_to_fetch}")
        else:
            yield Finding(f"model {entry.name}", f"{place}: {model['problem']}", is_good=False)
    if catalogue.default not in catalogue.entries:
        names = ", ".join(catalogue.entries)
        yield Finding("default", f"default_model is {catalogue.default!r}; there are: {names}", is_good=False)
