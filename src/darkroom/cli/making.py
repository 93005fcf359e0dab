"""A wish judged and made ready: which model, which images, into which files, under which conditions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Settings
from ..errors import BadInput
from ..models.catalogue import Entry, problem_of
from ..models.layout import read_layout
from ..models.offer import Offer, offer_of, plain_offer
from ..models.record import conditions_of, record
from ..models.request import MAX_IMAGES, MAX_SEED, PICTURES, ImageRequest, refuse_unknown, validate
from ..models.window import warnings_for
from ..storage import files, images, videos
from ..storage.encoding import FORMATS, FORMATS_OF, VIDEOS
from .recall import Recalled, recall
from .start import quiet_bars, start

if TYPE_CHECKING:
    from ..models.loading import Loaded
    from .generate import Wish


@dataclass(frozen=True)
class Shot:
    """One image to make: a request with the one seed that is its own, and the file it goes to."""

    request: ImageRequest
    path: Path


@dataclass(frozen=True)
class Plan:
    """What is about to be made; `conditions` decide the pixels beside the request, and are recorded with each image."""

    shots: tuple[Shot, ...]
    loaded: Loaded
    pipe: Any
    conditions: dict[str, Any]
    warnings: tuple[str, ...]
    is_checked: bool = False  # a safety checker looks at its pictures
    adapters: Mapping[str, Path] = field(default_factory=dict)  # their files


def plan(wish: Wish) -> Plan:
    """Everything that can be wrong with a wish is raised here, most of it before the model is loaded."""
    settings, catalogue = start(wish.config)
    recalled = _recalled(wish)
    entry = catalogue.find(wish.model or (recalled.known_as if recalled else None))
    offer, loaded = _offer(entry, settings)
    shots = _shots(wish, recalled, offer)
    if shots[0].request.kind == VIDEOS:
        videos.check_here()
    for shot in shots:
        files.check_writable(shot.path)
    origin = None if catalogue.entries.get(entry.name) is entry else entry.origin
    return _ready(shots, loaded or _load(entry, settings), recalled, offer, settings, origin)


def _recalled(wish: Wish) -> Recalled | None:
    if wish.like is None:
        return None
    given = (name for name in PICTURES if getattr(wish.pictures, name) is not None)
    return recall(wish.like, frozenset(given))


def _offer(entry: Entry, settings: Settings) -> tuple[Offer, Loaded | None]:
    """What may be asked; a model whose configuration does not lie here must be loaded to know."""
    if entry.is_plain:
        entry.check()
        return plain_offer(entry), None
    folder = entry.folder
    if folder is None or (entry.is_of_hub and problem_of(entry)):  # not here, or half of it: loading fetches the rest
        loaded = _load(entry, settings)
        return loaded.offer(), loaded
    entry.check()
    return offer_of(entry, read_layout(folder)), None


def _load(entry: Entry, settings: Settings) -> Loaded:
    from ..workflows import loading

    quiet_bars()
    return loading.load(entry, is_offline=settings.offline)


def _shots(wish: Wish, recalled: Recalled | None, offer: Offer) -> tuple[Shot, ...]:
    inputs = {**_inputs(wish, recalled), **_own(wish, offer), "num_images_per_prompt": wish.images}
    base = recalled.base if recalled and "preset" not in wish.inputs else None
    requests = []
    for prompt in wish.prompts or (inputs.get("prompt", ""),):
        asked = validate({**inputs, "prompt": prompt}, offer, base)
        # One request an image: each can then be made again alone, whatever the pipeline does with lists.
        requests += [replace(asked, seed=asked.seed + k, num_images_per_prompt=1) for k in range(wish.images)]
    paths = _paths(wish.output, len(requests), requests[0].kind)
    return tuple(Shot(request, path) for request, path in zip(requests, paths, strict=True))


def _inputs(wish: Wish, recalled: Recalled | None) -> dict[str, Any]:
    """What was said, over what the picture to repeat says, over a seed that is drawn."""
    drawn = {"seed": secrets.randbelow(MAX_SEED - MAX_IMAGES)}
    files = {name: getattr(wish.pictures, name) for name in PICTURES}
    pictures = {
        name: images.read_picture(file, name, "L" if name == "mask_image" else "RGB")
        for name, file in files.items()
        if file is not None
    }
    return {**drawn, **(recalled.inputs if recalled else {}), **wish.inputs, **pictures}


def _own(wish: Wish, offer: Offer) -> dict[str, Any]:
    """Inputs that no flag is for, as the plain pipeline's function wants them."""
    if wish.own and offer.form is None:
        raise BadInput(
            f"input is for plain pipelines; {offer.model} has a flag for each of its inputs", field="--input"
        )
    fields = offer.form.fields if offer.form else {}
    refuse_unknown(wish.own, (*fields,))
    return {name: fields[name].parsed(said) for name, said in wish.own.items()}


def _paths(output: Path | None, count: int, kind: str) -> list[Path]:
    content_type, suffix = FORMATS[FORMATS_OF[kind][0]]
    output = output or Path(f"out{suffix}")
    if output.suffix.lower() != suffix:
        said = f"output must end in {suffix}, not {output.name!r}: {kind} are written as {content_type}"
        raise BadInput(said, field="output")
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(count)]


def _ready(
    shots: tuple[Shot, ...],
    loaded: Loaded,
    recalled: Recalled | None,
    offer: Offer,
    settings: Settings,
    origin: str | None,
) -> Plan:
    from ..models.device import fix_threads
    from ..models.tasks import variant_of

    first = shots[0].request
    pipe = variant_of(loaded, first.task, first.solver, **first.pieces)
    pipe = loaded.with_checker(pipe) if settings.safety.check_images else loaded.without_checker(pipe)
    rows = recalled.fixed_rows if recalled else offer.fixed_rows
    conditions = conditions_of(loaded, rows, fix_threads(settings.threads, rows), origin=origin)
    changed = recalled.differences(record(first, pipe, conditions)) if recalled else []
    is_checked = settings.safety.check_images and loaded.has_checker
    files = {name: offer.adapters[name].file for name in first.adapters}
    return Plan(shots, loaded, pipe, conditions, (*changed, *_lost_words(shots, loaded)), is_checked, files)


def _lost_words(shots: tuple[Shot, ...], loaded: Loaded) -> dict[str, None]:
    """Sentences about what the model will not see, each once."""
    windows = loaded.windows()
    lost: dict[str, None] = {}
    for shot in shots:
        if shot.request.prompt_style is None:  # a weighted one is read to its end
            lost.update(dict.fromkeys(warnings_for(shot.request.texts, windows)))
    return lost
