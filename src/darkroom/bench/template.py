"""Any HTTP service that answers with a picture: a TOML file says what to send, and where in the answer it stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..client.asking import AGENT, URL, encoded
from ..client.hands import AsyncHands
from ..client.wire import Request
from ..errors import BadInput
from .dialects import OTHER_SIZE, SILENT_S, Answered, Now, as_text_alone, pictures_in, sent
from .plan import Wanted

METHODS = ("POST", "GET", "PUT")
PLACE = re.compile(r"\{(\w+)\}")
SECRET = re.compile(r"\$\{(\w+)\}")
HEADER = re.compile(r"[ -~]*")
PATH = re.compile(r"body|[\w*-]+(\.[\w*-]+)*")
GUIDANCE = 7.5  # where the load says none
FIELD = "--template"


@dataclass(frozen=True)
class Template:
    """What to send. `{name}` in the URL and the body's texts stands for a request's value; a text that is nothing but
    one keeps the value's type. `image` is `body`, or the path of base64 in the JSON of the answer."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    image: str = "body"

    def request(self, wanted: Wanted) -> Request:
        """The request for one that is wanted."""
        values = values_of(wanted)
        url = PLACE.sub(lambda found: quote(str(values[found[1]]), safe=""), self.url)
        headers = {"User-Agent": AGENT, **self.headers}
        content = None
        if self.body is not None:
            headers, content = {"Content-Type": "application/json", **headers}, encoded(filled(self.body, values))
        return Request(self.method, url, headers, content=content, timeout_s=SILENT_S)


class Plain:
    """The service of a template."""

    name = "template"
    asking: None = None

    def __init__(self, template: Template) -> None:
        self._template, self._hands = template, AsyncHands()

    @property
    def url(self) -> str:
        """Where requests go."""
        return self._template.url

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        """Nothing is needed."""
        return as_text_alone(plan)

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        """One request and its answer, whole."""
        answer = await sent(self._hands, self._template.request(wanted))
        ended_s = now()
        return Answered(ended_s, None, len(pictures_in(answer, self._template.image)))

    async def close(self) -> None:
        """Let the connections go."""
        await self._hands.close()


def read_template(path: Path) -> Template:
    """The template in a TOML file; `${NAME}` in a header is that variable of the environment. Raises `BadInput`."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refusal(path, f"cannot be read: {error}") from error
    unknown = sorted(set(said) - set(Template.__dataclass_fields__))
    if unknown:
        raise _refusal(path, f"has {', '.join(unknown)}; allowed: {', '.join(Template.__dataclass_fields__)}")
    template = Template(**{"url": "", **said})
    for is_right, what in _rules(template):
        if not is_right:
            raise _refusal(path, what)
    for name in _names_in([template.url, template.body]):
        if name not in NAMES:
            raise _refusal(path, f"names {{{name}}}; allowed: {', '.join(f'{{{each}}}' for each in NAMES)}")
    headers = {name: _revealed(path, text) for name, text in template.headers.items()}
    return Template(template.url, template.method, headers, template.body, template.image)


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


NAMES = tuple(values_of(Wanted(0, 0.0, 1, "", 0)))


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
        (isinstance(template.image, str) and bool(PATH.fullmatch(template.image)), "has an image that is no path"),
        (template.method != "GET" or template.body is None, "has a body, which GET does not carry"),
    ]


def _names_in(said: Any) -> list[str]:
    if isinstance(said, str):
        return PLACE.findall(said)
    inner = said.values() if isinstance(said, Mapping) else said if isinstance(said, list) else ()
    return [name for each in inner for name in _names_in(each)]


def _revealed(path: Path, text: str) -> str:
    missing = [name for name in SECRET.findall(text) if name not in os.environ]
    if missing:
        raise _refusal(path, f"names ${{{missing[0]}}}, which the environment does not have")
    whole = SECRET.sub(lambda found: os.environ[found[1]], text)
    if not HEADER.fullmatch(whole):
        raise _refusal(path, "has a header that is no printable ASCII")  # which may be a secret, and is not said
    return whole


def _refusal(path: Path, what: str) -> BadInput:
    return BadInput(f"{path} {what}", field=FIELD)
