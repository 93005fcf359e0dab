"""What the bot says: Slack's messages and blocks, small print, and errors for people who read no logs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from ... import errors
from ...client.nouns import Job, JobEvent
from ...wording import counted
from .words import FLAG_OF, FLAGS, escape

Message: TypeAlias = dict[str, Any]

CANCEL, VARY, AGAIN = "darkroom_cancel", "darkroom_vary", "darkroom_again"
MOST_SHOWN = 300  # characters of a prompt; a section holds 3,000, and an escaped one grows fivefold
BAR = 12  # signs
OUR_SIDE = "The one who runs Darkroom here has to look at it"
# By what Slack refuses: https://docs.slack.dev/reference/methods/chat.postMessage
SLACK_REFUSALS: Mapping[str, str] = {
    "not_in_channel": "I am not in this channel. Invite me with `/invite`, and ask again.",
    "channel_not_found": "I cannot write here. Invite me with `/invite`, or ask in a channel that I am in.",
    "is_archived": "This channel is archived: nobody can write here.",
    "restricted_action": "I am not allowed to write here.",
    "missing_scope": f"The Slack app lacks a permission. {OUR_SIDE}: deploy/slack/manifest.yaml has them all.",
}


def help_text(command: str) -> str:
    """How the command is used."""
    lines = [f"`--{name}` {flag.help}" for name, flag in FLAGS.items()]
    return "\n".join([f"`{command} a lighthouse in a storm --preset fast` makes a picture. Flags:", *lines])


def request_message(user: str, prompt: str) -> Message:
    """For the channel: who asked for what. The thread under it tells the rest."""
    said = f"<@{user}> asked for: {shown(prompt)}"
    return {"text": said, "blocks": [_section(said)]}


def waiting_message(job_id: str, words: str) -> Message:
    """For the thread, while the job lives."""
    return {"text": words, "blocks": [_section(words), _buttons((CANCEL, "Cancel", "danger"), value=job_id)]}


def ended_message(job: Job) -> Message:
    """For the thread, when it has ended; what can be pressed then."""
    words = ended_words(job)
    button = (VARY, "Vary", None) if job.state == "succeeded" else (AGAIN, "Again", None)
    return {"text": words, "blocks": [_section(words), _buttons(button, value=job.id)]}


def plain_message(words: str) -> Message:
    """For the thread, where nothing is left to press."""
    return {"text": words, "blocks": [_section(words)]}


def comment(job: Job, user: str) -> str:
    """What stands over the pictures."""
    return f"<@{user}> {shown(str(job.input.get('prompt', '')))}\n{small_print(job)}"


def shown(prompt: str) -> str:
    """A prompt on one line, in bold as far as its own signs allow, and never longer than fits."""
    line = " ".join(prompt.split())
    return f"*{escape(line[:MOST_SHOWN])}{'…' if len(line) > MOST_SHOWN else ''}*"


def small_print(job: Job) -> str:
    """Seed, steps, seconds on the device, and what they cost where that is known and not nothing."""
    seeds = [output.seed for output in job.outputs if output.seed is not None]
    seconds, cost = job.metrics.get("device_s"), job.metrics.get("cost_usd")
    parts = [
        f"seed {seeds[0]}" + (f" to {seeds[-1]}" if len(seeds) > 1 else "") if seeds else None,
        counted(job.steps, "step") if job.steps else None,
        f"{seconds:.1f} s" if seconds is not None else None,
        f"${_two_digits(cost)}" if cost else None,
    ]
    return " · ".join([part for part in parts if part is not None])


def progress_words(event: JobEvent) -> str | None:
    """What an event has to say to people; None: nothing."""
    data = event.data
    match event.type:
        case "queued":
            position, eta_s = data.get("position"), data.get("eta_s")
            before = f", {position} before it" if position else ""
            return f"Waiting for a worker{before}{'' if eta_s is None else f'; about {_about(eta_s)}'}"
        case "started":
            return "Starting"
        case "progress":
            done = min(BAR, round(float(data.get("progress") or 0.0) * BAR))
            return f"`{'█' * done}{'░' * (BAR - done)}` step {data['step']} of {data['steps']}"
        case "requeued":
            return "Its worker went away; another one goes on with it"
    return None


def ended_words(job: Job) -> str:
    """How it ended."""
    if job.state == "succeeded":
        return f"Done. {small_print(job)}"
    if job.state == "cancelled":
        return "Cancelled"
    try:
        job.raise_for_state()
    except errors.DarkroomError as error:
        return f"That did not work. {error_words(error)}"
    raise AssertionError(f"job {job.id} is {job.state}")


def error_words(error: errors.DarkroomError) -> str:
    """An error for people: what is wrong and what they can do; flags as they typed them."""
    match error:
        case errors.ContentRefused() | errors.InvalidConfig():
            text = error.message
        case errors.TooBusy():
            text = f"{error.message}. Try again in {_about(error.retry_after_s)}"
        case errors.Unauthorised() | errors.Forbidden():
            text = f"Darkroom does not accept my key. {OUR_SIDE}"
        case errors.DriverUnavailable() | errors.OutOfMemory() | errors.StorageUnavailable():
            text = f"{error.message}. Try again in a minute"
        case errors.Unavailable():
            text = "Darkroom does not answer just now. Try again in a minute"
        case errors.BadInput():
            return _blaming(error)
        case _:
            text = f"{error.message}. {OUR_SIDE}"
    said = f" (request {error.request_id})" if error.request_id and not isinstance(error, errors.TooBusy) else ""
    return escape(f"{text[:1].upper()}{text[1:]}{said}.".replace("..", "."))


def slack_refusal(code: str) -> str:
    """What Slack refused, for the one who asked."""
    return SLACK_REFUSALS.get(code, f"Slack refuses my message ({escape(code)}). {OUR_SIDE}.")


def _blaming(error: errors.BadInput) -> str:
    flag = FLAG_OF.get((error.field or "").removeprefix("input."))
    text = error.message
    if flag is not None and flag not in text:
        text = f"{flag}: {text}"
    return escape(f"{text}.".replace("..", "."))


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _buttons(*said: tuple[str, str, str | None], value: str) -> dict[str, Any]:
    return {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": action,
                "text": {"type": "plain_text", "text": text},
                "value": value,
                **({} if style is None else {"style": style}),
            }
            for action, text, style in said
        ],
    }


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{math.ceil(seconds / 60)} minutes" if seconds < 5400 else f"{math.ceil(seconds / 3600)} hours"


def _two_digits(dollars: float) -> str:
    """Two significant digits, and never an exponent."""
    places = max(2, 1 - math.floor(math.log10(dollars)))
    return f"{dollars:.{places}f}"
