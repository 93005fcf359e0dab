"""What `darkroom serve` starts, and what it does with the jobs of a dead worker; no process is started here."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from darkroom.app import address_of
from darkroom.cli import run
from darkroom.cli.serve import GATEWAY_STOP_S, House, pools_said
from darkroom.cli.start import with_host
from darkroom.config import ServeSettings, Settings
from darkroom.core import JobState, NewJob
from darkroom.errors import DriverUnavailable, StoreUnavailable
from darkroom.fleet.devices import CUDA_DEVICES, WORKERS_HERE, WORKERS_ON_DEVICE, accelerators
from darkroom.fleet.told import FleetNote, PoolNote, write_note
from darkroom.fleet_settings import FleetSettings, PoolSettings
from darkroom.gateway.access import AllowList
from darkroom.gateway.server import STOP_S
from darkroom.jobs.keeper import STOP_S as KEEPER_STOP_S
from darkroom.jobs.sqlite import SqliteStore
from darkroom.jobs.store import Claimant, Limits

Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with so many devices, by what its nvidia-smi says; and what CUDA_VISIBLE_DEVICES is."""

    def make(devices: int, visible: str | None = None) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        lines = "\n".join(f"GPU {k}: NVIDIA H200 (UUID: GPU-{k})" for k in range(devices))
        program.write_text(f"#!/bin/sh\ncat <<EOF\n{lines}\nEOF\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv(CUDA_DEVICES, raising=False)
        if visible is not None:
            monkeypatch.setenv(CUDA_DEVICES, visible)

    return make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path / "jobs.sqlite3", Limits())) as made:
        yield made


@pytest.fixture
def house(tmp_path: Path, store: SqliteStore) -> Iterator[House]:
    settings = Settings(
        home=tmp_path,
        config_file=None,
        offline=True,
        default_model="landscapes",
        threads=None,
        models={},
        serve=ServeSettings(),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield House(settings, store, listener, [])


def test_the_screen_begins_with_the_page_to_open(house: House) -> None:
    head, _, page, *_ = house._screen("1 on this machine", is_forwarding=False).splitlines()
    assert head.startswith("Darkroom ")
    assert page == f"  Open {house.url}/ui/ in a browser."


def test_the_gateway_answers_to_the_name_that_it_was_told_to_listen_on(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Settings] = []
    monkeypatch.setattr("darkroom.cli.processes.run_gateway", lambda settings, *_, **__: heard.append(settings))
    monkeypatch.chdir(tmp_path)
    house.settings = with_host(house.settings, "box.example")
    arguments = list(house._gateway().command())[3:]
    arguments[arguments.index("--fd") + 1] = str(os.dup(house.listener.fileno()))
    assert run(arguments) == 0
    AllowList(heard[0].serve).check_host("box.example:8188", "10.0.0.1")


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (("0.0.0.0", 80), "http://127.0.0.1:80"),
        (("::", 80), "http://[::1]:80"),
        (("10.0.0.5", 81), "http://10.0.0.5:81"),
        (("fe80::1", 82), "http://[fe80::1]:82"),
    ],
)
def test_the_example_names_an_address_that_can_be_called(bound: tuple[str, int], said: str) -> None:
    assert address_of(bound) == said


def test_a_house_on_every_interface_says_where_it_is(house: House) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        house.listener = listener
        assert house.url == f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("devices", "visible", "expected"),
    [
        (2, None, ["0", "1", "0", "1"]),
        (8, "2,5", ["2", "5", "2", "5"]),
        (8, "GPU-3, GPU-1", ["GPU-3", "GPU-1", "GPU-3", "GPU-1"]),
        (1, None, ["0", "0", "0", "0"]),
        (2, "", [None] * 4),
        (0, None, [None] * 4),
    ],
)
def test_workers_share_out_the_devices_that_may_be_used(
    machine: Machine, house: House, devices: int, visible: str | None, expected: list[str | None]
) -> None:
    machine(devices, visible)
    assert [house._worker(number, 4).environment.get(CUDA_DEVICES) for number in range(4)] == expected


def test_a_local_fleet_stands_in_place_of_fixed_workers(
    machine: Machine, house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(2)
    assert [child.name for child in house.children()] == ["gateway", "worker-0", "worker-1"]
    pools = {"spot": PoolSettings(max_workers=4), "warm": PoolSettings(min_workers=1, max_workers=2)}
    for driver, names in (("ray", ["gateway", "worker-0", "worker-1"]), ("local", ["gateway", "fleet"])):
        fleet = FleetSettings.model_validate({"driver": driver, "pools": pools})
        house.settings = house.settings.model_copy(update={"fleet": fleet})
        assert [child.name for child in house.children()] == names
    assert pools_said(house.settings) == "as the work asks for them: spot 0 to 4, warm 1 to 2"
    heard: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        "darkroom.cli.fleet_run.run_fleet", lambda settings, words: heard.append((settings.default_model, words))
    )
    monkeypatch.chdir(tmp_path)
    house._arguments = ["--model", "landscapes"]
    assert run(list(house.children()[1].command())[3:]) == 0
    assert heard == [("landscapes", ["--model", "landscapes"])]


def test_there_is_no_fleet_to_run_without_pools(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["fleet", "run"]) == 2
    assert "[fleet.pools.NAME]" in capsys.readouterr().err


def test_a_fleet_of_none_is_said_to_be_ready_when_it_can_start_somebody(
    house: House, store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    house.settings = house.settings.model_copy(update={"fleet": FleetSettings(pools={"a": PoolSettings()})})
    for note in (
        FleetNote(time.time() - 60, "local", "fixed", 5.0, (PoolNote("a", wanted=0),)),  # of a life before
        FleetNote(time.time() + 1, "local", "fixed", 5.0, (PoolNote("a", wanted=0),), fault="away"),
        FleetNote(time.time() + 1, "local", "fixed", 5.0, (PoolNote("a", wanted=1),)),  # somebody starts
    ):
        store.note_fleet(write_note(note))
        house._look_at = 0.0
        house._look()
        assert "ready" not in capsys.readouterr().err
    store.note_fleet(write_note(FleetNote(time.time() + 1, "local", "fixed", 5.0, (PoolNote("a", wanted=0),))))
    house._look_at = 0.0
    house._look()
    assert "with no worker yet, and the first job starts one" in capsys.readouterr().err


def test_there_is_a_worker_for_each_device_that_may_be_used(machine: Machine) -> None:
    machine(8, "2,5,6")
    assert accelerators() == ["2", "5", "6"]


@pytest.mark.parametrize(
    ("devices", "visible", "count", "here", "on_device"),
    [(0, None, 1, 1, 1), (0, None, 3, 3, 3), (4, None, 4, 4, 1), (8, "0", 2, 2, 2), (4, "0,1", 3, 3, 2)],
)
def test_each_worker_is_told_with_how_many_it_shares(
    machine: Machine, house: House, devices: int, visible: str | None, count: int, here: int, on_device: int
) -> None:
    machine(devices, visible)
    said = house._worker(0, count).environment
    assert (said[WORKERS_HERE], said[WORKERS_ON_DEVICE]) == (str(here), str(on_device))


def test_an_nvidia_smi_that_hangs_is_a_fault_and_not_a_machine_without_devices(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(1)
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr("darkroom.fleet.devices.ANSWER_S", 0.1)
    with pytest.raises(DriverUnavailable, match="nvidia-smi"):
        accelerators()


def test_the_gateway_is_given_longer_to_stop_than_it_takes() -> None:
    assert GATEWAY_STOP_S > STOP_S + KEEPER_STOP_S


def test_a_dead_worker_s_jobs_go_back_when_the_store_is_there_again(
    house: House,
    store: SqliteStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    child = house._worker(0, 1)
    child.command()
    worker = house._ids["worker-0"]
    store.insert([NewJob("job-1", "t", "m", "text-to-image", {})], time.time())
    store.claim(Claimant(worker, ("m",), ("m",)), 1, time.time())
    path, away = tmp_path / "jobs.sqlite3", tmp_path / "away.sqlite3"
    path.rename(away)
    child.ended(-9)
    assert "when the store does" in capsys.readouterr().err
    with pytest.raises(StoreUnavailable):
        store.check()
    away.rename(path)
    house._is_ready, house._releasing._retry_at = True, 0.0
    house._look()
    job = store.get("job-1")
    assert job is not None
    assert job.state == JobState.QUEUED
