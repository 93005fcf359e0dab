"""The requests of the simulated loads: who asks for what, when."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .device import Device

GUIDANCES = (3.0, 5.0, 7.5, 9.0)
HOURS = 504  # three weeks
PEAK = 9.0  # the busiest hour over the mean one


@dataclass(frozen=True)
class Ask:
    """One request: its denoiser calls are `steps` of `rows` rows each, then `images` images are decoded."""

    number: int
    arrived: float
    size: int
    steps: int
    rows: int
    images: int = 1
    guidance: float = 5.0
    model: int = 0
    adapter: int = 0

    def solo_s(self, device: Device) -> float:
        """Seconds with nothing beside it."""
        denoise_s = self.steps * device.seconds(self.size, "denoise", self.rows)
        return denoise_s + device.seconds(self.size, "decode", self.images)


Kind = Callable[[random.Random], Ask]


def mixed_steps(size: int, rows: int) -> Kind:
    """W2: steps and guidance differ, at one size."""

    def draw(chance: random.Random) -> Ask:
        return Ask(0, 0.0, size, chance.choice((4, 8, 12, 20, 30)), rows, guidance=chance.choice(GUIDANCES))

    return draw


def mixed_sizes(chance: random.Random) -> Ask:
    """W3: sizes differ, and steps with them."""
    size, steps = chance.choices(((512, 20), (768, 25), (1024, 25), (1536, 35)), (15, 25, 45, 15))[0]
    return Ask(0, 0.0, size, steps, 1, guidance=chance.choice(GUIDANCES))


def production(chance: random.Random) -> Ask:
    """Like the published trace GenTD26: 30 steps mostly, several images, many models, adapters in 17 %."""
    steps = 30 if chance.random() < 0.91 else chance.choice((20, 25, 40, 50))
    images = chance.choices((1, 2, 4, 8), (58, 8, 19, 15))[0]
    # the ten most asked for of 86 models take 87 %
    model = chance.choices(range(86), [0.87 / (place + 1) / 2.929 for place in range(10)] + [0.13 / 76] * 76)[0]
    adapter = chance.randrange(1, 50) if chance.random() < 0.17 else 0
    return Ask(0, 0.0, 512, steps, 2 * images, images, chance.choice(GUIDANCES), model, adapter)


def steady(kind: Kind, device: Device, load: float, count: int, seed: int) -> list[Ask]:
    """Poisson arrivals at `load` times what the device does one at a time."""
    chance = random.Random(f"steady {seed}")
    asks = [kind(chance) for _ in range(count)]
    per_second = load / _mean_solo_s(asks, device)
    times, now = [], 0.0
    for _ in asks:
        now += chance.expovariate(per_second)
        times.append(now)
    return _arriving(asks, times)


def by_the_hour(kind: Kind, device: Device, load: float, count: int, seed: int) -> list[Ask]:
    """Poisson within an hour, hours of all sizes, the busiest `PEAK` times the mean, whose load is `load`."""
    chance = random.Random(f"hourly {seed}")
    asks = [kind(chance) for _ in range(count)]
    rates = _hourly_rates(chance)
    hour_s = count * _mean_solo_s(asks, device) / load / HOURS
    times: list[float] = []
    for hour, rate in enumerate(rates):
        times += [(hour + chance.random()) * hour_s for _ in range(_poisson(chance, rate * count / HOURS))]
    times.sort()
    return _arriving([asks[place % count] for place in range(len(times))], times)


def _hourly_rates(chance: random.Random) -> list[float]:
    """Mean 1, largest `PEAK`: a power of lognormal draws, found by halving."""
    draws = sorted(chance.lognormvariate(0.0, 1.0) for _ in range(HOURS))
    low, high = 0.0, 4.0
    for _ in range(40):
        power = (low + high) / 2
        rates = [draw**power for draw in draws]
        low, high = (power, high) if max(rates) * HOURS / sum(rates) < PEAK else (low, power)
    chance.shuffle(rates)
    return [rate * HOURS / sum(rates) for rate in rates]


def _poisson(chance: random.Random, mean: float) -> int:
    """How many arrivals of rate 1 fall into `mean` seconds."""
    count, now = 0, chance.expovariate(1.0)
    while now < mean:
        count, now = count + 1, now + chance.expovariate(1.0)
    return count


def _mean_solo_s(asks: Sequence[Ask], device: Device) -> float:
    return sum(ask.solo_s(device) for ask in asks) / len(asks)


def _arriving(asks: Sequence[Ask], times: Sequence[float]) -> list[Ask]:
    return [
        Ask(number, at, a.size, a.steps, a.rows, a.images, a.guidance, a.model, a.adapter)
        for number, (a, at) in enumerate(zip(asks, times, strict=True))
    ]
