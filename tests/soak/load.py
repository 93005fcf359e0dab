"""Jobs submitted all the while, of all lengths, so that whatever is killed had some under way."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..integration.service import FINAL, Service

IN_FLIGHT = 12


@dataclass
class Load:
    """About `IN_FLIGHT` jobs of `steps` steps (from, to) at any moment; what goes wrong is raised at the end."""

    service: Service
    inputs: Mapping[str, Any]
    steps: tuple[int, int]
    ids: list[str] = field(default_factory=list)
    ended: int = 0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._keep_going)

    def _keep_going(self) -> None:
        try:
            self._run()
        except BaseException as error:  # else the run would pass on the jobs that there were until then
            self._fault = error

    def _run(self) -> None:
        looked_at: deque[str] = deque()
        while not self._stopping.wait(0.05):
            if len(looked_at) < IN_FLIGHT:
                self.ids.append(self._submit(len(self.ids)))
                looked_at.append(self.ids[-1])
            elif self.service.job(looked_at[0])["state"] in FINAL:
                looked_at.popleft()
                self.ended += 1
            else:
                looked_at.rotate(-1)

    def _submit(self, number: int) -> str:
        steps = random.Random(number).randint(*self.steps)
        return self.service.submit(f"key-{number}", **{**self.inputs, "num_inference_steps": steps, "seed": number})

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault
