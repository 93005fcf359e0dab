"""The contract of a worker's verbs, kept through a gateway: the very tests of the stores, over HTTP.

A worker's verbs go to a gateway over SQLite, all others to that store. The gateway's clock counts, so the tests' `now`
becomes its time.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from darkroom.errors import NotSupported
from darkroom.jobs.http import HttpStore
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Store
from darkroom.model_settings import ModelSettings
from darkroom.models.catalogue import BUNDLED_FOLDER
from darkroom.storage.link import Link
from tests.contract import test_claim, test_running
from tests.contract.conftest import LIMITS
from tests.contract.making import NOW
from tests.integration.gateway_site import open_site

SPOKEN = {
    *("claim", "heartbeat", "cancelling", "report_step", "report_steps", "add_warnings", "complete", "fail", "release"),
    *("confirm_cancelled", "is_asked_to_drain", "is_watched", "wait_for_work", "clock"),
}
MODELS = ("m", "m2")  # of the contract's jobs: a gateway lets workers claim for those that it knows
# Tests of the contract that do not hold here, and why.
APART = {
    "test_processes_claim_each_job_once": "it opens the store's own file",
    "test_many_threads_claim_each_job_once": "a claim's time is the gateway's, and the test has one clock",
    "test_a_zombies_outputs_never_appear": "outputs must lie in the storage under the claim's own keys",
    "test_complete_ends_the_job_with_its_artifacts": "outputs must lie in the storage under the claim's own keys",
    "test_complete_says_so_in_events": "outputs must lie in the storage under the claim's own keys",
}


class Clock:
    """The gateway's clock, set by whoever speaks."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Spoken:
    """Speaks a worker's verbs to a gateway, at the time that each is said to be."""

    def __init__(self, near: Store, far: HttpStore, clock: Clock) -> None:
        self._near, self._far, self._clock = near, far, clock

    def __getattr__(self, name: str) -> Any:
        if name not in SPOKEN:
            return getattr(self._near, name)
        verb, shape = getattr(self._far, name), inspect.signature(getattr(Store, name))

        def spoken(*args: Any, **more: Any) -> Any:
            said = shape.bind(self, *args, **more).arguments
            self._clock.now = said.get("now", self._clock.now)
            if name == "report_steps":
                self._clock.now = max((each.at for each in args[0]), default=self._clock.now)
                late_s = time.time() - self._clock.now
                args = ([replace(each, at=each.at + late_s) for each in args[0]],)
            return verb(*args, **more)

        return spoken


class Shelf:
    """The gateway's store: one after the other, each empty. What the gateway does by itself it does to the first."""

    def __init__(self, first: Store) -> None:
        self._first = self.present = first

    def __getattr__(self, name: str) -> Any:
        return getattr(
            self._first if name in ("tail", "due_deliveries", "keys", "wait_for_work") else self.present, name
        )


@dataclass(frozen=True)
class House:
    """A gateway for all of these tests."""

    shelf: Shelf
    clock: Clock
    url: str


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home, clock = tmp_path_factory.mktemp("house"), Clock()
    with closing(open_store(f"sqlite:///{home / 'first.sqlite3'}", LIMITS)) as first:
        shelf = Shelf(first)
        models = {name: ModelSettings(path=BUNDLED_FOLDER / "landscapes") for name in MODELS}
        with open_site(home, store=cast(Store, shelf), parts={"clock": clock}, models=models) as site:
            yield House(shelf, clock, site.url)
            shelf.present = first


@pytest.fixture
def another(tmp_path: Path, house: House) -> Iterator[Callable[[], Store]]:
    """Handles on one empty store through the gateway."""
    links: list[Link] = []
    with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}", LIMITS)) as near:
        before, house.shelf.present = house.shelf.present, near

        def open_another() -> Store:
            links.append(Link(house.url))
            return cast(Store, Spoken(near, HttpStore(links[-1], look_s=0.0), house.clock))

        yield open_another
        house.shelf.present = before
        for link in links:
            link.close()


@pytest.fixture
def store(another: Callable[[], Store]) -> Store:
    return another()


def left_out(why: str) -> Callable[[], None]:
    """A test that is skipped, where it can be seen."""

    def test() -> None:
        pytest.skip(why)

    return test


for module in (test_claim, test_running):
    for name, test in vars(module).items():
        if name.startswith("test_"):
            globals()[name] = left_out(APART[name]) if name in APART else test


def test_what_is_no_workers_verb_says_so(tmp_path: Path) -> None:
    with (
        closing(open_store("http://127.0.0.1:1")) as store,
        pytest.raises(NotSupported, match="a store for workers alone"),
    ):
        store.insert([], NOW)
