"""Which models a worker serves, and what it loads before it is ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.config import ModelSettings, load
from darkroom.errors import MissingWeights, UnknownModel
from darkroom.models.catalogue import BUNDLED_FOLDER, FOLDER, HUB, Catalogue, Entry, catalogue
from darkroom.worker.serving import entries_of, preloaded, thread_rows

LANDSCAPES = BUNDLED_FOLDER / "landscapes"


def known(folder: Path, text: str = "") -> Catalogue:
    (folder / "darkroom.toml").write_text(text)
    return catalogue(load(folder / "darkroom.toml"))


def test_without_a_wish_all_that_can_be_served_is(tmp_path: Path) -> None:
    there = known(tmp_path, '[models.broken]\npath = "nowhere"\n')
    assert list(entries_of(there, (), is_offline=True)) == ["landscapes"]


def test_a_wanted_model_that_cannot_be_served_keeps_the_worker_from_starting(tmp_path: Path) -> None:
    there = known(tmp_path, '[models.broken]\npath = "nowhere"\n')
    with pytest.raises(MissingWeights):
        entries_of(there, ("broken",), is_offline=True)
    with pytest.raises(UnknownModel):
        entries_of(there, ("no such",), is_offline=True)


def test_a_model_may_be_named_by_its_path(tmp_path: Path) -> None:
    assert list(entries_of(known(tmp_path), (str(LANDSCAPES),), is_offline=True)) == ["landscapes"]


def test_a_hub_model_that_is_not_downloaded_is_served_only_where_it_may_be_fetched(tmp_path: Path) -> None:
    there = known(tmp_path, '[models.far]\nhub = "nobody/no-such-model"\n')
    assert "far" not in entries_of(there, (), is_offline=True)
    assert "far" in entries_of(there, (), is_offline=False)


def test_what_was_asked_for_by_name_is_loaded_first_else_the_default() -> None:
    assert preloaded(("a", "b"), ("a", "b"), "landscapes") == ("a", "b")
    assert preloaded(("a", "landscapes"), (), "landscapes") == ("landscapes",)
    assert preloaded(("a", "b"), (), "landscapes") == ("a",)


def test_threads_must_divide_the_fewest_rows_of_any_model(tmp_path: Path) -> None:
    def entry(rows: int | None) -> Entry:
        return Entry("m", FOLDER, ModelSettings(path=LANDSCAPES, reproducible_rows=rows), tmp_path)

    far = Entry("far", HUB, ModelSettings(hub="nobody/no-such-model"), tmp_path)
    assert thread_rows([entry(8), entry(4), far]) == 4
    assert thread_rows([entry(1), far]) == 1
