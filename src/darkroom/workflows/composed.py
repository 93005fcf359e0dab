"""A plain pipeline over pipelines in memory: to an engine one more pipeline, which holds others.

The engine makes each request a view of it, and with it views of those inside; what the function calls through `run`
parks like the calls of any other request.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..engine import view
from ..engine.request import count_images, image_generators
from ..errors import BadInput, NotSupported, UnknownModel
from ..models import solvers
from ..models.offer import IMAGE_TO_IMAGE, INPAINT, TASKS, TEXT_TO_IMAGE
from ..models.tasks import pipeline_for

if TYPE_CHECKING:
    from .plain import PlainPipeline


class Answer:
    """What a plain pipeline answers, as diffusers' pipelines do: `images`, of which there is one."""

    def __init__(self, images: list[Image.Image]) -> None:
        self.images = images


class Composed:
    """Holds a pipeline of each model and task as an attribute of its own, where the engine looks for such."""

    plain: PlainPipeline
    loops: int  # denoising loops that are to be expected

    @property
    def components(self) -> dict[str, Any]:
        """Every module inside, by name; what shares memory with others does here too."""
        return dict(view.named_modules_of(self))

    @property
    def config(self) -> dict[str, str]:
        """What a tape must agree on beside the models: the function as it is written."""
        function = self.plain.function
        try:
            code = inspect.getsource(function).encode()
        except OSError:  # typed into an interpreter
            code = function.__code__.co_code
        return {"function": function.__qualname__, "code": hashlib.sha256(code).hexdigest()}


def composed(plain: PlainPipeline, pipes: Mapping[str, Any]) -> Composed:
    """See `PlainPipeline.over`."""
    missing = next((name for name in plain.models if name not in pipes), None)
    if missing is not None:
        there = ", ".join(sorted(pipes)) or "none"
        raise BadInput(
            f"{plain.name} calls the model {missing!r}, which is not there; there are: {there}", field="pipes"
        )

    def call(self: Composed, *args: Any, **kwargs: Any) -> Answer:
        try:
            return Answer([_picture(plain, plain.function(Running(self), *args, **kwargs))])
        except Exception as error:  # budget: whatever a user's function raises, which goes on with its place
            error.add_note(_place(plain, error))
            raise

    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in plain.signature.parameters.values()]
    call.__signature__ = inspect.Signature([receiver, *parameters])  # type: ignore[attr-defined]
    own: Composed = type(
        plain.function.__name__, (Composed,), {"__call__": call, "plain": plain, "loops": plain.calls}
    )()
    for model in plain.models:
        own.__dict__.update(_by_task(model, pipes[model]))
    return own


class Running:
    """The `run` of one request; `pipe` is that request's own view."""

    def __init__(self, pipe: Composed) -> None:
        self._pipe = pipe

    def __call__(self, model: str, /, *, seed: int | None = None, solver: str | None = None, **call: Any) -> Any:
        """See `plain.Run`."""
        pipe = self._find(model, call)
        if solver is not None:
            pipe = _with_solver(pipe, solver, model)
        if seed is not None:
            call["generator"] = _generators(seed, call)
        return pipe(**call)

    def host(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """See `plain.Run`."""
        return view.parking(function)(*args, **kwargs)

    def _find(self, model: str, call: Mapping[str, Any]) -> Any:
        """The one for the task that the arguments imply; the model's own where that is of no task we know."""
        if model not in self._pipe.plain.models:
            named = ", ".join(self._pipe.plain.models)
            raise UnknownModel(f"{self._pipe.plain.name} names no model {model!r}; it names: {named}", field="model")
        task = INPAINT if "mask_image" in call else IMAGE_TO_IMAGE if "image" in call else TEXT_TO_IMAGE
        return self._pipe.__dict__.get(_key(model, task)) or self._pipe.__dict__[model]


def _by_task(model: str, pipe: Any) -> Iterator[tuple[str, Any]]:
    """The pipeline itself under the model's name, and those for the tasks that it is not of, over its components."""
    yield model, pipe
    for task in TASKS:
        try:
            made = pipeline_for(pipe, task, None, model)
        except NotSupported:
            continue
        if made is not pipe:
            yield _key(model, task), made


def _key(model: str, task: str) -> str:
    return f"{model} {task}"


def _with_solver(pipe: Any, solver: str, model: str) -> Any:
    if getattr(pipe, "scheduler", None) is None:
        raise NotSupported(f"{model} has no solver to choose: {type(pipe).__name__} brings its own", field="solver")
    own = copy.copy(pipe)
    own.scheduler = solvers.build(solver, own.scheduler, model)
    return own


def _generators(seed: int, call: Mapping[str, Any]) -> Any:
    if call.get("generator") is not None:
        raise BadInput("give either seed or generator, not both", field="seed")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise BadInput(f"seed must be a whole number from 0 to 2^63-1, not {seed!r}", field="seed")
    return image_generators(seed, count_images(dict(call)))


def _place(plain: PlainPipeline, error: BaseException) -> str:
    """Where in the function's file it was raised, or called what raised it."""
    file = plain.function.__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"in {plain.name}, line {lines[-1]} of {Path(file).name}" if lines else f"in {plain.name}"


def _picture(plain: PlainPipeline, made: Any) -> Image.Image:
    if not isinstance(made, Image.Image):
        said = f"{plain.name} must return one picture (PIL), not {type(made).__name__}"
        raise NotSupported(said, field="model")
    return made
