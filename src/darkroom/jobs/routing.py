"""Who a young job is left to: for `hold_s`, to live workers that have its model in memory, and its adapters.

Delay scheduling (Zaharia et al., EuroSys 2010): a moment's wait for a worker that has what a job needs is shorter than
bringing it to another. The time is counted from when the job was queued, so nothing is held for longer, whoever dies.
What is urgent, of a class above normal or due within `CLOSE_S`, is left to nobody. Which jobs are young enough says
`line` in sql/verbs.sql, and who is better placed this file; Redis keeps the same rules in lua/claim.lua.
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
    return dump({model: list(adapters.get(model, ())) for model in ready if model in report.models})


class Others:
    """What a claimant has, and what other live workers have; `look` gives rows of worker and holds, asked at most once.

    `own` is by the claimant's last report: which adapters it has, no claimant says.
    """

    def __init__(self, claimant: Claimant, look: Callable[[], Iterable[Row]]) -> None:
        self._worker, self._look = claimant.worker, look
        self._known: tuple[Holds, list[Holds]] | None = None

    def may_have(self, head: Row) -> bool:
        """Whether a claimant that has the model may have that queued job now: nobody else has its adapters too."""
        if not head["is_young"] or not head["adapters"]:
            return True
        model, needs = head["model"], frozenset(head["adapters"].split(","))
        own, others = self._holds()
        return needs <= own.get(model, frozenset()) or not any(needs <= one[model] for one in others if model in one)

    def have(self, model: str) -> bool:
        """Whether another has the model: then young jobs of it are left to others by a claimant that has it not."""
        return any(model in one for one in self._holds()[1])

    def _holds(self) -> tuple[Holds, list[Holds]]:
        if self._known is None:
            holds = {row["id"]: _read(row["holds"]) for row in self._look()}
            self._known = holds.pop(self._worker, {}), list(holds.values())
        return self._known


def _read(text: str) -> Holds:
    return {model: frozenset(adapters) for model, adapters in json.loads(text).items()}
