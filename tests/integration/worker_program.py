"""A worker as a process: `worker_program.py CONFIG WORKER_ID [POISON_JOB_ID]`.

With a poison id the process kills itself, as a fault in a driver would, in the middle of a forward while that job is in
flight. The worker knows nothing of it: it is a listener that does it.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

from darkroom.config import load
from darkroom.worker.events import AttemptBegan, BatchRan, WorkerEvent
from darkroom.worker.main import worker_main


class Poison:
    """Kills the process at the first batch of a denoiser after the job began."""

    def __init__(self, job_id: str) -> None:
        self.job_id, self.has_begun = job_id, False

    def __call__(self, event: WorkerEvent) -> None:
        if isinstance(event, AttemptBegan) and event.job_id == self.job_id:
            self.has_begun = True
        if isinstance(event, BatchRan) and event.kind == "denoise" and self.has_begun:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    config, worker_id, *poison = sys.argv[1:]
    sys.exit(worker_main(load(Path(config)), worker_id, listeners=[Poison(job_id) for job_id in poison]))
