"""Who is dead of workers whose keeper is gone: only who says nothing any more."""

from __future__ import annotations

from darkroom.core import WorkerReport
from darkroom.fleet.releasing import Orphans

ASKED = {"a": 1.0, "b": 2.0}
SILENT_S = 6.0


def reports(**said: tuple[str, float]) -> dict[str, WorkerReport]:
    """By name: in which state and when by its own clock."""
    return {name: WorkerReport(name, state, at) for name, (state, at) in said.items()}


def orphaned() -> Orphans:
    """Two workers were there, and one is not any more."""
    orphans, told = Orphans(SILENT_S), reports(a=("ready", 100.0), b=("ready", 100.0))
    assert not orphans.look(ASKED, told, 10.0)
    assert not orphans.look({"b": 2.0}, told, 20.0)
    return orphans


def test_who_falls_silent_without_its_keeper_is_dead_and_said_to_be_once() -> None:
    orphans, told = orphaned(), reports(a=("ready", 100.0), b=("ready", 104.0))
    assert not orphans.look({"b": 2.0}, told, 20.0 + SILENT_S - 1)
    assert orphans.look({"b": 2.0}, told, 20.0 + SILENT_S) == ["a"]
    assert not orphans.look({"b": 2.0}, told, 100.0)


def test_who_drains_by_itself_is_not_dead_while_it_beats() -> None:
    orphans = orphaned()
    for beat in range(5):
        assert not orphans.look({"b": 2.0}, reports(a=("draining", 101.0 + 5 * beat)), 25.0 + 5 * beat)
    assert not orphans.look({"b": 2.0}, reports(a=("stopped", 130.0)), 46.0)
    assert not orphans.look({"b": 2.0}, reports(a=("stopped", 130.0)), 100.0)


def test_who_never_spoke_held_nothing() -> None:
    orphans = Orphans(SILENT_S)
    assert not orphans.look(ASKED, {}, 10.0)
    assert not orphans.look({}, {}, 20.0)
    assert not orphans.look({}, {}, 100.0)
    assert orphans.oldest({}) is None


def test_who_has_a_keeper_may_be_silent() -> None:
    orphans, told = orphaned(), reports(a=("ready", 100.0), b=("ready", 100.0))
    assert orphans.look({"b": 2.0}, told, 1000.0) == ["a"]


def test_whose_keeper_is_seen_again_begins_anew() -> None:
    orphans, told = orphaned(), reports(a=("ready", 100.0))
    assert not orphans.look(ASKED, told, 24.0)
    assert not orphans.look({"b": 2.0}, told, 28.0)
    assert orphans.look({"b": 2.0}, told, 28.0 + SILENT_S) == ["a"]


def test_a_store_that_was_away_has_let_nobody_fall_silent() -> None:
    orphans, told = orphaned(), reports(a=("ready", 100.0))
    orphans.lose_sight()
    assert not orphans.look({"b": 2.0}, told, 100.0)
    assert orphans.look({"b": 2.0}, told, 100.0 + SILENT_S) == ["a"]
