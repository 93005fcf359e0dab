"""Drawn traces beside the published one whose statistics they have, and traces as files."""

from __future__ import annotations

import gzip
import statistics
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from darkroom.errors import BadInput
from darkroom.traces import COLUMNS, Request, read_trace, synthetic, write_trace

DAYS = 21
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def drawn() -> list[Request]:
    return synthetic(DAYS)


def share(drawn: list[Request], holds: list[bool]) -> float:
    return sum(holds) / len(drawn)


def test_what_is_asked_for_has_the_published_shares(drawn: list[Request]) -> None:
    images = Counter(request.images for request in drawn)
    assert {n: count / len(drawn) for n, count in images.items()} == pytest.approx(
        {1: 0.58, 2: 0.08, 4: 0.19, 8: 0.15}, abs=0.015
    )
    assert share(drawn, [request.steps == 30 for request in drawn]) == pytest.approx(0.91, abs=0.01)
    assert share(drawn, [request.loras > 0 for request in drawn]) == pytest.approx(0.17, abs=0.01)
    assert share(drawn, [request.task == "text-to-image" for request in drawn]) == pytest.approx(0.911, abs=0.01)
    assert share(drawn, [request.task == "inpaint" for request in drawn]) == pytest.approx(0.007, abs=0.003)
    assert share(drawn, [request.negative_chars is not None for request in drawn]) == pytest.approx(0.77, abs=0.02)
    assert statistics.fmean(request.prompt_chars or 0 for request in drawn) == pytest.approx(56, rel=0.05)


def test_models_are_as_many_as_unequal_and_as_mixed_as_published(drawn: list[Request]) -> None:
    counts = Counter(request.model for request in drawn)
    assert len(counts) == 86
    assert share(drawn, [request.model in dict(counts.most_common(10)) for request in drawn]) == pytest.approx(
        0.87, abs=0.01
    )
    changes = [one.model != other.model for one, other in pairwise(drawn)]
    assert sum(changes) / len(changes) == pytest.approx(0.75, abs=0.015)


def test_there_are_about_as_many_in_three_weeks_and_peaks_as_high(drawn: list[Request]) -> None:
    hours = [0] * (DAYS * 24)
    for request in drawn:
        hours[int(request.arrival_s // HOUR_S)] += 1
    assert len(drawn) == pytest.approx(26823 * DAYS * 24 / 553, rel=0.12)  # the published one has 553 hours
    assert max(hours) / statistics.fmean(hours) == pytest.approx(9.0, abs=2.0)
    assert statistics.median(request.exec_s for request in drawn) == pytest.approx(23, rel=0.05)
    assert statistics.fmean(request.exec_s for request in drawn) == pytest.approx(29, rel=0.05)


def test_arrivals_within_an_hour_are_poisson(drawn: list[Request]) -> None:
    hours: dict[int, list[float]] = {}
    for request in drawn:
        hours.setdefault(int(request.arrival_s // HOUR_S), []).append(request.arrival_s)
    variations = []
    for moments in hours.values():
        gaps = [b - a for a, b in pairwise(moments)]
        if len(gaps) >= 50:
            variations.append(statistics.stdev(gaps) / statistics.fmean(gaps))
    assert len(variations) > 50
    assert statistics.fmean(variations) == pytest.approx(1.0, abs=0.05)  # of exponential gaps: 1


def test_a_written_trace_reads_as_it_was(tmp_path: Path, drawn: list[Request]) -> None:
    file = tmp_path / "trace.csv.gz"
    file.write_bytes(gzip.compress(write_trace(drawn[:200]).encode()))
    found = read_trace(file)
    assert write_trace(found) == write_trace(drawn[:200])
    assert [request.task for request in found] == [request.task for request in drawn[:200]]
    assert gzip.decompress(file.read_bytes()).decode().splitlines()[0] == ",".join(COLUMNS)


def test_who_sends_a_trace_takes_those_that_never_ran_too(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,status,exec_s\n3,pending,\n1,succeed,5\n")
    assert [request.arrival_s for request in read_trace(file)] == [1]
    assert [request.arrival_s for request in read_trace(file, has_run=False)] == [1, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exec_s\n1\n", "no column arrival_s"),
        ("arrival_s,loras\n1,many\n", "line 2: loras"),
        ("arrival_s,loras\n1,1\n2,-1\n", "line 3: loras must be a number from 0, not '-1'"),
        ("arrival_s,images\n1,-2\n", "line 2: images"),
        ("arrival_s,steps\n1,-2\n", "line 2: steps"),
        ("arrival_s\n", "no req"),
    ],
)
def test_a_wrong_trace_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        read_trace(file, has_run=False)


def test_a_file_that_is_not_packed_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv.gz"
    file.write_text("arrival_s\n1\n")
    with pytest.raises(BadInput, match=r"trace\.csv\.gz cannot be read"):
        read_trace(file)


def test_a_damaged_packed_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv.gz"
    packed = bytearray(gzip.compress(b"arrival_s\n1\n2\n3\n"))
    packed[10] = 0xFF  # the first byte of what is packed: no kind of block
    file.write_bytes(bytes(packed))
    with pytest.raises(BadInput, match=r"trace\.csv\.gz cannot be read"):
        read_trace(file)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(b"\xef\xbb\xbfarrival_s\n3\n")
    assert [request.arrival_s for request in read_trace(file, has_run=False)] == [3]


def test_what_was_read_is_written_whole(tmp_path: Path) -> None:
    requests = [
        Request(0.123456, 1.234567, "m", 2, 9, "t", priority=-3, deadline_s=4.5, task="upscale", loras=1),
        Request(7.0, 0.0, "m", prompt_chars=5),  # never ran
    ]
    file = tmp_path / "trace.csv"
    file.write_text(write_trace(requests))
    assert read_trace(file, has_run=False) == requests
    assert read_trace(file) == requests[:1]
