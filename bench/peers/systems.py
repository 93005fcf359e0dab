"""The servers: how each is started, as its own documentation says, and how a request is put to it.

All of them get the same places: a folder of their own, a port, the model, so many threads, and the batch that was found
best for them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.service.box import ROOT, free_port
from darkroom.bench.dialects import Dialect
from darkroom.bench.template import Plain, Template

from .environments import NotInstalled, packages, shared_packages

SERVERS = Path(__file__).parent / "servers"
MODEL = Path(ROOT) / "src" / "darkroom" / "models" / "bundled" / "landscapes"
QUEUE = 1000  # requests that may wait, everywhere: nobody refuses what the others take


@dataclass(frozen=True)
class Batch:
    """So many requests, of which the first waits so long at most for the others; `most` 0: the server's own choice.

    So many instances of the model share the cores, with so many torch threads each.
    """

    most: int
    window_s: float
    instances: int = 1
    threads: int = 1

    def __str__(self) -> str:
        gathered = f"{self.most} in {self.window_s * 1000:g} ms, " if self.most else ""
        return f"{gathered}{self.instances} x {self.threads} thread{'s' if self.threads > 1 else ''}"


def splits(cores: int) -> list[tuple[int, int]]:
    """Instances and threads that are tried on so many cores: small forwards gain little from a second thread."""
    return list(dict.fromkeys([(1, cores), (1, 1), (2, cores // 2)] if cores > 1 else [(1, 1)]))


@dataclass(frozen=True)
class Place:
    """Where a server runs: `environment` is the folder of its packages, None for Darkroom's own."""

    folder: Path
    port: int
    environment: Path | None = None
    batch: Batch = Batch(1, 0.0)
    is_batching: bool = True  # Darkroom

    @property
    def around(self) -> dict[str, str]:
        """The environment variables that everybody has."""
        said = {
            "PEER_MODEL": str(MODEL),
            "PEER_THREADS": str(self.batch.threads),
            "PEER_INSTANCES": str(self.batch.instances),
            "PEER_MOST": str(self.batch.most),
            "PEER_WINDOW_S": str(self.batch.window_s),
            "PEER_PORT": str(self.port),
            "OMP_NUM_THREADS": str(self.batch.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "HF_HUB_OFFLINE": "1",
        }
        if self.environment is not None:
            bins = self.environment / "bin"
            said |= {
                "PYTHONPATH": "",
                "PATH": f"{bins}{os.pathsep}{os.environ['PATH']}",
                "VIRTUAL_ENV": str(bins.parent),
            }
        return said

    def program(self, name: str) -> str:
        """One of its environment."""
        assert self.environment is not None
        return str(self.environment / "bin" / name)


@dataclass(frozen=True)
class Start:
    """A command line, and what its environment has beside what everybody has."""

    command: list[str]
    around: Mapping[str, str]


@dataclass(frozen=True)
class System:
    """`environment` names its requirements, None: the project's own; `package` is whose version is told;
    `is_gathering`: it finds its batches by itself, so that instances and threads alone are swept."""

    name: str
    said: str
    package: str
    environment: str | None
    start: Callable[[Place], Start]
    template: Callable[[str], Template]
    about: str = ""  # a path of its own whose JSON says the version of a server that is not the package
    is_gathering: bool = False
    dialect: Callable[[Template], Dialect] = Plain


def _darkroom(place: Place) -> Start:
    """As a user would: `darkroom serve`, with workers and threads as they were found best."""
    lines = [f"threads = {place.batch.threads}\n", "[serve]\n", f"workers = {place.batch.instances}\n"]
    if not place.is_batching:
        lines.append("batching = false\n")
    (place.folder / "darkroom.toml").write_text("".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "darkroom", "serve", "--port", str(place.port)]
    return Start(command, {"DARKROOM_HOME": str(place.folder)})


def _script(name: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        return Start([place.program("python"), str(SERVERS / name)], {})

    return start


def _torchserve(place: Place) -> Start:
    """A model archive and config.properties."""
    store = place.folder / "store"
    store.mkdir(exist_ok=True)
    archive = [place.program("torch-model-archiver"), "--model-name", "landscapes", "--version", "1.0", "--force"]
    archive += ["--handler", str(SERVERS / "torchserve_handler.py"), "--extra-files", str(SERVERS / "drawing.py")]
    subprocess.run([*archive, "--export-path", str(store)], check=True, capture_output=True)
    model = {
        "marName": "landscapes.mar",
        "minWorkers": place.batch.instances,
        "maxWorkers": place.batch.instances,
        "batchSize": place.batch.most,
        "maxBatchDelay": max(1, round(place.batch.window_s * 1000)),
        "responseTimeout": 600,
        "defaultVersion": True,
    }
    return torchserve_of(place, store, [f"models={json.dumps({'landscapes': {'1.0': model}})}"])


def torchserve_of(place: Place, store: Path, lines: Sequence[str] = (), python: Path | None = None) -> Start:
    """The server of an archive called landscapes, with a queue as long as everybody's: by default it takes a hundred.
    `python`: whose packages it finds, its environment's unless said."""
    if shutil.which("java") is None:
        raise NotInstalled("TorchServe needs Java 17, and there is none")
    config = [
        f"inference_address=http://127.0.0.1:{place.port}",
        f"management_address=http://127.0.0.1:{free_port()}",
        f"metrics_address=http://127.0.0.1:{free_port()}",
        f"job_queue_size={QUEUE}",
        "load_models=landscapes.mar",
        *lines,
    ]
    (place.folder / "config.properties").write_text("\n".join(config) + "\n", encoding="utf-8")
    serve = [*([str(python)] if python else []), place.program("torchserve")]
    serve += ["--start", "--foreground", "--ncs", "--disable-token-auth"]
    # It keeps a file in the folder for temporary ones by which another TorchServe would be stopped.
    around = {"TMPDIR": str(place.folder)}
    return Start([*serve, "--model-store", str(store), "--ts-config", "config.properties"], around)


def _triton(place: Place) -> Start:
    """A model repository."""
    model = place.folder / "models" / "landscapes"
    (model / "1").mkdir(parents=True, exist_ok=True)
    for file in (SERVERS / "triton_model" / "model.py", SERVERS / "drawing.py"):
        shutil.copy(file, model / "1")
    said = (SERVERS / "triton_model" / "config.pbtxt").read_text(encoding="utf-8")
    config = said.replace("MOST", str(place.batch.most)).replace("WINDOW_US", f"{place.batch.window_s * 1e6:.0f}")
    config = config.replace("INSTANCES", str(place.batch.instances))
    (model / "config.pbtxt").write_text(config, encoding="utf-8")
    assert place.environment is not None
    own = packages(place.environment)
    return triton_of(place, model.parent, {"PEER_PACKAGES": f"{own}{os.pathsep}{shared_packages()}"})


def triton_of(place: Place, repository: Path, around: Mapping[str, str]) -> Start:
    """The server of nvidia-pytriton's wheel, with the Python backend's stub of this Python put beside the backend."""
    assert place.environment is not None
    own = packages(place.environment)
    server, version = own / "pytriton" / "tritonserver", f"{sys.version_info.major}.{sys.version_info.minor}"
    backend = place.folder / "backends" / "python"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise NotInstalled(f"Triton's Python backend has no stub for Python {version}")
    shutil.copytree(server / "backends" / "python", backend, dirs_exist_ok=True)
    shutil.copy2(stub, backend)
    command = [str(server / "bin" / "tritonserver"), "--model-repository", str(repository)]
    command += ["--backend-directory", str(backend.parent), "--http-address", "127.0.0.1"]
    command += ["--http-port", str(place.port), "--allow-grpc", "false", "--allow-metrics", "false"]
    libraries = (str(own / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR")))
    return Start(command, {"LD_LIBRARY_PATH": os.pathsep.join(libraries), **around})


def _direct(path: str) -> Callable[[str], Template]:
    names = ("prompt", "steps", "guidance", "width", "height", "seed")
    body = {name: f"{{{name}}}" for name in names}
    return lambda url: Template(f"{url}{path}", body=body, image="image")


def _openai(url: str) -> Template:
    """Darkroom's route that answers with the picture, as the peers' do."""
    body = {
        "prompt": "{prompt}",
        "size": "{width}x{height}",
        "num_inference_steps": "{steps}",
        "guidance_scale": "{guidance}",
        "seed": "{seed}",
        "response_format": "b64_json",
    }
    return Template(f"{url}/v1/images/generations", body=body, image="data.*.b64_json")


def _infer(url: str) -> Template:
    """Triton's own protocol, in JSON."""
    types = {"prompt": "BYTES", "steps": "INT32", "guidance": "FP32", "width": "INT32", "height": "INT32"}
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": kind, "data": [f"{{{name}}}"]}
        for name, kind in (types | {"seed": "INT64"}).items()
    ]
    return Template(f"{url}/v2/models/landscapes/infer", body={"inputs": inputs}, image="outputs.0.data.0")


DARKROOM = System("darkroom", "Darkroom", "darkroom-server", None, _darkroom, _openai, is_gathering=True)
WINDOWED = System("fastapi", "FastAPI, windowed", "fastapi", "fastapi", _script("windowed.py"), _direct("/predict"))
PEERS = (
    WINDOWED,
    System("litserve", "LitServe", "litserve", "litserve", _script("with_litserve.py"), _direct("/predict")),
    System("ray", "Ray Serve", "ray", "ray", _script("with_ray.py"), _direct("/predict")),
    System("torchserve", "TorchServe", "torchserve", "torchserve", _torchserve, _direct("/predictions/landscapes")),
    System("triton", "Triton, Python backend", "nvidia-pytriton", "triton", _triton, _infer, "/v2"),
)
SYSTEMS = (DARKROOM, *PEERS)
