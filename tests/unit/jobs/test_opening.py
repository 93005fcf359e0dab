"""Which store a URL means."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.errors import InvalidConfig
from darkroom.jobs.opening import log_risks, look_at_store, open_store
from darkroom.jobs.sqlite import SqliteStore


def test_a_path_is_opened(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'a b%20.sqlite3'}")
    assert isinstance(store, SqliteStore)
    store.close()
    assert (tmp_path / "a b%20.sqlite3").is_file()


def test_three_slashes_begin_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///here/jobs.sqlite3").close()
    assert (tmp_path / "here" / "jobs.sqlite3").is_file()


def test_looking_at_a_store_makes_nothing_and_tells_its_risks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    assert look_at_store(url) == (False, [])
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("darkroom.jobs.sqlite_files._drive", lambda path: "tmpfs")
    with contextlib.closing(open_store(url)) as store:
        is_there, risks = look_at_store(url)
        assert is_there
        assert "every job is lost" in risks[0]
        log_risks(store)
    assert risks[0] in caplog.messages


@pytest.mark.parametrize(
    "url",
    [
        *("", "1", "jobs.sqlite3", "/abs/jobs.sqlite3", "postgres://h/d", "ftp://localhost", "redis"),
        *("sqlite:", "sqlite://", "sqlite:///", "sqlite:////", "sqlite:///a/", "sqlite://host/jobs"),
        "sqlite:///:memory:",
    ],
)
def test_other_urls_are_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(InvalidConfig, match="sqlite:///PATH, redis://") as caught:
        open_store(url)
    assert caught.value.field == "serve.store"


def test_without_the_redis_package_it_is_said_how_to_get_it() -> None:
    script = (
        "import sys; sys.modules['redis'] = None\n"
        "from darkroom.errors import InvalidConfig\n"
        "from darkroom.jobs.opening import open_store\n"
        "try:\n    open_store('redis://127.0.0.1:1/0')\n"
        "except InvalidConfig as error:\n    print(error.message)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'darkroom-server[redis]'" in run.stdout, run.stderr
