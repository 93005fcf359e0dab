"""TorchServe and Triton as they are installed, on loopback, with this checkout's Darkroom in their Python.

Neither is among the dependencies: `TORCHSERVE` and `TRITONSERVER` say where their programs are, else PATH does, else
they are where `make servers` puts them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bench.peers.environments import ENVIRONMENTS
from tests.missing import need, skip_or_fail

from .service import IS_TLS, PATIENCE_S, free_port, wait_until

SOURCES = Path(__file__).parents[2] / "src"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
TRITON = "pytriton/tritonserver/bin/tritonserver"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def program(name: str, variable: str, made: str) -> Path:
    """Its path; `made` is a pattern for it in the environments of `make servers`."""
    said = os.environ.get(variable) or shutil.which(name) or next(ENVIRONMENTS.glob(made), None)
    if said is None:
        skip_or_fail(f"{name} is not installed: make servers, or say in {variable} where it is")
    return Path(said)


@contextmanager
def torchserve(folder: Path, model_store: Path) -> Iterator[httpx.Client]:
    """A client of one that serves all archives of the folder."""
    need("java")
    script = program("torchserve", "TORCHSERVE", "torchserve/bin/torchserve")
    [packages] = script.resolve().parents[1].glob("lib/python*/site-packages")
    python = _environment(folder / "environment", [SOURCES, SITE_PACKAGES, packages])
    ports = {name: free_port() for name in ("inference", "management", "metrics")}
    settings = [f"{name}_address=http://127.0.0.1:{port}" for name, port in ports.items()]
    settings += [f"grpc_{name}_port={free_port()}" for name in ("inference", "management")]
    (folder / "config.properties").write_text("\n".join([*settings, "disable_token_authorization=true"]))
    command = [python, script.resolve(), "--foreground", "--ncs", "--model-store", model_store, "--models", "all"]
    places = {name: str(folder) for name in ("TMPDIR", "TEMP", "LOG_LOCATION", "METRICS_LOCATION")}
    command += ["--ts-config", folder / "config.properties"]
    with _running(command, folder, places, ports["inference"]) as (client, process):

        def is_ready() -> bool:
            with httpx.Client(base_url=f"http://127.0.0.1:{ports['management']}", verify=IS_TLS) as management:
                models = management.get("/models").json()["models"]
                said = [management.get(f"/models/{model['modelName']}").json()[0] for model in models]
            return bool(said) and all(each["workers"][0]["status"] == "READY" for each in said)

        _wait(process, is_ready)
        yield client


@contextmanager
def triton(folder: Path, model_repository: Path) -> Iterator[httpx.Client]:
    """A client of one that serves the whole repository."""
    binary = program("tritonserver", "TRITONSERVER", f"triton/lib/*/site-packages/{TRITON}").resolve()
    home = binary.parents[1]
    backends = folder / "backends"
    shutil.copytree(home / "backends" / "python", backends / "python")
    stub = home / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    if stub.is_file():  # nvidia-pytriton's wheel has one for each Python
        shutil.copy(stub, backends / "python")
    python = _environment(folder / "environment", [*_numpy_beside(home, folder), SOURCES, SITE_PACKAGES])
    libraries = [sysconfig.get_config_var("LIBDIR"), *map(str, home.parents[1].glob("*.libs"))]
    environment = {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
    }
    port = free_port()
    command = [binary, "--model-repository", model_repository, "--backend-directory", backends]
    flags = [
        "--http-address",
        "127.0.0.1",
        "--http-port",
        str(port),
        "--allow-grpc",
        "false",
        "--allow-metrics",
        "false",
    ]
    with _running([*command, *flags], folder, environment, port) as (client, process):
        _wait(process, lambda: client.get("/v2/health/ready").status_code == 200)
        yield client


def _numpy_beside(home: Path, folder: Path) -> list[Path]:
    """A folder with the numpy that lies beside the server: older backends read no arrays of numpy 2."""
    packages = home.parents[1]
    if not (packages / "numpy").is_dir() or packages == SITE_PACKAGES:
        return []
    overlay = folder / "numpy"
    overlay.mkdir()
    for name in ("numpy", "numpy.libs"):
        (overlay / name).symlink_to(packages / name)
    return [overlay]


def _environment(place: Path, found_in: Sequence[Path]) -> Path:
    """A Python environment that finds what lies in those folders; returns its python."""
    venv.create(place, symlinks=True)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "found.pth").write_text("\n".join(map(str, found_in)))
    return place / "bin" / "python"


@contextmanager
def _running(
    command: Sequence[Path | str], folder: Path, changes: Mapping[str, str], port: int
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """The program and a client of its port; it is ended with all that it started."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | dict(changes)
    with (folder / "said.log").open("wb") as log:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=240, verify=IS_TLS) as client:
            yield client, process
    except BaseException:
        print((folder / "said.log").read_text(errors="replace")[-8000:])  # pytest shows it
        raise
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> None:
    def asked() -> bool:
        assert process.poll() is None, "it ended"
        try:
            return is_ready()
        except (httpx.TransportError, KeyError, IndexError):
            return False

    wait_until(asked)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Itself first: it ends what it started in order, as far as it does."""
    others = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S / 8)
    for each in others:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    _, left = psutil.wait_procs(others, PATIENCE_S / 8)
    for each in left:
        each.kill()
    if process.poll() is None:
        process.kill()
    process.wait()
