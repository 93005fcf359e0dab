"""Any HTTP service that answers with a picture: a TOML file says what to send, and where in the answer it stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..client.asking import AGENT, URL, encoded
from ..client.hands import AsyncHands
from ..client.wire import Request
from ..errors import BadInput
from .dialects import OTHER_SIZE, SILENT_S, Answered, Now, as_text_alone, bare, pictures_in, sent, too_few
from .plan import Wanted

METHODS = ("POST", "GET", "PUT")
PLACE = re.compile(r"\{(\w+)\}")
SECRET = re.compile(r"\$\{(\w+)\}")
HEADER = re.compile(r"[ -~]*")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
VISIBLE = re.compile(r"[!-~]*")
BRACES = str.maketrans({"{": "%7B", "}": "%7D"})
PATH = re.compile(r"body|[\w*-]+(\.[\w*-]+)*")
GUIDANCE = 7.5  # where the load says none
FIELD = "--template"


@dataclass(frozen=True)
class Template:
    """What to send. `{name}` in the URL and the body's texts stands for a request's value; a text that is nothing but
    one keeps the value's type. `image` is `body`, or the path of base64 in the JSON of the answer. `shown_url` is the
    URL as it was written, before secrets came into it."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    image: str = "body"
    shown_url: str = ""

    def request(self, wanted: Wanted) -> Request:
        """The request for one that is wanted."""
        values = values_of(wanted)
        url = PLACE.sub(lambda found: quote(str(values[found[1]]), safe=""), self.url)
        ours, content = {"User-Agent": AGENT}, None
        if self.body is not None:
            ours["Content-Type"], content = "application/json", encoded(filled(self.body, values))
        theirs = {name.lower() for name in self.headers}
        headers = {name: said for name, said in ours.items() if name.lower() not in theirs} | dict(self.headers)
        return Request(self.method, url, headers, content=content, timeout_s=SILENT_S)


class Plain:
    """The service of a template."""

    name = "template"
    asking: None = None

    def __init__(self, template: Template) -> None:
        self._template, self._hands = template, AsyncHands()

    @property
    def url(self) -> str:
        """Where requests go, as the file says it."""
        return bare(self._template.shown_url or self._template.url)

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        """Nothing is needed."""
        return as_text_alone(plan)

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        """One request and its answer, whole."""
        answer = await sent(self._hands, self._template.request(wanted), self.url)
        ended_s = now()
        images = len(pictures_in(answer, self._template.image))
        return Answered(ended_s, None, images, error=too_few(images, wanted))

    async def close(self) -> None:
        """Let the connections go."""
        await self._hands.close()


def read_template(path: Path) -> Template:
    """The template in a TOML file; `${NAME}` in a header or the URL is that variable of the environment. Raises
    `BadInput`."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refusal(path, f"cannot be read: {error}") from error
    unknown = sorted(set(said) - set(ALLOWED))
    if unknown:
        raise _refusal(path, f"has {', '.join(unknown)}; allowed: {', '.join(ALLOWED)}")
    written = said.get("url", "")
    url = _revealed_url(path, written) if isinstance(written, str) else written
    template = Template(**{**said, "url": url, "shown_url": written})
    for is_right, what in _rules(template):
        if not is_right:
            raise _refusal(path, what)
    for name in _names_in([SECRET.sub("", written), template.body]):
        if name not in NAMES:
            raise _refusal(path, f"names {{{name}}}; allowed: {', '.join(f'{{{each}}}' for each in NAMES)}")
    headers = {name: _revealed(path, text) for name, text in template.headers.items()}
    whole = replace(template, headers=headers)
    try:
        whole.request(SAMPLE)
    except BadInput as error:
        raise _refusal(path, f"has a body that cannot be sent: {error.message}") from error
    return whole


def values_of(wanted: Wanted) -> Mapping[str, Any]:
    """What a template may name."""
    width, height = wanted.size or OTHER_SIZE
    return {
        "prompt": wanted.prompt,
        "negative_prompt": wanted.negative_prompt or "",
        "steps": wanted.steps,
        "guidance": GUIDANCE if wanted.guidance is None else wanted.guidance,
        "width": width,
        "height": height,
        "images": wanted.images,
        "seed": wanted.seed,
        "model": wanted.model or "",
    }


SAMPLE = Wanted(0, 0.0, 1, "", 0)
NAMES = tuple(values_of(SAMPLE))
ALLOWED = tuple(name for name in Template.__dataclass_fields__ if name != "shown_url")


def filled(said: Any, values: Mapping[str, Any]) -> Any:
    """The same with values in their places, whatever it is made of."""
    if isinstance(said, str):
        whole = PLACE.fullmatch(said)
        return values[whole[1]] if whole else PLACE.sub(lambda found: str(values[found[1]]), said)
    if isinstance(said, Mapping):
        return {name: filled(each, values) for name, each in said.items()}
    return [filled(each, values) for each in said] if isinstance(said, list) else said


def _rules(template: Template) -> list[tuple[bool, str]]:
    url, headers = template.url, template.headers
    are_texts = isinstance(headers, dict) and all(isinstance(each, str) for each in headers.values())
    return [
        (isinstance(url, str) and bool(URL.match(url)), "needs a url that begins with http:// or https://"),
        (template.method in METHODS, f"has the method {template.method!r}; allowed: {', '.join(METHODS)}"),
        (are_texts, "has headers that are no table of texts"),
        (not are_texts or all(map(HEADER_NAME.fullmatch, headers)), "has a header whose name no HTTP header may have"),
        (not are_texts or len({name.lower() for name in headers}) == len(headers), "has the same header twice"),
        (isinstance(template.image, str) and bool(PATH.fullmatch(template.image)), "has an image that is no path"),
        (template.method != "GET" or template.body is None, "has a body, which GET does not carry"),
    ]


def _names_in(said: Any) -> list[str]:
    if isinstance(said, str):
        return PLACE.findall(said)
    inner = said.values() if isinstance(said, Mapping) else said if isinstance(said, list) else ()
    return [name for each in inner for name in _names_in(each)]


def _revealed_url(path: Path, text: str) -> str:
    """Braces of a secret are no place for a request's value."""
    _check_environment(path, text)
    secrets = [os.environ[name] for name in SECRET.findall(text)]
    if not all(map(VISIBLE.fullmatch, secrets)):
        raise _refusal(path, "has in its url a variable that is no visible ASCII")
    return SECRET.sub(lambda found: os.environ[found[1]].translate(BRACES), text)


def _check_environment(path: Path, text: str) -> None:
    missing = [name for name in SECRET.findall(text) if name not in os.environ]
    if missing:
        raise _refusal(path, f"names ${{{missing[0]}}}, which the environment does not have")


def _revealed(path: Path, text: str) -> str:
    _check_environment(path, text)
    whole = SECRET.sub(lambda found: os.environ[found[1]], text)
    if not HEADER.fullmatch(whole):
        raise _refusal(path, "has a header that is no printable ASCII")  # which may be a secret, and is not said
    return whole


def _refusal(path: Path, what: str) -> BadInput:
    return BadInput(f"{path} {what}", field=FIELD)
