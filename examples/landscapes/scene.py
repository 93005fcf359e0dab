"""What a landscape shows, as a handful of named attributes."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "time": ("dawn", "day", "sunset", "night", "storm"),
    "body": ("none", "sun", "moon"),
    "body_place": ("none", "left", "centre", "right"),
    "clouds": ("none", "clouds"),
    "stars": ("none", "stars"),
    "weather": ("dry", "rain", "snow"),
    "ranges": ("none", "one", "several"),
    "mountain_colour": ("none", "blue", "purple", "red"),
    "snow_caps": ("none", "caps"),
    "hills": ("none", "hills"),
    "water": ("none", "lake", "sea"),
    "trees": ("none", "pine", "palm"),
    "tree_count": ("none", "one", "two", "several"),
    "building": ("none", "house", "lighthouse"),
    "building_place": ("none", "left", "right"),
    "boat": ("none", "boat"),
}


@dataclass(frozen=True)
class Scene:
    """One landscape; every field holds one of the values its attribute lists."""

    time: str
    body: str
    body_place: str
    clouds: str
    stars: str
    weather: str
    ranges: str
    mountain_colour: str
    snow_caps: str
    hills: str
    water: str
    trees: str
    tree_count: str
    building: str
    building_place: str
    boat: str


def scene_labels(scene: Scene) -> list[int]:
    """Index of each attribute's value, in the order of ATTRIBUTES."""
    values = asdict(scene)
    return [ATTRIBUTES[name].index(values[name]) for name in ATTRIBUTES]


def sample_scene(rng: random.Random) -> Scene:
    """A random scene in which nothing contradicts anything else (no stars by day, no boat on land)."""
    return Scene(**_sample_sky(rng), **_sample_land(rng), **_sample_things(rng))


def _sample_sky(rng: random.Random) -> dict[str, str]:
    time = rng.choice(ATTRIBUTES["time"])
    weather = rng.choices(("dry", "rain", "snow"), (62, 19, 19))[0]
    clear = weather == "dry" and time != "storm"
    lit = clear and rng.random() < 0.78
    return {
        "time": time,
        "weather": weather,
        "body": ("moon" if time == "night" else "sun") if lit else "none",
        "body_place": rng.choice(("left", "centre", "right")) if lit else "none",
        "clouds": "clouds" if not clear or rng.random() < 0.45 else "none",
        "stars": "stars" if clear and time == "night" and rng.random() < 0.65 else "none",
    }


def _sample_land(rng: random.Random) -> dict[str, str]:
    ranges = rng.choices(("none", "one", "several"), (30, 35, 35))[0]
    rocky = ranges != "none"
    return {
        "ranges": ranges,
        "mountain_colour": rng.choice(("blue", "purple", "red")) if rocky else "none",
        "snow_caps": "caps" if rocky and rng.random() < 0.5 else "none",
        "hills": "hills" if rng.random() < 0.42 else "none",
    }


def _sample_things(rng: random.Random) -> dict[str, str]:
    water = rng.choices(("none", "lake", "sea"), (36, 32, 32))[0]
    trees = rng.choices(("none", "pine", "palm"), (36, 32, 32))[0]
    building = rng.choices(("none", "house", "lighthouse"), (40, 30, 30))[0]
    return {
        "water": water,
        "trees": trees,
        "tree_count": "none" if trees == "none" else rng.choice(("one", "two", "several")),
        "building": building,
        "building_place": "none" if building == "none" else rng.choice(("left", "right")),
        "boat": "boat" if water != "none" and rng.random() < 0.5 else "none",
    }
