"""Ray Serve with `@serve.batch`: https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Ray reads the first as it is imported. Without it, and whatever `_node_ip_address` says, it listens on every address,
# and runs anybody's code; without the other it tells its makers of each run.
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import ray
from drawing import Asked, Model, read, settings
from ray import serve
from starlette.requests import Request

said = settings()
# Replicas begin with neither our folder nor the environment that Ray sets to one thread an actor.
AROUND = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}}


# By default five requests at a time would reach a replica: too few for a batch, as that page says.
@serve.deployment(
    max_ongoing_requests=1000,
    num_replicas=said.instances,
    # What Ray reckons with, not what torch takes: all replicas must fit into the CPUs that it was begun with.
    ray_actor_options={"num_cpus": said.threads / said.instances, "runtime_env": AROUND},
    health_check_timeout_s=120,
)
class Landscapes:
    """A replica."""

    def __init__(self) -> None:
        self._model = Model(said.model, said.threads)

    @serve.batch(max_batch_size=said.most, batch_wait_timeout_s=said.window_s)
    async def draw(self, batch: Sequence[Asked]) -> list[str]:
        return await asyncio.to_thread(self._model.draw, batch)

    async def __call__(self, request: Request) -> Any:
        return {"image": await self.draw(read(await request.json()))}


def main() -> None:
    """Serve until ended."""
    ended = threading.Event()
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # its sockets need a short path
        ray.init(num_cpus=said.threads, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        serve.start(http_options={"host": "127.0.0.1", "port": said.port})
        serve.run(Landscapes.bind(), route_prefix="/predict")
        signal.signal(signal.SIGTERM, lambda *_: ended.set())  # Ray has set its own, which ends at once
        ended.wait()
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
