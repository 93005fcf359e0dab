"""`lora`, other servers' word for `adapters`, and the forms of it that are taken. Files and addresses are refused.

"neon"                       {"neon": 1.0}
{"neon": 0.8}                as it stands
["neon", {"woodcut": 0.5}]   {"neon": 1.0, "woodcut": 0.5}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...errors import BadInput, NotSupported
from ...model_settings import MODEL_NAME

WHOLE = 1.0  # the weight of one that is only named
FORMS = 'a name, {"NAME": WEIGHT}, or a list of those'
FILES = ("loras", "lora_weights")  # words for files alone
AS_NAMED = 'LoRAs are named by what they are registered as: {"adapters": {"NAME": WEIGHT}}'
_NAME = {"type": "string", "pattern": f"^{MODEL_NAME.pattern}$"}
_WEIGHTS = {"type": "object", "additionalProperties": {"type": "number"}}
_LIST = {"type": "array", "items": {"anyOf": [_NAME, _WEIGHTS]}}
SCHEMA: dict[str, Any] = {"anyOf": [_NAME, _WEIGHTS, _LIST, {"type": "null"}]}


def check_no_files(given: Mapping[str, Any]) -> None:
    """Raise `NotSupported` where a file is asked for: a picture without it would be another than was meant."""
    for name in FILES:
        if given.get(name):
            raise NotSupported(f"{name} is not known here; {AS_NAMED}", field=name)


def weights_of(lora: Any) -> dict[str, Any] | None:
    """Weights by name, None where there are none; raises `NotSupported` for a file or an address, else `BadInput`.

    Whether names are known and weights are numbers is seen where those of `adapters` are.
    """
    weights: dict[str, Any] = {}
    for part in lora if isinstance(lora, list) else [lora]:
        for name, weight in _pairs(part):
            if weights.setdefault(name, weight) != weight:
                raise BadInput(f"lora names {name[:64]!r} twice, with different weights", field="lora")
    return weights or None


def lora_of_form(text: str) -> Any:
    """What a form's text means: JSON where it begins as that, else a name."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"lora must be {FORMS}; in a form as JSON", field="lora") from error


@contextmanager
def blamed(lora: Any, adapters: Any) -> Iterator[None]:
    """Refusals of adapters name the field that they came by."""
    try:
        yield
    except BadInput as error:
        if error.field == "adapters" and lora and not adapters:
            error.field = "lora"
        raise


def _pairs(part: Any) -> Iterator[tuple[str, Any]]:
    if part is None or part == "":
        return
    if not isinstance(part, str | dict):
        raise BadInput(f"lora must be {FORMS}, not {type(part).__name__}", field="lora")
    for name, weight in ({part: WHOLE} if isinstance(part, str) else part).items():
        for text in (name, weight):
            _refuse_place(text)
        yield name, weight


def _refuse_place(text: Any) -> None:
    if isinstance(text, str) and ("/" in text or "\\" in text):
        said = "is a file or an address, which are not read for a request"
        raise NotSupported(f"lora: {text[:64]!r} {said}; {AS_NAMED}", field="lora")
