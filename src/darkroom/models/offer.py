"""What a request may ask of one model: sizes, presets, solvers, tasks and steps. No torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..config import PowerOfTwo, PresetSettings, Size
from ..errors import CorruptWeights, InvalidConfig, NotSupported, UnknownArgument, UnknownPreset
from ..wording import problem_said
from . import solvers
from .adapters import Adapter
from .catalogue import BUNDLED, Entry
from .form import Form
from .layout import Layout, read_json, read_layout
from .media import VIDEOS, Moving
from .pipelines import ALL_TASKS as ALL_TASKS
from .pipelines import GUIDANCE, LOOKING, NEGATIVE, STRENGTH, refused_by, tasks_of
from .pipelines import IMAGE_TO_IMAGE as IMAGE_TO_IMAGE
from .pipelines import INPAINT as INPAINT
from .pipelines import PIPELINE as PIPELINE
from .pipelines import TASKS as TASKS
from .pipelines import TEXT_TO_IMAGE as TEXT_TO_IMAGE

SIDE_RANGE = (64, 2048)  # pixels, for a model that says no sizes of its own
DEFAULT_PRESET = "quality"
# A stock model's own defaults ask for about 50 steps; half of them still make a good picture.
STOCK_PRESETS = {"fast": PresetSettings(num_inference_steps=25), "quality": PresetSettings(num_inference_steps=50)}
BUNDLED_ROWS = 8  # a lone guided pair wastes little at this width, and four requests fill it


class PresetsFile(BaseModel):
    """presets.json beside a model_index.json: what its maker recommends."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    sizes: tuple[Size, ...] = ()
    default_size: Size | None = None
    presets: dict[str, PresetSettings] = Field(default_factory=dict)
    reproducible_rows: PowerOfTwo | None = None


@dataclass(frozen=True)
class Offer:
    """The bounds of a request to one model; `sizes` empty means every multiple within `SIDE_RANGE`.

    `fixed_rows` is the row count of a forward in reproducible mode; 1 runs every row alone. `adapters` can be named.
    `has_controlnet`: control images can be given, which a T2I-Adapter reads where `has_t2i_adapter`. `has_ip_adapter`:
    pictures can prompt it. `has_refiner`: the last steps can be another model's. `form`:
    what a plain pipeline takes, which has none of the rest.
    """

    model: str
    layout: Layout
    sizes: tuple[Size, ...]
    default_size: Size
    presets: Mapping[str, PresetSettings]
    fixed_rows: int
    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    has_controlnet: bool = False
    has_t2i_adapter: bool = False
    has_ip_adapter: bool = False
    has_refiner: bool = False
    form: Form | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """What can be asked of it; all that there are, where nothing is known of its pipeline."""
        return tasks_of(self.layout.pipeline) if self.form is None else (PIPELINE,)

    @property
    def text_task(self) -> str:
        """What words alone ask of it."""
        return TEXT_TO_IMAGE if TEXT_TO_IMAGE in self.tasks or not self.tasks else self.tasks[0]

    @property
    def moving(self) -> Moving | None:
        """Its videos' frames and rate, where it makes any."""
        return VIDEOS.get(self.layout.pipeline)

    def check_task(self, task: str, *, is_controlled: bool) -> None:
        """Raise `NotSupported` for what its pipeline does not do, as far as that is known."""
        allowed = tasks_of(self.layout.pipeline, is_controlled=is_controlled)
        if is_controlled and self.has_t2i_adapter:
            allowed = (TEXT_TO_IMAGE,)
        if task not in allowed:
            control = " with a control image" if is_controlled else ""
            said = (
                f"{self.model} ({self.layout.pipeline}) has no {task}{control}; it has: {', '.join(allowed) or 'none'}"
            )
            raise NotSupported(said, field="control_image" if is_controlled else "task")

    @property
    def looks_at_image(self) -> bool:
        """Whether its `image` is a reference, of any size, and no picture to start from."""
        return self.layout.pipeline in LOOKING

    def check_taken(
        self, task: str, negative: str, guidance: float | None, strength: Any = None, *, is_controlled: bool
    ) -> None:
        """Raise `UnknownArgument` for an input that its pipeline does not take for that task, as far as is known."""
        name = refused_by(self.layout.pipeline, task, is_controlled=is_controlled)
        given = {NEGATIVE: negative or None, GUIDANCE: guidance, STRENGTH: strength}
        if name is not None and given[name] is not None:
            raise UnknownArgument(f"{self.model} ({self.layout.pipeline}) takes no {name}; leave it out", field=name)

    @property
    def solvers(self) -> tuple[str, ...]:
        """Names of the solvers that fit."""
        return solvers.offered(self.layout.scheduler) if self.form is None else ()

    @property
    def said_sizes(self) -> str:
        """The sizes offered, for people."""
        if self.sizes:
            return _said(self.sizes)
        low, high = SIDE_RANGE
        return f"sides from {low} to {high} that are multiples of {self.layout.size_multiple}"

    def said_near(self, width: int, height: int) -> str:
        """The same, those of a like width and height first."""

        def distance(size: Size) -> float:
            return sum(abs(math.log(mine) - math.log(side)) for mine, side in zip(size, (width, height), strict=True))

        return _said(sorted(self.sizes, key=distance)) if self.sizes else self.said_sizes

    def is_offered(self, width: int, height: int) -> bool:
        """Whether the model makes pictures of that size."""
        if self.sizes:
            return (width, height) in self.sizes
        low, high = SIDE_RANGE
        is_fit = all(low <= side <= high and side % self.layout.size_multiple == 0 for side in (width, height))
        return is_fit or (width, height) == self.default_size

    def preset(self, name: str | None) -> PresetSettings:
        """The preset of that name (None: the default one); raises `UnknownPreset`."""
        if name is None:
            return self.presets.get(DEFAULT_PRESET) or next(iter(self.presets.values()))
        if name not in self.presets:
            allowed = ", ".join(self.presets)
            raise UnknownPreset(f"{self.model} has no preset {name!r}; allowed: {allowed}", field="preset")
        return self.presets[name]


def offer_of(entry: Entry, layout: Layout) -> Offer:
    """What darkroom.toml says of a model, else its maker's presets.json, else what its layout implies."""
    said, made = entry.settings, _presets_file(entry.folder)
    layout = layout if said.pipeline is None else replace(layout, pipeline=said.pipeline)
    rows = said.reproducible_rows or made.reproducible_rows or (BUNDLED_ROWS if entry.source == BUNDLED else 1)
    sizes = said.sizes or made.sizes
    default = said.default_size or _default_size(made.default_size or layout.native_size, sizes)
    if sizes and default not in sizes:
        place = f"models.{entry.name}.default_size"
        raise InvalidConfig(f"{place}: must be one of the sizes: {_said(sizes)}", field=place)
    for width, height in {default, *sizes}:
        _check_multiple(entry, layout, width, height)
    presets = said.presets or _with_adapters(made.presets, entry) or STOCK_PRESETS
    _check_presets(entry, layout, presets)
    offer = Offer(entry.name, layout, sizes, default, presets, rows, entry.adapters)
    return replace(
        offer,
        has_controlnet=entry.controlnet is not None or entry.t2i_adapter is not None,
        has_t2i_adapter=entry.t2i_adapter is not None,
        has_ip_adapter=entry.ip_adapter is not None,
        has_refiner=entry.refiner is not None,
    )


def plain_offer(entry: Entry) -> Offer:
    """What a plain pipeline takes; raises what is wrong with it, or with the description of a model that it calls."""
    form, folders = entry.form, [part.folder or part.settings.config for part in entry.parts]
    parts = [offer_of(part, read_layout(at)) for part, at in zip(entry.parts, folders, strict=True) if at is not None]
    rows = entry.settings.reproducible_rows or min((part.fixed_rows for part in parts), default=1)
    layout = replace(parts[0].layout if parts else Layout(""), pipeline=form.function, scheduler={})
    size = parts[0].default_size if parts else layout.native_size
    is_controlled = "control_image" in form.fields
    return Offer(entry.name, layout, (), size, {}, rows, has_controlnet=is_controlled, form=form)


def _default_size(wanted: Size, sizes: tuple[Size, ...]) -> Size:
    return wanted if not sizes or wanted in sizes else sizes[0]


def _said(sizes: Sequence[Size]) -> str:
    return ", ".join(f"{width}x{height}" for width, height in sizes)


def _check_multiple(entry: Entry, layout: Layout, width: int, height: int) -> None:
    multiple = layout.size_multiple
    if width % multiple or height % multiple:
        place = f"models.{entry.name}.sizes"
        raise InvalidConfig(f"{place}: {width}x{height}: sides must be multiples of {multiple}", field=place)


def _with_adapters(presets: Mapping[str, PresetSettings], entry: Entry) -> Mapping[str, PresetSettings]:
    """A maker's presets without those whose adapters are not here: a folder may come without them."""
    return {name: preset for name, preset in presets.items() if preset.adapters.keys() <= entry.adapters.keys()}


def _check_presets(entry: Entry, layout: Layout, presets: Mapping[str, PresetSettings]) -> None:
    for name, preset in presets.items():
        place = f"models.{entry.name}.presets.{name}"
        if preset.solver is not None and preset.solver not in solvers.offered(layout.scheduler):
            allowed = ", ".join(solvers.offered(layout.scheduler))
            raise InvalidConfig(f"{place}.solver: {preset.solver!r} does not fit; allowed: {allowed}", field=place)
        missing = sorted(preset.adapters.keys() - entry.adapters.keys())
        if missing:
            allowed = ", ".join(sorted(entry.adapters)) or "none: `darkroom adapters add` adds one"
            raise InvalidConfig(f"{place}.adapters: there is no {missing[0]!r}; allowed: {allowed}", field=place)
        most = solvers.max_steps(preset.solver, layout.scheduler)
        if preset.num_inference_steps > most:
            raise InvalidConfig(f"{place}.num_inference_steps: at most {most} with this solver", field=place)


def _presets_file(folder: Path | None) -> PresetsFile:
    path = folder / "presets.json" if folder else None
    if path is None or not path.exists():
        return PresetsFile()
    read_json(path)  # says so where it is no JSON
    try:
        return PresetsFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CorruptWeights(f"{path}: {place}: {problem_said(first)}", field="model") from error
