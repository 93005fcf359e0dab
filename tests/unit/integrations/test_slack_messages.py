"""What the bot says, how often, and with which secrets it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darkroom import errors
from darkroom.client.nouns import Job, JobEvent
from darkroom.integrations.slack.messages import (
    ended_words,
    error_words,
    progress_words,
    request_message,
    shown,
    small_print,
)
from darkroom.integrations.slack.pace import MESSAGE_EVERY_S, UPDATE_EVERY_S, Pace
from darkroom.slack_settings import SlackSettings, read_slack_secrets

FULL = errors.QueueFull("1000 jobs wait already")
FULL.retry_after_s = 150.0
BROKEN = errors.InvariantBroken("nobody knows why")
BROKEN.request_id = "req-1"


def job(**said: Any) -> Job:
    plain: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**plain | {"id": "job-1", "state": "succeeded", "outputs": (), "metrics": {}, "steps": 0} | said)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FULL, "1000 jobs wait already. Try again in 3 minutes."),
        (errors.StoreUnavailable("redis://…: timed out"), "Darkroom does not answer just now. Try again in a minute."),
        (errors.Unauthorised("no such key"), "Darkroom does not accept my key. The one who runs Darkroom here has to"),
        (errors.BadInput("must be at most 16, not 17", field="input.num_images_per_prompt"), "--images: must be at"),
        (errors.UnknownPreset("m has no preset '<!here>'; allowed: fast", field="preset"), "--preset: m has no preset"),
        (errors.ContentRefused("the safety rules refuse this"), "The safety rules refuse this."),
        (BROKEN, "Nobody knows why. The one who runs Darkroom here has to look at it (request req-1)."),
    ],
)
def test_an_error_says_what_to_do(error: errors.DarkroomError, words: str) -> None:
    said = error_words(error)
    assert said.startswith(words)
    assert "<" not in said


def test_a_prompt_mentions_nobody_and_always_fits() -> None:
    said = request_message("U1", "<!channel> & " * 150)
    assert "<!channel>" not in said["text"]
    assert len(said["blocks"][0]["text"]["text"]) < 3000
    assert shown("a\nb") == "*a b*"


@pytest.mark.parametrize(
    ("cost", "words"),
    [(None, "4 steps · 3.2 s"), (0.0, "4 steps · 3.2 s"), (0.00012345, "4 steps · 3.2 s · $0.00012"), (1.5, "$1.50")],
)
def test_small_print_tells_the_cost_where_there_is_one(cost: float | None, words: str) -> None:
    assert small_print(job(steps=4, metrics={"device_s": 3.21, "cost_usd": cost})).endswith(words)


def test_progress_is_told_in_words() -> None:
    def words(kind: str, **data: Any) -> str | None:
        return progress_words(JobEvent(1, "", kind, data))

    assert words("queued", position=3, eta_s=100.2) == "Waiting for a worker, 3 before it; about 2 minutes"
    assert words("queued", position=None, eta_s=None) == "Waiting for a worker"
    assert words("progress", step=6, steps=12, progress=0.5) == "`██████░░░░░░` step 6 of 12"
    assert words("requeued", reason="lease lost") == "Its worker went away; another one goes on with it"
    assert words("preview", step=6, image="data:") is None


def test_a_failure_is_told_in_words() -> None:
    failed = job(state="failed", error={"code": "out_of_memory", "message": "it does not fit"}, request_id=None)
    assert ended_words(failed) == "That did not work. It does not fit. Try again in a minute."


def test_many_jobs_stay_within_what_slack_takes_in_a_minute() -> None:
    pace, told_at, taken = Pace(), dict.fromkeys(range(40), float("-inf")), 0
    for now in range(6_000):  # hundredths of a second
        for each in told_at:
            if pace.take(told_at[each], now / 100):
                told_at[each], taken = now / 100, taken + 1
    assert 60 / UPDATE_EVERY_S - 1 <= taken <= 60 / UPDATE_EVERY_S < 50


def test_one_message_is_not_told_too_often_and_slack_may_ask_for_quiet() -> None:
    pace = Pace()
    assert pace.take(float("-inf"), 0.0)
    assert not pace.take(0.0, MESSAGE_EVERY_S - 0.1)
    assert pace.take(0.0, MESSAGE_EVERY_S)
    pace.hold(30.0, MESSAGE_EVERY_S)
    assert not pace.take(0.0, MESSAGE_EVERY_S + 29.9)
    assert pace.take(0.0, MESSAGE_EVERY_S + 30.0)


@pytest.mark.parametrize(
    ("environment", "is_http", "said"),
    [
        ({}, False, "set SLACK_BOT_TOKEN or slack.bot_token_file: the bot token of the Slack app, xoxb-…"),
        ({"SLACK_BOT_TOKEN": "xapp-1"}, False, "SLACK_BOT_TOKEN does not hold the bot token of the Slack app, xoxb-…"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, False, "set SLACK_APP_TOKEN or slack.app_token_file: an app-level token"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, True, "set SLACK_SIGNING_SECRET or slack.signing_secret_file: the signing"),
    ],
)
def test_a_secret_that_is_missing_or_another_one_is_named(
    environment: dict[str, str], is_http: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(errors.InvalidConfig, match=said) as refused:
        read_slack_secrets(SlackSettings(), is_http=is_http)
    assert "xapp-1" not in refused.value.message


def test_secrets_come_from_files_where_the_environment_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    (tmp_path / "bot").write_text("xoxb-file\n")
    (tmp_path / "app").write_text("xapp-file\n")
    monkeypatch.setenv("SLACK_APP_TOKEN", "xapp-environment")
    settings = SlackSettings(bot_token_file=tmp_path / "bot", app_token_file=tmp_path / "app")
    secrets = read_slack_secrets(settings, is_http=False)
    assert secrets.app_token is not None
    found = (secrets.bot_token.get_secret_value(), secrets.app_token.get_secret_value())
    assert found == ("xoxb-file", "xapp-environment")
    assert "xoxb" not in repr(secrets)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"):
        monkeypatch.delenv(name, raising=False)
