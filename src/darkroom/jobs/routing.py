"""Who a young job is left to: for `hold_s`, to live workers that have its model in memory, and its adapters.

Delay scheduling (Zaharia et al., EuroSys 2010): a moment's wait for a worker that has what a job needs is shorter than
bringing it to another. The time is counted from when the job was queued, so nothing is held for longer, whoever dies.
What is urgent, of a class above normal, is left to nobody. Redis keeps the same rule in lua/claim.lua.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..core import NewJob, WorkerReport
from .rows import Row, dump
from .store import Claimant

MARK_LENGTH = 16  # hex digits of a file's SHA-256: enough to know it by, and reports stay short

Holds = Mapping[str, frozenset[str]]  # by model in memory, the marks of its adapters there


def mark_of(digest: str) -> str:
    """What an adapter is called in reports and on jobs, by the SHA-256 of its file in hex digits."""
    return digest[:MARK_LENGTH]


def needs_of(job: NewJob) -> str:
    """The marks of its adapters, in order and joined by commas."""
    digests: Any = job.input.get("adapter_digests") or {}
    return ",".join(sorted({mark_of(digest) for digest in digests.values()}))


def dump_holds(report: WorkerReport) -> str:
    """What a worker has in memory for jobs that it would take, as JSON: adapters by model; none unless it is ready."""
    adapters = report.facts.get("adapters") or {}
    ready = report.loaded if report.state == "ready" else ()
    return dump({model: list(adapters.get(model, ())) for model in ready})


class Others:
    """What a claimant has, and what other live workers have; `look` gives rows of worker and holds, asked at most once.

    `own` is by the claimant's last report: which adapters it has, no claimant says.
    """

    def __init__(self, claimant: Claimant, now: float, hold_s: float, look: Callable[[], Iterable[Row]]) -> None:
        self._claimant, self._now, self._hold_s, self._look = claimant, now, hold_s, look
        self._known: tuple[Holds, list[Holds]] | None = None

    def may_have(self, head: Row) -> bool:
        """Whether the claimant may have that queued job now: it is left to nobody who is better placed."""
        if head["level"] > 0 or not self._is_young(head["queued_at"]):
            return True
        model, needs = head["model"], frozenset(filter(None, head["adapters"].split(",")))
        is_loaded = model in self._claimant.loaded
        if is_loaded and not needs:
            return True
        own, others = self._holds()
        if is_loaded:
            has_all = needs <= own.get(model, frozenset())
            return has_all or not any(needs <= one[model] for one in others if model in one)
        return not any(model in one for one in others)

    def held_s(self, model: str) -> float:
        """For how long jobs of a model that the claimant has not are left to others: 0 where nobody has it."""
        return self._hold_s if any(model in one for one in self._holds()[1]) else 0.0

    def _is_young(self, queued_at: float) -> bool:
        """Whether it may be held; a time far ahead was written by a clock that has since gone back."""
        return abs(self._now - queued_at) < self._hold_s

    def _holds(self) -> tuple[Holds, list[Holds]]:
        if self._known is None:
            holds = {row["id"]: _read(row["holds"]) for row in self._look()}
            self._known = holds.pop(self._claimant.worker, {}), list(holds.values())
        return self._known


def _read(text: str) -> Holds:
    return {model: frozenset(adapters) for model, adapters in json.loads(text).items()}
