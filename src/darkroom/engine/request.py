"""One request inside the engine: its arguments made ready for a run of its pipeline, and where it stands."""

from __future__ import annotations

import contextvars
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import BadInput
from . import preview
from .adapters import Loan, Mix
from .call import Call
from .easy_cache import EasyCache
from .fiber import Fiber
from .forecast import Work, left, one_step, seconds_of
from .guard import versions_of
from .handle import Handle
from .pace import Seen, Trip
from .profile import Profile
from .recording import Recording
from .runner import Outcome
from .served import Served
from .specs import Kind
from .view import make_view, pipelines_of

log = logging.getLogger(__name__)

MOST_SECONDS = 1e8  # three years
MOST_STEPS = 10**6  # that a forecast counts; whether a pipeline runs more is its own affair
SIZES = ("prompt", "height", "width", "num_frames", "num_images_per_prompt", "num_videos_per_prompt", "batch_size")
ATTENTION_KEYWORDS = ("cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs")
CHARGED_TO: dict[str, str] = {
    Kind.ENCODE: "encode_s",
    Kind.DENOISE: "denoise_s",
    Kind.CONTROL: "denoise_s",
    Kind.DECODE: "decode_s",
}


@dataclass(eq=False)
class Request:
    """What a fiber's owner is: the guard and the hooks read `guarded` and `fixed_rows` from here."""

    served: Served
    arguments: dict[str, Any]
    seed: int | None
    fixed_rows: int
    priority: int
    deadline: float | None  # on time.monotonic's clock
    handle: Handle
    preview_every: int
    loan: Loan | None = None  # of its adapters
    guarded: frozenset[int] | set[int] = frozenset()
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    fiber: Fiber | None = None
    call: Call | None = None
    ran_control: bool = False
    wants_own: bool = False  # it writes on modules
    own_pipe: Any = None  # a borrowed module view
    submitted_at: float = field(default_factory=time.monotonic)
    solo_s: float = 0.0  # the whole of it alone, as forecast when something like it was first known
    remaining_s: float = 0.0  # what is left of it alone, as forecast
    stop: BaseException | None = None  # why it must end: JobCancelled, DeadlineExceeded, EngineClosed
    throws: int = 0
    versions: int = 0  # of the weights when it started
    cache: EasyCache | None = None
    trip: Trip = field(default_factory=lambda: Trip(time.monotonic()))
    recording: Recording = field(default_factory=lambda: Recording(by_content=False, is_on=False))
    drawn: int = field(default_factory=lambda: secrets.randbits(63))  # seeds the default generators in a seed's stead

    def start(self, shared: set[int]) -> Fiber:
        """A fresh fiber from the beginning; only on a borrowed module view may it write on modules."""
        self.guarded, self.versions = shared, versions_of(self.served.weights)
        self.trip = Trip(time.monotonic())
        threshold = self.served.easy_cache  # reproducible requests run in full: all images of a call decide together
        self.cache = EasyCache(threshold) if threshold is not None and not self.fixed_rows else None
        self.recording.rewind()
        if self.wants_own and self.own_pipe is None:
            self.own_pipe = self.served.borrow()
        view = make_view(
            self.own_pipe or self.served.pipe, {} if self.own_pipe else self.served.settled, self.served.kinds
        )
        foretold = getattr(view, "steps_of", None)  # by one that knows how many its inner pipelines will come to
        progress = Progress(self._stepped, self._loops, foretold(self.arguments) if foretold else 0)
        for each in pipelines_of(view):
            each.__dict__["progress_bar"] = progress.open
        arguments = self._run_arguments()
        seed = self.drawn if self.seed is None else self.seed
        self.fiber = Fiber(lambda: view(**arguments), seed=seed, owner=self, context=self.context.copy())
        return self.fiber

    @property
    def is_ready(self) -> bool:
        """Whether its adapters are in memory."""
        return self.loan is None or self.loan.is_ready

    def return_loan(self) -> None:
        """It needs its adapters no longer."""
        if self.loan is not None:
            self.loan.give_back()

    def mix_for(self, call: Call) -> Mix:
        """What its adapters add to the forward of this call."""
        if self.loan is None:
            return ()
        component, _, _ = self.served.roles.get(call.hook, "").rpartition(".")
        return self.loan.mix_for(component)

    def answered(self, call: Call, is_shared: bool) -> None:
        """Its call has run, alone or in company: what that took is charged here and nowhere else."""
        self.call, self.ran_control = None, call.kind == Kind.CONTROL
        kind = CHARGED_TO.get(call.kind)
        self.handle.charge(device_s=call.device_s, **({kind: call.wall_s} if kind else {}))
        new = Seen(call.kind, call.shape_key, call.rows, call.key.fixed_rows, is_shared)
        seen = self.trip.seen.setdefault((call.key.hook, call.shape_key), new)
        seen.calls += 1
        seen.seconds += call.device_s

    def skipped(self, call: Call) -> Any:
        """The answer to a call that need not run; None: it must."""
        try:
            skipped = None if self.cache is None else self.cache.answer(call, self.trip.step, self.trip.steps)
        except Exception as error:  # budget: out of memory, say; what is left of the request runs in full
            return self._run_in_full(error)
        if skipped is not None:
            self.ran_control = False
        return skipped

    def saw(self, outcome: Outcome) -> None:
        """What a call came to, by running or from its tape."""
        try:
            if self.cache is not None:
                self.cache.saw(outcome.call, outcome.output)
        except Exception as error:  # budget: as above
            self._run_in_full(error)

    def _run_in_full(self, error: Exception) -> None:
        log.warning("%s: a request goes on without its EasyCache: %s", self.served.name, error)
        self.cache = None

    @property
    def kept_bytes(self) -> float:
        """What it keeps beside its pipeline's own: its tape, as that will be, and its EasyCache."""
        return self.recording.predicted_bytes + (0 if self.cache is None else self.cache.held_bytes)

    def replayed(self, call: Call) -> Outcome | None:
        """What its tape has of the call, if anything."""
        return self.recording.replay(call, self.served.roles.get(call.hook, call.hook.name))

    def work_left(self) -> Iterator[Work]:
        """What it still asks of the device, as far as anything like it was seen."""
        known = self._known()
        steps = self.trip.steps if self.trip.steps is not None else self._asked_steps() or known.steps or 0
        return left(self.trip, known, steps)

    def forecast(self, profile: Profile) -> None:
        """Note what it still takes alone; without a deadline nobody asks again."""
        if self.solo_s and self.deadline is None:
            return
        self.remaining_s = seconds_of(self.work_left(), profile)
        self.solo_s = self.solo_s or self.remaining_s

    @property
    def due(self) -> float:
        """When it would be done if it had run alone since it was submitted."""
        return self.submitted_at + self.solo_s

    def next_step(self) -> Iterator[Work]:
        """What its next step asks of the device."""
        return one_step(self._known())

    def _known(self) -> Trip:
        return self.served.pace.like(self.label, self.trip)

    @property
    def label(self) -> tuple[Any, ...]:
        """What its cost depends on, beside its steps: size, images, whether it is guided, its row regime."""
        scales = [self.arguments.get(name) for name in ("guidance_scale", "true_cfg_scale")]
        guided = [scale > 1 if isinstance(scale, int | float) else None for scale in scales]
        sizes = [_plain(self.arguments.get(name)) for name in SIZES]
        return (*sizes, *guided, self.fixed_rows)

    def _asked_steps(self) -> float:
        """Before its loop has said: image tasks take a part of what was asked."""
        steps, strength = (self._argument(name) for name in ("num_inference_steps", "strength"))
        lists = [self.arguments.get(name) for name in ("timesteps", "sigmas")]
        given = next((each for each in lists if each is not None), None)
        steps = len(given) if isinstance(given, list | tuple) else steps if isinstance(steps, int) else 0
        steps = max(0, min(steps, MOST_STEPS))
        steps *= self._loops
        return steps * strength if isinstance(strength, int | float) else steps

    @property
    def _loops(self) -> int:
        """Denoising loops to be expected: a pipeline that has several may say so."""
        return int(getattr(self.served.pipe, "loops", 1))

    def _argument(self, name: str) -> Any:
        parameter = self.served.parameters.get(name)
        return self.arguments.get(name, parameter.default if parameter else None)

    def _stepped(self, step: int, steps: int) -> None:
        self.trip.stepped(step, steps, time.monotonic())
        if self.recording.stepped(step, steps):
            return
        self.handle.emit("progress", step=step, steps=steps, progress=min(1.0, step / max(1, steps)))

    def _run_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = own_copy(self.arguments)
        if self.seed is not None and "generator" in self.served.parameters:
            arguments["generator"] = image_generators(self.seed, count_images(arguments))
        elif arguments.get("generator") is not None:
            arguments["generator"] = _clone_generators(arguments["generator"])
        if "seed" in self.served.parameters:  # one that makes its generators itself
            arguments["seed"] = self.drawn if self.seed is None else self.seed
        self.recording.listen(arguments)
        if self.preview_every:
            is_silent = lambda: self.recording.is_replaying  # noqa: E731
            preview.listen(self.served, arguments, self.handle, self.preview_every, is_silent)
        return arguments


def scaled(adapters: dict[str, Any], arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Adapters' weights times the `scale` of diffusers' attention keywords, and the arguments without it.

    As a number of its own it would keep requests out of each other's batches.
    """
    arguments = dict(arguments)
    if not isinstance(adapters, dict):
        raise BadInput(f"adapters must be {{name: weight}}, not {adapters!r}", field="adapters")
    for name in ATTENTION_KEYWORDS if adapters else ():
        given = arguments.get(name)
        if isinstance(given, dict) and isinstance(given.get("scale"), int | float):
            rest = {key: value for key, value in given.items() if key != "scale"}
            arguments[name] = rest or None
            adapters = {each: _times(weight, given["scale"]) for each, weight in adapters.items()}
    return adapters, arguments


def _times(weight: Any, scale: float) -> Any:
    return weight * scale if isinstance(weight, int | float) and not isinstance(weight, bool) else weight


def _plain(value: Any) -> Any:
    """Numbers as they are, texts as one text, lists by their length; anything else by its kind."""
    if isinstance(value, list | tuple):
        return ("list", len(value))
    return value if isinstance(value, int | float) else type(value).__name__


class Progress:
    """Stands in for a view's progress bar and reports denoising steps; several loops of one request add up.

    Of the `loops` that are to be expected, those that have not begun count as long as those that have. `least` steps in
    all are told of before the loops have begun that make them.
    """

    def __init__(self, stepped: Callable[[int, int], None], loops: int = 1, least: int = 0) -> None:
        self._stepped, self._loops, self._least, self._begun = stepped, loops, least, 0
        self._step = 0
        self._steps = 0

    def open(self, iterable: Any = None, total: int | None = None) -> Progress:
        """Diffusers' `progress_bar(iterable=None, total=None)`."""
        if iterable is None and total is None:
            raise ValueError("Either `total` or `iterable` has to be defined.")
        self._iterable = iterable
        self._steps += len(iterable) if total is None else total
        self._begun += 1
        return self

    def update(self, steps: int = 1) -> None:
        """`steps` more denoising steps are done."""
        self._step += int(steps)
        self._stepped(self._step, max(self._steps * max(self._loops, self._begun) // self._begun, self._least))

    def __iter__(self) -> Iterator[Any]:
        for item in self._iterable:
            yield item
            self.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def close(self) -> None:
        """Nothing is drawn, so nothing is closed."""

    def set_postfix(self, *_: Any, **__: Any) -> None:
        """Nothing is drawn."""

    set_description = set_postfix


def count_images(arguments: dict[str, Any]) -> int:
    """How many images (or videos) a call makes."""
    given = [arguments.get(name) for name in ("prompt", "prompt_embeds", "class_labels")]
    subject = next((value for value in given if value is not None), None)
    prompts = len(subject) if isinstance(subject, list | tuple | torch.Tensor) else arguments.get("batch_size") or 1
    each = arguments.get("num_images_per_prompt") or arguments.get("num_videos_per_prompt") or 1
    return prompts * int(each)


def image_generators(seed: int, images: int) -> torch.Generator | list[torch.Generator]:
    """One CPU generator an image, image k from `seed + k`, so that each can be made again alone."""
    generators = [torch.Generator("cpu").manual_seed(seed + k) for k in range(images)]
    return generators[0] if images == 1 else generators


def as_they_are_now(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with copies of the caller's dicts, lists and generator: what becomes of those is the caller's."""
    given, own = arguments.get("generator"), own_copy(arguments)
    return own if given is None else {**own, "generator": _clone_generators(given)}


def own_copy(value: Any) -> Any:
    """Plain dicts, lists and tuples anew, as deep as they go; tensors and pictures as they are, for they are large."""
    if type(value) is dict:
        return {key: own_copy(inner) for key, inner in value.items()}
    return type(value)(map(own_copy, value)) if type(value) in (list, tuple) else value


def _clone_generators(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return [_clone_generators(generator) for generator in given]
    own = torch.Generator(device=given.device)
    own.set_state(given.get_state())
    return own


def check_own_keywords(seed: Any, arguments: dict[str, Any], deadline_s: Any, priority: Any) -> None:
    """Raise `BadInput` for values of our own keywords that are not allowed."""
    if seed is not None and arguments.get("generator") is not None:
        raise BadInput("give either seed or generator, not both", field="seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63):
        raise BadInput(f"seed must be a whole number from 0 to 2^63-1, not {seed!r}", field="seed")
    if deadline_s is not None and not (isinstance(deadline_s, int | float) and 0 < deadline_s <= MOST_SECONDS):
        said = f"deadline_s must be a number of seconds above 0 and at most {MOST_SECONDS:.0e}, not {deadline_s!r}"
        raise BadInput(said, field="deadline_s")
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise BadInput(f"priority must be a whole number, not {priority!r}", field="priority")


def deadline_of(deadline_s: float | None) -> float | None:
    """Seconds from now as a time on the engine's clock."""
    return None if deadline_s is None else time.monotonic() + deadline_s


def check_rows(max_batch_rows: int | None, fixed_rows: int) -> None:
    """Raise `BadInput` for row counts that no forward can have."""
    if max_batch_rows is not None and max_batch_rows < 1:
        raise BadInput(f"max_batch_rows must be at least 1, not {max_batch_rows}", field="max_batch_rows")
    if fixed_rows < 1 or fixed_rows & (fixed_rows - 1):
        raise BadInput(f"fixed_rows must be a power of two, not {fixed_rows}", field="fixed_rows")


def check_room(fixed_rows: int, max_batch_rows: int) -> None:
    """Raise `BadInput` where a reproducible forward would have more rows than one may have."""
    if fixed_rows > max_batch_rows:
        said = f"reproducible forwards have {fixed_rows} rows, and max_batch_rows allows {max_batch_rows}"
        raise BadInput(f"{said}: set fixed_rows to a power of two up to that", field="fixed_rows")
