"""Makes a module's heavy methods park the current fiber instead of running.

The hook is an attribute of the module instance that shadows the method of its class; outside a fiber it calls the
method as before, and taking it off leaves no trace.
"""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import torch

from . import fiber
from .call import make_call
from .compiling import is_compiled
from .placing import run_in_place
from .resting import guests_of, streamed_to
from .specs import CallSpec, Kind

_uids = itertools.count(1)
# Names under which diffusers registers its hooks for group offloading and for casting layer by layer.
OF_WEIGHTS = frozenset(
    {
        "group_offloading",
        "lazy_prefetch_group_offloading",
        "layer_execution_tracker",
        "lazy_leafs",
        "layerwise_casting",
        "peft_autocast_disable",
    }
)


class HookedMethod:
    """Stands in for one method of one module; shared by every engine and pipeline that serves the module."""

    def __init__(self, module: torch.nn.Module, method: str, spec: CallSpec | None, name: str) -> None:
        self.uid = next(_uids)
        self.module = module
        self.name = name
        self.method = method
        # tells what its forwards cost, in this process and in the next one: the same code over as many weights
        self.identity = f"{type(module).__name__}.{method}/{sum(p.numel() for p in module.parameters())}"
        self.identity += "/compiled" if is_compiled(module) else ""
        self.spec = spec
        self.original = getattr(module, method)
        self.is_solitary = spec is not None and _any_set(module, spec.alone_where)
        self.users = 0
        self._streamed = streamed_to(module)
        # whether a thread of its own may run it while others run: its weights stay, and its calls leave nothing there
        self.can_run_aside = guests_of(module) is None and not moves_weights(module) and not has_own_cache(module)
        self.shadowed = module.__dict__.get(method)  # somebody's own patch of the instance; put back at the end
        self._signature = inspect.signature(self.original)
        parameters = self._signature.parameters.values()
        self._defaults = {p.name: p.default for p in parameters}
        self._required = frozenset(p.name for p in parameters if p.default is p.empty)
        self._is_named = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.__wrapped__ = self.original

    @property
    def kind(self) -> str:
        return self.spec.kind if self.spec else Kind.OTHER

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        running = fiber.current()
        if running is None:
            return self.run(*args, **kwargs)
        return running.park(make_call(self, args, kwargs, running.owner.fixed_rows))

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The method itself, where its module's weights are."""
        return run_in_place(self.module, self.original, args, kwargs, self._streamed)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Arguments by name with defaults, in the method's order; None where names cannot say it all (`*args`)."""
        arguments = self._bind_named(args, kwargs) or self._bind_any(args, kwargs)
        if arguments is not None and self.spec is not None:
            arguments.update(self.spec.fixed)
        return arguments

    def _bind_named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The common case, in a tenth of the time that `inspect` takes; None where it is not that."""
        given = dict(zip(self._defaults, args, strict=False)) | kwargs
        is_common = self._is_named and self._required <= given.keys() <= self._defaults.keys()
        if not is_common or len(given) != len(args) + len(kwargs):
            return None
        return {name: given.get(name, default) for name, default in self._defaults.items()}

    def _bind_any(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            parameter = self._signature.parameters[name].kind
            if parameter is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            elif parameter is inspect.Parameter.VAR_POSITIONAL and value:
                return None
            elif parameter is not inspect.Parameter.VAR_POSITIONAL:
                arguments[name] = value
        return arguments


def _any_set(module: torch.nn.Module, names: tuple[str, ...]) -> bool:
    """Whether one of these settings of the module's config is on; a setting a block is on where any block's is."""
    values = [getattr(module.config, name, None) for name in names]
    return any(any(value) if isinstance(value, list | tuple) else bool(value) for value in values)


def attach(module: torch.nn.Module, method: str, spec: CallSpec | None, name: str) -> HookedMethod:
    """Hook `method`, or join the hook that is there."""
    hook = module.__dict__.get(method)
    if not isinstance(hook, HookedMethod):
        is_as_specified = hook is None or _is_by_diffusers(module, hook)
        hook = HookedMethod(module, method, spec if is_as_specified else None, name)  # a patch may mean anything
        module.__dict__[method] = hook
    hook.users += 1
    return hook


def is_of_weights_only(module: torch.nn.Module) -> bool:
    """Whether diffusers' hooks on it, if any, only move or cast its weights, which changes no request's result."""
    return all(name in OF_WEIGHTS for name in _registered(module))


def moves_weights(module: torch.nn.Module) -> bool:
    """Whether hooks of diffusers move or cast weights of it or of what is inside: they know that module alone."""
    return any(_registered(inner) for inner in module.modules())


def has_own_cache(module: torch.nn.Module) -> bool:
    """Whether encoding and decoding share what the module remembers of the frames before, as with Wan's VAE."""
    return hasattr(module, "clear_cache")


def _is_by_diffusers(module: torch.nn.Module, patch: Any) -> bool:
    names = _registered(module)
    return bool(names) and is_of_weights_only(module) and hasattr(patch, "__wrapped__")


def _registered(module: torch.nn.Module) -> list[str]:
    registry: Any = getattr(module, "_diffusers_hook", None)
    return list(registry.hooks) if registry is not None else []


def detach(module: torch.nn.Module, method: str) -> None:
    """Leave the hook; the last one to leave takes it off."""
    hook = module.__dict__.get(method)
    if isinstance(hook, HookedMethod):
        hook.users -= 1
        if hook.users == 0 and hook.shadowed is None:
            del module.__dict__[method]
        elif hook.users == 0:
            module.__dict__[method] = hook.shadowed


def strip(module: torch.nn.Module) -> None:
    """Take the hooks off a copy of a hooked module; they belong to the module it was copied from."""
    for inner in module.modules():
        for name in [name for name, value in inner.__dict__.items() if isinstance(value, HookedMethod)]:
            del inner.__dict__[name]
