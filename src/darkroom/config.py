"""Settings from darkroom.toml and the environment, frozen; nothing else in the house reads either.

The environment stands above the file, the file above the defaults. A wrong value stops the start and names its place.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from .access_settings import Frozen, GuestSettings, Network, OidcSettings, PersonLimits, read_secret
from .errors import InvalidConfig
from .fleet_settings import FleetSettings, PoolSettings, RuleSettings
from .model_settings import MODEL_NAME as MODEL_NAME
from .model_settings import MODEL_PATHS, SAID_NAME, AdapterSettings
from .model_settings import ModelSettings as ModelSettings
from .model_settings import PowerOfTwo as PowerOfTwo
from .model_settings import PresetSettings as PresetSettings
from .model_settings import Size as Size
from .slack_settings import SLACK_PATHS, SlackSettings
from .wording import did_you_mean, problem_said

FILE_NAME = "darkroom.toml"
HOME_NAME = ".darkroom"
ENV_PREFIX = "DARKROOM_"
OFFLINE_NAMES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # how the hub's own libraries are told

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]\S*$")]
F = TypeVar("F", bound="Frozen")


class ServeSettings(Frozen):
    """`[serve]` of darkroom.toml: the service; docs/reference/settings.md explains each key.

    Names end in their unit: `_s` seconds, `_h` hours, `_mb` MiB, `_gb` GiB. `store` is `sqlite:///PATH` or `redis://…`,
    `storage` a folder or an object store's URL; None puts both under `home`.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8188, ge=0, le=65535)
    store: str | None = None
    storage: str | None = None
    workers: int = Field(default=0, ge=0, le=64)  # 0: one per accelerator, one on a CPU
    models: tuple[str, ...] = ()  # empty: all
    lease_s: float = Field(default=30.0, ge=1, le=3600)
    heartbeat_s: float = Field(default=5.0, gt=0, le=600)
    max_attempts: int = Field(default=3, ge=1, le=100)
    retry_s: float = Field(default=1.0, gt=0, le=3600)  # before the second attempt; doubles with each
    drain_s: float = Field(default=20.0, ge=0, le=3600)
    spot_notices: Literal["none", "aws", "gcp", "azure"] = "none"  # whose word that a machine is taken away is heard
    spot_notice_url: HttpUrl | None = None  # None: the cloud's own address
    claim_ahead_s: float = Field(default=10.0, gt=0, le=3600)
    model_memory_mb: int | None = Field(default=None, ge=1)  # None: most of what the device has
    host_memory_mb: int | None = Field(default=None, ge=0)  # None: half of the host's
    adapter_memory_mb: int = Field(default=1024, ge=1)
    batching: bool = True  # false: every forward for one call alone, to see what batching gives
    decode_aside: bool | None = None  # None: where there is a CUDA device
    preview_every: int = Field(default=4, ge=0, le=1000)  # steps; 0: none
    tape_every: int = Field(default=0, ge=0, le=1000)  # steps; 0: only when jobs are handed back
    max_queued: int = Field(default=1000, ge=1)
    max_scheduled: int = Field(default=1000, ge=1)  # of each tenant
    max_body_mb: float = Field(default=32.0, gt=0, le=4096)
    max_bodies_mb: float = Field(default=256.0, gt=0)  # of all requests that are being answered
    max_upload_mb: float = Field(default=24.0, gt=0, le=4096)
    max_worker_object_mb: float = Field(default=128.0, gt=0, le=4096)  # that a worker over HTTP stores at once
    max_uploads_mb_per_tenant: float = Field(default=8192.0, gt=0)
    max_pixels: int = Field(default=4096 * 4096, ge=64)
    keep_jobs_h: float = Field(default=24.0 * 30, gt=0)
    keep_uploads_h: float = Field(default=24.0, gt=0)
    keep_gb: float | None = Field(default=None, gt=0)  # None: no limit
    idempotency_h: float = Field(default=24.0, gt=0)
    allow_private_urls: bool = False
    api_key_file: Path | None = None  # for a worker whose store is a gateway; or DARKROOM_API_KEY
    public_url: HttpUrl | None = None  # None: the address that is listened on
    webhook_attempts: int = Field(default=8, ge=1, le=20)
    webhook_retry_s: float = Field(default=15.0, gt=0, le=3600)  # before the second attempt; four times as long each
    webhook_timeout_s: float = Field(default=15.0, gt=0, le=60)
    allow_private_webhooks: bool = False
    allowed_hosts: tuple[str, ...] = ()  # beside loopback names and the bound address
    allowed_origins: tuple[str, ...] = ()
    auth: Literal["auto", "keys", "open"] = "auto"
    trusted_proxies: tuple[Network, ...] = ("127.0.0.1/32", "::1/128")
    allowed_ips: tuple[Network, ...] = ()  # empty: all
    denied_ips: tuple[Network, ...] = ()
    token_s: float = Field(default=600.0, ge=10, le=24 * 3600)
    log_prompts: bool = False
    log_format: Literal["auto", "json", "text"] = "auto"
    worker_metrics: str = Field(default="127.0.0.1:0", pattern=r"^(|[^\s:]+:\d{1,5})$")
    otlp_endpoint: HttpUrl | None = None  # None: no traces
    price_per_hour_usd: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.heartbeat_s * 3 > self.lease_s:
            raise ValueError("heartbeat_s must be at most a third of lease_s, so that one lost beat loses no job")
        if self.max_bodies_mb < max(self.max_body_mb, self.max_upload_mb):
            raise ValueError("max_bodies_mb must be at least max_body_mb and max_upload_mb, or one body never fits")
        return self


class SafetySettings(Frozen):
    """`[safety]` of darkroom.toml; docs/guides/safety.md explains it."""

    rules: Path | None = None
    check_images: bool = True


class FileSettings(Frozen):
    """What darkroom.toml may say."""

    home: Path | None = None
    offline: bool = False
    default_model: str = "landscapes"
    threads: PowerOfTwo | None = None
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    adapters: dict[str, AdapterSettings] = Field(default_factory=dict)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    safety: SafetySettings = Field(default_factory=SafetySettings)
    oidc: OidcSettings | None = None
    guests: GuestSettings | None = None
    fleet: FleetSettings | None = None
    slack: SlackSettings = Field(default_factory=SlackSettings)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, names in (("model", self.models), ("adapter", self.adapters)):
            for name in names:
                if not MODEL_NAME.fullmatch(name):
                    raise ValueError(f"{kind} name {name!r}: {SAID_NAME}")
        return self


class EnvironmentSettings(BaseSettings):
    """What the environment may say, as DARKROOM_HOME and so on."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    config: Path | None = None
    home: Path | None = None
    offline: bool | None = None
    default_model: str | None = None
    threads: PowerOfTwo | None = None
    store: str | None = None
    storage: str | None = None
    pool: str | None = Field(default=None, min_length=1, max_length=64)
    workers_here: int = Field(default=1, ge=1)
    workers_on_device: int = Field(default=1, ge=1)
    price_per_hour_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    oidc_client_secret: SecretStr | None = None
    otlp_endpoint: HttpUrl | None = Field(
        default=None, validation_alias=AliasChoices(f"{ENV_PREFIX}OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )


class ClientSettings(BaseSettings):
    """Where a client of the service finds it: DARKROOM_URL and DARKROOM_API_KEY."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    url: str = "http://127.0.0.1:8188"
    api_key: str | None = None


class Settings(Frozen):
    """Everything that is set, with where it came from; `config_file` is None where there is no darkroom.toml.

    `home` holds what Darkroom writes. `threads` None leaves the count of CPU threads to the machine's cores. `pool` is
    the fleet's pool that this process is a worker of; `workers_here` and `workers_on_device`, it among them, share what
    the machine and the device have.
    """

    home: Path
    config_file: Path | None
    offline: bool
    default_model: str
    threads: int | None
    models: dict[str, ModelSettings]
    adapters: dict[str, AdapterSettings] = Field(default_factory=dict)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    safety: SafetySettings = Field(default_factory=SafetySettings)
    oidc: OidcSettings | None = None
    oidc_client_secret: SecretStr | None = None
    guests: GuestSettings | None = None
    fleet: FleetSettings | None = None
    slack: SlackSettings = Field(default_factory=SlackSettings)
    pool: str | None = None
    workers_here: int = 1
    workers_on_device: int = 1

    @property
    def store_url(self) -> str:
        """Where jobs are kept."""
        return self.serve.store or f"sqlite:///{self.home / 'jobs.sqlite3'}"

    @property
    def storage_url(self) -> str:
        """Where artifacts are kept; where the store is a gateway, the gateway has them too."""
        is_joined = self.serve.store is not None and self.serve.store.startswith(("http://", "https://"))
        return self.serve.storage or (str(self.serve.store) if is_joined else str(self.home / "artifacts"))


def load(config: Path | None = None) -> Settings:
    """Settings for this process; `config` stands above DARKROOM_CONFIG, which stands above ./darkroom.toml.

    Raises `InvalidConfig`, which says file, key and what is allowed.
    """
    environment = _read_environment()
    path = _find_file(config or environment.config)
    said = _read_file(path) if path else FileSettings()
    base = path.parent if path else Path.cwd()
    default = environment.default_model or said.default_model
    home = environment.home or (base / said.home if said.home else Path(HOME_NAME))
    serve = _priced(_anchored(said.serve, base, ("api_key_file",)), environment.price_per_hour_usd)
    return Settings(
        home=home.expanduser().absolute(),
        config_file=path,
        offline=_is_hub_offline() or (said.offline if environment.offline is None else environment.offline),
        default_model=default,
        threads=environment.threads or said.threads,
        models={name: _anchored(model, base, MODEL_PATHS).placed(base) for name, model in said.models.items()},
        adapters={name: _placed_adapter(adapter, base, default) for name, adapter in said.adapters.items()},
        serve=_placed(serve, environment.store, environment.storage, environment.otlp_endpoint),
        safety=_anchored(said.safety, base, ("rules",)),
        oidc=said.oidc and _anchored(said.oidc, base, ("client_secret_file",)),
        oidc_client_secret=environment.oidc_client_secret,
        guests=said.guests,
        fleet=said.fleet,
        slack=_anchored(said.slack, base, SLACK_PATHS),
        pool=environment.pool,
        workers_here=environment.workers_here,
        workers_on_device=environment.workers_on_device,
    )


def load_client() -> ClientSettings:
    """Where the service is, for commands that talk to it; raises `InvalidConfig`."""
    try:
        return ClientSettings()
    except ValidationError as error:
        raise _environment_fault(error) from error


def service_url(said: str | None) -> str:
    """Where the service is, for a program whose table may say it: DARKROOM_URL stands above that."""
    client = load_client()
    return said if said is not None and "url" not in client.model_fields_set else client.url


def gateway_key(said: Settings | None = None) -> str:
    """The key that a worker shows to its gateway: DARKROOM_API_KEY, else what `api_key_file` holds; "": none."""
    key = load_client().api_key
    if key or said is None or said.serve.api_key_file is None:
        return key or ""
    return read_secret(said.serve.api_key_file, "serve.api_key_file").get_secret_value()


def with_places(settings: Settings, store: str | None, storage: str | None) -> Settings:
    """The settings with what the command line says of store and storage; None: as they are."""
    return settings.model_copy(update={"serve": _placed(settings.serve, store, storage)})


def read_api_key(name: str, model: ModelSettings) -> SecretStr | None:
    """The key to show to the service behind a remote model; None where its entry names none. Raises `InvalidConfig`."""
    if model.api_key_env is not None:
        field, said = f"models.{name}.api_key_env", os.environ.get(model.api_key_env, "").strip()
        place = f"the environment variable {model.api_key_env}"
    elif model.api_key_file is not None:
        field, place = f"models.{name}.api_key_file", str(model.api_key_file)
        said = read_secret(model.api_key_file, field).get_secret_value()
    else:
        return None
    if not said:
        raise InvalidConfig(f"{field}: {place} holds no key", field=field)
    return SecretStr(said)


def _find_file(given: Path | None) -> Path | None:
    path = (given or Path(FILE_NAME)).expanduser().absolute()
    if path.is_file():
        return path
    if given is not None:
        raise InvalidConfig(f"{path}: there is no such file", field="config")
    return None


def _read_file(path: Path) -> FileSettings:
    try:
        # Through JSON, so that strict types still take a TOML array for a size and a string for a path.
        said = json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str)
        return FileSettings.model_validate_json(said)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{path} is not valid TOML: {error}", field="config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}", field="config") from error
    except ValidationError as error:
        raise _invalid(str(path), error, FileSettings) from error


def _read_environment() -> EnvironmentSettings:
    try:
        return EnvironmentSettings()
    except ValidationError as error:
        raise _environment_fault(error) from error


def _environment_fault(error: ValidationError) -> InvalidConfig:
    key = str(error.errors()[0]["loc"][0])
    name = key.upper() if key.upper().startswith(ENV_PREFIX) else f"{ENV_PREFIX}{key.upper()}"
    return InvalidConfig(f"environment variable {name}: {_problem(error.errors()[0])}", field=name)


def _invalid(source: str, error: ValidationError, model: type[BaseModel]) -> InvalidConfig:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    key = ".".join(place)
    text = _problem(first)
    if first["type"] == "extra_forbidden":
        keys = _keys_beside(place, model)
        text = f"there is no such key{did_you_mean(place[-1], keys)}; allowed: {', '.join(keys)}"
    return InvalidConfig(f"{source}: {key + ': ' if key else ''}{text}", field=key or "config")


def _keys_beside(place: list[str], model: type[BaseModel]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {"serve": ServeSettings, "safety": SafetySettings}
    tables |= {"oidc": OidcSettings, "guests": GuestSettings, "slack": SlackSettings}
    if place[0] in ("oidc", "guests") and place[1:2] == ["limits"] and len(place) > 2:
        return list(PersonLimits.model_fields)
    if place[0] in tables and len(place) > 1:
        return list(tables[place[0]].model_fields)
    if place[0] == "fleet":
        parts: dict[str, type[BaseModel]] = {"pools": PoolSettings, "rules": RuleSettings}
        return list(parts.get(".".join(place[1:2]), FleetSettings).model_fields)
    if place[0] == "adapters" and len(place) > 2:
        model = AdapterSettings
    if place[0] == "models" and len(place) > 2:
        model = PresetSettings if "presets" in place[2:-1] else ModelSettings
    return list(model.model_fields)


def _problem(first: Any) -> str:
    """One sentence: what is allowed, and what was given."""
    text = problem_said(first)
    given = None if first["loc"][-1:] == ("remote",) else first.get("input")  # somebody may have put a password in it
    return text if isinstance(given, dict | list) or given is None else f"{text}, not {given!r}"


def _anchored(said: F, base: Path, names: tuple[str, ...]) -> F:
    """Paths in the file are relative to the file, wherever the command is run."""
    paths = {name: getattr(said, name) for name in names}
    return said.model_copy(update={k: base / p.expanduser() for k, p in paths.items() if p is not None})


def _placed_adapter(said: AdapterSettings, base: Path, default: str) -> AdapterSettings:
    """Its model is settled here: a command that narrows to one model makes that one the default."""
    return _anchored(said, base, ("path",)).model_copy(update={"model": said.model or default})


def _placed(
    serve: ServeSettings, store: str | None, storage: str | None, otlp_endpoint: str | None = None
) -> ServeSettings:
    said = {"store": store, "storage": storage, "otlp_endpoint": otlp_endpoint}
    return serve.model_copy(update={name: value for name, value in said.items() if value is not None})


def _priced(serve: ServeSettings, price_per_hour_usd: float | None) -> ServeSettings:
    return serve if price_per_hour_usd is None else serve.model_copy(update={"price_per_hour_usd": price_per_hour_usd})


def _is_hub_offline() -> bool:
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in OFFLINE_NAMES)
