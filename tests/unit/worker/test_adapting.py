"""Where a worker finds the files of a job's adapters: its own catalogue, and the shared storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom import errors
from darkroom.config import ModelSettings
from darkroom.models.adapters import FOLDER, Adapter
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, Entry
from darkroom.models.layout import read_layout
from darkroom.models.offer import offer_of
from darkroom.models.registered import Registered
from darkroom.storage.objects import Storage, open_storage
from darkroom.worker.adapting import AdapterFiles
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
