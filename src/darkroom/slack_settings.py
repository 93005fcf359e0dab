"""Settings of the Slack app, and the secrets that Slack gave it. config.py reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from .access_settings import Frozen, read_secret
from .errors import InvalidConfig

URL = r"^https?://[^\s/]\S*$"
BOT_STARTS = ("xoxb-", "xoxe.xoxb-")  # the second is of an app whose tokens are rotated
APP_STARTS = ("xapp-",)
SLACK_PATHS = ("bot_token_file", "app_token_file", "signing_secret_file")


class SlackSettings(Frozen):
    """`[slack]` of darkroom.toml; docs/guides/slack.md explains it."""

    command: str = Field(default="/darkroom", pattern=r"^/[a-z0-9_-]{1,31}$")
    url: Annotated[str, Field(pattern=URL)] | None = None  # None: DARKROOM_URL, or this machine's
    model: str | None = None
    preset: str | None = None
    image_in: Literal["channel", "thread"] = "channel"
    bot: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")  # a class of yours
    api_url: str = Field(default="https://slack.com/api/", pattern=URL)
    bot_token_file: Path | None = None  # or SLACK_BOT_TOKEN
    app_token_file: Path | None = None  # or SLACK_APP_TOKEN
    signing_secret_file: Path | None = None  # or SLACK_SIGNING_SECRET


class SlackEnvironment(BaseSettings):
    """Slack's secrets, by the names that its own documentation gives them."""

    model_config = SettingsConfigDict(env_prefix="SLACK_", frozen=True, extra="ignore", env_ignore_empty=True)

    bot_token: SecretStr | None = None
    app_token: SecretStr | None = None
    signing_secret: SecretStr | None = None


@dataclass(frozen=True)
class SlackSecrets:
    """What Slack gave: `bot_token` speaks; `app_token` opens sockets; `signing_secret` proves HTTP requests."""

    bot_token: SecretStr
    app_token: SecretStr | None
    signing_secret: SecretStr | None


def read_slack_secrets(said: SlackSettings, *, is_http: bool) -> SlackSecrets:
    """The secrets that the app needs where Slack calls it by HTTP, or where it opens a socket to Slack.

    The environment stands above the files. Raises `InvalidConfig`, which says where each is to be had.
    """
    environment = SlackEnvironment()

    def found(name: str, look: Callable[[str], bool], kind: str) -> SecretStr:
        field = f"{name}_file"
        secret: SecretStr | None = getattr(environment, name)
        place, path = f"SLACK_{name.upper()}", getattr(said, field)
        if secret is None and path is not None:
            secret, place = read_secret(path, f"slack.{field}"), str(path)
        if secret is None:
            raise InvalidConfig(f"set {place} or slack.{field}: {kind}", field=f"slack.{field}")
        if not look(secret.get_secret_value()):
            raise InvalidConfig(f"{place} does not hold {kind}", field=f"slack.{field}")
        return secret

    bot = found("bot_token", lambda text: text.startswith(BOT_STARTS), "the bot token of the Slack app, xoxb-…")
    if is_http:
        return SlackSecrets(bot, None, found("signing_secret", bool, "the signing secret of the Slack app"))
    app = found("app_token", lambda text: text.startswith(APP_STARTS), "an app-level token of the Slack app, xapp-…")
    return SlackSecrets(bot, app, None)
