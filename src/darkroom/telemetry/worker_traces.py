"""The spans of an attempt, from what a worker tells of it: its stages, and below them the engine's part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatchmethod

from opentelemetry.trace import Span

from ..worker.events import AttemptBegan, AttemptEnded, BatchRan, ImageEnded, StageBegan
from .traces import Tracing, fail

WENT_WRONG = frozenset({"failed", "retried", "lost", "abandoned"})


@dataclass
class Open:
    """An attempt under way: its span, and its present stage's; `rows` and `batches` as they stood when that began."""

    span: Span
    stage: Span | None = None
    rows: int = 0
    batches: int = 0


class AttemptTraces:
    """A listener; makes a span of each attempt, below the request that made its job."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._open: dict[tuple[str, int], Open] = {}
        self._rows = self._batches = 0  # of the denoiser, since the start

    @singledispatchmethod
    def hear(self, event: object) -> None:
        """Draw it; what has no span is passed over."""

    @hear.register
    def _(self, event: AttemptBegan) -> None:
        said: dict[str, str | int | float] = {
            "darkroom.job.id": event.job_id,
            "darkroom.request.id": event.request_id,
            "darkroom.model": event.model,
            "darkroom.attempt": event.attempt,
            "darkroom.steps": event.steps,
        }
        self._open[event.job_id, event.attempt] = Open(self._tracing.begin("attempt", event.traceparent, said))

    @hear.register
    def _(self, event: StageBegan) -> None:
        known = self._open.get((event.job_id, event.attempt))
        if known is not None:
            self._end_stage(known)
            known.stage = self._tracing.begin(event.stage, known.span, {})
            known.rows, known.batches = self._rows, self._batches

    @hear.register
    def _(self, event: ImageEnded) -> None:
        known = self._open.get((event.job_id, event.attempt))
        if known is not None and known.stage is not None:
            self._draw_engine(known.stage, event)

    @hear.register
    def _(self, event: BatchRan) -> None:
        if event.kind == "denoise":
            self._rows, self._batches = self._rows + event.rows, self._batches + 1

    @hear.register
    def _(self, event: AttemptEnded) -> None:
        known = self._open.pop((event.job_id, event.attempt), None)
        if known is None:
            return
        for each in (known.stage, known.span):
            if each is not None and event.status in WENT_WRONG:
                fail(each, event.code or event.status)
        self._end_stage(known)
        known.span.set_attributes({"darkroom.status": event.status, "darkroom.steps.done": event.steps})
        known.span.set_attributes({f"darkroom.{name}": value for name, value in event.metrics.items()})
        known.span.end()

    def _end_stage(self, known: Open) -> None:
        """The rows of a batch are those of the worker's meanwhile: the attempt was in most of them."""
        if known.stage is None:
            return
        batches = self._batches - known.batches
        if batches:
            known.stage.set_attribute("darkroom.rows_per_batch", (self._rows - known.rows) / batches)
        known.stage.end()
        known.stage = None

    def _draw_engine(self, parent: Span, event: ImageEnded) -> None:
        """Encoding comes first and decoding last; between them lie the steps, each with whoever shared its batch."""
        started_at, ended_at = event.started_at or event.ended_at, event.ended_at
        encoded_at = min(started_at + event.metrics["encode_s"], ended_at)
        decoding_at = max(ended_at - event.metrics["decode_s"], encoded_at)
        parts = (
            ("engine.queued", event.queued_at, started_at, event.metrics["queued_s"]),
            ("engine.encode", started_at, encoded_at, event.metrics["encode_s"]),
            ("engine.denoise", encoded_at, decoding_at, event.metrics["denoise_s"]),
            ("engine.decode", decoding_at, ended_at, event.metrics["decode_s"]),
        )
        for name, began_at, until, seconds in parts:
            said = {"darkroom.image": event.number, "darkroom.seconds": seconds}
            self._tracing.between(name, parent, began_at, until, said)
