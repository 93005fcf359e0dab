"""Which models a worker of a pool serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.config import FleetSettings, PoolSettings, ServeSettings, Settings
from darkroom.errors import InvalidConfig
from darkroom.models.catalogue import narrow_to_pool


def settings(pool: str | None, *served: str) -> Settings:
    """A service with these models, whose pool `small` has two."""
    fleet = FleetSettings(pools={"small": PoolSettings(models=("a", "b")), "any": PoolSettings()})
    return Settings(
        home=Path("home"),
        config_file=None,
        offline=True,
        default_model="a",
        threads=None,
        models={},
        serve=ServeSettings(models=served),
        fleet=fleet,
        pool=pool,
    )


@pytest.mark.parametrize(
    ("pool", "served", "expected"),
    [
        ("small", (), ("a", "b")),
        ("small", ("b", "c"), ("b",)),
        ("any", ("c",), ("c",)),
        ("elsewhere", ("c",), ("c",)),
        (None, (), ()),
    ],
)
def test_a_worker_serves_what_its_pool_and_the_service_have(
    pool: str | None, served: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert narrow_to_pool(settings(pool, *served)).serve.models == expected


def test_a_pool_without_a_model_of_the_service_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"fleet\.pools\.small\.models: .* a, b, .* c: name one"):
        narrow_to_pool(settings("small", "c"))
