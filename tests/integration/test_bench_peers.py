"""The bench of other servers against real ones: those whose packages are here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.peers import processes, workloads
from bench.peers.cells import Cell, Shelf
from bench.peers.run import Measurement
from bench.peers.serving import Broken, Ground, NotStarted, Served, started
from bench.peers.size import QUICK, WORKLOADS
from bench.peers.systems import PEERS, WINDOWED, Batch, Place, Start, System
from bench.peers.workloads import at_once
from bench.service.box import free_port, wait_until

OURS = Path(sys.prefix)  # Darkroom's own environment, which has FastAPI


def _place(folder: Path) -> Place:
    return Place(folder, free_port(), environment=OURS, batch=Batch(2, 0.2))


def test_the_windowed_peer_draws_what_it_is_asked(tmp_path: Path) -> None:
    with started(WINDOWED, _place(tmp_path)) as served:
        outcomes = served.send(at_once(2, seed=1))
    assert [(each.code, each.images) for each in outcomes] == [(None, 1), (None, 1)]


def test_a_server_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    def start(place: Place) -> Start:
        return Start([place.program("python"), "-c", "raise SystemExit('no such model')"], {})

    with (
        pytest.raises(NotStarted, match="no such model"),
        started(replace(WINDOWED, start=start), _place(tmp_path)),
    ):
        pass
    assert processes.last_words(tmp_path) == "no such model"


def _unheard(process: subprocess.Popen[bytes], folder: Path) -> Served:
    """A process that listens nowhere."""
    return Served(WINDOWED.template(f"http://127.0.0.1:{free_port()}"), WINDOWED.dialect, process, folder)


def test_a_server_that_answers_nothing_or_is_gone_is_broken_not_slow(tmp_path: Path) -> None:
    with (
        processes.running(["sleep", "60"], tmp_path, {}) as process,
        pytest.raises(Broken, match="every request of 2 failed"),
    ):
        _unheard(process, tmp_path).send(at_once(2, seed=1))
    with pytest.raises(Broken, match="ended by itself"):
        _unheard(process, tmp_path).send(at_once(2, seed=1))


def test_nothing_is_left_of_a_server_whose_children_began_sessions_or_lost_their_parent(tmp_path: Path) -> None:
    said = "setsid sleep 61 & echo $! >> pids; (sleep 62 & echo $! >> pids); sleep 63 & echo $! >> pids; wait"
    with processes.running(["sh", "-c", said], tmp_path, {}):
        wait_until(lambda: len(_pids(tmp_path)) == 3)
        family = [psutil.Process(pid) for pid in _pids(tmp_path)]
    assert psutil.wait_procs(family, timeout=10)[1] == []


def _pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line) for line in path.read_text(encoding="utf-8").split()] if path.exists() else []


def test_a_peer_that_cannot_be_installed_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    missing = tmp_path / "environments"
    missing.write_text("where a folder would have to be", encoding="utf-8")
    shelf = Shelf(tmp_path / "out", QUICK, {})
    kinds = {wanted.kind: [1.0] for name in WORKLOADS for wanted in workloads.kinds(name)}
    shelf.write("alone", {"threads": 1, "tried": {"1": kinds}, "repeats": [kinds]})
    Measurement(QUICK, shelf, Ground(tmp_path, missing), ends_at=float("inf")).run([WINDOWED], ["W6"])
    found = shelf.found(Cell("W6", 0, "fastapi"))
    assert found is not None
    assert found.failure


@pytest.mark.slow
@pytest.mark.parametrize("system", [each for each in PEERS if each is not WINDOWED], ids=lambda each: each.name)
def test_other_peers_answer_as_the_bench_asks(system: System, tmp_path: Path) -> None:
    """Their environments are made by `make bench-peers`, which takes minutes: it is not done here."""
    place = Path("out/peers/environments") / str(system.environment)
    if not (place / ".made").exists():
        pytest.skip(f"{system.said} is not installed: make bench-peers does that")
    with Ground(tmp_path, place.parent.absolute(), warm=0).served(system, Batch(2, 0.1)) as served:
        outcomes = served.send(at_once(2, seed=1))
    assert [(each.code, each.images) for each in outcomes] == [(None, 1), (None, 1)]
