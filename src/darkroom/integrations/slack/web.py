"""Slack's Web API, as far as the bot needs it: patient where people wait for it, hasty where it may be left out."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
    AsyncServerErrorRetryHandler,
)
from slack_sdk.web.async_client import AsyncWebClient

from .messages import Message

TIMEOUT_S = 30
PATIENCE = 5  # times that Slack may say "not now" to one call
MOST_FILES = 10  # of one message
# What Slack says where it is to blame, or nobody: the same call may work later.
PASSING_CODES = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})
LATER = (aiohttp.ClientError, TimeoutError, SlackRequestError)


class Web:
    """One bot in one workspace. Each call raises `SlackApiError`, or one of `LATER` where Slack was not reached."""

    def __init__(self, token: str, api_url: str) -> None:
        self.patient = AsyncWebClient(
            token,
            api_url,
            timeout=TIMEOUT_S,
            retry_handlers=[
                AsyncConnectionErrorRetryHandler(max_retry_count=2),
                AsyncServerErrorRetryHandler(max_retry_count=2),
                AsyncRateLimitErrorRetryHandler(max_retry_count=PATIENCE),
            ],
        )
        self._hasty = AsyncWebClient(token, api_url, timeout=TIMEOUT_S, retry_handlers=[])

    async def whoami(self) -> tuple[str, str]:
        """The workspace's id, and the bot's."""
        said = await self.patient.auth_test()
        return str(said["team_id"]), str(said["user_id"])

    async def post(self, channel: str, message: Message, thread: str | None = None) -> str:
        """A new message; its `ts`, by which it is known."""
        said = await self.patient.chat_postMessage(channel=channel, thread_ts=thread, **_quiet(message))
        return str(said["ts"])

    async def update(self, channel: str, ts: str, message: Message) -> None:
        """Write a message anew."""
        await self.patient.chat_update(channel=channel, ts=ts, **message)

    async def try_update(self, channel: str, ts: str, message: Message) -> float:
        """The same, once, and never mind; seconds for which Slack wants no more of it."""
        try:
            await self._hasty.chat_update(channel=channel, ts=ts, **message)
        except SlackApiError as error:
            return retry_after_s(error)
        except LATER:
            return 0.0
        return 0.0

    async def take_back(self, channel: str, ts: str) -> None:
        """Delete a message of ours, and never mind where that fails: something else is about to be told."""
        with contextlib.suppress(SlackApiError, *LATER):
            await self.patient.chat_delete(channel=channel, ts=ts)

    async def upload(self, channel: str, thread: str | None, files: Sequence[dict[str, Any]], said: str) -> None:
        """Files with words over them: {filename, content, title, alt_txt} each, in messages of at most ten."""
        for first in range(0, len(files), MOST_FILES):
            part = list(files[first : first + MOST_FILES])
            await self.patient.files_upload_v2(
                file_uploads=part, channel=channel, thread_ts=thread, initial_comment=said
            )


def code_of(error: SlackApiError) -> str:
    """What Slack calls its refusal; "" where the answer had no such thing."""
    said = error.response
    return str(said.get("error") or "") if hasattr(said, "get") else ""


def is_passing(error: SlackApiError) -> bool:
    """Whether the same call may work later."""
    answer = error.response
    status = int(getattr(answer, "status_code", None) or getattr(answer, "status", None) or 200)
    return code_of(error) in PASSING_CODES or status == 429 or status >= 500


def retry_after_s(error: SlackApiError) -> float:
    """The seconds of Retry-After; 0 where Slack sets none."""
    headers = getattr(error.response, "headers", {})
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), "0")
    return float(said) if str(said).isdigit() else 0.0


def _quiet(message: Message) -> Message:
    return {**message, "unfurl_links": False, "unfurl_media": False}  # an address in a prompt is not opened
