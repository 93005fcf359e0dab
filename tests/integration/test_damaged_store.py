"""A damaged database on the command line: the start ends with its name and what to do, and its bytes stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.cli import run
from darkroom.errors import StoreCorrupt
from darkroom.jobs.opening import open_store

from .service import free_port

DAMAGE = {
    "no database at all": lambda whole: b"this was a database once" * 400,
    "its first page overwritten": lambda whole: b"\0" * 4096 + whole[4096:],
    "a page within overwritten": lambda whole: whole[:4096] + b"\xa5" * 4096 + whole[8192:],
}


@pytest.mark.parametrize("command", ["serve", "gateway"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_ends_the_start_and_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "home" / "jobs.sqlite3"
    monkeypatch.setenv("DARKROOM_HOME", str(path.parent))
    path.parent.mkdir()
    open_store(f"sqlite:///{path}").close()
    for beside in path.parent.iterdir():
        if beside != path:
            beside.unlink()
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    before = path.read_bytes()
    assert run([command, "--port", str(free_port())]) == StoreCorrupt.exit_code
    said = capsys.readouterr().err
    assert str(path) in said
    assert "python -m darkroom.jobs.sqlite_salvage" in said
    assert "Traceback" not in said
    assert path.read_bytes() == before
