"""Files are whole or not there, and a place that cannot be written is refused before the work."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from darkroom.errors import OutputNotWritable
from darkroom.storage.files import STALE_S, check_writable, put_durably, remove, sweep_partial, write_whole


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


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_durable_file_is_whole_and_its_folders_are_made(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        put_durably(tmp_path / "new", "a/b/c.png", content)
        assert (tmp_path / "new/a/b/c.png").read_bytes() == content
    assert names(tmp_path) == {"new/a/b/c.png"}


def test_a_durable_files_name_is_durable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, then the name, then every folder up to the root: in any other order a power cut could lose the file."""
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(handle: int) -> None:
        place = os.readlink(f"/proc/self/fd/{handle}")
        steps.append("bytes" if ".partial" in place else os.path.relpath(place, tmp_path))
        sync(handle)

    def note_replace(source: Path, target: Path) -> None:
        steps.append("name")
        replace(source, target)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("which file is synced is read from /proc, which is Linux's")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    put_durably(tmp_path, "a/b/c.png", b"x")
    assert steps == ["bytes", "name", "a/b", "a", "."]


def test_a_durable_files_mode_is_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        put_durably(tmp_path, "a/b.png", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a/b.png").stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_durable_write_that_fails_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_durably(tmp_path, "a/b.png", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        put_durably(tmp_path, "a/b.png", b"new")
    assert (tmp_path / "a/b.png").read_bytes() == b"old"
    assert names(tmp_path) == {"a/b.png"}


def test_a_folder_taken_away_in_the_middle_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`remove` takes a folder that is empty; `put_durably` may be about to fill it."""
    replace, taken = os.replace, []

    def take_then_replace(source: Path, target: Path) -> None:
        if not taken:
            taken.append(target.parent)
            target.parent.rmdir()
        replace(source, target)

    monkeypatch.setattr(os, "replace", take_then_replace)
    put_durably(tmp_path, "outputs/job/1-0.png", b"x")
    assert taken
    assert names(tmp_path) == {"outputs/job/1-0.png"}


def test_the_last_file_of_a_job_takes_its_folder_along_and_no_other(tmp_path: Path) -> None:
    for key in ("outputs/job/0.png", "outputs/job/1.png", "uploads/a.png"):
        put_durably(tmp_path, key, b"x")
    remove(tmp_path, "outputs/job/0.png")
    assert (tmp_path / "outputs/job").is_dir()
    remove(tmp_path, "outputs/job/1.png")
    remove(tmp_path, "outputs/job/1.png")
    remove(tmp_path, "uploads/a.png")
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "uploads", ".partial"}
    assert list((tmp_path / "outputs").iterdir()) == []


def test_what_killed_writers_left_is_swept_and_what_is_being_written_stays(tmp_path: Path) -> None:
    sweep_partial(tmp_path, 0)
    (tmp_path / ".partial").mkdir()
    for name, age_s in (("old", STALE_S + 60), ("young", 0)):
        (tmp_path / ".partial" / name).write_bytes(b"x")
        os.utime(tmp_path / ".partial" / name, (1e9 - age_s, 1e9 - age_s))
    sweep_partial(tmp_path, 1e9)
    assert names(tmp_path) == {".partial/young"}
