"""The process that talks to Ray, for a driver that must not hang and must not end with the cluster.

Ray's library waits for minutes for a cluster that does not answer, takes over signals, and ends its process when its
node is gone. So it has a process of its own, which the driver ends and starts again as it likes.

    driver --a line of JSON: verb, what it needs--> this process ──▶ Ray
           <--a line of JSON: answer or fault------

`python -m darkroom.fleet.drivers.ray_side FD ADDRESS NAMESPACE`; it ends when the driver's end of the socket closes.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.util import list_named_actors

from .ray_actor import RayWorker

ANSWER_S = 2.0  # an actor that says nothing for so long has no place yet, or lost it
THREADS = 4  # of an actor: its few verbs never wait for one another


class Side:
    """The verbs; each answers with what JSON can say."""

    def members(self) -> dict[str, bool]:
        """Names of the actors that are not gone, also of those without a place yet, and whether each is leaving."""
        handles = _handles(list_named_actors())
        asked = {name: handle.is_leaving.remote() for name, handle in handles.items()}
        _wait_for(asked.values())
        answers = {name: _said(ref) for name, ref in asked.items()}
        return {name: answer is True for name, answer in answers.items() if answer is not _Gone}

    def start(self, name: str, resources: Mapping[str, float], worker: Mapping[str, Any]) -> None:
        """An actor that outlives whoever asks for it; it waits for a node with those resources.

        `worker` are the arguments of `RayWorker`.
        """
        own = {key: amount for key, amount in resources.items() if key not in ("CPU", "GPU")}
        ray.remote(RayWorker).options(
            name=name,
            lifetime="detached",
            max_restarts=0,
            max_concurrency=THREADS,
            num_cpus=resources.get("CPU", 0),
            num_gpus=resources.get("GPU", 0),
            resources=own,
        ).remote(**worker)

    def drain(self, names: Sequence[str]) -> None:
        """Ask the workers to; who does not answer goes at once, and a worker that ran all the same drains then."""
        handles = _handles(names)
        asked = {name: handle.drain.remote() for name, handle in handles.items()}
        _wait_for(asked.values())
        for name, ref in asked.items():
            if _said(ref) is _Silent:
                ray.kill(handles[name])


class _Gone:
    """What the dead say."""


class _Silent:
    """What those say that do not answer."""


def _handles(names: Iterable[str]) -> dict[str, Any]:
    handles = {}
    for name in names:
        try:
            handles[name] = ray.get_actor(name)
        except ValueError:  # it ended between two looks
            continue
    return handles


def _wait_for(refs: Iterable[Any]) -> None:
    if waiting := list(refs):
        ray.wait(waiting, num_returns=len(waiting), timeout=ANSWER_S)


def _said(ref: Any) -> Any:
    try:
        return ray.get(ref, timeout=0)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
        return _Silent
    except ray.exceptions.RayActorError:
        return _Gone


def converse(side: Side, peer: socket.socket) -> None:
    """Answer until the driver is gone."""
    with peer, peer.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            asked = json.loads(line)
            try:
                answer = {"answer": getattr(side, asked.pop("verb"))(**asked)}
            except (ray.exceptions.RayError, RuntimeError, ValueError, ConnectionError) as error:
                answer = {"fault": _in_one_line(error)}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


def _in_one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def main(fd: int, address: str, namespace: str) -> None:
    """Join the cluster, say so or why not, and converse."""
    peer = socket.socket(fileno=fd)
    try:
        ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    except (ray.exceptions.RayError, RuntimeError, ValueError, ConnectionError) as error:
        peer.sendall(json.dumps({"fault": _in_one_line(error)}).encode() + b"\n")
        return
    peer.sendall(json.dumps({"answer": None}).encode() + b"\n")
    converse(Side(), peer)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
