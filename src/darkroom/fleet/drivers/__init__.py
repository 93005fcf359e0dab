"""What carries a plan out: processes of this machine, actors of a Ray cluster, pods of Kubernetes.

A driver's package is imported where its settings name it, and nowhere else.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from ...config import Settings
from ...errors import InvariantBroken
from ...jobs.store import Store
from ..nouns import Driver, Pool

POOL_NAME = "DARKROOM_POOL"
PRICE_PER_HOUR = "DARKROOM_PRICE_PER_HOUR_USD"


def open_driver(settings: Settings, store: Store, arguments: Sequence[str] = ()) -> Driver:
    """The driver that `[fleet] driver` names; `arguments` (`--model NAME`) are for workers of this machine.

    Raises `DriverUnavailable` where what starts workers does not answer, or its package is missing.
    """
    if settings.fleet is None:
        raise InvariantBroken("there is no fleet to drive: the settings have no [fleet]")
    if settings.fleet.driver == "ray":
        from .ray import RayDriver

        return RayDriver(settings, store)
    if settings.fleet.driver == "kubernetes":
        from .kubernetes import KubernetesDriver

        return KubernetesDriver(settings)
    from .local import LocalDriver

    return LocalDriver(settings, store, arguments)


def worker_name(pool: Pool) -> str:
    """A fresh id for a worker of that pool: what another life held is then nobody's but the dead one's."""
    return f"{pool.name}-{secrets.token_hex(4)}"


def pool_environment(pool: Pool) -> dict[str, str]:
    """What a worker of that pool finds in its environment: which pool it is of, what an hour costs, the pool's own."""
    return {PRICE_PER_HOUR: repr(pool.price_per_hour_usd), POOL_NAME: pool.name, **pool.environment}
