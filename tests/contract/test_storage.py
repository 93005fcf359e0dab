"""What every storage promises, on a folder and on an S3 double (moto), which speaks the protocol and checks no keys."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from darkroom.errors import InvariantBroken, NotFound, StorageUnavailable
from darkroom.storage.objects import Storage, key_for_output, key_for_upload, open_storage, prefix_for_outputs
from tests.missing import skip_or_fail

SECRETS = {"AWS_ACCESS_KEY_ID": "known", "AWS_SECRET_ACCESS_KEY": "not-for-strangers"}
LARGE = os.urandom(6 * 1024 * 1024)  # past the size from which obstore would upload in parts by itself
KEY = key_for_output("job-1", 1, 0, ".png")


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of an S3 server with one bucket, `darkroom`."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        skip_or_fail("moto, the S3 server of these tests, is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    assert httpx.put(f"http://{host}:{port}/darkroom", trust_env=False).status_code == 200
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty storage's URL."""
    if request.param == "folder":
        return str(tmp_path / "artifacts")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return f"s3://darkroom/{uuid.uuid4().hex}/a?endpoint={request.getfixturevalue('s3_server')}&region=us-east-1"


@pytest.fixture
def storage(url: str) -> Storage:
    return open_storage(url)


def put(storage: Storage, key: str, data: bytes = b"bytes") -> None:
    storage.put(key, data, "image/png")


def test_of_several_who_put_something_new_one_alone_comes_in(storage: Storage) -> None:
    came, start = list[int](), threading.Barrier(4)

    def put_new(number: int) -> None:
        start.wait()
        if storage.put_new(KEY, b"%d" % number, "image/png"):
            came.append(number)

    threads = [threading.Thread(target=put_new, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 1
    assert storage.get(KEY) == b"%d" % came[0]
    assert not storage.put_new(KEY, b"later", "image/png")
    storage.delete([KEY])
    assert storage.put_new(KEY, b"again", "image/png")


@pytest.mark.parametrize("data", [b"", b"x", b"\0\xff\r\n" * 1000, LARGE], ids=["empty", "one", "binary", "6 MiB"])
def test_the_bytes_that_went_in_come_out(storage: Storage, data: bytes) -> None:
    put(storage, KEY, data)
    assert storage.get(KEY) == data
    assert storage.size(KEY) == len(data)
    assert b"".join(storage.stream(KEY)) == data


def test_another_process_sees_what_was_put(storage: Storage, url: str) -> None:
    put(storage, KEY)
    assert open_storage(url).get(KEY) == b"bytes"


def test_a_second_put_replaces_the_first(storage: Storage) -> None:
    for data in (b"first and longer", b"second"):
        put(storage, KEY, data)
    assert storage.get(KEY) == b"second"
    assert list(storage.list()) == [KEY]


def test_a_stream_comes_in_parts(storage: Storage) -> None:
    put(storage, KEY, LARGE)
    parts = list(storage.stream(KEY, chunk=100_000))
    assert b"".join(parts) == LARGE
    assert len(parts) > 10
    assert all(isinstance(part, bytes) for part in parts)


@pytest.mark.parametrize("only", [range(1), range(300_000, 300_007), range(len(LARGE) - 9, len(LARGE))])
def test_a_stream_of_a_part_holds_that_part_alone(storage: Storage, only: range) -> None:
    put(storage, KEY, LARGE)
    assert b"".join(storage.stream(KEY, only=only)) == LARGE[only.start : only.stop]


@pytest.mark.parametrize("verb", [Storage.get, Storage.stream, Storage.size])
def test_what_was_never_put_is_not_found(storage: Storage, verb: object) -> None:
    put(storage, KEY)
    for key in ("outputs/job-1/1-1.png", "outputs/job-2/1-0.png", "outputs", "outputs/job-1"):
        with pytest.raises(NotFound):
            verb(storage, key)  # type: ignore[operator]  # at once: nothing has been taken from the stream


def test_what_was_deleted_is_gone_and_its_neighbours_stay(storage: Storage) -> None:
    keys = [key_for_output("job-1", 1, number, ".png") for number in range(4)]
    for key in keys:
        put(storage, key)
    storage.delete([keys[0], keys[2], "outputs/job-9/never-was.png"])
    assert sorted(storage.list()) == [keys[1], keys[3]]
    storage.delete([keys[0]])
    storage.delete([])
    storage.delete([keys[1], keys[3]])
    assert list(storage.list()) == []
    put(storage, keys[0])
    assert storage.get(keys[0]) == b"bytes"


def test_a_list_has_the_keys_below_a_prefix_and_no_others(storage: Storage) -> None:
    ours = [key_for_output("job-1", 1, 0, ".png"), key_for_output("job-1", 2, 0, ".png")]
    others = [key_for_output("job-10", 1, 0, ".png"), key_for_upload("u1", ".webp")]
    for key in ours + others:
        put(storage, key)
    assert sorted(storage.list(prefix_for_outputs("job-1"))) == sorted(ours)
    assert sorted(storage.list("outputs")) == sorted(ours + others[:1])
    assert sorted(storage.list()) == sorted(ours + others)
    assert list(storage.list("nothing/here")) == []


def test_a_list_longer_than_a_page_is_whole(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    keys = {key_for_upload(f"a{number}", ".png") for number in range(25)}
    for key in keys:
        put(storage, key)
    assert set(storage.list("uploads")) == keys
    storage.delete(sorted(keys))
    assert list(storage.list()) == []


def test_older_objects_are_told_from_younger_ones(storage: Storage) -> None:
    keys = [key_for_output("job-1", 1, 0, ".png"), key_for_upload("u1", ".png")]
    before = time.time()
    for key in keys:
        put(storage, key)
    hour_s = 3600.0  # the storage's own clock says when; S3 tells whole seconds
    assert list(storage.older("outputs", before - hour_s)) == []
    assert list(storage.older("outputs", before + hour_s)) == keys[:1]
    assert list(storage.older("uploads", before + hour_s)) == keys[1:]
    assert list(storage.older("nothing", before + hour_s)) == []


def test_outputs_of_two_claims_never_meet(storage: Storage) -> None:
    put(storage, key_for_output("job-1", 1, 0, ".png"), b"of the claim that was lost")
    put(storage, key_for_output("job-1", 2, 0, ".png"), b"of the claim that holds")
    assert storage.get(key_for_output("job-1", 2, 0, ".png")) == b"of the claim that holds"


BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    ".partial/x",
    "a/.b",
    "a b",
    "a\0b",
    "a\nb",
    "é",
]


@pytest.mark.parametrize("key", [*BAD_KEYS, "a\\b", "a%2fb", "a?b", "a" * 513, "C:/a", "a:b", "~/a"])
def test_a_key_that_is_none_of_ours_reaches_no_storage(storage: Storage, key: str) -> None:
    verbs = (
        storage.get,
        storage.size,
        storage.stream,
        lambda key: storage.delete([key]),
        lambda key: put(storage, key),
    )
    for verb in (*verbs, lambda key: storage.signed_url(key, 60)):
        with pytest.raises(InvariantBroken):
            verb(key)
    with pytest.raises(InvariantBroken):
        key_for_upload(f"../{key}", ".png")
    assert list(storage.list()) == []


def test_many_threads_may_use_one_storage(storage: Storage) -> None:
    seen: list[bool] = []

    def work(number: int) -> None:
        for turn in range(10):
            key = key_for_output(f"job-{number % 3}", number, turn, ".png")
            put(storage, key, key.encode())
            seen.append(storage.get(key) == key.encode())
            storage.delete([key])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 60
    assert list(storage.list()) == []


def test_a_reader_sees_the_old_bytes_or_the_new_ones_and_no_mixture(storage: Storage) -> None:
    size = 1_000_000
    put(storage, KEY, b"a" * size)
    done = threading.Event()

    def write() -> None:
        for letter in b"bcdefghij":
            put(storage, KEY, bytes([letter]) * size)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        data = storage.get(KEY)
        assert len(data) == size
        assert len(set(data)) == 1
        seen.add(data[:1])
    writer.join()
    assert seen
    assert storage.get(KEY) == b"j" * size


def test_a_check_that_succeeds_leaves_nothing(storage: Storage) -> None:
    storage.check()
    assert list(storage.list()) == []


def test_a_check_notices_bytes_that_do_not_come_back(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "put", lambda *_: None)
    with pytest.raises(StorageUnavailable, match="not there"):
        storage.check()


def test_a_signed_url_gives_the_bytes_and_their_type_or_there_is_none(storage: Storage) -> None:
    put(storage, KEY, LARGE)
    signed = storage.signed_url(KEY, 60)
    if storage.name.startswith("/"):
        assert signed is None
        return
    assert signed is not None
    answer = httpx.get(signed, trust_env=False, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == LARGE
    assert "X-Amz-Expires=60" in signed
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in signed


def test_signing_can_be_left_to_the_gateway(storage: Storage, url: str) -> None:
    quiet = open_storage(url + "&sign=no") if "?" in url else storage
    put(quiet, KEY)
    assert quiet.signed_url(KEY, 60) is None


def test_a_name_for_people_holds_no_more_than_the_place(storage: Storage, url: str) -> None:
    assert url.startswith(storage.name.rstrip("/"))
    assert "?" not in storage.name


def test_a_bucket_that_is_not_there_is_no_missing_object(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    storage = open_storage(f"s3://no-such-bucket?endpoint={s3_server}&region=us-east-1")
    for verb in (
        storage.get,
        lambda key: put(storage, key),
        lambda key: list(storage.list()),
        lambda _: storage.check(),
    ):
        with pytest.raises(StorageUnavailable) as caught:
            verb(KEY)
        assert "no-such-bucket" not in caught.value.message  # strangers read it
        assert any("no-such-bucket" in note for note in caught.value.__notes__)


def test_a_folder_that_went_away_is_no_missing_object(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "mounted"))
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "mounted" / ".partial").rmdir()
    (tmp_path / "mounted").rmdir()
    for verb in (storage.get, storage.size):
        with pytest.raises(StorageUnavailable, match="bucket or folder is not there"):
            verb(KEY)
