"""`darkroom.Client`: the conversation for programs that wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from ..errors import InvariantBroken
from .asking import asking_of
from .hands import BlockingHands
from .nouns import Adapter, Job, JobEvent, JobPage, Model, Output, Worker
from .talk import Talk
from .wish import LoraFile, Picture, Wish

T = TypeVar("T")


class Client:
    """A running service, from Python. Many threads may share one; close it, or use it as a context manager.

    `url` and `api_key` None: what DARKROOM_URL and DARKROOM_API_KEY say. `timeout_s` bounds connecting and each silence
    of an answer. A request that got no answer, 429, 502, 503 or 504 is sent again up to `retries` times, with a pause
    that grows from 0.25 to 8 s or is what the service asks for, up to a minute; no job is submitted twice by that.
    Where the service is too busy, and before a pause of a second or more, the logger `darkroom.client` warns why and
    for how long; where a program sets up no logging, Python writes that to stderr.

    Every method raises the class of `darkroom.errors` that has the service's code, with `message`, `field` and
    `request_id`; `Unavailable` where nobody answers; `BadInput` or `InvalidConfig` for arguments that cannot be sent.
    """

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, timeout_s: float = 30.0, retries: int = 5
    ) -> None:
        self._hands = BlockingHands()
        self._talk = Talk(asking_of(url, api_key, self._hands, timeout_s, retries))

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._talk.asking.url

    def submit(self, prompt: str, **wish: Unpack[Wish]) -> Job:
        """Hand in a job; it is durable when this returns. Pictures that are no str are uploaded first."""
        return _now(self._talk.submit(prompt, wish))

    def wait(
        self,
        job: Job | str,
        timeout_s: float | None = None,
        on_progress: Callable[[JobEvent], None] | None = None,
    ) -> Job:
        """The job as it ended, however. `on_progress` is called with each `progress` event: {step, steps, progress}.

        Raises TimeoutError after `timeout_s`; the job goes on.
        """
        return _now(self._talk.wait(job, timeout_s, on_progress))

    def generate(
        self,
        prompt: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[JobEvent], None] | None = None,
        **wish: Unpack[Wish],
    ) -> list[bytes]:
        """Submit, wait, download: each image's file. Raises what ended the job.

        Raises TimeoutError where that is not all done after `timeout_s`; a job that was handed in goes on.
        """
        return _now(self._talk.generate(prompt, timeout_s, on_progress, wish))

    def get(self, job: Job | str) -> Job:
        """One job as it is now."""
        return _now(self._talk.get(job))

    def jobs(
        self,
        *,
        state: str | None = None,
        model: str | None = None,
        since: str | None = None,
        tenant: str | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, page after page; `since` is RFC 3339, `tenant` for operators."""
        return _each(self._talk.jobs({"state": state, "model": model, "since": since, "tenant": tenant}))

    def page(self, cursor: str | None = None, *, limit: int | None = None, **filters: str | None) -> JobPage:
        """One page of `jobs`, with its filters; `limit` is 1 to 200."""
        return _now(self._talk.page({"cursor": cursor, "limit": limit, **filters}))

    def cancel(self, job: Job | str) -> Job:
        """Ask for a job's end: at once where it waits, within a step where it runs."""
        return _now(self._talk.cancel(job))

    def delete(self, job: Job | str) -> None:
        """Remove a job and its pictures; a live one is cancelled first. Raises `JobNotFinal` where it does not stop."""
        _now(self._talk.delete(job))

    def set_priority(self, job: Job | str, priority: int) -> Job:
        """Change the priority, -100 to 100, of a job that has not started."""
        return _now(self._talk.set_priority(job, priority))

    def events(self, job: Job | str, after: int = 0) -> Iterator[JobEvent]:
        """What happened to a job behind `after`, and what happens, to the end. A broken connection is made again, and
        the stream goes on where it was: no event is missed and none comes twice."""
        return _each(self._talk.events(job, after))

    def upload(self, picture: Picture | str) -> str:
        """Store a picture (a path, bytes, or a PIL image); its artifact id can stand for it in a job's input."""
        return _now(self._talk.upload(picture))

    def download(self, output: Output | str, to: str | PathLike[str] | None = None) -> bytes:
        """The bytes of a job's output or of an artifact's id; written to the file `to`, too, whole or not at all."""
        return _now(self._talk.download(output, to))

    def models(self) -> tuple[Model, ...]:
        """What is served."""
        return _now(self._talk.models())

    def model(self, model_id: str) -> Model:
        """One model in full."""
        return _now(self._talk.model(model_id))

    def adapters(self) -> tuple[Adapter, ...]:
        """The LoRAs that jobs can name."""
        return _now(self._talk.adapters())

    def add_adapter(self, name: str, file: LoraFile, *, model: str | None = None) -> Adapter:
        """Register a LoRA's safetensors file (a path, or its bytes) for all gateways and workers; for operators.

        `model` may be left out where one is served. Raises `Conflict` where the name is another file's.
        """
        return _now(self._talk.add_adapter(name, file, model))

    def remove_adapter(self, adapter: Adapter | str) -> None:
        """Forget a registered adapter; jobs that wait for it fail. For operators."""
        _now(self._talk.remove_adapter(adapter))

    def workers(self) -> tuple[Worker, ...]:
        """The workers heard of lately; for operators."""
        return _now(self._talk.workers())

    def drain(self, worker: Worker | str) -> None:
        """Ask a worker to take no more jobs, finish what it can, and end; for operators."""
        _now(self._talk.drain(worker))

    def fleet(self, window_s: int = 3600) -> Mapping[str, Any]:
        """Queue, throughput, latency and failures of so many seconds, as `GET /v1/fleet` says them; for operators."""
        return _now(self._talk.fleet(window_s))

    def cost(self, days: int = 7, by: str = "pool") -> Mapping[str, Any]:
        """What workers were paid for (`GET /v1/fleet/cost`); `by` tenant, model, pool or day; for operators."""
        return _now(self._talk.cost(days, by))

    def close(self) -> None:
        """Let the connections go."""
        self._hands.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _now(talk: Awaitable[T]) -> T:
    """What a conversation comes to. Its hands block and never suspend, so its first step is its last."""
    try:
        next(talk.__await__())
    except StopIteration as end:
        value: T = end.value
        return value
    raise InvariantBroken("a blocking conversation waited for an event loop")


def _each(talk: AsyncGenerator[T]) -> Iterator[T]:
    try:
        while True:
            try:
                found = _now(anext(talk))
            except StopAsyncIteration:
                return
            yield found
    finally:
        _now(talk.aclose())
