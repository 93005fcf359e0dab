"""What one engine has measured, the next one knows."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from darkroom.engine import curve_file
from darkroom.engine.curve_file import CurveFile
from darkroom.engine.engine import Engine, Options, Tick
from darkroom.engine.profile import TRUSTED, Profile

KEY = ("UNet2DConditionModel.forward/7", (("sample", (1, 4, 8, 8, torch.float32, torch.device("cpu"))),), 0)


def learned(seconds: float = 1.0) -> Profile:
    profile = Profile(32)
    for _ in range(TRUSTED + 1):
        profile.record(KEY, 4, seconds)
    return profile


def known(file: CurveFile) -> float | None:
    profile = Profile(32)
    profile.take_up(file.read())
    return profile.seconds(KEY, 4)


def most_rows(pipe: Any, call: dict[str, Any], path: Path | None) -> int:
    """Of the denoiser's forwards, when many ask at once."""
    rows: list[int] = []

    def note(tick: Tick) -> None:
        if tick.kind == "denoise":
            rows.append(tick.rows)

    with Engine(pipe, options=Options(on_tick=note, profile_path=path)) as engine:
        for handle in [engine.submit(**call) for _ in range(6)]:
            handle.result(60)
    return max(rows)


def test_a_second_engine_starts_with_the_first_ones_cap(pipe: Any, call: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "home" / "profile.json"
    with Engine(pipe, options=Options(profile_path=path)) as engine:
        engine.submit(**call).result(60)
        (key,) = [key for key in engine.profile._curves if "UNet" in key[0]]
        for rows in (1, 2, 4, 8):  # as where one row keeps the whole device busy
            for _ in range(20):
                engine.profile.record(key, rows, rows * 1.0)
    anew = copy.deepcopy(pipe)  # as another process loads it
    assert most_rows(anew, call, None) > 2
    assert most_rows(anew, call, path) == 2


def test_names_in_the_file_hold_in_every_process(pipe: Any, call: dict[str, Any], tmp_path: Path) -> None:
    path, keys = tmp_path / "profile.json", []
    for served in (pipe, copy.deepcopy(pipe)):
        path.unlink(missing_ok=True)
        with Engine(served, options=Options(profile_path=path)) as engine:
            for _ in range(2):
                engine.submit(**{**call, "prompt": f"a sky {len(keys)}"}).result(60)
        keys.append(set(json.loads(path.read_text())[curve_file.conditions()]))
    assert keys[0] == keys[1]
    assert len(keys[0]) == 3
    assert not any("0x" in key for key in keys[0])


def test_nothing_is_kept_without_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    CurveFile(None).save(learned())
    assert CurveFile(None).read() == {}
    assert list(tmp_path.iterdir()) == []


def test_other_conditions_are_left_in_the_file_and_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CurveFile(tmp_path / "profile.json")
    here = curve_file.conditions()
    file.save(learned(1.0))
    monkeypatch.setattr(curve_file, "conditions", lambda: "another device")
    assert known(file) is None
    file.save(learned(2.0))
    assert known(file) == 2.0
    monkeypatch.setattr(curve_file, "conditions", lambda: here)
    assert known(file) == 1.0


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"%s": 3}', '{"%s": {"key": {"four": [1]}}}'])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text.replace("%s", curve_file.conditions()))
    file = CurveFile(path)
    assert known(file) is None
    assert "cannot be read" in caplog.text
    file.save(learned(3.0))
    assert known(file) == 3.0


def test_where_nothing_can_be_written_the_engine_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    CurveFile(tmp_path / "home" / "profile.json").save(learned())
    assert "not saved" in caplog.text


def test_curves_are_saved_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = CurveFile(tmp_path / "profile.json")
    file.save_now_and_then(learned())
    assert known(file) is None
    monkeypatch.setattr(curve_file, "SAVE_EVERY_S", 0.0)
    file.save_now_and_then(learned())
    assert known(file) == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json"]
