"""The conversation with the service: what to ask, what an answer means, when to ask again. Written once for both faces.

It is async code over `Hands`, which do the sending. An asynchronous face's hands wait on the event loop; a synchronous
face's hands block instead and never suspend, so that such a conversation runs through at once (blocking.py).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from .. import errors
from ..storage.files import check_writable, write_whole
from .asking import Asking, Postponed, job_part, part
from .nouns import Adapter, Job, JobEvent, JobPage, Model, Output, Worker
from .retries import Until
from .sse import EventReader
from .wire import Request
from .wish import LoraFile, Picture, bytes_of, file_bytes, order_of

PAGE = 100
REMOVE_TRIES = 12  # each waits at the service for the worker to stop

Listener = Callable[[JobEvent], Awaitable[None] | None]


class Talk:
    """Every method of the two faces, as they both mean it."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking

    async def submit(self, prompt: str, wish: Mapping[str, Any]) -> Job:
        """Upload what must be, and hand the job in under its key."""
        order = order_of(prompt, wish)
        ids = {name: await self.upload(picture, name) for name, picture in order.pictures.items()}
        body, headers = order.with_uploads(ids), order.headers
        return Job.read(await self.asking.json("POST", "/jobs", body=body, headers=headers))

    async def generate(
        self, prompt: str, timeout_s: float | None, on_progress: Listener | None, wish: Mapping[str, Any]
    ) -> list[bytes]:
        """Submit, wait, download, all of it in that time."""
        bounded = self.within(timeout_s)
        job = await bounded.ended(await bounded.submit(prompt, wish), on_progress)
        job.raise_for_state()
        return [await bounded.download(output, None) for output in job.outputs]

    def within(self, timeout_s: float | None) -> Talk:
        """The same conversation, for so long from now; it raises TimeoutError then."""
        return Talk(replace(self.asking, end=Until.after(timeout_s)))

    async def wait(self, job: Job | str, timeout_s: float | None, on_progress: Listener | None) -> Job:
        """The job as it ended; raises TimeoutError, which leaves it running."""
        return await self.within(timeout_s).ended(job, on_progress)

    async def ended(self, job: Job | str, on_progress: Listener | None) -> Job:
        """The job, once it has ended."""
        job_id = id_of(job)
        async with aclosing(self.events(job_id, 0)) as events:
            async for event in events:
                if event.type == "progress" and on_progress is not None:
                    await self.asking.hands.tell(on_progress, event)
        return await self.get(job_id)

    async def get(self, job: Job | str) -> Job:
        """One job as it is now."""
        return Job.read(await self.asking.json("GET", f"/jobs/{job_part(id_of(job))}"))

    async def page(self, wanted: Mapping[str, Any]) -> JobPage:
        """One page of the list."""
        params = {name: value for name, value in wanted.items() if value is not None}
        return JobPage.read(await self.asking.json("GET", "/jobs", params=params))

    async def jobs(self, wanted: Mapping[str, Any]) -> AsyncGenerator[Job]:
        """All pages, each asked for when it is come to."""
        cursor: str | None = None
        while True:
            page = await self.page({"limit": PAGE, **wanted, "cursor": cursor})
            for job in page.jobs:
                yield job
            cursor = page.next_cursor
            if cursor is None:
                return

    async def cancel(self, job: Job | str) -> Job:
        """Ask for its end."""
        return Job.read(await self.asking.json("POST", f"/jobs/{job_part(id_of(job))}/cancel"))

    async def delete(self, job: Job | str) -> None:
        """Remove it; a live one is cancelled, and asked for until its worker has stopped."""
        request, was_there = self.asking.request("DELETE", f"/jobs/{job_part(id_of(job))}"), False
        for _ in range(REMOVE_TRIES):
            answer = await self.asking.remove(request, was_there)
            if answer is None or answer.status != 202:
                return
            was_there = True
            await self.asking.hands.sleep(1.0)
        raise errors.JobNotFinal(f"job {id_of(job)} is cancelled, and its worker has not stopped yet; delete it later")

    async def set_priority(self, job: Job | str, priority: int) -> Job:
        """Change the priority of a job that has not started."""
        return Job.read(await self.asking.json("PATCH", f"/jobs/{job_part(id_of(job))}", body={"priority": priority}))

    async def upload(self, picture: Picture | str, field: str = "image") -> str:
        """Store a picture; its artifact id. `field`: which one is to blame where it cannot be read."""
        source = Path(picture) if isinstance(picture, str) else picture
        content = await self.asking.hands.work(lambda: bytes_of(source, field))
        said = await self.asking.json("POST", "/uploads", content=content)
        return str(said["artifact_id"])

    async def download(self, output: Output | str, to: str | PathLike[str] | None) -> bytes:
        """The bytes of an artifact; also written to a file, whole or not at all."""
        path = None if to is None else Path(to)
        if path is not None:
            check_writable(path)
        content = await self._content_of(output)
        if path is not None:
            await self.asking.hands.work(lambda: write_whole(path, content))
        return content

    async def models(self) -> tuple[Model, ...]:
        """What can be asked for."""
        said = await self.asking.json("GET", "/models")
        return tuple(Model.read(model) for model in said["data"])

    async def model(self, model_id: str) -> Model:
        """One model in full."""
        return Model.read(await self.asking.json("GET", f"/models/{part(model_id)}"))

    async def adapters(self) -> tuple[Adapter, ...]:
        """What jobs can name."""
        said = await self.asking.json("GET", "/adapters")
        return tuple(Adapter.read(adapter) for adapter in said["data"])

    async def add_adapter(self, name: str, file: LoraFile, model: str | None) -> Adapter:
        """Upload the file, and register it by that name."""
        content = await self.asking.hands.work(lambda: file_bytes(file))
        uploaded = await self.asking.json("POST", "/uploads", content=content)
        body = {"name": name, "artifact_id": uploaded["artifact_id"], **({} if model is None else {"model": model})}
        return Adapter.read(await self.asking.json("POST", "/adapters", body=body))

    async def remove_adapter(self, adapter: Adapter | str) -> None:
        """Forget a registered one."""
        name = adapter if isinstance(adapter, str) else adapter.name
        await self.asking.remove(self.asking.request("DELETE", f"/adapters/{part(name)}"), was_there=False)

    async def workers(self) -> tuple[Worker, ...]:
        """The workers heard of lately."""
        said = await self.asking.json("GET", "/workers")
        return tuple(Worker.read(worker) for worker in said["data"])

    async def drain(self, worker: Worker | str) -> None:
        """Ask a worker to end when it has finished what it can."""
        worker_id = worker if isinstance(worker, str) else worker.id
        await self.asking.json("POST", f"/workers/{part(worker_id)}/drain")

    async def fleet(self, window_s: int) -> Mapping[str, Any]:
        """The fleet in figures."""
        said: Mapping[str, Any] = await self.asking.json("GET", "/fleet", params={"window_s": window_s})
        return said

    async def cost(self, days: int, by: str) -> Mapping[str, Any]:
        """What workers were paid for."""
        said: Mapping[str, Any] = await self.asking.json("GET", "/fleet/cost", params={"days": days, "by": by})
        return said

    async def events(self, job: Job | str, after: int) -> AsyncGenerator[JobEvent]:
        """Each event behind `after` once and in order, to the final one, over as many connections as it takes."""
        job_id, seen, failures, end = id_of(job), after, 0, self.asking.end
        while True:
            end.check(f"job {job_id} has not ended in time; it goes on")
            quiet_s, broken = end.quiet_s(), Postponed(errors.Unavailable(f"the events of job {job_id} broke off"))
            try:
                async with aclosing(self._listen(job_id, seen, quiet_s)) as events:
                    async for event in events:
                        failures = 0
                        if event is not None and event.seq > seen:
                            seen = event.seq
                            yield event
                        if event is not None and event.is_final:
                            return
            except _HadAll:
                return
            except Postponed as postponed:
                broken = postponed
            if not end.has_passed(quiet_s):  # else nobody is to blame: there was no time to listen for longer
                failures += 1
                await self.asking.pause(failures, broken)

    async def _listen(self, job_id: str, after: int, quiet_s: float) -> AsyncGenerator[JobEvent | None]:
        """One connection's events, None for each sign of life; ends with the stream, or when time gets short."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(after)} if after else {})
        path = f"/jobs/{job_part(job_id)}/events"
        async with self.asking.opened(self.asking.request("GET", path, headers=headers, timeout_s=quiet_s)) as stream:
            if stream.status == 204:
                raise _HadAll
            reader = EventReader()
            async with aclosing(stream.chunks()) as chunks:
                async for chunk in chunks:
                    yield None
                    for event in reader.feed(chunk):
                        yield event
                    if self.asking.end.has_passed(quiet_s):
                        return

    async def _content_of(self, output: Output | str) -> bytes:
        """By the output's own URL, to which no key is shown, or through the service: an URL ends after an hour."""
        if isinstance(output, Output) and output.url is not None:
            stored = Request("GET", output.url, timeout_s=self.asking.timeout_s, may_redirect=True)
            try:
                return (await self.asking.ask_once(stored)).content
            except (errors.DarkroomError, Postponed):
                pass  # whatever keeps it from there, the service has it too
        artifact_id = output if isinstance(output, str) else output.artifact_id
        return (await self.asking.ask(self.asking.request("GET", f"/artifacts/{part(artifact_id)}"))).content


class _HadAll(Exception):
    """The job has ended, and there is nothing behind the place asked for."""


def id_of(job: Job | str) -> str:
    """A job's id, of the job or as it is."""
    return job if isinstance(job, str) else job.id
