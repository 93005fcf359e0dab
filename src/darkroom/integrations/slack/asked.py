"""Who asked for what, where: one use of the command or of a button, and the place its answer goes to."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .words import unescape

METADATA = "slack"  # under which a job's metadata tells its place
Say = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One use of the command: `text` is what stood behind it, as it was typed.

    `user`, `channel` and `team` are Slack's ids. `key` is the same however often Slack delivers it. `say` answers
    the one who asked, seen by nobody else; Slack takes up to five such answers within half an hour.
    """

    text: str
    user: str
    channel: str
    team: str
    key: str
    say: Say = field(repr=False)


@dataclass(frozen=True)
class Place:
    """Where a job's answer goes: a thread of a channel; `user` asked, and `bot`, of `team`, answers."""

    team: str
    bot: str
    channel: str
    thread: str
    user: str

    @property
    def metadata(self) -> dict[str, Any]:
        """As a job carries it."""
        return {METADATA: asdict(self)}

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Self | None:
        """From a job's metadata; None where another program made the job."""
        said = metadata.get(METADATA)
        names = cls.__dataclass_fields__
        if not isinstance(said, Mapping) or not all(isinstance(said.get(name), str) for name in names):
            return None
        return cls(**{name: said[name] for name in names})


def asked_by_command(command: Mapping[str, Any], say: Say) -> Asked:
    """From the payload of a slash command."""
    team, channel, user = str(command["team_id"]), str(command["channel_id"]), str(command["user_id"])
    return Asked(unescape(str(command.get("text", ""))), user, channel, team, _key(team, command), say)


def asked_by_button(body: Mapping[str, Any], say: Say) -> Asked:
    """From the payload of a pressed button; its `text` is the button's value, a job's id."""
    team, channel, user = body["team"]["id"], body["channel"]["id"], body["user"]["id"]
    return Asked(str(body["actions"][0]["value"]), str(user), str(channel), str(team), _key(team, body), say)


def _key(team: str, said: Mapping[str, Any]) -> str:
    """From the trigger id: Slack draws one for each use, and repeats it where it delivers the use again."""
    trigger = str(said.get("trigger_id") or secrets.token_hex(16))
    return f"slack-{hashlib.sha256(f'{team} {trigger}'.encode()).hexdigest()[:40]}"
