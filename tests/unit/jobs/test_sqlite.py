"""What SQLite promises beyond the contract: crashes, full disks, and speed that does not depend on history."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import Allowance, Artifact, Job, JobState, Lease, NewJob
from darkroom.errors import StoreUnavailable
from darkroom.jobs import sqlite_statements
from darkroom.jobs.sqlite import SqliteStore
from darkroom.jobs.sqlite_statements import statements
from darkroom.jobs.store import STAGED, Claimant, JobFilter, Limits

NOW = 1_000_000.0
ME = Claimant("w", ("m", "m2"), ("m",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.sqlite3", Limits())
    yield store
    store.close()


def new_job(job_id: str, **fields: Any) -> NewJob:
    return NewJob(job_id, "t", "m", "text-to-image", {"prompt": "x"}, **fields)


def run_child(script: str, *words: object, **options: Any) -> subprocess.Popen[str]:
    """Python in a process of its own, with `store` open on the first word's path."""
    opening = (
        "import os, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from darkroom.core import Job, NewJob\n"
        "from darkroom.errors import StoreUnavailable\n"
        "from darkroom.jobs.sqlite import SqliteStore\n"
        "from darkroom.jobs.sqlite_events import Events\n"
        "from darkroom.jobs.store import Limits\n"
        "store = SqliteStore(Path(sys.argv[1]), Limits())\n"
        "def new_job(name, size=1): return NewJob(name, 't', 'm', 'text-to-image', {'prompt': 'x' * size})\n"
    )
    command = [sys.executable, "-c", opening + script, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


# Crashes


def test_a_process_that_dies_before_it_tells_loses_no_event(tmp_path: Path, store: SqliteStore) -> None:
    reached, _ = store.tail(None, 0.0)
    # Killed at the worst place: the job is committed, its event is not delivered.
    script = "Events.deliver = lambda self: os.kill(os.getpid(), signal.SIGKILL)\nstore.insert([new_job('x')], 1.0)\n"
    child = run_child(script, tmp_path / "jobs.sqlite3")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert store.get("x") is not None
    store.insert([new_job("y")], NOW)  # any later transition of any process tells it, in its place
    _, noted = store.tail(reached, 0.0)
    assert [(one.job_id, one.event.type) for one in noted] == [("x", "queued"), ("y", "queued")]


def test_an_event_left_behind_is_told_when_the_store_is_opened(tmp_path: Path, store: SqliteStore) -> None:
    store.close()
    script = "Events.deliver = lambda self: os.kill(os.getpid(), signal.SIGKILL)\nstore.insert([new_job('x')], 1.0)\n"
    run_child(script, tmp_path / "jobs.sqlite3").communicate()
    for _ in range(2):  # once, and not once more
        again = SqliteStore(tmp_path / "jobs.sqlite3", Limits())
        assert [event.type for event in again.events("x", 0)] == ["queued"]
        again.close()


def test_jobs_accepted_before_a_kill_are_there_after_it(tmp_path: Path) -> None:
    script = "for n in range(10**6):\n    store.insert([new_job(f'job-{n}')], 1.0)\n    print(f'job-{n}', flush=True)\n"
    child = run_child(script, tmp_path / "jobs.sqlite3")
    assert child.stdout is not None
    accepted = [child.stdout.readline().strip() for _ in range(25)]
    child.kill()
    accepted += child.stdout.read().split("\n")[:-1]
    child.wait()
    child.stdout.close()
    store = SqliteStore(tmp_path / "jobs.sqlite3", Limits())
    assert all(store.get(name) is not None for name in accepted)
    assert [store.events(name, 0)[0].type for name in accepted] == ["queued"] * len(accepted)
    store.close()


def test_a_full_disk_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    script = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "accepted = [store.insert([new_job('first')], 1.0)[0].id]\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))\n"
        "refused = None\n"
        "try:\n"
        "    for number in range(999):\n"
        "        accepted.append(store.insert([new_job(f'job-{number}', 20_000)], 1.0)[0].id)\n"
        "except StoreUnavailable as error:\n"
        "    refused = f'job-{number}'\n"
        "    print(error.message)\n"
        "assert refused is not None and store.get(refused) is None\n"
        "assert all(store.get(name) is not None for name in accepted)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "assert isinstance(store.insert([new_job(refused)], 1.0)[0], Job)\n"
        "assert [len(store.events(name, 0)) for name in [*accepted, refused]] == [1] * (len(accepted) + 1)\n"
        "store.close()\n"
        "print(len(accepted))\n"
    )
    child = run_child(script, tmp_path / "jobs.sqlite3")
    said, _ = child.communicate()
    assert child.returncode == 0
    message, accepted = said.strip().split("\n")
    assert "nothing was changed" in message
    assert int(accepted) > 1


def test_closing_ends_the_wait_of_others(store: SqliteStore) -> None:
    ends: list[str] = []

    def wait(verb: str) -> None:
        try:
            store.tail(None, 600.0) if verb == "tail" else store.wait_for_work(600.0)
        except StoreUnavailable:
            ends.append(verb)

    threads = [threading.Thread(target=wait, args=(verb,)) for verb in ("tail", "work")]
    for thread in threads:
        thread.start()
    store.close()
    for thread in threads:
        thread.join(60)
    assert sorted(ends) == ["tail", "work"]


def test_a_step_leaves_the_job_file_alone(tmp_path: Path, store: SqliteStore) -> None:
    store.insert([new_job("x")], NOW)
    (job,) = store.claim(ME, 1, NOW)
    log = tmp_path / "jobs.sqlite3-wal"
    before = log.read_bytes()
    for step in range(20):
        store.report_step(Lease(job.id, job.fence), step, 20, NOW, "preview")
    assert log.read_bytes() == before


def test_looking_for_work_in_vain_writes_nothing(tmp_path: Path, store: SqliteStore) -> None:
    store.insert([new_job("x", run_at=NOW + 60), new_job("y", deadline_at=NOW)], NOW)
    before = (tmp_path / "jobs.sqlite3-wal").read_bytes()
    assert store.claim(ME, 4, NOW) == []
    assert (store.cancelling("w"), store.rescue(NOW), store.stage_due(NOW)) == ([], [], 0)
    assert (tmp_path / "jobs.sqlite3-wal").read_bytes() == before


def test_the_outbox_does_not_grow(tmp_path: Path, store: SqliteStore) -> None:
    for number in range(50):
        store.insert([new_job(f"job-{number}")], NOW)
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM outbox").fetchone()[0] <= 2


def test_no_transaction_queues_many_scheduled_jobs(tmp_path: Path, store: SqliteStore) -> None:
    store.insert([new_job(f"j{number}", run_at=NOW + 1) for number in range(2 * STAGED + 1)], NOW)
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as db:
        ((before,),) = db.execute("SELECT work FROM pulse")
        assert store.stage_due(NOW + 1) == 2 * STAGED + 1
        ((after,),) = db.execute("SELECT work FROM pulse")
    assert after == before + 3  # it rises once a transaction


# Speed that does not depend on history

LIVE_ONLY = {
    "job_line",
    "job_queue",
    "job_held",
    "job_lease",
    "job_due",
    "job_deadline",
}  # partial indexes, of what has not ended


def all_verbs(store: SqliteStore) -> None:
    """Each verb, with each way through it that asks another question."""
    dues = {"key_id": "k", "allowance": Allowance(99, 99, 99.0, 99.0), "webhook": "https://example.org/"}
    new = [new_job(f"job-{number}", idempotency_key=f"k{number}", deadline_at=NOW + 999, **dues) for number in range(8)]
    store.insert([*new, new_job("later", run_at=NOW + 1)], NOW, max_queued=99, max_scheduled=9)
    store.insert([new_job("refused", run_at=NOW + 1)], NOW, max_scheduled=1)
    store.insert(new[:1], NOW)
    store.known("t", "k1", "", NOW)
    store.stage_due(NOW + 1)
    lost, failed, retried, released, done, stopped = store.claim(ME, 6, NOW)
    held = {job.id: Lease(job.id, job.fence) for job in (lost, failed, retried, released, done, stopped)}
    store.report_step(held[done.id], 1, 4, NOW)
    store.complete(held[done.id], [Artifact("a", "t", "k", "image/png", 1, NOW, done.id)], {}, NOW)
    store.fail(held[failed.id], {"code": "internal", "message": "x"}, {}, NOW, None)
    store.fail(held[retried.id], {"code": "internal", "message": "x"}, {}, NOW, NOW + 5)
    store.release([held[released.id]], "drain", NOW)
    store.cancel(stopped.id, NOW)
    store.cancelling("w")
    store.confirm_cancelled(held[stopped.id], {}, NOW)
    store.rescue(NOW + 60)
    store.claim(ME, 1, NOW + 60)
    store.release_worker("w", "killed", NOW + 60)
    store.get(done.id), store.position(released.id), store.set_priority(released.id, 1, NOW), store.queue()
    store.lines(), store.note_fleet({"at": NOW}), store.fleet_note(), store.lead_fleet("a", NOW, 6.0)
    store.insert([new_job("ahead", priority=2), new_job("behind")], NOW)
    store.positions(["ahead", "behind"])
    for tenant, state, model, since in product(("t", None), (JobState.FAILED, None), ("m", None), (NOW, None)):
        store.list_jobs(JobFilter(tenant, state, model, since, limit=1))
    store.expire(NOW + 1000)
    store.usage("k", NOW), store.deliveries(done.id), store.due_deliveries(NOW, 9, 30.0)
    store.prune_bytes(0, NOW)
    store.delete(failed.id)
    store.prune(NOW + 2000, NOW + 2000, NOW + 2000)


def listen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What SQLite is asked from now on."""
    asked: set[str] = set()
    connect = sqlite3.connect

    class Listening(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            asked.add(sql)
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", lambda *words, **named: connect(*words, factory=Listening, **named))
    return asked


def test_no_verb_scans_the_jobs(store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    asked = listen(monkeypatch)
    listening = SqliteStore(tmp_path / "other" / "jobs.sqlite3", Limits())
    all_verbs(listening)
    listening.close()
    of_jobs = [sql for sql in asked if re.search(r"\b(FROM|UPDATE) job\b", sql)]
    assert len(of_jobs) >= 30
    with closing(connect(tmp_path / "jobs.sqlite3")) as db:
        for sql in of_jobs:
            for step in (row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names_in(sql), 1))):
                scanned = re.match(r"SCAN job(?: USING (?:COVERING )?INDEX (\w+))?$", step)
                assert not scanned or scanned[1] in LIVE_ONLY, f"{step}: {sql}"
                assert "B-TREE" not in step or "worker = :worker" in sql, f"{step}: {sql}"
                assert " tenant = :tenant" not in sql or "INDEX job_tenant" in step, f"{step}: {sql}"


def test_a_job_without_key_and_webhook_costs_no_statement_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (sqlite_statements.FOLDER / "ledger_verbs.sql").read_text(encoding="utf-8")
    ledger = {sql for name, sql in statements().items() if f"-- name: {name}\n" in text}
    asked = listen(monkeypatch)
    store = SqliteStore(tmp_path / "jobs.sqlite3", Limits())
    for dues, is_more in (({}, False), ({"key_id": "k"}, True), ({"webhook": "https://example.org/"}, True)):
        asked.clear()
        store.insert([new_job(f"job {dues}", **dues)], NOW)
        (job,) = store.claim(ME, 1, NOW)
        store.complete(Lease(job.id, job.fence), [], {}, NOW)
        store.delete(job.id)
        assert bool(asked & ledger) is is_more
    store.close()


def names_in(sql: str) -> list[str]:
    """The parameters of a statement."""
    return re.findall(r":(\w+)", re.sub(r"--.*|'[^']*'", "", sql))


# The statements


USES = (r'(?:run|first|first_of|_progress)\(\s*(?:\w+, )?"(\w+)"', r'statements\(\)\["(\w+)"\]')


def test_every_statement_is_named_described_and_used() -> None:
    folder = Path(sqlite_statements.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("sqlite*.py"))
    assert {name for use in USES for name in re.findall(use, code)} == set(statements())
    for file in sqlite_statements.VERB_FILES:
        text = (sqlite_statements.FOLDER / file).read_text(encoding="utf-8")
        assert text.count("-- name: ") == len(re.findall(r"^-- name: \w+\n-- \S", text, re.MULTILINE))
        assert text.count("-- name: ") == len([name for name in statements() if f"-- name: {name}\n" in text])


def test_every_statement_is_one_that_sqlite_takes(tmp_path: Path, store: SqliteStore) -> None:
    places = {"event_verbs.sql": "jobs-events.sqlite3"}
    for file in sqlite_statements.VERB_FILES:
        text = (sqlite_statements.FOLDER / file).read_text(encoding="utf-8")
        mine = [sql for name, sql in statements().items() if f"-- name: {name}\n" in text]
        with closing(sqlite3.connect(tmp_path / places.get(file, "jobs.sqlite3"))) as db:
            for sql in mine:
                db.execute(f"EXPLAIN {sql}", dict.fromkeys(names_in(sql), "[]")).fetchall()


def test_several_handles_of_a_process_share_the_file(tmp_path: Path, store: SqliteStore) -> None:
    other = SqliteStore(tmp_path / "jobs.sqlite3", Limits())
    answers: list[Job | Exception] = []

    def send(mine: SqliteStore, side: int) -> None:
        for number in range(20):
            answers.extend(mine.insert([new_job(f"job-{side}-{number}")], NOW))

    threads = [threading.Thread(target=send, args=((store, other)[side % 2], side)) for side in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert all(isinstance(answer, Job) for answer in answers)
    assert store.queue().queued == 80
    numbers = [event.seq for side in range(4) for event in store.events(f"job-{side}-19", 0)]
    assert len(set(numbers)) == 4


def test_the_room_loads_without_torch_and_without_redis() -> None:
    without = "import sys; sys.modules.update(torch=None, redis=None)"
    script = f"{without}; import darkroom.jobs.opening, darkroom.jobs.sqlite"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
