"""Files are whole or not there, and a place that cannot be written is refused before the work."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from darkroom.errors import OutputNotWritable
from darkroom.storage.files import check_writable, write_whole


def test_a_file_is_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for content in (b"one", b"two"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputNotWritable, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_the_files_mode_is_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a.png", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritable, match="make the folder first") as caught:
        check_writable(tmp_path / "nowhere" / "a.png")
    assert caught.value.field == "output"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputNotWritable, match="is a folder"):
        check_writable(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    # Root may write anywhere but where the kernel itself says no.
    folder = Path("/proc/self") if os.geteuid() == 0 else tmp_path
    if not folder.exists():
        pytest.skip("no folder here that even root cannot write to")
    tmp_path.chmod(0o500)
    with pytest.raises(OutputNotWritable, match="cannot be written"):
        check_writable(folder / "a.png")
