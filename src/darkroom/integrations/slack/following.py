"""Jobs and their threads: progress while they run, pictures when they have ended, whatever breaks in between."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from slack_sdk.errors import SlackApiError

from ...client.asynchronous import AsyncClient
from ...client.nouns import Job, JobEvent, Output
from ...errors import DarkroomError, NotFound, TooBusy, Unavailable
from .asked import Place
from .journal import Journal
from .messages import comment, ended_message, error_words, plain_message, progress_words, slack_refusal, waiting_message
from .pace import Pace
from .web import LATER, Web, code_of, is_passing

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
MOST_TRIES = 60  # about an hour; what is left then is told after a restart
MOST_ALT = 1000  # characters
LIVE = ("scheduled", "queued", "running")
log = logging.getLogger(__name__)


@dataclass
class Thread:
    """What has been told of one job: `ts` is the message that shows its progress."""

    job_id: str
    place: Place
    ts: str | None = None
    told_at: float = float("-inf")
    is_answered: bool = False


class Follower:
    """Tells each job's thread what becomes of it, in a task of its own, once."""

    def __init__(
        self, client: AsyncClient, web: Web, journal: Journal, image_in: Literal["channel", "thread"] = "channel"
    ) -> None:
        self._client, self._web, self._journal, self._image_in = client, web, journal, image_in
        self._pace, self._tasks = Pace(), dict[str, asyncio.Task[None]]()
        self._threads: set[str] = set()  # begun in this life: nothing to resume there

    @contextmanager
    def expecting(self, thread: str) -> Iterator[None]:
        """Inside, a job for this thread is made, and will be followed; where that fails, the thread is nobody's."""
        self._threads.add(thread)
        is_made = False
        try:
            yield
            is_made = True
        finally:
            if not is_made:
                self._threads.discard(thread)

    def follow(self, job_id: str, place: Place, ts: str | None = None) -> None:
        """From now on; `ts`: the message that an earlier life of ours wrote."""
        if job_id not in self._tasks:
            self._journal.add(job_id, ts or "")
            task = asyncio.create_task(self._run(Thread(job_id, place, ts or None)))
            self._tasks[job_id] = task
            task.add_done_callback(lambda ended: self._forget(ended, job_id, place))

    async def resume(self, team: str, bot: str) -> None:
        """Go on with the jobs that owe this bot's people an answer: those of the journal, and those that still live.

        Raises what the client raises.
        """
        for job_id, ts in self._journal.open.items():
            try:
                job = await self._client.get(job_id)
            except NotFound:
                self._journal.remove(job_id)
                continue
            self._resume(job, team, bot, ts)
        for state in LIVE:
            async for job in self._client.jobs(state=state):
                self._resume(job, team, bot, None)

    async def stop(self) -> None:
        """Let go; the journal remembers what is left."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _resume(self, job: Job, team: str, bot: str, ts: str | None) -> None:
        place = Place.read(job.metadata)
        if place is not None and (place.team, place.bot) == (team, bot) and place.thread not in self._threads:
            self.follow(job.id, place, ts)

    def _forget(self, task: asyncio.Task[None], job_id: str, place: Place) -> None:
        self._tasks.pop(job_id, None)
        self._threads.discard(place.thread)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("slack_fault", extra={"job_id": job_id}, exc_info=fault)

    async def _run(self, thread: Thread) -> None:
        pause_s = FIRST_PAUSE_S
        for _ in range(MOST_TRIES):
            try:
                await self._tell(thread)
            except SlackApiError as error:
                if not is_passing(error):
                    await self._give_up(thread, code_of(error), slack_refusal(code_of(error)))
                    break
            except (Unavailable, TooBusy, *LATER) as error:
                log.warning("slack_answer_delayed", extra={"job_id": thread.job_id, "kind": type(error).__name__})
            except DarkroomError as error:
                await self._give_up(thread, error.code, error_words(error))
                break
            else:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        else:
            return  # the journal keeps it
        self._journal.remove(thread.job_id)

    async def _tell(self, thread: Thread) -> None:
        place = thread.place
        if thread.ts is None:
            waiting = waiting_message(thread.job_id, "Waiting for a worker")
            thread.ts = await self._web.post(place.channel, waiting, place.thread)
            thread.told_at = time.monotonic()
            self._journal.add(thread.job_id, thread.ts)
        try:
            async for event in self._client.events(thread.job_id):
                await self._tell_progress(thread, thread.ts, event)
            job = await self._client.get(thread.job_id)
        except NotFound:
            await self._web.update(
                place.channel, thread.ts, plain_message("This job is gone: somebody has deleted it.")
            )
            return
        if job.state == "succeeded" and not thread.is_answered:
            await self._post_pictures(job, place)
            thread.is_answered = True
            self._journal.remove(job.id)
        await self._web.update(place.channel, thread.ts, ended_message(job))

    async def _give_up(self, thread: Thread, code: str, words: str) -> None:
        log.warning("slack_gave_up", extra={"job_id": thread.job_id, "code": code})
        if thread.ts is not None:
            await self._web.try_update(thread.place.channel, thread.ts, plain_message(words))

    async def _tell_progress(self, thread: Thread, ts: str, event: JobEvent) -> None:
        words, now = progress_words(event), time.monotonic()
        if words is None or not self._pace.take(thread.told_at, now):
            return
        thread.told_at = now
        held_s = await self._web.try_update(thread.place.channel, ts, waiting_message(thread.job_id, words))
        self._pace.hold(held_s, time.monotonic())

    async def _post_pictures(self, job: Job, place: Place) -> None:
        prompt = " ".join(str(job.input.get("prompt", "")).split())[:MOST_ALT]
        files = [_file(output, await self._client.download(output), prompt) for output in job.outputs]
        into = place.thread if self._image_in == "thread" else None
        await self._web.upload(place.channel, into, files, comment(job, place.user))


def _file(output: Output, content: bytes, prompt: str) -> dict[str, Any]:
    kind = output.content_type.rpartition("/")[2]
    name = output.artifact_id if output.seed is None else f"seed-{output.seed}"
    return {"filename": f"darkroom-{name}.{kind}", "content": content, "title": prompt[:200] or name, "alt_txt": prompt}
