"""Where a worker finds the files of a job's adapters: its own catalogue, and the shared storage."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from darkroom import errors
from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.jobs.routing import mark_of
from darkroom.models.adapters import FOLDER, Adapter
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, Entry
from darkroom.models.layout import read_layout
from darkroom.models.loading import load
from darkroom.models.offer import offer_of
from darkroom.models.registered import Registered, fetch, prune
from darkroom.storage.objects import Storage, open_storage
from darkroom.worker.adapting import AdapterFiles, held_adapters, lend
from darkroom.worker.asked import request_of
from tests.lora_files import lora, put

from .jobs import QUICK, running_job

LANDSCAPES = BUNDLED_FOLDER / "landscapes"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture
def ink(tmp_path: Path) -> Adapter:
    """As this worker's darkroom.toml names it."""
    return Adapter("ink", "landscapes", FOLDER, put(tmp_path / "ink.safetensors", lora(1)), tmp_path)


@pytest.fixture
def entry(ink: Adapter, tmp_path: Path) -> Entry:
    return Entry("landscapes", BUNDLED, ModelSettings(path=LANDSCAPES), tmp_path, {"ink": ink})


@pytest.fixture
def files(entry: Entry, storage: Storage, tmp_path: Path) -> AdapterFiles:
    return AdapterFiles({"landscapes": entry}, storage, tmp_path / "home")


def test_a_file_of_its_own_is_taken_from_where_it_lies(files: AdapterFiles, ink: Adapter, tmp_path: Path) -> None:
    assert files.find("landscapes", "ink", ink.facts().digest) == tmp_path / "ink.safetensors"
    assert not (tmp_path / "home").exists()


def test_what_was_registered_is_fetched_also_under_a_name_of_its_own(
    files: AdapterFiles, storage: Storage, ink: Adapter
) -> None:
    for name in ("pen", "ink"):
        digest = Registered(storage).add(name, "landscapes", lora(2)).facts().digest
        assert files.find("landscapes", name, digest).read_bytes() == lora(2)


def test_another_file_under_that_name_is_no_substitute(files: AdapterFiles) -> None:
    with pytest.raises(
        errors.UnknownAdapter, match=r"adapter 'ink' is not the file that was meant, 000000000000: folder"
    ):
        files.find("landscapes", "ink", "0" * 64)
    with pytest.raises(errors.UnknownAdapter, match="adapter 'pen' is no longer registered"):
        files.find("landscapes", "pen", "0" * 64)


def test_a_file_that_is_gone_is_said(files: AdapterFiles, ink: Adapter, tmp_path: Path) -> None:
    digest = ink.facts().digest
    (tmp_path / "ink.safetensors").unlink()
    with pytest.raises(errors.UnknownAdapter, match="there is no adapter at"):
        files.find("landscapes", "ink", digest)


def test_a_job_may_name_what_only_its_gateway_has_listed(entry: Entry) -> None:
    offer = offer_of(entry, read_layout(LANDSCAPES))
    said = {"prompt": "a barn", "seed": 7, **QUICK, "adapters": {"pen": 0.5}}
    request = request_of(running_job(input={**said, "adapter_digests": {"pen": "1" * 64}}), {}, offer)
    assert (request.adapters, request.adapter_digests) == ({"pen": 0.5}, {"pen": "1" * 64})
    with pytest.raises(errors.UnknownAdapter):
        request_of(running_job(input=said), {}, offer)


class Known:
    """What of a resident is asked here."""

    def __init__(self, entry: Entry) -> None:
        self.adapting, self.adapters = threading.Lock(), dict[str, Future[None]]()
        self.loaded = SimpleNamespace(entry=entry)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    entry = Entry("landscapes", BUNDLED, ModelSettings(path=LANDSCAPES), tmp_path_factory.mktemp("model"), {})
    with Engine() as opened:
        opened.add(load(entry, is_offline=True).pipe, "served")
        yield opened


def test_a_fetched_file_is_believed_by_its_bytes(
    engine: Engine, entry: Entry, files: AdapterFiles, storage: Storage, tmp_path: Path
) -> None:
    digest = Registered(storage).add("pen", "landscapes", lora(2)).facts().digest
    kept = put(tmp_path / "home" / "adapters" / f"{digest}.safetensors", lora(3))  # of another file
    known, shot = cast(Any, Known(entry)), cast(Any, SimpleNamespace(adapters={"pen": 1.0}, adapter_digests={}))
    shot.adapter_digests["pen"] = digest
    (name,) = lend(engine, files, known, "served", shot)
    assert kept.read_bytes() == lora(2)
    assert engine._adapters._known[name].digest == digest
    assert held_adapters(engine) == {"landscapes": (mark_of(digest),)}
    kept.unlink()
    lend(engine, files, known, "served", shot)
    assert kept.read_bytes() == lora(2)  # the engine may have to read it again


def test_a_file_of_its_own_that_is_written_on_meanwhile_is_refused_by_name(
    engine: Engine, entry: Entry, files: AdapterFiles, ink: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, find = ink.facts().digest, files.find

    def late(*meant: str) -> Path:
        file = find(*meant)
        put(file, lora(3))
        return file

    monkeypatch.setattr(files, "find", late)
    shot = cast(Any, SimpleNamespace(adapters={"ink": 1.0}, adapter_digests={"ink": digest}))
    with pytest.raises(errors.CorruptWeights, match=r"'ink\.safetensors' is not the file that was meant"):
        lend(engine, files, cast(Any, Known(entry)), "served", shot)


def test_of_fetched_files_the_least_recently_used_go(storage: Storage, tmp_path: Path) -> None:
    names = [str(number) * 64 for number in range(4)]
    for age, name in enumerate(names):
        os.utime(put(tmp_path / f"{name}.safetensors", b"x" * 10), (1000.0 - age, 1000.0 - age))
    fetch(storage, "pen", names[3], tmp_path)  # which uses it
    prune(tmp_path, 20, 2000.0)
    assert {path.stem for path in tmp_path.glob("*.safetensors")} == {names[0], names[3]}
    prune(tmp_path, 0, 500.0)  # all were used since
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
