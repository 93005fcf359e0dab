"""Settings that say who may come in: networks, and people who sign in. config.py reads them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from .core import Allowance
from .errors import InvalidConfig

EVERY_DOMAIN = "*"


class Frozen(BaseModel):
    """A table of darkroom.toml."""

    # Strict: "25" is no number of steps, and nothing is silently corrected.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError("an address or a network in numbers, such as 10.1.2.3, 10.0.0.0/8 or fd00::/8") from error
    return value


def _issuer(value: str) -> str:
    place = urlsplit(value)
    is_near = place.scheme == "http" and place.hostname in ("localhost", "127.0.0.1", "::1")
    if not (place.scheme == "https" or is_near) or not place.hostname or place.query or place.fragment:
        raise ValueError("an issuer is an https URL without query (plain http on loopback only)")
    return value


Network = Annotated[str, AfterValidator(_network)]


class PersonLimits(Frozen):
    """`[oidc.limits]`: what each person who signs in may use, counted as a key's use is; None has no limit."""

    jobs_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    live_jobs: int | None = Field(default=None, ge=1, le=100_000)
    device_s_per_day: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)
    usd_per_day: float | None = Field(default=None, ge=0, le=1e9, allow_inf_nan=False)
    priority_class: Literal["low", "normal", "high"] = "normal"
    weight: float = Field(default=1.0, ge=0.01, le=100)

    @property
    def allowance(self) -> Allowance:
        """The limits as the store checks them."""
        return Allowance(self.jobs_per_minute, self.live_jobs, self.device_s_per_day, self.usd_per_day)


class GuestLimits(PersonLimits):
    """`[guests.limits]`: what the guests of one address may use together; None has no limit."""

    jobs_per_minute: int | None = Field(default=6, ge=1, le=100_000)
    live_jobs: int | None = Field(default=2, ge=1, le=100_000)
    device_s_per_day: float | None = Field(default=1200.0, ge=0, le=1e9, allow_inf_nan=False)
    priority_class: Literal["low", "normal", "high"] = "low"


class GuestSettings(Frozen):
    """`[guests]` of darkroom.toml: who shows no key may make pictures, within limits; docs/reference/settings.md."""

    limits: GuestLimits = Field(default_factory=GuestLimits)


class OidcSettings(Frozen):
    """`[oidc]` of darkroom.toml: people sign in with an OpenID Connect issuer; docs/reference/settings.md."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    client_id: str = Field(min_length=1)
    client_secret_file: Path | None = None  # or DARKROOM_OIDC_CLIENT_SECRET; neither: a public client
    allowed_emails: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    session_h: float = Field(default=12.0, gt=0, le=24 * 90)
    name: str | None = Field(default=None, min_length=1, max_length=40)  # what people call the issuer; None: its host
    limits: PersonLimits = Field(default_factory=PersonLimits)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.allowed_emails or self.allowed_domains or self.operators):
            raise ValueError(
                "say who may sign in: allowed_emails, allowed_domains or operators "
                f"(allowed_domains = [{EVERY_DOMAIN!r}]: whoever the issuer knows)"
            )
        return self

    @property
    def shown_name(self) -> str:
        """What the page for signing in calls the issuer."""
        return self.name or urlsplit(self.issuer).netloc

    def secret(self, said: SecretStr | None) -> SecretStr | None:
        """What is shown to the issuer: what the environment `said`, else the file's; None: a public client.

        Raises `InvalidConfig`. It is read where people sign in, for other machines may have no such file.
        """
        if said is not None or self.client_secret_file is None:
            return said
        return read_secret(self.client_secret_file, "oidc.client_secret_file")


def read_secret(path: Path, field: str) -> SecretStr:
    """A secret in a file of its own; raises `InvalidConfig`, which names the setting `field`."""
    try:
        return SecretStr(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}", field=field) from error
