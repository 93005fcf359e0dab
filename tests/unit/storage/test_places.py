"""A storage URL is understood or refused at the start, with what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from darkroom.errors import InvalidConfig, StorageUnavailable
from darkroom.storage.places import place_of


@pytest.mark.parametrize("shape", ["{}", "file://{}", "file://localhost{}", "{}/", "{}/../a b"])
def test_a_folder_is_made_where_it_is_named(shape: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    place = place_of(shape.format(tmp_path / "deep" / "a b"), 1)
    assert isinstance(place.bucket, LocalStore)
    assert place.folder is not None
    assert place.folder.resolve() == tmp_path / "deep" / "a b"
    assert place.folder.is_dir()
    assert not place.can_sign


def test_a_file_url_may_be_percent_encoded(tmp_path: Path) -> None:
    assert place_of(f"file://{tmp_path}/a%20b", 1).folder == tmp_path / "a b"


def test_a_relative_folder_lies_where_the_command_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("artifacts", 1).folder == tmp_path / "artifacts"


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="folder cannot be made"):
        place_of(str(tmp_path / "file" / "folder"), 1)


@pytest.mark.parametrize(
    ("url", "kind", "name", "can_sign"),
    [
        ("s3://b-1.x", S3Store, "s3://b-1.x/", True),
        ("s3://bucket/a/b/", S3Store, "s3://bucket/a/b/", True),
        ("s3://bucket/a?endpoint=http://127.0.0.1:9000&region=eu-west-1", S3Store, "s3://bucket/a/", True),
        ("s3://bucket?sign=no", S3Store, "s3://bucket/", False),
        ("s3://bucket?sign=yes", S3Store, "s3://bucket/", True),
        ("gs://bucket/a", GCSStore, "gs://bucket/a/", True),
        ("gs://bucket?endpoint=http://127.0.0.1:4443", GCSStore, "gs://bucket/", True),
        ("az://container/a?account=me", AzureStore, "az://container/a/", True),
    ],
)
def test_an_object_store_is_named_by_its_url(url: str, kind: type, name: str, can_sign: bool) -> None:
    place = place_of(url, 1)
    assert isinstance(place.bucket, kind)
    assert (place.name, place.can_sign, place.folder) == (name, can_sign, None)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "it is empty"),
        (" ", "it is empty"),
        ("memory://", "would lose every artifact"),
        ("memory:///x", "would lose every artifact"),
        ("http://example.com/a", "http:// is not known"),
        ("S4://bucket", "s4:// is not known"),
        ("s3:/bucket", "'//' is missing"),
        ("s3:bucket", "'//' is missing"),
        ("file:/folder", "'//' is missing"),
        ("file://host/folder", "three slashes"),
        ("file:///", "three slashes"),
        ("file:///folder?x=1", "three slashes"),
        ("s3://", "bucket and prefix may have"),
        ("s3:///prefix", "bucket and prefix may have"),
        ("s3://bucket/../other", "bucket and prefix may have"),
        ("s3://bucket/a b", "bucket and prefix may have"),
        ("s3://bucket//a", "bucket and prefix may have"),
        ("s3://key:secret@bucket", "keys do not belong in the URL"),
        ("s3://bucket?secret_access_key=hidden", "allowed: endpoint, region, sign"),
        ("s3://bucket?endpoint=127.0.0.1:9000", "endpoint must begin with https:// or http://"),
        ("s3://bucket?endpoint=", "not known, empty or twice"),
        ("s3://bucket?region=a&region=b", "not known, empty or twice"),
        ("s3://bucket?sign=maybe", "sign is yes or no"),
        ("az://container", "ccount"),
    ],
)
def test_a_url_that_is_not_allowed_stops_the_start(url: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    with pytest.raises(InvalidConfig, match=why) as caught:
        place_of(url, 1)
    assert caught.value.field == "storage"
    assert "s3://BUCKET/PREFIX" in caught.value.message
    assert "hidden" not in caught.value.message
    assert "secret@" not in caught.value.message
