"""A supervisor keeps real processes alive, and they do not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.fleet.supervisor import Child, Supervisor

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are kept alive on POSIX alone")
PATIENCE_S = 60.0
SLEEPER = "import time; time.sleep(600)"
HEEDING = "import sys; from darkroom.fleet.supervisor import watch_parent; watch_parent(int(sys.argv[-1])); " + SLEEPER


def python(code: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-c", code]


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def said() -> list[str]:
    return []


def running(supervisor: Supervisor) -> threading.Thread:
    supervisor.start()
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    return thread


def test_a_child_that_is_killed_starts_again_and_its_death_is_told(said: list[str]) -> None:
    codes: list[int] = []
    child = Child("sleeper", python(SLEEPER), codes.append)
    supervisor = Supervisor([child], said.append, time.monotonic)
    thread = running(supervisor)
    assert child.process is not None
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: child.starts == 2 and child.is_alive)
    assert child.process.pid != first
    assert codes == [-signal.SIGKILL]
    assert "killed by SIGKILL" in said[0]
    supervisor.ask_stop()
    thread.join()
    supervisor.stop()
    assert not child.is_alive


def test_pauses_grow_while_a_child_dies_at_once() -> None:
    now = 0.0
    said: list[str] = []
    child = Child("brief", python("raise SystemExit(3)"))
    supervisor = Supervisor([child], said.append, lambda: now)
    supervisor.start()
    for _ in range(4):
        assert child.process is not None
        child.process.wait()
        supervisor.tend()
        now = child.retry_at
        supervisor.tend()
    pauses = [float(text.split("again in ")[1].split(" s")[0]) for text in said]
    assert pauses == sorted(set(pauses))
    assert "exit code 3" in said[0]
    supervisor.stop()


def test_a_child_that_does_not_heed_is_killed_after_its_time(said: list[str], tmp_path: Path) -> None:
    mark = tmp_path / "deaf"
    deaf = (
        f"import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path({str(mark)!r}).touch(); "
    )
    child = Child("deaf", python(deaf + SLEEPER), stop_s=0.2)
    supervisor = Supervisor([child], said.append, time.monotonic)
    supervisor.start()
    wait_until(mark.exists)
    supervisor.stop()
    assert not child.is_alive
    assert "is killed" in said[-1]


def slow_to_end(mark: Path, seconds: float) -> Callable[[], list[str]]:
    """A child that takes its time after SIGTERM, and notes when it came and when it was through."""
    code = f"""
import pathlib, signal, sys, time
def end(*_):
    told = time.monotonic()
    time.sleep({seconds})
    pathlib.Path({str(mark)!r}).write_text(f"{{told}} {{time.monotonic()}}")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path({str(mark)!r}).write_text("ready")
"""
    return python(code + SLEEPER)


def test_children_are_told_to_end_at_once_and_the_last_when_they_have(said: list[str], tmp_path: Path) -> None:
    marks = [tmp_path / name for name in ("gateway", "worker-0", "worker-1", "worker-2")]
    children = [Child(mark.name, slow_to_end(mark, 0.5), is_last=mark.name == "gateway") for mark in marks]
    supervisor = Supervisor(children, said.append, time.monotonic)
    supervisor.start()
    wait_until(lambda: all(mark.exists() and mark.read_text() == "ready" for mark in marks))
    supervisor.stop()
    (gateway_told, _), *workers = [tuple(map(float, mark.read_text().split())) for mark in marks]
    assert max(told for told, _ in workers) < min(through for _, through in workers)
    assert gateway_told >= max(through for _, through in workers)


def test_times_to_end_run_side_by_side(said: list[str], tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(4)]
    children = [Child(mark.name, slow_to_end(mark, 600), stop_s=1.0) for mark in marks]
    supervisor = Supervisor(children, said.append, time.monotonic)
    supervisor.start()
    wait_until(lambda: all(mark.exists() for mark in marks))
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 3.0
    assert not any(child.is_alive for child in children)


@pytest.mark.parametrize(("code", "starts"), [(0, 1), (3, 2)])
def test_a_child_that_may_end_stays_away_when_it_ends_in_order(said: list[str], code: int, starts: int) -> None:
    now = 0.0
    deaths: list[int] = []
    child = Child("drained", python(f"raise SystemExit({code})"), deaths.append, may_end=True)
    supervisor = Supervisor([child], said.append, lambda: now)
    supervisor.start()
    assert child.process is not None
    child.process.wait()
    supervisor.tend()
    now = 1000.0
    supervisor.tend()
    assert (child.starts, deaths) == (starts, [code])
    assert ("as it was asked to" in said[0]) == (code == 0)
    supervisor.stop()


def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
import pathlib, sys, time
from darkroom.fleet.supervisor import Child, Supervisor
child = Child("heeding", lambda: [sys.executable, "-c", {HEEDING!r}])
supervisor = Supervisor([child], print, time.monotonic)
supervisor.start()
pathlib.Path({str(note)!r}).write_text(str(child.process.pid))
supervisor.run()
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: note.exists() and note.read_text() != "")
    child = int(note.read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not _is_running(child))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
