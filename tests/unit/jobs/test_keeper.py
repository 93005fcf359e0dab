"""The keeper over a real store and real files: it leads alone, rescues with care, and leaks no bytes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darkroom.config import ServeSettings
from darkroom.core import Artifact, Job, JobState, Lease, NewJob, WorkerReport
from darkroom.errors import StorageUnavailable, StoreUnavailable
from darkroom.jobs.keeper import ASK_S, LEAD_S, MARGIN_S, PRUNE_S, SETTLED_S, SWEEP_S, Keeper, Sweep
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Limits, Store
from darkroom.storage.objects import Storage, key_for_output, key_for_upload, open_storage
from darkroom.storage.tapes import key_for_tape, remove_tapes

NOW = 1_000_000.0
DAY_S = 24 * 3600.0
LEASE_S = 30.0
PATIENCE_S = 60.0
SETTINGS = ServeSettings(lease_s=LEASE_S, heartbeat_s=5.0, keep_jobs_h=48.0, keep_uploads_h=24.0)
ENOUGH_S = SETTINGS.keep_jobs_h * 3600 + MARGIN_S + DAY_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}", Limits(lease_s=LEASE_S))) as store:
        yield store


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "artifacts"))


class Parts:
    """A keeper's ties to a storage, and files in it of any age."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self.sweep = Sweep(storage.older, storage.delete)

    def remove(self, artifacts: list[Artifact]) -> None:
        self._storage.delete([artifact.key for artifact in artifacts])

    def put(self, key: str, at: float = NOW) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
        os.utime(path, (at, at))

    def has(self, key: str) -> bool:
        return (self._folder / key).exists()


@pytest.fixture
def parts(storage: Storage, tmp_path: Path) -> Parts:
    return Parts(storage, tmp_path / "artifacts")


@pytest.fixture
def keeper(store: Store, parts: Parts) -> Keeper:
    return Keeper(store, parts.remove, SETTINGS, sweep=parts.sweep)


def insert(store: Store, job_id: str, **fields: object) -> Job:
    new = NewJob(id=job_id, tenant="t", model="m", task="text-to-image", input={"prompt": "x"}, **fields)  # type: ignore[arg-type]
    (job,) = store.insert([new], NOW)
    assert isinstance(job, Job)
    return job


def state(store: Store, job_id: str) -> JobState:
    job = store.get(job_id)
    assert job is not None
    return job.state


def claim(store: Store, now: float = NOW) -> Job:
    (job,) = store.claim(Claimant("w", ("m",)), 1, now)
    return job


def finish(store: Store, parts: Parts, job_id: str, now: float = NOW) -> str:
    """Run a job to its end with one output; returns where its bytes lie."""
    insert(store, job_id)
    job = claim(store, now)
    key = key_for_output(job.id, job.fence, 0, ".png")
    parts.put(key, now)
    made = Artifact(f"{job_id}-0", "t", key, "image/png", 7, now, job_id)
    store.complete(Lease(job.id, job.fence), [made], {}, now)
    return key


def turn(keeper: Keeper, now: float) -> None:
    keeper.run_once(now)
    keeper.clean_once(now)


def test_a_turn_stages_expires_and_rescues(store: Store, keeper: Keeper) -> None:
    insert(store, "claimed")
    claim(store)
    insert(store, "due", run_at=NOW + 60)
    insert(store, "late", deadline_at=NOW + 60)
    keeper.run_once(NOW + 90)
    states = [state(store, job_id) for job_id in ("due", "late", "claimed")]
    assert states == [JobState.QUEUED, JobState.FAILED, JobState.QUEUED]


def test_the_tapes_of_a_job_that_expires_after_it_began_go(store: Store, parts: Parts, storage: Storage) -> None:
    sweep = Sweep(storage.older, storage.delete, lambda job_id: remove_tapes(storage, job_id))
    keeper, tape = Keeper(store, parts.remove, SETTINGS, sweep=sweep), key_for_tape("late", 1, 0)
    insert(store, "late", deadline_at=NOW + 60)
    store.release([Lease("late", claim(store).fence)], "drained", NOW)
    for key in (tape, "outputs/late/1-0.png"):
        parts.put(key)
    turn(keeper, NOW + 30)
    assert parts.has(tape)
    turn(keeper, NOW + 90)
    assert (state(store, "late"), parts.has(tape), parts.has("outputs/late/1-0.png")) == (JobState.FAILED, False, True)


def test_only_the_keeper_that_leads_keeps(store: Store, keeper: Keeper, parts: Parts) -> None:
    second = Keeper(store, parts.remove, SETTINGS)
    insert(store, "due", run_at=NOW + 60)
    keeper.run_once(NOW)
    second.run_once(NOW + 60 - LEAD_S / 2)
    assert (keeper.is_leader, second.is_leader) == (True, True)  # the first did not ask again in time
    keeper.run_once(NOW + 60)
    assert not keeper.is_leader
    assert (keeper.others_led_at, second.others_led_at) == (NOW + 60, 0.0)
    assert state(store, "due") == JobState.SCHEDULED
    second.run_once(NOW + 60)
    assert state(store, "due") == JobState.QUEUED


def test_a_keeper_that_stops_lets_another_lead_at_once(store: Store, parts: Parts) -> None:
    first, second = (Keeper(store, parts.remove, SETTINGS, clock=lambda: NOW) for _ in range(2))
    first.run_once(NOW)
    first.stop()
    second.run_once(NOW)
    assert (first.is_leader, second.is_leader) == (False, True)


def test_old_progress_is_forgotten_in_one_go_also_while_bytes_cannot_be_removed(
    store: Store, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(artifacts: list[Artifact]) -> None:
        raise StorageUnavailable("no disk")

    monkeypatch.setattr("darkroom.jobs.sqlite_events.THIN_LIMIT", 10)
    keeper = Keeper(store, away, SETTINGS, sweep=parts.sweep)
    finish(store, parts, "old", NOW - ENOUGH_S)
    keeper.run_once(NOW)
    with pytest.raises(StorageUnavailable):
        keeper.clean_once(NOW)
    insert(store, "runs")
    job = claim(store)
    for step in range(1, 36):
        store.report_step(Lease(job.id, job.fence), step, 50, NOW)
    keeper.run_once(NOW + DAY_S)
    assert [event.type for event in store.events(job.id, 0)] == ["queued", "started"]


def test_leases_that_ran_out_while_all_stood_still_are_not_lost(store: Store, keeper: Keeper) -> None:
    insert(store, "x")
    keeper.run_once(NOW)
    job = claim(store)
    woken = NOW + 3600  # a laptop was shut
    keeper.run_once(woken)
    assert state(store, "x") == JobState.RUNNING
    assert store.heartbeat(WorkerReport("w", "ready", woken), [Lease(job.id, job.fence)], woken + 5) == []
    for second in range(15):
        keeper.run_once(woken + second)
    assert state(store, "x") == JobState.RUNNING


def test_leases_of_the_dead_are_lost_after_the_grace(store: Store, keeper: Keeper) -> None:
    insert(store, "x")
    keeper.run_once(NOW)
    claim(store)
    woken = NOW + 3600
    for second in range(15):
        keeper.run_once(woken + second)
    assert state(store, "x") == JobState.QUEUED


def test_a_keeper_that_starts_after_a_crash_gives_no_grace(store: Store, keeper: Keeper) -> None:
    insert(store, "x")
    claim(store)
    keeper.run_once(NOW + LEASE_S + 1)
    assert state(store, "x") == JobState.QUEUED


def test_a_clock_that_goes_back_stops_no_duty(store: Store, keeper: Keeper) -> None:
    keeper.run_once(NOW + 3600)
    insert(store, "late", deadline_at=NOW + 1)
    keeper.run_once(NOW + 2)
    assert state(store, "late") == JobState.FAILED


def test_old_jobs_go_with_their_bytes(store: Store, keeper: Keeper, parts: Parts) -> None:
    key = finish(store, parts, "old")
    young = finish(store, parts, "young", NOW + 2 * DAY_S)
    turn(keeper, NOW + 2 * DAY_S + 1)
    assert (store.get("old"), parts.has(key)) == (None, False)
    assert parts.has(young)
    assert state(store, "young") == JobState.SUCCEEDED


def test_bytes_that_the_storage_did_not_take_are_removed_later(store: Store, parts: Parts) -> None:
    is_away = [True]

    def remove(artifacts: list[Artifact]) -> None:
        if is_away[0]:
            raise StorageUnavailable("away")
        parts.remove(artifacts)

    keeper = Keeper(store, remove, SETTINGS)
    key, end = finish(store, parts, "old"), NOW + ENOUGH_S
    keeper.run_once(end)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            keeper.clean_once(end)
    insert(store, "next", deadline_at=end)
    keeper.run_once(end + PRUNE_S)
    assert state(store, "next") == JobState.FAILED  # the rows are kept in order meanwhile
    is_away[0] = False
    keeper.clean_once(end + PRUNE_S)
    assert not parts.has(key)


def swept(store: Store, parts: Parts, now: float) -> None:
    """What a fresh keeper does until its first sweep is over."""
    keeper = Keeper(store, parts.remove, SETTINGS, sweep=parts.sweep)
    turn(keeper, now)
    for _ in range(3):
        turn(keeper, now + SETTLED_S)


def test_bytes_left_by_a_crash_between_rows_and_bytes_are_swept(store: Store, parts: Parts) -> None:
    key = finish(store, parts, "old")
    upload = key_for_upload("up", ".png")
    parts.put(upload)
    store.add_artifact(Artifact("up", "t", upload, "image/png", 7, NOW))
    Keeper(store, parts.remove, SETTINGS).run_once(NOW + ENOUGH_S)  # its process ends before its next turn
    assert store.get("old") is None
    assert (parts.has(key), parts.has(upload)) == (True, True)
    swept(store, parts, NOW + ENOUGH_S + LEAD_S)
    assert (parts.has(key), parts.has(upload)) == (False, False)


def test_outputs_of_lost_claims_go_with_their_job(store: Store, parts: Parts) -> None:
    key = finish(store, parts, "old")
    stray = key_for_output("old", 1, 3, ".png")
    parts.put(stray)
    swept(store, parts, NOW + ENOUGH_S)
    assert (parts.has(key), parts.has(stray)) == (False, False)


def test_the_sweep_spares_what_a_row_points_at(store: Store, parts: Parts) -> None:
    insert(store, "alive", run_at=NOW + 9 * ENOUGH_S)
    keys = [key_for_output("alive", 1, 0, ".png"), key_for_upload("up", ".png")]
    for key in keys:
        parts.put(key)
    store.add_artifact(Artifact("up", "t", keys[1], "image/png", 7, NOW + ENOUGH_S))
    swept(store, parts, NOW + ENOUGH_S)
    assert [parts.has(key) for key in keys] == [True, True]


def test_the_sweep_of_an_emptied_store_takes_nothing_that_is_young(store: Store, parts: Parts) -> None:
    young = [key_for_output("a", 1, 0, ".png"), key_for_upload("b", ".png")]
    for key in young:
        parts.put(key, NOW)
    swept(store, parts, NOW + SETTINGS.keep_uploads_h * 3600)
    assert [parts.has(key) for key in young] == [True, True]


def test_the_sweep_goes_on_where_it_stopped_and_comes_again(store: Store, parts: Parts, keeper: Keeper) -> None:
    keys = [key_for_output(f"gone-{number}", 1, 0, ".png") for number in range(1200)]
    for key in keys:
        parts.put(key)
    start = NOW + ENOUGH_S
    turn(keeper, start)
    left = []
    for number in range(6):
        turn(keeper, start + SETTLED_S + number)
        left.append(sum(parts.has(key) for key in keys))
    assert left[-1] == 0
    assert any(0 < count < 1200 for count in left)  # a part a turn
    parts.put(keys[0])
    for number in range(2):
        turn(keeper, start + SETTLED_S + SWEEP_S + number)
        turn(keeper, start + SETTLED_S + SWEEP_S + ASK_S + number)
    assert not parts.has(keys[0])


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


class Changing:
    """The store that was opened last: a closed one stands for one that is away, a new handle for its return."""

    def __init__(self, store: Store) -> None:
        self.opened = [store]

    def __getattr__(self, name: str) -> object:
        return getattr(self.opened[-1], name)

    def come_back(self, folder: Path) -> Store:
        self.opened.append(open_store(f"sqlite:///{folder / 'jobs.sqlite3'}", Limits(lease_s=LEASE_S)))
        return self.opened[-1]


def test_leases_that_ran_out_while_the_store_was_away_are_not_lost(store: Store, parts: Parts, tmp_path: Path) -> None:
    changing = Changing(store)
    keeper = Keeper(changing, parts.remove, SETTINGS)  # type: ignore[arg-type]
    insert(store, "x")
    keeper.run_once(NOW)
    claim(store)
    store.close()
    for second in range(1, 60):
        with pytest.raises(StoreUnavailable):
            keeper.run_once(NOW + second)
    with contextlib.closing(changing.come_back(tmp_path)) as back:
        for second in range(60, 69):
            keeper.run_once(NOW + second)
            assert state(back, "x") == JobState.RUNNING
        for second in range(69, 80):
            keeper.run_once(NOW + second)
        assert state(back, "x") == JobState.QUEUED


def test_its_threads_survive_a_store_that_is_away(store: Store, parts: Parts, tmp_path: Path) -> None:
    changing = Changing(store)
    keeper = Keeper(changing, parts.remove, SETTINGS)  # type: ignore[arg-type]
    keeper.start()
    try:
        wait_until(lambda: keeper.is_leader)
        store.close()
        wait_until(lambda: not keeper.is_leader)
        back = changing.come_back(tmp_path)
        insert(back, "late", deadline_at=NOW)
        wait_until(lambda: state(back, "late") == JobState.FAILED)
    finally:
        keeper.stop()
        changing.opened[-1].close()
    wait_until(lambda: not any(thread.name.startswith("keeper") for thread in threading.enumerate()))
