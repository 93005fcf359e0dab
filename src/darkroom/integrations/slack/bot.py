"""The bot: what the command and the buttons do. Inherit `SlackBot` to change it; docs/guides/slack.md shows how."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.errors import SlackApiError

from ...client.asynchronous import AsyncClient
from ...client.nouns import Job
from ...errors import BadInput, DarkroomError, IdempotencyConflict, TooBusy, Unavailable
from ...slack_settings import SlackSecrets, SlackSettings
from .asked import Asked, Place, Say, asked_by_button, asked_by_command
from .following import Follower
from .journal import Journal
from .messages import AGAIN, CANCEL, VARY, error_words, help_text, request_message, slack_refusal
from .web import LATER, Web, code_of
from .words import Wanted, read_wanted

REMEMBERED = 10_000  # uses of the command: Slack delivers again within minutes what it thinks was lost
RESUME_EVERY_S = 10.0
SUBMIT_PAUSES_S = (1.0, 2.0)  # after all tries of the client
STOP_S = 10.0  # for what people have just asked for
OWN_SEED = "seed"
FAULT = "That is a fault of ours, and it has been logged."
log = logging.getLogger(__name__)


class SlackBot:
    """`/darkroom …` in one workspace: it makes jobs of a running service, and tells their threads what becomes of them.

    `app` is slack-bolt's, for listeners of your own. Everything that Slack sends is acknowledged before anything here
    runs, so `handle_command` may take its time. `client` stays the caller's to close.
    """

    def __init__(self, settings: SlackSettings, secrets: SlackSecrets, client: AsyncClient, journal: Path) -> None:
        self.settings, self.client = settings, client
        self.web = Web(secrets.bot_token.get_secret_value(), settings.api_url)
        signing = "" if secrets.signing_secret is None else secrets.signing_secret.get_secret_value()
        self.app = AsyncApp(client=self.web.patient, signing_secret=signing, authorize=_authorise(self))
        self._follower = Follower(client, self.web, Journal(journal), settings.image_in)
        self._team = self._bot = ""
        self._seen, self._busy = dict[str, None](), set[asyncio.Task[Any]]()
        self._resuming: asyncio.Task[None] | None = None
        self.app.command(settings.command)(self._on_command)
        for action, deed in ((CANCEL, self.cancel), (VARY, self.vary), (AGAIN, self.repeat)):
            self.app.action(action)(_on_button(self, deed))
        self.app.error(self._on_fault)

    async def start(self) -> None:
        """Learn who we are, and go on with what an earlier life left. Raises `SlackApiError`, or one of `web.LATER`."""
        self._team, self._bot = await self.web.whoami()
        self._resuming = asyncio.create_task(self._resume())

    async def stop(self) -> None:
        """Let go of everything; a later life goes on with it."""
        if self._resuming is not None:
            self._resuming.cancel()
            await asyncio.gather(self._resuming, return_exceptions=True)
        if self._busy:  # what was acknowledged becomes a job
            await asyncio.wait(self._busy, timeout=STOP_S)
        await self._follower.stop()

    async def handle_command(self, asked: Asked) -> None:
        """What the command does: its words become a job. A `DarkroomError` raised here is told in plain words."""
        wanted = read_wanted(asked.text)
        if wanted.prompt in ("", "help"):
            await asked.say(help_text(self.settings.command))
            return
        await self.generate(asked, wanted)

    async def generate(self, asked: Asked, wanted: Wanted) -> Job | None:
        """Tell the channel, hand the job in, and follow it; None where it was handed in before.

        The settings' model and preset stand in for what is not wanted otherwise. Raises what `Client.submit` raises;
        the channel then shows nothing of it.
        """
        defaults = {"model": self.settings.model, "preset": self.settings.preset}
        wish = {**{name: value for name, value in defaults.items() if value is not None}, **wanted.wish}
        thread = await self.web.post(asked.channel, request_message(asked.user, wanted.prompt))
        place = Place(self._team, self._bot, asked.channel, thread, asked.user)
        try:
            with self._follower.expecting(thread):
                job = await self._submit(wanted.prompt, **wish, metadata=place.metadata, idempotency_key=asked.key)
        except IdempotencyConflict:  # an earlier life of ours took it, with a thread of its own
            await self.web.take_back(asked.channel, thread)
            return None
        except DarkroomError:
            await self.web.take_back(asked.channel, thread)
            raise
        self._follower.follow(job.id, place)
        return job

    async def _submit(self, prompt: str, **said: Any) -> Job:
        """Hand it in; a service that is away for a moment is asked again, under the same key."""
        for pause_s in SUBMIT_PAUSES_S:
            try:
                return await self.client.submit(prompt, **said)
            except Unavailable:
                await asyncio.sleep(pause_s)
        return await self.client.submit(prompt, **said)

    async def cancel(self, asked: Asked) -> None:
        """The button Cancel, for the one who asked for the job."""
        job, place = await self._own(asked)
        if place.user != asked.user:
            await asked.say(f"Only <@{place.user}>, who asked for it, can cancel this.")
        elif not job.is_final:
            await self.client.cancel(job)

    async def vary(self, asked: Asked) -> None:
        """The button Vary, for everybody: the same with another seed."""
        job, _ = await self._own(asked)
        await self.generate(asked, _wanted_of(job, without=OWN_SEED))

    async def repeat(self, asked: Asked) -> None:
        """The button Again, for everybody: the same once more, where it failed or was cancelled."""
        job, _ = await self._own(asked)
        await self.generate(asked, _wanted_of(job))

    async def _own(self, asked: Asked) -> tuple[Job, Place]:
        job = await self.client.get(asked.text)
        place = Place.read(job.metadata)
        if place is None:
            raise BadInput("that job was not made here")
        return job, place

    async def _on_command(self, ack: AsyncAck, command: Mapping[str, Any], respond: AsyncRespond) -> None:
        await ack()
        await self._once(asked_by_command(command, _sayer(respond)), self.handle_command)

    async def _once(self, asked: Asked, deed: Any) -> None:
        """Do it, unless Slack says again what it has said; tell the one who asked what was wrong."""
        if asked.key in self._seen:
            return
        self._seen[asked.key] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        try:
            await deed(asked)
        except DarkroomError as error:
            await asked.say(error_words(error))
        except SlackApiError as error:
            log.warning("slack_refused", extra={"code": code_of(error)})
            await asked.say(slack_refusal(code_of(error)))

    async def _on_fault(self, error: Exception, respond: AsyncRespond) -> None:
        log.error("slack_fault", exc_info=error)
        await respond(FAULT, response_type="ephemeral", replace_original=False)

    async def _resume(self) -> None:
        while True:
            try:
                await self._follower.resume(self._team, self._bot)
                return
            except (Unavailable, TooBusy, *LATER):
                await asyncio.sleep(RESUME_EVERY_S)
            except DarkroomError as error:
                log.warning("slack_not_resumed", extra={"code": error.code, "reason": error.message})
                return


def _authorise(bot: SlackBot) -> Any:
    """bolt's question for each request; asking Slack for the answer would take of its three seconds."""

    async def known() -> AuthorizeResult:
        token = bot.web.patient.token
        return AuthorizeResult(enterprise_id=None, team_id=bot._team, bot_user_id=bot._bot, bot_token=token)

    return known


def _on_button(bot: SlackBot, deed: Any) -> Any:
    async def pressed(ack: AsyncAck, body: Mapping[str, Any], respond: AsyncRespond) -> None:
        await ack()
        await bot._once(asked_by_button(body, _sayer(respond)), deed)

    return pressed


def _sayer(respond: AsyncRespond) -> Say:
    async def say(words: str) -> None:
        await respond(words, response_type="ephemeral", replace_original=False)

    return say


def _wanted_of(job: Job, *, without: str | None = None) -> Wanted:
    said = {name: value for name, value in job.input.items() if value is not None and name != without}
    return Wanted(str(said.pop("prompt")), {"model": job.model, **said})
