"""A request's own cheap copy of a pipeline, and module views that share parameters.

A pipeline object is not re-entrant: it keeps guidance, step counts and scheduler state on itself. A view is a shallow
copy with schedulers and guiders of its own; rebuilding from components would lose init arguments that are no modules.
A module view is for pipelines that write on their modules: copies of the modules over the same parameters and buffers.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from . import exclusive, fiber, hook, resting
from .call import HostCall
from .spec_table import find
from .specs import Kind

UPCAST = "force_upcast"  # a setting of VAEs
TIMED_BY_TABLE = frozenset({"DDIMScheduler", "DDPMScheduler", "LCMScheduler", "PNDMScheduler"})


def make_view(pipe: Any, substitutes: Mapping[int, torch.nn.Module], kinds: Mapping[int, type]) -> Any:
    """A shallow copy with own schedulers, guiders and processors; `substitutes` replaces modules, `kinds` classes."""
    view = copy.copy(pipe)
    view.__class__ = kinds.get(id(pipe), type(pipe))
    state = view.__dict__
    for name, value in list(state.items()):
        if id(value) in substitutes:
            state[name] = substitutes[id(value)]
        elif is_pipeline(value):
            state[name] = make_view(value, substitutes, kinds)
        elif is_image_processor(value):
            state[name] = off_the_tick(value)
        elif id(value) in kinds:
            state[name] = copy.copy(value)
            state[name].__class__ = kinds[id(value)]
        elif keeps_state(value):
            state[name] = timed_on_host(copy.deepcopy(value))
    return view


def timed_on_host(part: Any) -> Any:
    """A solver of the request's own that looks its steps up by timestep keeps these on the host.

    Its tables lie there: with timesteps on an accelerator each step would wait for the device to read one number back.
    """
    if any(kind.__name__ in TIMED_BY_TABLE for kind in type(part).__mro__):
        original = part.set_timesteps
        signature = inspect.signature(original)

        @functools.wraps(original)
        def set_timesteps(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            given.arguments["device"] = torch.device("cpu")
            return original(*given.args, **given.kwargs)

        part.__dict__["set_timesteps"] = set_timesteps
    return part


def settled_kinds(pipe: Any) -> dict[int, type]:
    """Classes for the views of a pipeline and its sub-pipelines, and for copies of their feature extractors.

    In those of pipelines the device is a constant: diffusers finds it by a walk through every module for offload hooks,
    once a request; served modules have none. A feature extractor is called itself, which Python looks up on the class,
    so its calls can park in no other way.
    """
    kinds = {}
    if hasattr(type(pipe), "_execution_device"):
        kind, device = type(pipe), home_of(pipe)
        own = {"__module__": kind.__module__, "_execution_device": device, "device": device}
        kinds[id(pipe)] = type(kind.__name__, (kind,), own)
    for value in list(pipe.__dict__.values()):
        if is_pipeline(value):
            kinds.update(settled_kinds(value))
        elif is_feature_extractor(value):
            kind, call = type(value), parking(type(value).__call__)
            kinds[id(value)] = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call})
    return kinds


def home_of(pipe: Any) -> torch.device:
    """Where a pipeline makes its latents: the device of its denoiser, wherever its other parts are.

    Diffusers takes that of the first part which is not on a CPU, and of parts that rest on the host it knows nothing.
    """
    parts = dict(named_modules_of(pipe))
    specs = {name: find(type(module)) or () for name, module in parts.items()}
    denoisers = [name for name, found in specs.items() if any(spec.kind == Kind.DENOISE for spec in found)]
    apart = {resting.device_of(module) for module in parts.values()}
    if len(apart) > 1 and denoisers:
        return resting.device_of(parts[denoisers[0]])
    return apart.pop() if len(apart) == 1 else torch.device(pipe._execution_device)


def module_view(pipe: Any, substitutes: Mapping[int, torch.nn.Module]) -> Any:
    """A copy of `pipe` whose modules are copies over the same storage of weights, free to be written on.

    Parameters are objects of their own: casting a module assigns to `parameter.data`, which must not reach others.
    """
    memo: dict[int, Any] = {}
    for module in modules_of(pipe):
        memo.update((id(p), torch.nn.Parameter(p.detach(), p.requires_grad)) for p in module.parameters())
        memo.update((id(buffer), buffer) for buffer in module.buffers())
    return _copy_modules(pipe, memo, substitutes)


def _copy_modules(pipe: Any, memo: dict[int, Any], substitutes: Mapping[int, torch.nn.Module]) -> Any:
    view = copy.copy(pipe)
    for name, value in list(view.__dict__.items()):
        if id(value) in substitutes:
            view.__dict__[name] = substitutes[id(value)]
        elif isinstance(value, torch.nn.Module):
            view.__dict__[name] = copy.deepcopy(value, memo)
            hook.strip(view.__dict__[name])
        elif is_pipeline(value):
            view.__dict__[name] = _copy_modules(value, memo, substitutes)
    return view


def pipelines_of(pipe: Any) -> Iterator[Any]:
    """The pipeline and those it holds."""
    yield pipe
    for value in list(pipe.__dict__.values()):
        if is_pipeline(value):
            yield from pipelines_of(value)


def modules_of(pipe: Any) -> Iterator[torch.nn.Module]:
    """The modules a pipeline holds, those of its sub-pipelines too, each once."""
    seen: set[int] = set()
    for _, module in named_modules_of(pipe):
        if id(module) not in seen:
            seen.add(id(module))
            yield module


def tokenizers_of(pipe: Any) -> Iterator[Any]:
    """The tokenizers a pipeline and those it holds have."""
    for each in pipelines_of(pipe):
        yield from (value for value in list(each.__dict__.values()) if exclusive.is_tokenizer(value))


def named_modules_of(pipe: Any, prefix: str = "") -> Iterator[tuple[str, torch.nn.Module]]:
    """Component name and module."""
    for name, value in list(pipe.__dict__.items()):
        if isinstance(value, torch.nn.Module):
            yield prefix + name, value
        elif is_pipeline(value):
            yield from named_modules_of(value, f"{prefix}{name}.")


def overflowing(pipe: Any) -> list[torch.nn.Module]:
    """VAEs in float16 whose config says that they must decode in float32, where the pipeline does that (SDXL's).

    The config of others says so too, for that is its default: their pipelines decode in float16, and hand it latents.
    """
    casting = [each for each in pipelines_of(pipe) if _casts_up(each.__class__)]
    held = [value for each in casting for value in each.__dict__.values()]
    return list({id(value): value for value in held if _is_to_be_cast_up(value)}.values())


@functools.cache
def _casts_up(kind: type) -> bool:
    """Whether a pipeline's own code asks its VAE for that setting."""
    methods = [inspect.unwrap(each) for base in kind.__mro__ for each in vars(base).values() if callable(each)]
    return any(UPCAST in code.co_names for each in methods if (code := getattr(each, "__code__", None)) is not None)


def _is_to_be_cast_up(value: Any) -> bool:
    if not isinstance(value, torch.nn.Module) or getattr(value, "dtype", None) != torch.float16:
        return False
    return bool(getattr(getattr(value, "config", None), UPCAST, False))


def is_pipeline(value: Any) -> bool:
    """Anything called like a diffusers pipeline: it has components and can be called."""
    return callable(value) and hasattr(type(value), "components") and not isinstance(value, torch.nn.Module)


def keeps_state(value: Any) -> bool:
    """What keeps one request's loop on itself: solvers, guiders, and diffusers' other parts without weights."""
    if isinstance(value, torch.nn.Module | type):
        return False
    is_scheduler = hasattr(value, "set_timesteps") and hasattr(value, "step")
    is_guider = hasattr(value, "set_state") and hasattr(value, "prepare_inputs")
    return is_scheduler or is_guider or (hasattr(value, "register_to_config") and hasattr(value, "from_config"))


def is_image_processor(value: Any) -> bool:
    """Diffusers' VaeImageProcessor, VideoProcessor and kin."""
    return hasattr(value, "postprocess") and hasattr(value, "preprocess") and not isinstance(value, torch.nn.Module)


def is_feature_extractor(value: Any) -> bool:
    """Transformers' image processors, which make pictures ready for a safety checker or an image encoder."""
    return callable(value) and "pixel_values" in getattr(value, "model_input_names", ())


def off_the_tick(processor: Any) -> Any:
    """A copy of an image processor whose work runs in the thread pool while its fiber is parked."""
    own = copy.copy(processor)
    for name in ("preprocess", "postprocess", "postprocess_video", "preprocess_video"):
        if hasattr(own, name):
            own.__dict__[name] = parking(getattr(processor, name))
    return own


def parking(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function: called in a fiber it runs in the thread pool, and the fiber is parked meanwhile."""

    @functools.wraps(function)
    def park(*args: Any, **kwargs: Any) -> Any:
        running = fiber.current()
        if running is None:
            return function(*args, **kwargs)
        return running.park(HostCall(function, args, kwargs))

    return park


class Written:
    """What a module view was like before a request wrote on it, so that the next one finds it so again."""

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        inner = {id(m): m for module in modules for m in module.modules()}
        self._states = [(m, _state_of(m)) for m in inner.values()]
        self._weights = [(p, p.data) for module in modules for p in module.parameters()]

    def restore(self) -> None:
        """Put every attribute and weight back."""
        for module, state in self._states:
            module.__dict__.clear()
            module.__dict__.update({name: _copied(value) for name, value in state.items()})
        for parameter, data in self._weights:
            parameter.data = data


def _state_of(module: torch.nn.Module) -> dict[str, Any]:
    return {name: _copied(value) for name, value in module.__dict__.items()}


def _copied(value: Any) -> Any:
    """Registries of modules, parameters, buffers and hooks are changed in place."""
    return copy.copy(value) if isinstance(value, dict) else value
