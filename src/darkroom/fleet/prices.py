"""What an hour of a device costs, and the pools of the settings with their prices.

The table has US dollars an hour of one device with its share of the machine around it: list prices of on-demand and
usual prices of spot machines at AWS, Google Cloud and Azure in US regions, in the second half of 2025, rounded. Spot
prices change from hour to hour and from zone to zone. `price_per_hour_usd` of a pool stands above the table: set it
where your price is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InvalidConfig
from ..fleet_settings import FleetSettings, PoolSettings
from .nouns import Pool


@dataclass(frozen=True)
class Price:
    """US dollars an hour."""

    on_demand: float
    spot: float


PRICES: Mapping[str, Price] = {
    "cpu": Price(0.17, 0.07),  # four cores
    "T4": Price(0.53, 0.20),
    "L4": Price(0.80, 0.30),
    "A10G": Price(1.01, 0.40),
    "L40S": Price(1.86, 0.75),
    "A100-40": Price(3.67, 1.20),
    "A100-80": Price(5.07, 2.00),
    "H100": Price(6.98, 2.80),
    "H200": Price(7.91, 3.20),
}
_BY_FOLDED = {name.casefold(): price for name, price in PRICES.items()}


def price_of(device: str, is_spot: bool, field: str = "device") -> float:
    """US dollars an hour, by the table; upper and lower case count alike. Raises `InvalidConfig`, about `field`."""
    price = _BY_FOLDED.get(device.casefold())
    if price is None:
        known = ", ".join(PRICES)
        said = f"no price is known of the device {device!r}: set price_per_hour_usd beside it, or say one of {known}"
        raise InvalidConfig(f"{field}: {said}", field=field)
    return price.spot if is_spot else price.on_demand


def pools_of(settings: FleetSettings, workers_usd: float = 0.0) -> tuple[Pool, ...]:
    """The pools in the order of the settings, each with its price; raises `InvalidConfig`.

    `workers_usd`: the `[serve] price_per_hour_usd`, for pools that name neither a price nor a device; 0: not set.
    """
    return tuple(_pool_of(name, said, workers_usd) for name, said in settings.pools.items())


def _pool_of(name: str, said: PoolSettings, workers_usd: float) -> Pool:
    price = said.price_per_hour_usd
    if price is None and workers_usd and "device" not in said.model_fields_set:
        price = workers_usd
    if price is None:
        price = price_of(said.device, said.is_spot, f"fleet.pools.{name}.device")
    return Pool(
        name=name,
        device=said.device,
        is_spot=said.is_spot,
        price_per_hour_usd=price,
        models=said.models,
        min_workers=said.min_workers,
        max_workers=said.max_workers,
        ready_s=said.ready_s,
        environment=said.environment,
    )
