"""`darkroom fleet simulate`, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from darkroom.cli import run

GUIDE = Path(__file__).parents[3] / "docs/guides/scaling.md"
FLEET = "[fleet]\nwait_s = 30\n[fleet.pools.a]\nprice_per_hour_usd = 36\nready_s = 10\nmax_workers = 3\n"


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "trace.csv"
    lines = [f"{40 * number},{10 + number % 3},m{number % 2},{1 + number % 2}" for number in range(60)]
    file.write_text("arrival_s,exec_s,model,images\n" + "\n".join(lines))
    return file


def test_a_trace_gives_a_line_for_each_policy_and_a_picture(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fleet", "simulate", "--trace", str(trace), "--plot", "out.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["policy", "fixed", "reactive", "darkroom"]
    with Image.open("out.png") as picture:
        assert picture.size[0] == 1200
        assert len(picture.getcolors(1 << 20) or ()) > 20


def test_the_fleet_of_the_settings_is_simulated_and_told_as_json(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("darkroom.toml").write_text(FLEET)
    arguments = ["fleet", "simulate", "--trace", "trace.csv", "--policy", "fixed", "--deadlines", "--json"]
    assert run([*arguments, "--compress", "2"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["requests"] == 60
    [fixed] = said["policies"]
    assert (fixed["policy"], fixed["most_workers"], fixed["attained"]) == ("fixed", 3, 1.0)
    assert fixed["cost_usd"] == pytest.approx(fixed["paid_h"] * 36)


def test_the_guide_s_own_policy_runs_as_it_is_written(
    trace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [program] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    Path("own_policy.py").write_text(program)
    monkeypatch.syspath_prepend(str(trace.parent))
    Path("darkroom.toml").write_text(FLEET)
    assert run(["fleet", "simulate", "--trace", "trace.csv", "--policy", "own_policy:by_queue", "--json"]) == 0
    [own] = json.loads(capsys.readouterr().out)["policies"]
    assert own["policy"] == "own_policy:by_queue"
    assert own["most_workers"] == 1
    assert own["cold_starts"] > 10  # it keeps nobody for what may come


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["--policy", "best"], "--policy"),
        (["--policy", "nowhere_at_all:plan"], "fleet.policy"),
        (["--compress", "0"], "--compress"),
        (["--speeds", "1,fast"], "--speeds"),
        (["--losses", "-1"], "--losses"),
        (["--days", "0"], "--days"),
        (["--plot", "out.gif"], "--plot"),
        (["--trace", "absent.csv"], "--trace"),
    ],
)
def test_a_wrong_flag_is_refused_by_name(
    arguments: list[str], flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["fleet", "simulate", *arguments]) == 2
    assert flag in capsys.readouterr().err
