"""What somebody typed behind the command: Slack's escapes undone, the prompt and its flags told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BadInput
from ...wording import did_you_mean

# What stands between angle brackets is Slack's, as `<@U1|ann>`:
# https://docs.slack.dev/messaging/formatting-message-text
BRACKETS = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")
ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))  # in this order: an escaped escape is text
TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " "})  # as phones set it
DASHES = "--|—|–"
FLAG = re.compile(rf"(?:^|(?<=\s))({DASHES})([A-Za-z][\w-]*)(=|\s+|$)")
VALUE = re.compile(rf"""(?:"([^"]*)"|'([^']*)'|(?!["']|(?:{DASHES})[A-Za-z])(\S+))(?=\s|$)""")


@dataclass(frozen=True)
class Wanted:
    """A prompt, and the rest of the wish by `Client.submit`'s keywords."""

    prompt: str
    wish: Mapping[str, Any]


@dataclass(frozen=True)
class Flag:
    """`--NAME VALUE`: which field of a job's input it fills, how it is read, and its line of help."""

    field: str
    read: Callable[[str], Any]
    help: str


def _whole(said: str) -> int:
    try:
        return int(said)
    except ValueError:
        raise BadInput(f"a whole number, not {said!r}") from None


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        raise BadInput(f"a number, not {said!r}") from None


def _size(said: str) -> tuple[int, int]:
    width, cross, height = said.lower().replace("×", "x").partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise BadInput(f"WIDTHxHEIGHT in pixels, such as 256x256, not {said!r}")
    return int(width), int(height)


def _weight(said: str) -> tuple[str, float]:
    name, _, weight = said.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise BadInput(f"NAME=WEIGHT, such as neon=0.8, not {said!r}") from None


FLAGS: Mapping[str, Flag] = {
    "preset": Flag("preset", str, "a preset's name, such as `fast` or `quality`"),
    "steps": Flag("num_inference_steps", _whole, "denoising steps"),
    "size": Flag("size", _size, "WIDTHxHEIGHT in pixels"),
    "model": Flag("model", str, "a model's name"),
    "negative": Flag("negative_prompt", str, 'what not to draw, in quotes: `--negative "fog, people"`'),
    "seed": Flag("seed", _whole, "the same seed gives the same picture"),
    "guidance": Flag("guidance_scale", _number, "how closely to follow the words"),
    "images": Flag("num_images_per_prompt", _whole, "how many"),
    "adapter": Flag("adapters", _weight, "NAME=WEIGHT of a LoRA; may be given again"),
}
FLAG_OF = {flag.field: f"--{name}" for name, flag in FLAGS.items()} | {"width": "--size", "height": "--size"}


def unescape(text: str) -> str:
    """The text as it was typed: Slack's escapes undone, mentions as names, straight quotes."""
    text = BRACKETS.sub(_bare, text)
    for escaped, sign in ENTITIES:
        text = text.replace(escaped, sign)
    return text.translate(TYPOGRAPHY).strip()


def escape(text: str) -> str:
    """The text as Slack shows it unchanged: nothing in it is a mention or a link, whoever typed it."""
    for escaped, sign in reversed(ENTITIES):
        text = text.replace(sign, escaped)
    return text


def read_wanted(text: str) -> Wanted:
    """What unescaped text asks for. Raises `BadInput` for an unknown flag, or a value that it does not take.

    A long dash begins a flag, for keyboards make it of two hyphens, but only where its name is known: prose has dashes.
    """
    prompt, wish, place = "", dict[str, Any](), 0
    while (found := _next_flag(text, place)) is not None:
        name, begin, behind = found
        value = VALUE.match(text, behind)
        if value is None:
            raise _valueless(name, is_quoted=text[behind : behind + 1] in ('"', "'"))
        _put(wish, name, next(part for part in value.groups() if part is not None))
        prompt, place = f"{prompt} {text[place:begin].strip()}", value.end()
    return Wanted(_unquoted(f"{prompt} {text[place:].strip()}".strip()), wish)


def _next_flag(text: str, place: int) -> tuple[str, int, int] | None:
    for found in FLAG.finditer(text, place):
        dash, name = found[1], found[2].lower()
        if name in FLAGS:
            return name, found.start(), found.end()
        if dash == "--":
            said = ", ".join(f"--{each}" for each in FLAGS)
            raise BadInput(f"there is no --{name}{did_you_mean(name, FLAGS)}; there are: {said}", field=name)
    return None


def _valueless(name: str, *, is_quoted: bool) -> BadInput:
    if is_quoted:
        return BadInput(f"--{name}: its value needs a quote at its end, and a space behind that", field=name)
    return BadInput(f"--{name} needs a value: {FLAGS[name].help}", field=name)


def _put(wish: dict[str, Any], name: str, said: str) -> None:
    flag = FLAGS[name]
    try:
        value = flag.read(said)
    except BadInput as error:
        raise BadInput(f"--{name} must be {error.message}", field=name) from None
    if name == "adapter":
        wish.setdefault("adapters", {})[value[0]] = value[1]
    elif name == "size":
        wish["width"], wish["height"] = value
    else:
        wish[flag.field] = value


def _unquoted(prompt: str) -> str:
    is_quoted = len(prompt) > 1 and prompt[0] == prompt[-1] and prompt[0] in "\"'" and prompt[0] not in prompt[1:-1]
    return prompt[1:-1].strip() if is_quoted else prompt


def _bare(found: re.Match[str]) -> str:
    target, label = found[1], found[2]
    if target[:1] in ("@", "#", "!"):
        mark = "#" if target[0] == "#" else "@"
        return f"{mark}{(label or target[1:].split('^')[-1]).lstrip('@#')}"
    return label or target.removeprefix("mailto:")
