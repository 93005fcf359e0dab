"""`darkroom.AsyncClient`: the conversation for programs on asyncio's event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self, Unpack

from .asking import asking_of
from .hands import AsyncHands
from .nouns import Adapter, Job, JobEvent, JobPage, Model, Output, Worker
from .talk import Talk
from .wish import LoraFile, Picture, Wish


class AsyncClient:
    """A running service, from asyncio; `darkroom.Client` with `await`. Close it, or use it as a context manager.

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
        self._hands = AsyncHands()
        self._talk = Talk(asking_of(url, api_key, self._hands, timeout_s, retries))

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._talk.asking.url

    async def submit(self, prompt: str, **wish: Unpack[Wish]) -> Job:
        """Hand in a job; it is durable when this returns. Pictures that are no str are uploaded first."""
        return await self._talk.submit(prompt, wish)

    async def wait(
        self,
        job: Job | str,
        timeout_s: float | None = None,
        on_progress: Callable[[JobEvent], Awaitable[None] | None] | None = None,
    ) -> Job:
        """The job as it ended, however. `on_progress` is called with each `progress` event: {step, steps, progress}.

        Raises TimeoutError after `timeout_s`; the job goes on.
        """
        return await self._talk.wait(job, timeout_s, on_progress)

    async def generate(
        self,
        prompt: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[JobEvent], Awaitable[None] | None] | None = None,
        **wish: Unpack[Wish],
    ) -> list[bytes]:
        """Submit, wait, download: each image's file. Raises what ended the job.

        Raises TimeoutError where that is not all done after `timeout_s`; a job that was handed in goes on.
        """
        return await self._talk.generate(prompt, timeout_s, on_progress, wish)

    async def get(self, job: Job | str) -> Job:
        """One job as it is now."""
        return await self._talk.get(job)

    def jobs(
        self,
        *,
        state: str | None = None,
        model: str | None = None,
        since: str | None = None,
        tenant: str | None = None,
    ) -> AsyncGenerator[Job]:
        """Jobs, newest first, page after page; `since` is RFC 3339, `tenant` for operators."""
        return self._talk.jobs({"state": state, "model": model, "since": since, "tenant": tenant})

    async def page(self, cursor: str | None = None, *, limit: int | None = None, **filters: str | None) -> JobPage:
        """One page of `jobs`, with its filters; `limit` is 1 to 200."""
        return await self._talk.page({"cursor": cursor, "limit": limit, **filters})

    async def cancel(self, job: Job | str) -> Job:
        """Ask for a job's end: at once where it waits, within a step where it runs."""
        return await self._talk.cancel(job)

    async def delete(self, job: Job | str) -> None:
        """Remove a job and its pictures; a live one is cancelled first. Raises `JobNotFinal` where it does not stop."""
        await self._talk.delete(job)

    async def set_priority(self, job: Job | str, priority: int) -> Job:
        """Change the priority, -100 to 100, of a job that has not started."""
        return await self._talk.set_priority(job, priority)

    def events(self, job: Job | str, after: int = 0) -> AsyncGenerator[JobEvent]:
        """What happened to a job behind `after`, and what happens, to the end. A broken connection is made again, and
        the stream goes on where it was: no event is missed and none comes twice."""
        return self._talk.events(job, after)

    async def upload(self, picture: Picture | str) -> str:
        """Store a picture (a path, bytes, or a PIL image); its artifact id can stand for it in a job's input."""
        return await self._talk.upload(picture)

    async def download(self, output: Output | str, to: str | PathLike[str] | None = None) -> bytes:
        """The bytes of a job's output or of an artifact's id; written to the file `to`, too, whole or not at all."""
        return await self._talk.download(output, to)

    async def models(self) -> tuple[Model, ...]:
        """What is served."""
        return await self._talk.models()

    async def model(self, model_id: str) -> Model:
        """One model in full."""
        return await self._talk.model(model_id)

    async def adapters(self) -> tuple[Adapter, ...]:
        """The LoRAs that jobs can name."""
        return await self._talk.adapters()

    async def add_adapter(self, name: str, file: LoraFile, *, model: str | None = None) -> Adapter:
        """Register a LoRA's safetensors file (a path, or its bytes) for all gateways and workers; for operators.

        `model` may be left out where one is served. Raises `Conflict` where the name is another file's.
        """
        return await self._talk.add_adapter(name, file, model)

    async def remove_adapter(self, adapter: Adapter | str) -> None:
        """Forget a registered adapter; jobs that wait for it fail. For operators."""
        await self._talk.remove_adapter(adapter)

    async def workers(self) -> tuple[Worker, ...]:
        """The workers heard of lately; for operators."""
        return await self._talk.workers()

    async def drain(self, worker: Worker | str) -> None:
        """Ask a worker to take no more jobs, finish what it can, and end; for operators."""
        await self._talk.drain(worker)

    async def fleet(self, window_s: int = 3600) -> Mapping[str, Any]:
        """Queue, throughput, latency and failures of so many seconds, as `GET /v1/fleet` says them; for operators."""
        return await self._talk.fleet(window_s)

    async def cost(self, days: int = 7, by: str = "pool") -> Mapping[str, Any]:
        """What workers were paid for (`GET /v1/fleet/cost`); `by` tenant, model, pool or day; for operators."""
        return await self._talk.cost(days, by)

    async def aclose(self) -> None:
        """Let the connections go."""
        await self._hands.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
