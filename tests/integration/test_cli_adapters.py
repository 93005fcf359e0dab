"""`darkroom adapters` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darkroom.cli import run
from tests.lora_files import PICKLED, lora, put, weights


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "ink.safetensors", lora(1))
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert run(["adapters", "list", "--json"]) == 0
    return {each["name"]: each for each in json.loads(capsys.readouterr().out)["adapters"]}


def test_an_added_adapter_is_listed_until_it_is_removed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "darkroom.toml").write_text("# ours\noffline = true\n")
    assert run(["adapters", "add", "ink", "ink.safetensors"]) == 0
    assert (here / "darkroom.toml").read_text().startswith("# ours\n")
    found = listed(capsys)["ink"]
    assert (found["model"], found["source"], found["size"], found["problem"]) == (
        *("landscapes", "folder"),
        len(lora(1)),
        None,
    )
    assert run(["adapters"]) == 0
    assert "ink" in capsys.readouterr().out
    assert run(["adapters", "remove", "ink"]) == 0
    assert (here / "darkroom.toml").read_text().strip() == "# ours\noffline = true"
    assert "ink" not in listed(capsys)


def test_a_name_is_added_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adapters", "add", "ink", "ink.safetensors"]) == 0
    before = (here / "darkroom.toml").read_bytes()
    assert run(["adapters", "add", "ink", "ink.safetensors"]) == 2
    assert "already" in capsys.readouterr().err
    assert (here / "darkroom.toml").read_bytes() == before


def test_what_lies_there_no_more_is_listed_with_what_is_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adapters", "add", "ink", "ink.safetensors"]) == 0
    (here / "ink.safetensors").unlink()
    assert "there is no adapter at" in str(listed(capsys)["ink"]["problem"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Ink", "ink.safetensors"], "lower-case letters"),
        (["ink", "nowhere"], "there is no adapter at"),
        (["ink", "ink.bin"], "is no safetensors file"),
        (["ink", "plain.safetensors"], "holds no LoRA"),
        (["ink", "ink.safetensors", "--model", "landscape"], "did you mean landscapes?"),
    ],
)
def test_a_wrong_adapter_is_refused_and_no_file_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    put(here / "ink.bin", PICKLED)
    put(here / "plain.safetensors", weights(conv=(2, 2)))
    assert run(["adapters", "add", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (here / "darkroom.toml").exists()


def test_removing_what_is_not_there_says_what_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adapters", "add", "ink", "ink.safetensors"]) == 0
    assert run(["adapters", "remove", "inks"]) == 2
    assert "did you mean ink?" in capsys.readouterr().err
