"""A job in a line and on a card."""

from __future__ import annotations

from typing import Any

import pytest

from darkroom.cli.card import card, line
from darkroom.client.nouns import Job

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


def job(**said: Any) -> Job:
    facts = dict.fromkeys(Job.__dataclass_fields__) | {
        "id": "job_7",
        "state": "queued",
        "model": "sea",
        "progress": 0.0,
    }
    facts |= {"input": {"prompt": "waves " * 99}, "outputs": (), "errors": (), "warnings": (), "metrics": {}}
    return Job.read({**facts, "created_at": "2027-01-15T07:57:00Z", "step": 0, "steps": 9, **said})


def test_a_job_shows_itself_in_a_few_words() -> None:
    assert repr(job()) == "Job(id='job_7', state='queued', model='sea')"


@pytest.mark.parametrize(
    ("state", "position", "place"),
    [("queued", 0, " place 1"), ("queued", 4, " place 5"), ("queued", None, ""), ("running", 0, "")],
)
def test_only_a_job_that_waits_has_a_place_counted_from_1(state: str, position: int | None, place: str) -> None:
    said = line(job(state=state, queue_position=position), NOW)
    assert said.startswith(f"job_7  {state:9}{place}    0%    3 min  sea  waves waves")
    assert ("place" in card(job(state=state, queue_position=position))) == bool(place)


@pytest.mark.parametrize(
    ("age_s", "said"), [(-5, "0 s"), (119, "119 s"), (121, "2 min"), (7199, "119 min"), (7200, "2 h"), (1e6, "11 d")]
)
def test_an_age_has_the_unit_that_people_use(age_s: float, said: str) -> None:
    assert f" {said}  sea" in line(job(created_at="2027-01-15T08:00:00Z"), NOW + age_s)


def test_a_job_that_an_older_service_told_without_a_time_has_no_age() -> None:
    assert line(job(created_at=None), NOW).startswith("job_7  queued       0%           sea")
