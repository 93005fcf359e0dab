"""The adapters that a request asks for: weights by name, and which files are meant. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..config import PresetSettings
from ..errors import BadInput, UnknownAdapter
from ..model_settings import MAX_ADAPTERS, MAX_WEIGHT
from .adapters import DIGEST, Adapter, find_adapter
from .offer import Offer
from .revision import short


def weights_of(given: Mapping[str, Any], preset: PresetSettings, offer: Offer) -> dict[str, float]:
    """Those of the preset and what was said beside it, which counts where both name one.

    Raises `BadInput`, and `UnknownAdapter` for what is not the model's.
    """
    said = given.get("adapters", {})
    if not isinstance(said, Mapping):
        raise BadInput(f"adapters must be {{name: weight}}, not {type(said).__name__}", field="adapters")
    weights = {**preset.adapters, **{str(name): _weight(str(name), weight) for name, weight in said.items()}}
    if len(weights) > MAX_ADAPTERS:
        raise BadInput(f"at most {MAX_ADAPTERS} adapters may be given, not {len(weights)}", field="adapters")
    for name in weights:
        find_adapter(name, offer.adapters, offer.model)
    return weights


def digests_of(weights: Mapping[str, float], given: Mapping[str, Any], offer: Offer) -> dict[str, str]:
    """The SHA-256 of each one's file, where that is known here; raises what is wrong with a file.

    `adapter_digests` says which files were meant: `UnknownAdapter` where one is another by now.
    """
    meant = given.get("adapter_digests", {})
    if not isinstance(meant, Mapping) or not all(
        isinstance(each, str) and DIGEST.fullmatch(each) for each in meant.values()
    ):
        raise BadInput("adapter_digests must be {name: SHA-256 in 64 hex digits}", field="adapter_digests")
    for name in meant:
        if name not in weights:
            raise BadInput(f"adapter_digests names {name[:64]!r}, and adapters does not", field="adapter_digests")
    digests = {name: _digest_of(offer.adapters[name]) for name in weights}
    for name, digest in meant.items():
        if digests[name] not in ("", digest):
            said = f"adapter {name!r} is another file by now: {short(digest)} was meant, it is {short(digests[name])}"
            raise UnknownAdapter(said, field="adapter_digests")
    return {name: meant.get(name) or digest for name, digest in digests.items() if digest or name in meant}


def _digest_of(adapter: Adapter) -> str:
    try:
        return adapter.facts().digest
    except BadInput as error:
        said = f"adapter {adapter.name!r} cannot be used: {error.message}"
        raise type(error)(said, field="adapters") from error


def _weight(name: str, said: Any) -> float:
    is_number = isinstance(said, int | float) and not isinstance(said, bool) and abs(said) <= MAX_WEIGHT
    if not is_number or not math.isfinite(said):
        allowed = f"a finite number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        is_short = isinstance(said, float | bool) or (isinstance(said, int) and said.bit_length() <= 64)
        shown = said if is_short else type(said).__name__
        raise BadInput(f"the weight of adapter {name[:64]!r} must be {allowed}, not {shown}", field="adapters")
    return float(said)
