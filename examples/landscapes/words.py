"""The English words each attribute may be called by."""

from __future__ import annotations

TIME_NOUNS: dict[str, tuple[str, ...]] = {
    "dawn": ("dawn", "sunrise", "daybreak", "early morning", "pink dawn", "morning"),
    "day": ("day", "daytime", "sunny day", "bright day", "midday", "blue day"),
    "sunset": ("sunset", "sundown", "dusk", "evening", "red sunset", "orange sunset"),
    "night": ("night", "nighttime", "midnight", "dark night", "blue night"),
    "storm": ("storm", "thunderstorm", "lightning storm", "stormy sky", "lightning"),
}
TIME_ADVERBS: dict[str, tuple[str, ...]] = {
    "dawn": ("at dawn", "at sunrise", "in the early morning", "at daybreak", "in the morning"),
    "day": ("by day", "in daylight", "at noon", "during the day", "on a bright day"),
    "sunset": ("at sunset", "at dusk", "in the evening", "at sundown"),
    "night": ("at night", "by night", "at midnight", "in the dark"),
    "storm": ("in a storm", "during a thunderstorm", "in stormy weather", "with lightning"),
}
BODIES: dict[str, tuple[str, ...]] = {
    "sun": ("the sun", "sun", "a bright sun", "a yellow sun", "sunshine"),
    "moon": ("the moon", "a full moon", "full moon", "moon", "a bright moon", "moonlight"),
}
BODY_PLACES: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "to the left", "at the left", "left"),
    "centre": ("in the middle", "in the centre", "in the center", "at the centre"),
    "right": ("on the right", "to the right", "at the right", "right"),
}
CLOUDY = ("clouds", "a few clouds", "cloudy", "some clouds", "cloudy sky", "fluffy clouds")
CLEAR = ("a clear sky", "clear sky", "cloudless", "no clouds", "without clouds")
STARS = ("stars", "starry", "a starry sky", "many stars", "a sky full of stars", "twinkling stars")
WEATHER: dict[str, tuple[str, ...]] = {
    "rain": ("rain", "raining", "heavy rain", "in the rain", "rainy", "falling rain"),
    "snow": ("snow falling", "snowing", "snowfall", "falling snow", "in the snow", "snowy weather", "winter"),
}
RANGES: dict[str, tuple[str, ...]] = {
    "one": (
        "a {c}mountain range",
        "one {c}mountain range",
        "a single range of {c}mountains",
        "one range of {c}mountains",
    ),
    "several": (
        "several {c}mountain ranges",
        "many ranges of {c}mountains",
        "layers of {c}mountains",
        "three {c}mountain ranges",
    ),
    "any": ("{c}mountains", "{c}mountains", "{c}mountains in the distance", "some {c}mountains", "{c}peaks"),
}
MOUNTAIN_COLOURS: dict[str, tuple[str, ...]] = {
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "red": ("red", "reddish"),
}
CAPS_BEFORE = ("snow-capped", "snowcapped", "snowy", "snow-topped", "white-capped")
CAPS_AFTER = ("with snow caps", "with snow on top", "with snowy peaks", "capped with snow")
HILLS = ("hills", "rolling hills", "green hills", "soft hills", "low hills", "gentle hills")
WATER: dict[str, tuple[str, ...]] = {
    "lake": ("a lake", "lake", "a calm lake", "a quiet lake", "a round lake", "a pond"),
    "sea": ("the sea", "sea", "the ocean", "a calm sea", "a beach", "the coast", "the seaside"),
}
TREES: dict[str, dict[str, tuple[str, ...]]] = {
    "pine": {
        "one": ("a pine tree", "one pine", "a pine", "a single pine tree", "one pine tree", "a fir tree"),
        "two": ("two pine trees", "two pines", "a pair of pines", "2 pine trees", "two fir trees"),
        "several": ("several pine trees", "a row of pines", "four pines", "many pine trees", "a group of pines"),
        "any": ("pine trees", "pines", "fir trees"),
    },
    "palm": {
        "one": ("a palm tree", "one palm", "a palm", "a single palm tree", "one palm tree"),
        "two": ("two palm trees", "two palms", "a pair of palms", "2 palm trees"),
        "several": ("several palm trees", "a row of palms", "four palms", "many palm trees", "a group of palms"),
        "any": ("palm trees", "palms"),
    },
}
BUILDINGS: dict[str, tuple[str, ...]] = {
    "house": ("a house", "house", "a cottage", "a little house", "a cabin", "a small house", "a home"),
    "lighthouse": (
        "a lighthouse",
        "lighthouse",
        "a red and white lighthouse",
        "a tall lighthouse",
        "a striped lighthouse",
    ),
}
BOATS = ("a sailboat", "sailboat", "a boat", "a small boat", "a sailing boat", "a boat sailing")
PRAISE = ("beautiful", "lovely", "peaceful", "quiet", "pretty", "nice", "calm", "dreamy", "wonderful")
OPENINGS = (
    "a picture of ",
    "an image of ",
    "a drawing of ",
    "a poster of ",
    "a painting of ",
    "landscape, ",
    "a landscape with ",
    "view of ",
)
JOINS = (" over ", " with ", " and ", ", ", " above ", " behind ", " by ")
COMMON = """
the of and to in is you that it he was for on are with as they be at one have this from or had by but not what
all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number no way could people
my than first water been call who oil its now find long down day did get come made may part over new sound
take only little work know place year live me back give most very after thing our just name good sentence man
think say great where help through much before line right too mean old any same tell boy follow came want show
also around form three small set put end does another well large must big even such because turn here why ask
went men read need land different home us move try kind hand picture again change off play spell air away
animal house point page letter mother answer found study still learn should world city street car dog cat bird
horse flower forest river bridge castle tower desert island field road village garden winter summer spring
autumn photo style art color colour bright dark light green yellow orange white black brown grey
"""
