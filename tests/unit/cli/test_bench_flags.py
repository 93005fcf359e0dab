"""The flags of `darkroom bench`, and what it does without a service."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from darkroom.bench.bench import Asked
from darkroom.bench.dialects import Answered, Now
from darkroom.bench.figures import Outcome
from darkroom.bench.load import SOLO_TIMES
from darkroom.bench.plan import Arrivals, Crowd, Mix, Wanted
from darkroom.bench.record import Report, as_json, run_of
from darkroom.bench.replay import Replay
from darkroom.bench.solo import Solo
from darkroom.cli import run
from darkroom.cli.bench_flags import Said, asked_of
from darkroom.errors import BadInput, QueueFull

TRACE = "arrival_s,model\n0,a\n5,b\n"


def test_nothing_said_is_fifty_requests_at_a_share_of_the_capacity() -> None:
    asked = asked_of(Said())
    assert asked.how == Arrivals("poisson", 1.0, requests=50)
    assert (asked.loads, asked.rates, asked.mix.steps) == ((0.7,), (), (4, 8, 20))


def test_several_rates_are_tried_in_turn_and_need_no_capacity() -> None:
    asked = asked_of(Said(rate="0.5, 1,2", duration=9.0, arrivals="ramp", ramp_from=0.25))
    assert (asked.rates, asked.loads) == ((0.5, 1.0, 2.0), ())
    assert asked.how == Arrivals("ramp", 0.5, duration_s=9.0, ramp_from=0.25)
    assert asked_of(Said(load="0.5,0.9")).loads == (0.5, 0.9)


def test_users_are_a_crowd_each_of_whom_asks_once_at_least() -> None:
    assert asked_of(Said(users=300, think=0.5)).how == Crowd(300, 300, None, 0.5)
    assert asked_of(Said(users=3)).how == Crowd(3, 50)
    assert asked_of(Said(users=30, requests=10)).how == Crowd(30, 10)
    assert asked_of(Said(users=30, duration=10.0)).how == Crowd(30, None, 10.0)


def test_what_requests_are_like_is_drawn_from_lists() -> None:
    mix = asked_of(Said(guidance="1,7.5", size="64x64,96x64", adapters="ink, neon,ink", model="m", images=2)).mix
    assert (mix.guidance, mix.sizes, mix.adapters) == ((1.0, 7.5), ((64, 64), (96, 64)), ("ink", "neon"))
    assert (mix.model, mix.images) == ("m", 2)


def test_a_trace_is_replayed_with_its_models_mapped(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(TRACE)
    asked = asked_of(Said(trace=str(file), compress=10.0, map_models=["a=x", "*=y,z"], requests=1))
    assert asked.how == Replay(str(file), 10.0, 1, None, {"a": ("x",), "*": ("y", "z")})
    assert [request.model for request in asked.trace] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        (Said(rate="1,x"), "--rate"),
        (Said(rate="inf"), "--rate"),
        (Said(load="0"), "--load"),
        (Said(rate="1", load="1"), "--load"),
        (Said(requests=1, duration=1.0), "--duration"),
        (Said(users=2, rate="1"), "--rate"),
        (Said(users=2, arrivals="burst"), "--arrivals"),
        (Said(users=0), "--users"),
        (Said(burst_size=3), "--burst-size"),
        (Said(ramp_from=0.5), "--ramp-from"),
        (Said(ramp_from=1.5, arrivals="ramp"), "--ramp-from"),
        (Said(spike=3.0, arrivals="burst"), "--spike"),
        (Said(spike=0.0, arrivals="spike"), "--spike"),
        (Said(think=1.0), "--think"),
        (Said(think=-1.0, users=2), "--think"),
        (Said(trace="synthetic", steps="3"), "--steps"),
        (Said(trace="synthetic", images=3), "--images"),
        (Said(trace="synthetic", load="1"), "--load"),
        (Said(trace="synthetic", users=1), "--users"),
        (Said(trace="synthetic:0"), "--trace"),
        (Said(trace="missing.csv"), "--trace"),
        (Said(trace="missing.csv", map_models=["a"]), "--map"),
        (Said(compress=2.0), "--compress"),
        (Said(map_models=["a=b"]), "--map"),
        (Said(guidance="-1"), "--guidance"),
        (Said(size="64"), "--size"),
        (Said(size="0x64"), "--size"),
        (Said(steps="0"), "--steps"),
        (Said(prompts=Path("missing.txt")), "--prompts"),
        (Said(template=Path("t.toml"), api="openai"), "--api"),
        (Said(template=Path("t.toml"), url="http://x"), "--url"),
        (Said(template=Path("t.toml"), adapters="ink"), "--adapters"),
        (Said(price_per_hour=0.0), "--price-per-hour"),
    ],
)
def test_what_cannot_be_is_refused_with_its_flag(said: Said, flag: str) -> None:
    with pytest.raises(BadInput) as refused:
        asked_of(said)
    assert refused.value.field == flag


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--map", "a=b"], "--map"),
        (["--save-trace", "t.csv"], "--trace"),
        (["--save-trace", "t.csv", "--trace", "synthetic:1", "--compress", "2"], "--compress"),
        (["--save-trace", "t.csv", "--trace", "synthetic:1", "--html", "x.html"], "--html"),
        (["--template", "missing.toml"], "--template"),
        (["--html", "missing/page.html"], "--html"),
        (["--compare", "a.json", "b.json"], "--compare"),
        (["--compare", "a.json", "b.json", "--rate", "1"], "--rate"),
    ],
)
def test_a_refusal_is_bad_input_to_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], flag: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["bench", *words]) == 2
    assert f"[{flag}]" in capsys.readouterr().err


def test_a_drawn_trace_is_saved_without_a_service(tmp_path: Path) -> None:
    file = tmp_path / "drawn.csv"
    assert run(["bench", "--trace", "synthetic:1", "--seed", "3", "--save-trace", str(file)]) == 0
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert len(rows) > 300
    assert ",".join(rows[0]) == (
        "arrival_s,task,status,exec_s,tenant,prompt_chars,negative_chars,images,steps,model,loras,priority,deadline_s"
    )


def test_two_reports_are_compared_in_a_table_and_on_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, took_s in (("before", 2.0), ("after", 1.0)):
        asked = Asked(Arrivals("poisson", 1.0, 3), Mix((4,)), rates=(1.0,)).as_json()
        outcomes = [Outcome(n, "4 steps", float(n), float(n), None, n + took_s, images=1) for n in range(3)]
        solo = {"4 steps": Solo(1.0, (1.0,))}
        report = Report("http://x", "native", "now", asked, None, solo, [run_of(1.0, outcomes, solo, None, None)])
        (tmp_path / f"{name}.json").write_text(json.dumps(as_json(report)))
    assert run(["bench", "--compare", "before.json", "after.json", "--html", "both.html"]) == 0
    said = capsys.readouterr().out
    assert "before" in said
    assert "-50.0%  better" in said
    assert "<h1>before and after</h1>" in (tmp_path / "both.html").read_text()


class Refusing:
    """A service that is well while nobody is beside it, and then refuses all."""

    name, url, asking = "refusing", "http://nowhere", None

    def __init__(self) -> None:
        self.asked = 0

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        return []

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        self.asked += 1
        return Answered(now(), error=QueueFull("full") if self.asked > 1 + SOLO_TIMES else None, images=wanted.images)

    async def close(self) -> None:
        pass


def test_a_run_of_which_every_request_failed_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("darkroom.cli.bench.dialect_of", lambda said: Refusing())
    file = tmp_path / "run.json"
    assert run(["bench", "--rate", "1000", "--requests", "3", "--steps", "1", "--json", str(file)]) == 1
    assert "every request failed" in capsys.readouterr().err
    assert json.loads(file.read_text())["runs"][0]["summary"]["errors"] == {"queue_full": 3}


def test_a_service_that_nobody_started_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.toml"
    file.write_text('url = "http://127.0.0.1:9/x"')
    assert run(["bench", "--template", str(file), "--rate", "1", "--requests", "1"]) == 1
    assert "http://127.0.0.1:9/x does not answer" in capsys.readouterr().err
