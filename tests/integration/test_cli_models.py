"""`darkroom models add | pull` as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.cli import run
from darkroom.models.catalogue import BUNDLED_FOLDER

LANDSCAPES = BUNDLED_FOLDER / "landscapes"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_added_model_is_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "darkroom.toml").write_text("# ours\noffline = true\n")
    assert run(["models", "add", "poster", "--path", str(LANDSCAPES)]) == 0
    assert (here / "darkroom.toml").read_text().startswith("# ours\n")
    capsys.readouterr()
    assert run(["models"]) == 0
    assert "poster" in capsys.readouterr().out


def test_a_name_is_added_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "add", "poster", "--path", str(LANDSCAPES)]) == 0
    before = (here / "darkroom.toml").read_bytes()
    assert run(["models", "add", "poster", "--path", str(LANDSCAPES)]) == 2
    assert "already" in capsys.readouterr().err
    assert (here / "darkroom.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ([], "exactly one of path, hub, file"),
        (["--path", "x", "--hub", "a/b"], "exactly one"),
        (["--path", "x", "--revision", "main"], "revision goes with hub only"),
        (["--hub", "no-slash"], "pattern"),
    ],
)
def test_a_wrong_entry_is_refused_and_no_file_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], flags: list[str], word: str
) -> None:
    assert run(["models", "add", "poster", *flags]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert "trial" not in said
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["poster", "--path", "nowhere"], "nowhere: there is no such folder [--path]"),
        (["poster", "--path", "empty"], "[--path]"),
        (["poster", "--file", "nowhere.safetensors"], "[--file]"),
        (["b d", "--path", str(LANDSCAPES)], "not 'b d' [NAME]"),
    ],
)
def test_what_is_not_there_is_not_added(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (here / "empty").mkdir()
    assert run(["models", "add", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (here / "darkroom.toml").exists()


def test_a_hub_model_need_not_be_here(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "add", "big", "--hub", "a/b"]) == 0
    assert "not downloaded yet" in capsys.readouterr().err
    assert "a/b" in (here / "darkroom.toml").read_text()


def test_pulling_what_is_not_named_says_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "nope"]) == 2
    assert "there is no model 'nope'; there are: landscapes [NAME]" in capsys.readouterr().err


def test_a_broken_file_stays_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "darkroom.toml").write_text("[models\n")
    assert run(["models", "add", "poster", "--path", str(LANDSCAPES)]) == 2
    assert "not valid TOML" in capsys.readouterr().err
    assert (here / "darkroom.toml").read_text() == "[models\n"


def test_pulling_what_lies_here_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "landscapes"]) == 0
    assert "lies here already" in capsys.readouterr().err


@pytest.mark.parametrize("said", ['hub = "a/b"', f'path = "{LANDSCAPES}"\ncontrolnet = "a/b"'])
def test_pulling_offline_is_refused(said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "darkroom.toml").write_text(f"offline = true\n[models.big]\n{said}\n")
    assert run(["models", "pull", "big"]) == 2
    assert "offline" in capsys.readouterr().err
