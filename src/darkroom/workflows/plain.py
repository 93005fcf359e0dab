"""`@darkroom.pipeline`: a user's function that calls several pipelines, as a model like any other. No torch here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

from ..errors import BadInput

P = ParamSpec("P")
T = TypeVar("T")


class Run(Protocol):
    """What a plain pipeline's function is given first: by it the function calls the models that it named."""

    def __call__(self, model: str, /, **call: Any) -> Any:
        """What that model's pipeline answers to these keyword arguments, diffusers' own, or `seed` and `solver`.

        An `image` makes it image-to-image, an `image` and a `mask_image` inpainting. Image k of the call has a CPU
        generator seeded `seed + k`. Raises `UnknownModel`, `NotSupported`, `UnknownSolver`, `BadInput`, and the
        pipeline's own errors.
        """

    def host(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args, **kwargs)` in a thread pool: everybody's steps go on meanwhile."""


class PlainPipeline:
    """A decorated function. Called, it is that function; `over` makes of it what an engine serves."""

    def __init__(self, function: Callable[..., Any], models: Sequence[str], calls: int) -> None:
        self.function, self.models, self.calls = function, tuple(dict.fromkeys(models)), calls
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """The one that an engine serves it by unless told another."""
        return self.function.__name__.replace("_", "-")

    @property
    def signature(self) -> inspect.Signature:
        """Of its inputs: without `run`."""
        said = inspect.signature(self.function)
        return said.replace(parameters=[*said.parameters.values()][1:])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def over(self, pipes: Mapping[str, Any]) -> Any:
        """A pipeline that runs the function over these pipelines, by model name.

        `engine.add` serves it; called itself it runs plain diffusers. Raises `BadInput` where one is missing.
        """
        from .composed import composed  # brings torch

        return composed(self, pipes)


def pipeline(*, models: Sequence[str], calls: int = 1) -> Callable[[Callable[..., Any]], PlainPipeline]:
    """Have the function below serve as a model. It is given a `Run`, and inputs by keyword; it returns one picture.

    `models` are the names of those that it calls; `calls` is about how often it calls one, by which progress is told.
    docs/guides/plain-pipelines.md says what its parameters may be.
    """
    if isinstance(models, str) or not models or not all(isinstance(name, str) for name in models):
        raise BadInput(f"models must be a list of model names, not {models!r}", field="models")
    if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
        raise BadInput(f"calls must be a whole number from 1, not {calls!r}", field="calls")
    return lambda function: PlainPipeline(function, models, calls)
