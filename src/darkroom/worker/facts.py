"""What a worker says of itself: which device, how busy, what is loaded, what a step takes."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import torch

from .. import __version__
from ..config import Settings
from ..core import WorkerReport
from ..engine.engine import Engine
from ..models.device import Placement, device_id
from ..models.footprint import host_bytes
from ..models.residency import Residency
from ..models.tasks import model_of
from .adapting import held_adapters
from .events import BatchRan
from .timesheet import Timesheet

WINDOW_S = 1.0  # the least time over which a busy share is measured


def new_worker_id() -> str:
    """Unlike any other's, and telling where it runs."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def pool_facts(settings: Settings) -> dict[str, Any]:
    """What an hour of it costs (US dollars), and of which pool it is; whether of spot machines, if the settings say."""
    facts: dict[str, Any] = {"price_per_hour_usd": settings.serve.price_per_hour_usd}
    if settings.pool is not None:
        facts["pool"] = settings.pool
        known = settings.fleet.pools.get(settings.pool) if settings.fleet else None
        facts |= {} if known is None else {"is_spot": known.is_spot}
    return facts


class Facts:
    """Makes the reports of one worker."""

    def __init__(
        self,
        worker_id: str,
        models: tuple[str, ...],
        engine: Engine,
        residency: Residency,
        placement: Placement,
        timesheet: Timesheet,
        settings: Settings,
    ) -> None:
        self._id, self._models = worker_id, models
        self._engine, self._residency, self._placement = engine, residency, placement
        self._timesheet = timesheet
        self._fixed: dict[str, Any] = {
            "device": placement.kind,
            "device_name": placement.name,
            "dtype": placement.dtype,
            "threads": torch.get_num_threads(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "version": __version__,
            "torch": torch.__version__,
            **pool_facts(settings),
        }
        if (gpu_id := device_id(placement.kind)) is not None:
            self._fixed["gpu_id"] = gpu_id
        if settings.serve.worker_metrics:
            self._fixed["metrics_url"] = f"http://{settings.serve.worker_metrics}/metrics"
        self._batches: Counter[int] = Counter()
        self._since, self._busy_s, self._share = time.monotonic(), 0.0, 0.0

    def learn(self, event: BatchRan) -> None:
        """Count a denoiser's batch by its rows; the gateway makes a histogram of all workers' counts."""
        if event.kind == "denoise":
            self._batches[event.rows] += 1

    def report(self, state: str, in_flight: int, ticks: Sequence[Mapping[str, Any]] = ()) -> WorkerReport:
        """As it is now; `facts` have `rows`, `rest_s`, `adapters` by model beside the device's, and the latest `ticks`.

        `resting` models lie in host memory; `activation_s` are the seconds that models took to come, by from where.

        `ahead_s` are the device seconds predicted for what it has in flight.
        """
        paces, now = self._paces(), time.time()
        place = {"device": self._placement.name, "pool": self._fixed.get("pool", "")}
        facts = {
            **self._fixed,
            "memory": self._memory(),
            "busy_share": self._busy_share(),
            "ahead_s": round(self._engine.predict_seconds(), 3),
            "batches": {str(rows): count for rows, count in dict(self._batches).items()},
            "rows": {model: pace["rows"] for model, pace in paces.items()},
            "rest_s": {model: pace["rest_s"] for model, pace in paces.items()},
            "adapters": held_adapters(self._engine),
            "activation_s": _rounded(self._residency.activations),
            "resting": list(self._residency.resting),
            "times": [{**day, **place} for day in self._timesheet.days(now)],
            **({"ticks": list(ticks)} if ticks else {}),
        }
        return WorkerReport(
            id=self._id,
            state=state,
            at=now,
            models=self._models,
            loaded=self._residency.loaded,
            in_flight=in_flight,
            step_seconds={model: pace["step_s"] for model, pace in paces.items()},
            facts=facts,
        )

    def _paces(self) -> dict[str, dict[str, float]]:
        """By model: of its tasks and solvers the slowest stands for all."""
        paces: dict[str, dict[str, float]] = {}
        for served, pace in self._engine.step_seconds().items():
            known = paces.setdefault(model_of(served), pace)
            if pace["step_s"] > known["step_s"]:
                paces[model_of(served)] = pace
        return paces

    def _memory(self) -> dict[str, int]:
        """Bytes of the memory that models lie in."""
        if self._placement.kind == "cuda":
            free, total = torch.cuda.mem_get_info()
            used = total - free
        else:
            used, total = int(psutil.Process().memory_info().rss), host_bytes()
        models, budget = self._residency.held_bytes, self._residency.budget_bytes
        return {"used_bytes": used, "total_bytes": total, "models_bytes": models, "models_budget_bytes": budget}

    def _busy_share(self) -> float:
        """Of the time since the report before: how much of it the engine worked."""
        now, busy_s = time.monotonic(), float(self._engine.stats()["busy_s"])
        if now - self._since >= WINDOW_S:
            self._share = min(1.0, (busy_s - self._busy_s) / (now - self._since))
            self._since, self._busy_s = now, busy_s
        return self._share


def _rounded(activations: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {source: round(s, 3) for source, s in seconds.items()} for name, seconds in activations.items()}
