"""Settings of the fleet: pools of workers, who starts them, and when. config.py reads them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .access_settings import Frozen

Days = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
RayAddress = Annotated[str, Field(pattern=r"^[^\s/]+:\d{1,5}$")]
ResourceAmount = Annotated[float, Field(gt=0, le=10_000)]
PolicyName = Annotated[str, Field(pattern=r"^(fixed|reactive|darkroom|[\w.]+:\w+)$")]


class PoolSettings(Frozen):
    """`[fleet.pools.NAME]`: workers that are alike; docs/reference/settings.md explains each key."""

    device: str = Field(default="cpu", min_length=1, max_length=64)  # as in the table of prices
    is_spot: bool = False
    price_per_hour_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)  # None: the table's
    models: tuple[str, ...] = ()  # empty: all
    min_workers: int = Field(default=0, ge=0, le=1000)  # kept warm
    max_workers: int = Field(default=1, ge=1, le=1000)
    ready_s: float = Field(default=20.0, gt=0, le=7200)  # from being asked for until it serves
    environment: dict[str, str] = Field(default_factory=dict)  # of its workers
    ray_resources: dict[str, ResourceAmount] = Field(default_factory=dict)  # a worker's; empty: what `device` says

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError("min_workers must be at most max_workers")
        return self


class RuleSettings(Frozen):
    """`[[fleet.rules]]`: more workers kept warm at known times, in the time zone of `[fleet] time_zone`."""

    pool: str
    days: tuple[Days, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    start: TimeOfDay = "00:00"
    end: TimeOfDay = "23:59"  # earlier than `start`: of the next day
    min_workers: int = Field(ge=0, le=1000)


class FleetSettings(Frozen):
    """`[fleet]` of darkroom.toml: workers that come and go with the work."""

    driver: Literal["local", "ray", "kubernetes"] = "local"
    policy: PolicyName = "darkroom"
    look_s: float = Field(default=5.0, ge=0.2, le=30)  # between two plans
    wait_s: float = Field(default=30.0, gt=0, le=86400)  # that a job of normal priority may wait for a worker
    idle_s: float = Field(default=300.0, ge=0, le=86400)  # without work before a worker leaves
    time_zone: str = "UTC"
    ray_address: RayAddress | None = None  # None: the cluster of this machine
    kubernetes_namespace: str | None = None  # None: that of the pod, or of the current context
    pools: dict[str, PoolSettings] = Field(default_factory=dict)
    rules: tuple[RuleSettings, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.pools:
            raise ValueError("name at least one pool: [fleet.pools.NAME]")
        for rule in self.rules:
            if rule.pool not in self.pools:
                raise ValueError(f"a rule is for pool {rule.pool!r}, which is not one of {', '.join(self.pools)}")
        return self
