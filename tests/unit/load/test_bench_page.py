"""Reports as tables, files and pages, alone and side by side."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from darkroom.bench import compare
from darkroom.bench.bench import Asked
from darkroom.bench.compare import Compared
from darkroom.bench.figures import Outcome
from darkroom.bench.occupancy import Batches, Sample
from darkroom.bench.page import page, page_of_two
from darkroom.bench.plan import Arrivals, Crowd, Mix
from darkroom.bench.plots import by_number, short_names
from darkroom.bench.record import Report, as_json, read_report, run_of
from darkroom.bench.report import behind, table
from darkroom.bench.solo import Solo
from darkroom.bench.svg import Plot, Scale, scale_of, thinned
from darkroom.errors import BadInput

SOLO = {"4 steps": Solo(1.0, (1.0, 0.9, 1.1)), "8 steps, <b>": Solo(2.0)}
BATCHES = Batches({2: 30, 4: 10}, (Sample(1.0, 20, 40), Sample(2.0, 20, 60)))


def outcomes_of(rate: float, slow: float = 1.0, count: int = 40) -> list[Outcome]:
    rng = random.Random(7)
    found = []
    for number in range(count):
        kind = rng.choice(tuple(SOLO))
        at_s, took_s = number / rate, slow * SOLO[kind].typical_s * rng.uniform(1.0, 1.9)
        found.append(
            Outcome(number, kind, at_s, at_s, at_s + 0.2, at_s + took_s, images=1, device_s=1.0, cost_usd=0.001)
        )
    return [*found, Outcome(count, "4 steps", 1.0, 1.0, None, 1.1, "queue_full")]


def made(*rates: float, slow: float = 1.0, batches: Batches | None = BATCHES, capacity: float | None = 4.0) -> Report:
    asked = Asked(Arrivals("poisson", rates[0], 40), Mix((4, 8)), rates=rates)
    runs = [run_of(rate, outcomes_of(rate, slow * rate / rates[0]), SOLO, 3.6, batches) for rate in rates]
    notes = ("something <to> know",)
    said = ("http://there", "native", "2026-01-02T03:04:05+00:00", asked.as_json())
    return Report(*said, capacity, SOLO, runs, 3.6, notes)


def svgs(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def test_the_table_of_one_run_says_every_figure() -> None:
    said = table(made(2.0))
    for text in ("native API at http://there", "poisson arrivals at 2.000", "capacity", "4 steps", "1 queue_full"):
        assert text in said
    for text in ("within 1.2x alone", "goodput at 90%", "goodput at 99%", "rows of a batch", "2.50", "USD", "machine"):
        assert text in said
    assert behind(made(2.0)) is None


def test_the_table_of_several_runs_has_a_line_for_each() -> None:
    said = table(made(1.0, 2.0, 4.0))
    lines = [line for line in said.splitlines() if re.match(r"\d\.000 \(", line)]
    assert [line.split()[0] for line in lines] == ["1.000", "2.000", "4.000"]
    assert [line.split()[2] for line in lines] == ["1.051", "2.103", "4.205"]  # 41 requests over 39 gaps: what came
    assert re.search(r"^goodput at 90% +1\.051 requests a second, within 2x alone$", said, re.MULTILINE)
    assert re.search(r"^goodput at 99% +-: it takes 100 requests$", said, re.MULTILINE)


def test_an_estimate_of_a_latency_alone_is_marked() -> None:
    assert re.search(r"  8 steps, <b> .* ~2\.000 ", table(made(2.0)))
    assert re.search(r"  4 steps .* 1\.000 ", table(made(2.0)))
    html = page(made(2.0))
    assert "<td>~2.00 s</td>" in html
    assert "<td>1.00 s</td>" in html


def test_a_page_has_no_p99_of_fewer_than_a_hundred() -> None:
    assert "<b>–</b><small>p99 latency</small>" in page(made(2.0))
    assert "Goodput at 99%, within 2x alone: <b>–</b>" in page(made(2.0))


def test_a_report_reads_as_it_was_written(tmp_path: Path) -> None:
    file, report = tmp_path / "a.json", made(1.0, 2.0)
    file.write_text(json.dumps(as_json(report)))
    assert as_json(read_report(file, "--compare")) == json.loads(file.read_text())


def test_a_file_of_before_shows_no_secret_of_its_url(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(as_json(replace(made(2.0), url="http://me:pw@there/x?key=1"))))
    assert read_report(file, "--compare").url == "http://there/x"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "cannot be read"),
        ("[]", "is not what darkroom bench --json writes"),
        ('{"darkroom_bench": 0}', "is not what"),
        ('{"darkroom_bench": 1}', "is not whole: KeyError"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=what):
        read_report(file, "--compare")


@pytest.mark.parametrize("report", [made(2.0), made(1.0, 2.0, 4.0), made(2.0, batches=None, capacity=None)])
def test_a_page_needs_nothing_else_and_its_plots_are_whole(report: Report) -> None:
    html = page(report)
    assert not re.search(r"(src|href)=|@import|url\(", html)  # nothing is fetched
    assert "prefers-color-scheme: dark" in html
    assert "something &lt;to&gt; know" in html.lower()
    assert "8 steps, &lt;b&gt;" in html
    per_run = 6 if report.runs[0].batches is not None else 4
    assert len(svgs(html)) == per_run * len(report.runs) + 2 * (len(report.runs) > 1)


def test_a_page_of_a_run_in_which_all_failed_says_so() -> None:
    outcomes = [Outcome(n, "4 steps", float(n), float(n), None, n + 0.1, "http_503") for n in range(3)]
    asked = Asked(Crowd(3, 3), Mix((4,))).as_json()
    report = Report("http://there", "template", "now", asked, None, SOLO, [run_of(None, outcomes, SOLO, None, None)])
    html = page(report)
    assert "3 of 3" in html
    assert "http_503" in html
    assert len(svgs(html)) == 2  # no curve without a latency
    assert "3 users: 3 requests" in table(report)


def test_a_generator_that_fell_behind_is_said_in_the_page_too() -> None:
    late = [Outcome(n, "4 steps", float(n), n + 0.5, None, n + 1.0, images=1) for n in range(3)]
    asked = Asked(Arrivals("poisson", 1.0, 3), Mix((4,))).as_json()
    report = Report("http://there", "native", "now", asked, None, SOLO, [run_of(1.0, late, SOLO, None, None)])
    assert "by 0.500 s" in (behind(report) or "")
    assert "fell behind its plan, by 0.500 s" in page(report)


def test_a_page_of_two_draws_both_into_the_same_plots() -> None:
    html = page_of_two(("before", "after"), made(2.0), made(2.0, slow=1.5))
    curve = svgs(html)[0]
    assert len([each for each in curve.iter("path") if "line" in (each.get("class") or "")]) == 2
    assert html.count("worse") > 3
    assert len(svgs(html)) == 3
    assert "alone: ~8 steps" in html


def test_a_comparison_says_what_became_better_and_what_was_not_the_same() -> None:
    first, second = made(2.0), made(2.0, slow=1.5)
    alone = compare.alone_of(first, second)
    rows = {each.name: each for each in compare.compared(first.runs[0], second.runs[0], alone)}
    assert rows["latency p50"].verdict == "worse"
    assert rows["latency p50"].change == pytest.approx(0.5)
    assert rows["within 2x alone"].verdict == "worse"
    assert rows["errors"].verdict == ""
    assert compare.differences(first, second) == []
    said = compare.table(("a", "b"), first, second)
    assert re.search(r"latency p50 .*\+50\.0%  worse", said)
    assert "not sent at the same rates: 2.000 and 3.000" in compare.differences(first, made(3.0))[-1]


@pytest.mark.parametrize(
    ("each", "verdict", "change"),
    [
        (Compared("x", 1.0, 0.5, "less", "s"), "better", "-50.0%"),
        (Compared("x", 0.5, 0.9, "more", "%"), "better", "+40.0 pp"),
        (Compared("x", 0, 3, "less", "n"), "worse", "+3"),
        (Compared("x", 1.0, 1.01, "less", "s"), "", "+1.0%"),
        (Compared("x", None, 1.0, "less", "s"), "", "-"),
        (Compared("x", 0.0, 1.0, "more"), "better", "-"),
    ],
)
def test_a_change_is_better_or_worse_by_what_it_is_of(each: Compared, verdict: str, change: str) -> None:
    assert (each.verdict, compare.change_said(each)) == (verdict, change)


def test_an_axis_has_round_ticks_within_it() -> None:
    assert Scale(0.0, 10.4, "x").ticks() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert Scale(0.09, 22.0, "x", is_log=True).ticks() == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    assert scale_of([0.0, 0.1, 20.0], "x", may_log=True).is_log
    assert not scale_of([1.0, 20.0], "x", may_log=True).is_log
    assert scale_of([], "x").high > 0


def test_a_point_lies_where_its_axes_say_and_none_beyond_them() -> None:
    plot = Plot(Scale(0.0, 10.0, "x"), Scale(0.0, 1.0, "y"), "a plot", height=240)
    assert plot.at((0.0, 0.0)) == (52.0, 200.0)
    assert plot.at((10.0, 1.0)) == (562.0, 30.0)
    assert plot.at((99.0, 2.0)) == plot.at((10.0, 1.0))


def test_kinds_are_sorted_by_their_numbers() -> None:
    assert sorted(["20 steps", "4 steps, 2 images", "8 steps", "4 steps"], key=by_number) == [
        "4 steps",
        "4 steps, 2 images",
        "8 steps",
        "20 steps",
    ]


def test_names_of_kinds_leave_out_what_all_of_them_say() -> None:
    assert short_names(["4 steps, 8x8, m", "8 steps, 8x8, m"]) == {
        "4 steps, 8x8, m": "4 steps",
        "8 steps, 8x8, m": "8 steps",
    }
    assert short_names(["4 steps, m", "4 steps, m, inpaint"])["4 steps, m"] == "4 steps, m"
    assert short_names(["4 steps, m"]) == {"4 steps, m": "4 steps, m"}


def test_thinned_points_keep_their_ends() -> None:
    points = [(float(n), 0.0) for n in range(1001)]
    found = thinned(points, 100)
    assert len(found) <= 102
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert thinned(points[:5], 100) == points[:5]
    assert thinned([], 5) == []
