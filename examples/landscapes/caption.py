"""Captions: everyday English for a scene, with words left out and reordered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from . import words
from .scene import ATTRIBUTES, Scene

Mentions = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Caption:
    """What was said, and which values of each mentioned attribute would make it true."""

    text: str
    mentions: Mentions


@dataclass(frozen=True)
class Phrase:
    """A piece of a caption and what it claims."""

    text: str
    mentions: Mentions


def write_caption(scene: Scene, rng: random.Random) -> Caption:
    """Say some of what the scene shows; one caption in five says everything, one in five very little."""
    keep = rng.choice((0.35, 0.6, 0.8, 0.9, 1.0))
    phrases = [phrase for phrase in _phrases(scene, rng) if rng.random() < keep]
    rng.shuffle(phrases)
    phrases = phrases[:9]
    timed = rng.random() < 0.5 + 0.5 * keep or not phrases
    text = _arrange(scene if timed else None, [p.text for p in phrases], rng)
    mentions = {name: values for phrase in phrases for name, values in phrase.mentions.items()}
    if timed:
        mentions["time"] = (scene.time,)
    return Caption(_finish(text, rng), mentions)


def mention_targets(mentions: Mentions) -> list[list[float]]:
    """For each attribute the odds of its values; the last place stands for "unspecified"."""
    rows = []
    for name, values in ATTRIBUTES.items():
        allowed = mentions.get(name, ())
        odds = [1.0 / len(allowed) if value in allowed else 0.0 for value in values]
        rows.append([*odds, 0.0 if allowed else 1.0])
    return rows


def _arrange(scene: Scene | None, phrases: Sequence[str], rng: random.Random) -> str:
    if scene is None:
        return rng.choice(("", "", *words.OPENINGS)) + _join(phrases, rng)
    style = rng.random()
    noun = rng.choice(words.TIME_NOUNS[scene.time])
    if style < 0.35:
        pieces = [noun, *phrases]
        if rng.random() < 0.4:
            rng.shuffle(pieces)
        return ", ".join(pieces)
    if style < 0.7 or not phrases:
        article = rng.choice(("", "a ", f"a {rng.choice(words.PRAISE)} ", f"{rng.choice(words.PRAISE)} "))
        rest = rng.choice(words.JOINS) + _join(phrases, rng) if phrases else ""
        return rng.choice(("", "", "", *words.OPENINGS)) + article + noun + rest
    opening = rng.choice(("", "", *words.OPENINGS))
    return f"{opening}{_join(phrases, rng)} {rng.choice(words.TIME_ADVERBS[scene.time])}"


def _join(phrases: Sequence[str], rng: random.Random) -> str:
    if len(phrases) < 2:
        return "".join(phrases)
    head = (
        rng.choice((", ", ", ", " and ", " with ")).join(phrases[:2]) if len(phrases) < 4 else ", ".join(phrases[:-1])
    )
    tail = phrases[2:] if len(phrases) < 4 else phrases[-1:]
    return head + "".join(rng.choice((", ", " and ", " with ", ", and ")) + phrase for phrase in tail)


def _finish(text: str, rng: random.Random) -> str:
    text = " ".join(text.split())
    if rng.random() < 0.15:
        text = text.replace(",", "")
    if rng.random() < 0.5:
        text = text[:1].upper() + text[1:]
    return text + ("." if rng.random() < 0.2 else "")


def _phrases(scene: Scene, rng: random.Random) -> list[Phrase]:
    made = [
        _body(scene, rng),
        _clouds(scene, rng),
        _weather(scene, rng),
        _mountains(scene, rng),
        _trees(scene, rng),
        _building(scene, rng),
    ]
    if scene.stars == "stars":
        made.append(Phrase(rng.choice(words.STARS), {"stars": ("stars",)}))
    if scene.hills == "hills":
        made.append(Phrase(rng.choice(words.HILLS), {"hills": ("hills",)}))
    if scene.water != "none":
        made.append(Phrase(rng.choice(words.WATER[scene.water]), {"water": (scene.water,)}))
    if scene.boat == "boat":
        made.append(Phrase(rng.choice(words.BOATS), {"boat": ("boat",)}))
    return [phrase for phrase in made if phrase is not None]


def _body(scene: Scene, rng: random.Random) -> Phrase | None:
    if scene.body == "none":
        return None
    text, mentions = rng.choice(words.BODIES[scene.body]), Mentions(body=(scene.body,))
    if rng.random() < 0.6:
        return Phrase(
            f"{text} {rng.choice(words.BODY_PLACES[scene.body_place])}", {**mentions, "body_place": (scene.body_place,)}
        )
    return Phrase(text, mentions)


def _clouds(scene: Scene, rng: random.Random) -> Phrase | None:
    if scene.clouds == "clouds":
        said = (scene.weather == "dry" and scene.time != "storm") or rng.random() < 0.4
        return Phrase(rng.choice(words.CLOUDY), {"clouds": ("clouds",)}) if said else None
    return Phrase(rng.choice(words.CLEAR), {"clouds": ("none",)}) if rng.random() < 0.3 else None


def _weather(scene: Scene, rng: random.Random) -> Phrase | None:
    if scene.weather == "dry":
        return None
    return Phrase(rng.choice(words.WEATHER[scene.weather]), {"weather": (scene.weather,)})


def _mountains(scene: Scene, rng: random.Random) -> Phrase | None:
    if scene.ranges == "none":
        return None
    counted = rng.random() < 0.5
    mentions: Mentions = {"ranges": (scene.ranges,) if counted else ("one", "several")}
    before = ""
    if rng.random() < 0.6:
        before = rng.choice(words.MOUNTAIN_COLOURS[scene.mountain_colour]) + " "
        mentions["mountain_colour"] = (scene.mountain_colour,)
    text = rng.choice(words.RANGES[scene.ranges if counted else "any"])
    if scene.snow_caps == "caps" and rng.random() < 0.75:
        mentions["snow_caps"] = ("caps",)
        if rng.random() < 0.6:
            before = f"{rng.choice(words.CAPS_BEFORE)} {before}"
        else:
            text = f"{text} {rng.choice(words.CAPS_AFTER)}"
    return Phrase(text.format(c=before), mentions)


def _trees(scene: Scene, rng: random.Random) -> Phrase | None:
    if scene.trees == "none":
        return None
    vague = scene.tree_count != "one" and rng.random() < 0.3
    text = rng.choice(words.TREES[scene.trees]["any" if vague else scene.tree_count])
    return Phrase(text, {"trees": (scene.trees,), "tree_count": ("two", "several") if vague else (scene.tree_count,)})


def _building(scene: Scene, rng: random.Random) -> Phrase | None:
    if scene.building == "none":
        return None
    text, mentions = rng.choice(words.BUILDINGS[scene.building]), Mentions(building=(scene.building,))
    if rng.random() < 0.5:
        place = rng.choice(words.BODY_PLACES[scene.building_place])
        return Phrase(f"{text} {place}", {**mentions, "building_place": (scene.building_place,)})
    return Phrase(text, mentions)
