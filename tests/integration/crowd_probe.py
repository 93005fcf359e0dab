"""Times two requests in turn, in a process of its own: `crowd_probe.py URL JOB_ID`.

The first is a job's status, the second the control: GET /healthz, a route of the same server that does nothing. It says
`ready` once it has begun, stops when its input ends, and then prints the seconds of each as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

PAUSE_S = 0.02


def timed(connection: HTTPConnection, path: str) -> float:
    """Seconds until the whole answer is here, which must be a 200."""
    begun = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    took_s = time.perf_counter() - begun
    assert answer.status == 200, answer.status
    return took_s


def main(url: str, job_id: str) -> None:
    """Probe until the input ends."""
    place, is_over = urlsplit(url), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    connection = HTTPConnection(place.hostname or "", place.port, timeout=60)
    paths = {"status": f"/v1/jobs/{job_id}", "control": "/healthz"}
    took: dict[str, list[float]] = {name: [] for name in paths}
    print("ready", flush=True)
    while not is_over.is_set():
        for name, path in paths.items():
            took[name].append(timed(connection, path))
            time.sleep(PAUSE_S)
    print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
