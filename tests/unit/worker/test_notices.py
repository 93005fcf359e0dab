"""A worker hears of its cloud's notice, once, and takes nothing else for one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from darkroom.worker import notices
from darkroom.worker.notices import Notices
from tests.metadata_server import Metadata, metadata_server

PATIENCE_S = 20.0
CLOUDS = ("aws", "gcp", "azure")


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with metadata_server() as metadata:
        yield metadata


def wait_for(condition: Callable[[], bool]) -> None:
    until = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if condition():
            return
        until.wait(0.01)
    raise AssertionError("it did not come to that in time")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_notice_is_heard_once_and_only_when_it_comes(cloud: str, metadata: Metadata) -> None:
    heard = threading.Semaphore(0)
    asking = Notices(cloud, heard.release, metadata.url, every_s=0.01)
    asking.start()
    try:
        wait_for(lambda: metadata.asked >= 5)
        assert not heard.acquire(blocking=False)  # neighbours' notices, 404s and FALSE are none
        metadata.token = "second"  # the first has run out
        metadata.is_taken = True
        assert heard.acquire(timeout=PATIENCE_S)
        asked = metadata.asked
        assert not heard.acquire(timeout=0.1)
        assert metadata.asked == asked  # nobody asks any more
    finally:
        asking.close()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_no_notice_takes_no_machine_away(
    cloud: str, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, answers = threading.Event(), iter([(200, "<html>a portal</html>"), (200, "[]"), (500, ""), (200, '"x"')])
    monkeypatch.setattr(metadata, "answer", lambda *asked: counted(metadata, next(answers, (200, "{}"))))
    asking = Notices(cloud, heard.set, metadata.url, every_s=0.01)
    asking.start()
    try:
        wait_for(lambda: metadata.asked >= 8)
        assert not heard.is_set()
    finally:
        asking.close()


def counted(metadata: Metadata, answer: tuple[int, str]) -> tuple[int, str]:
    metadata.asked += 1
    return answer


def test_a_cloud_that_is_silent_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notices, "SILENT", 3)
    heard = threading.Event()
    asking = Notices("gcp", heard.set, "http://127.0.0.1:9", every_s=0.001)  # nobody listens there
    with caplog.at_level(logging.WARNING, "darkroom.worker.notices"):
        asking.start()
        wait_for(lambda: asking._silent >= 10)
        asking.close()
    assert [record.getMessage()[:16] for record in caplog.records] == ["gcp does not say"]
    assert not heard.is_set()
