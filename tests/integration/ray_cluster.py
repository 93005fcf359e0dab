"""A Ray cluster of several raylets on loopback, in a process of its own: `with ray_cluster(folder) as cluster`.

As a program it starts the head, and then reads lines: `add NAME CPUS` starts a raylet, `kill NAME` ends one as a fault
of its machine would. It answers each with a line, and ends everything when its input closes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
STORE_BYTES = 80 * 2**20  # the least that Ray takes
# Nodes are found dead within two seconds rather than fifteen, and no process waits for work that nobody has.
HEAD = {
    "prestart_worker_first_driver": False,
    "enable_worker_prestart": False,
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # how Ray is told to stay on loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
}


class RayCluster:
    """The other end of the program; `address` is what `[fleet] ray_address` says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self.address = process, ""

    def add(self, name: str, cpus: int) -> None:
        """A further node."""
        self._ask(f"add {name} {cpus}")

    def kill(self, name: str) -> None:
        """End a node without a word."""
        self._ask(f"kill {name}")

    def stop(self) -> None:
        """End all of it."""
        if self._process.poll() is None:
            self._process.communicate()

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        assert self.answer() == "done"

    def answer(self) -> str:
        """The program's next line."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer, "the Ray cluster did not start; see its log"
        return answer


@contextlib.contextmanager
def on_loopback() -> Iterator[None]:
    """What a process of Ray finds in its environment: ours, and those that a driver starts."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def ray_cluster(log: Path, cpus: int = 0) -> Iterator[RayCluster]:
    """A head with so many CPUs; ended with everything that runs on it."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # a socket's path must be short
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, __file__, folder, str(cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    cluster = RayCluster(process)
    try:
        cluster.address = cluster.answer()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main(folder: str, cpus: int) -> None:
    """The program; Ray's own words go to the log."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ["RAY_TMPDIR"] = folder  # where it writes which cluster is the current one; it does not make the folder
    (Path(folder) / "ray").mkdir()
    from ray.cluster_utils import Cluster

    common = {"include_dashboard": False, "object_store_memory": STORE_BYTES, "temp_dir": folder}
    cluster = Cluster()
    cluster.add_node(num_cpus=cpus, _system_config=HEAD, **common)
    print(cluster.address, file=out, flush=True)
    nodes = {}
    for line in sys.stdin:
        verb, name, *rest = line.split()
        if verb == "add":
            nodes[name] = cluster.add_node(num_cpus=int(rest[0]), **common)
        else:
            cluster.remove_node(nodes.pop(name), allow_graceful=False)
        print("done", file=out, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
