"""Prices of devices, and the pools of the settings with theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from darkroom.errors import InvalidConfig
from darkroom.fleet.prices import PRICES, pools_of, price_of
from darkroom.fleet_settings import FleetSettings, PoolSettings


def pools(**said: PoolSettings) -> FleetSettings:
    return FleetSettings(pools=said)


@pytest.mark.parametrize("device", PRICES)
def test_spot_costs_less_and_nothing_is_for_free(device: str) -> None:
    assert 0 < price_of(device, is_spot=True) < price_of(device, is_spot=False)


def test_case_does_not_matter() -> None:
    assert price_of("h100", is_spot=False) == price_of("H100", is_spot=False)


def test_an_unknown_device_is_named_with_its_key_and_what_is_known() -> None:
    with pytest.raises(
        InvalidConfig, match=r"fleet\.pools\.odd\.device: .*'TPU'.* price_per_hour_usd .*H200"
    ) as caught:
        pools_of(pools(odd=PoolSettings(device="TPU")))
    assert caught.value.field == "fleet.pools.odd.device"


def test_pools_have_what_the_settings_say_and_the_tables_price() -> None:
    said = PoolSettings(device="L4", is_spot=True, models=("a",), min_workers=1, max_workers=3, environment={"A": "b"})
    spot, own = pools_of(pools(spot=said, own=PoolSettings(device="TPU", price_per_hour_usd=0.0)))
    assert (spot.name, spot.device, spot.is_spot, spot.price_per_hour_usd) == ("spot", "L4", True, PRICES["L4"].spot)
    assert (spot.models, spot.min_workers, spot.max_workers, spot.environment) == (("a",), 1, 3, {"A": "b"})
    assert own.price_per_hour_usd == 0.0


def test_a_pool_that_names_neither_price_nor_device_has_the_workers_price() -> None:
    said = pools(plain=PoolSettings(), card=PoolSettings(device="L4"), own=PoolSettings(price_per_hour_usd=0.5))
    assert [pool.price_per_hour_usd for pool in pools_of(said, 4.2)] == [4.2, PRICES["L4"].on_demand, 0.5]
    assert pools_of(said)[0].price_per_hour_usd == PRICES["cpu"].on_demand


def test_the_guide_has_this_table() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "cost.md").read_text(encoding="utf-8")
    said = re.findall(r"^\| `([\w-]+)` \| ([0-9.]+) \| ([0-9.]+) \|$", guide, re.MULTILINE)
    assert [(name, float(high), float(low)) for name, high, low in said] == [
        (name, price.on_demand, price.spot) for name, price in PRICES.items()
    ]
