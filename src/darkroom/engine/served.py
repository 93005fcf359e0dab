"""A pipeline in service: what of it is hooked, and the views that requests run on."""

from __future__ import annotations

import copy
import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ..errors import BadInput, ModelNotServable, NotSupported, UnknownArgument, UnknownModel
from . import compiling, exclusive, frozen, hook, rows, view
from .call import tensors_in
from .pace import Pace
from .resting import guests_of, stand_in
from .revision import Revision, read_at_rest
from .spec_table import CONTAINERS, find, heavy_part_of
from .specs import CallSpec, Kind

OWN_KEYWORDS = frozenset({"seed", "model", "adapters", "priority", "deadline_s", "reproducible"})
# Read from **kwargs by diffusers' older pipelines; anything else there would be dropped in silence.
LEGACY_KEYWORDS = frozenset({"callback", "callback_steps"})

attaching = threading.RLock()  # engines may share modules: who hooks and freezes them is counted process-wide
SPARES = 2  # module views kept for requests that write on modules; each costs what a copy without weights costs


class Served:
    """One named pipeline; `settled` holds half-precision-safe stand-ins of modules by identity.

    `fixed_rows` is the row count of its reproducible requests, None the engine's own. `compiles`: blocks of denoisers.
    `easy_cache`: the threshold of its other requests' EasyCache, None for none.
    """

    def __init__(
        self,
        name: str,
        pipe: Any,
        settled: dict[int, torch.nn.Module],
        fixed_rows: int | None = None,
        compiles: bool = False,
        easy_cache: float | None = None,
    ) -> None:
        self.name = name
        self.pipe = pipe
        self.settled = settled
        self.fixed_rows, self.easy_cache = fixed_rows, easy_cache
        self._compiles, self._compiled = compiles, list[torch.nn.Module]()
        self.parameters = _call_parameters(type(pipe))
        self.pace = Pace()
        self.revision = Revision(pipe)
        self.roles: weakref.WeakKeyDictionary[hook.HookedMethod, str] = weakref.WeakKeyDictionary()
        self._hooked: list[tuple[torch.nn.Module, str]] = []
        self._frozen: list[torch.nn.Module] = []
        self._tokenizers: list[Any] = []
        self._spares: list[tuple[Any, view.Written]] = []
        self._lent: dict[int, view.Written] = {}
        self._labels: dict[str, str] = {}
        shared = (*view.modules_of(pipe), *settled.values())
        self.weights = [weight for module in shared for weight in module.parameters()]
        for module in view.modules_of(pipe):
            _refuse_unfrozen(name, module)
        self.kinds = view.settled_kinds(pipe)

    def attach(self, taken: dict[str, int]) -> None:
        """Freeze the modules and hook their heavy methods; `taken` holds the labels in use and whose they are."""
        with attaching:
            for component, module in view.named_modules_of(self.pipe):
                is_free = taken.setdefault(component, id(module)) == id(module)
                self._labels[component] = component if is_free else f"{self.name}.{component}"
                read_at_rest(module)
                self._frozen += frozen.freeze(module)
                if self._compiles and _is_denoiser(module):
                    self._compiled += compiling.compile_blocks(module)
                self._attach(module, component)
            for tokenizer in view.tokenizers_of(self.pipe):
                exclusive.attach(tokenizer)
                self._tokenizers.append(tokenizer)
            for original, own in self.settled.items():
                names = [name for name, module in view.named_modules_of(self.pipe) if id(module) == original]
                if names:
                    self._attach(own, names[0])

    def detach(self) -> None:
        """Leave the modules as they were found, those that nobody else serves."""
        with attaching:
            for module, method in self._hooked:
                hook.detach(module, method)
            frozen.thaw(self._frozen)
            compiling.release(self._compiled)
            for tokenizer in self._tokenizers:
                exclusive.detach(tokenizer)
            self._hooked, self._frozen, self._tokenizers, self._compiled = [], [], [], []

    def guarded(self) -> Iterator[int]:
        """Identities of every module that a request must not write on."""
        for module in (*view.modules_of(self.pipe), *self.settled.values()):
            yield from (id(inner) for inner in module.modules())

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """Its components that are modules, by name."""
        return dict(view.named_modules_of(self.pipe))

    def check_keywords(self, keywords: set[str]) -> None:
        """Raise `UnknownArgument` for what the pipeline's `__call__` does not take."""
        takes_any = any(p.kind is p.VAR_KEYWORD for p in self.parameters.values())
        if takes_any and not type(self.pipe).__module__.startswith("diffusers."):
            return
        known = {name for name in self.parameters if name not in ("self", "kwargs", "args")}
        unknown = sorted(keywords - known - (LEGACY_KEYWORDS if takes_any else frozenset()))
        if unknown:
            allowed = ", ".join(sorted(known | OWN_KEYWORDS))
            pipeline = type(self.pipe).__name__
            raise UnknownArgument(f"{pipeline} takes no argument {unknown[0]!r}; allowed: {allowed}", field=unknown[0])

    def borrow(self) -> Any:
        """A pipeline over module copies of its own, for a request that writes on modules; give it back after."""
        if any(guests_of(module) for module in view.modules_of(self.pipe)):
            said = "writes on its modules, which needs copies of them, and they rest on the host (`offload`)"
            raise NotSupported(f"model {self.name!r}: {type(self.pipe).__name__} {said}", field="model")
        if any(map(hook.moves_weights, view.modules_of(self.pipe))):  # of a copy they would move the original's
            said = (
                "writes on its modules, which needs copies of them, and hooks of diffusers move or cast their weights"
            )
            raise NotSupported(f"model {self.name!r}: {type(self.pipe).__name__} {said}", field="model")
        if self._spares:
            own, written = self._spares.pop()
        else:
            own = view.module_view(self.pipe, self.settled)
            for component, module in self._copies_of(own):
                self._attach(module, component)
            written = view.Written([module for _, module in self._copies_of(own)])
        self._lent[id(own)] = written
        return own

    def give_back(self, own: Any) -> None:
        """Keep a borrowed pipeline, as it was before, for the next request of its kind; a few are enough."""
        written = self._lent.pop(id(own))
        written.restore()
        if len(self._spares) < SPARES:
            self._spares.append((own, written))
            return
        mine = {id(inner) for _, module in self._copies_of(own) for inner in module.modules()}
        for module, method in [hooked for hooked in self._hooked if id(hooked[0]) in mine]:
            hook.detach(module, method)
        self._hooked = [hooked for hooked in self._hooked if id(hooked[0]) not in mine]

    def _copies_of(self, own: Any) -> list[tuple[str, torch.nn.Module]]:
        """The modules of a borrowed pipeline that are its own; settled stand-ins are everybody's."""
        shared = {id(module) for module in self.settled.values()}
        return [(name, module) for name, module in view.named_modules_of(own) if id(module) not in shared]

    def _label_of(self, component: str) -> str:
        """What is inside another module is called after that one."""
        outer, _, inner = component.rpartition(".")
        if component in self._labels or not outer:
            return self._labels.get(component, component)
        return f"{self._label_of(outer)}.{inner}"

    def _attach(self, module: torch.nn.Module, component: str) -> None:
        container = CONTAINERS.get(type(module).__name__)
        if container is not None:
            for number, inner in enumerate(getattr(module, container)):
                self._attach(inner, f"{component}.{number}")
            return
        heavy_part = heavy_part_of(type(module))
        if heavy_part is not None:
            self._attach(getattr(module, heavy_part), f"{component}.{heavy_part}")
            return
        for method, spec in _methods_of(module):
            label = self._label_of(component)
            label = label if method == "forward" else f"{label}.{method}"
            # other than the label, the same in every engine
            self.roles[hook.attach(module, method, spec, label)] = f"{component}.{method}"
            self._hooked.append((module, method))


def _call_parameters(kind: type) -> dict[str, inspect.Parameter]:
    """What `__call__` takes, and where it passes `**kwargs` on, what those above it take."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if "__call__" not in base.__dict__:
            continue
        parameters = inspect.signature(base.__dict__["__call__"]).parameters
        found = {**parameters, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return found


def _methods_of(module: torch.nn.Module) -> list[tuple[str, CallSpec | None]]:
    """The methods to hook: those of its spec, else what an unknown module is usually called by."""
    specs = find(type(module))
    if specs is not None:
        return [(spec.method, spec) for spec in specs]
    return [(name, None) for name in ("forward", "encode", "decode") if callable(getattr(module, name, None))]


def settled_stand_in(module: torch.nn.Module) -> torch.nn.Module:
    """For a half-precision VAE that overflows: a float32 copy that keeps telling its pipeline that it is float16.

    The pipeline then takes the path it takes alone (cast the latents, decode in float32), and its `.to()` does nothing.
    What a pipeline hands it in float16 after all is cast up, and the answer down again. It rests on the host between
    its calls where the module does.
    """
    own = copy.deepcopy(module)
    hook.strip(own)
    own.to(torch.float32)
    kind = type(module)
    methods = {name: _casting(getattr(kind, name)) for name in ("encode", "decode") if hasattr(kind, name)}
    told = {
        "dtype": property(lambda _: torch.float16),
        "to": lambda self, *_, **__: self,
        "__module__": kind.__module__,
    }
    own.__class__ = type(kind.__name__, (kind,), {**told, **methods})
    stand_in(module, own)
    return own


def _casting(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a module in float32 for whoever calls it in float16."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = next(tensors_in((args, kwargs)))  # its picture or its latents
        if given.dtype != torch.float16:
            return method(self, *args, **kwargs)
        raised = given.float()
        args = tuple(raised if value is given else value for value in args)
        kwargs = {name: raised if value is given else value for name, value in kwargs.items()}
        return rows.cast(method(self, *args, **kwargs), torch.float16)

    return call


def _refuse_unfrozen(name: str, module: torch.nn.Module) -> None:
    """A module that carries switchable state cannot be shared between requests."""
    reasons = {
        "carries peft layers; unload or fuse the adapters first": _has_peft(module),
        "has an offload hook (enable_model_cpu_offload and kin); load it onto its device": hasattr(module, "_hf_hook"),
        "has a hook that keeps something between calls (a cache and kin); disable it first": _has_cache_hook(module),
        "arrives compiled; serve it as it was before, and let the engine compile": compiling.arrives_compiled(module),
    }
    for reason, applies in reasons.items():
        if applies:
            raise ModelNotServable(f"model {name!r}: its {type(module).__name__} {reason}", field="model")


def find_served(name: str | None, models: Mapping[str, Served]) -> Served:
    """The one of that name, or the only one; raises `UnknownModel`."""
    names = ", ".join(sorted(models)) or "none"
    if name is None:
        if len(models) != 1:
            raise UnknownModel(f"say which model; served: {names}", field="model")
        return next(iter(models.values()))
    if name not in models:
        raise UnknownModel(f"no model {name!r} is served; served: {names}", field="model")
    return models[name]


def taken_in(pipe: Any, name: str | None, models: Mapping[str, Served]) -> tuple[Any, str]:
    """What `Engine.add` was given as a pipeline, and its name: a plain pipeline's function is put over those served."""
    over = getattr(pipe, "over", None)
    name = name or (pipe.name if over else "default" if not models else f"model-{len(models) + 1}")
    if name in models:
        raise BadInput(f"a model named {name!r} is served already", field="name")
    return (over({each.name: each.pipe for each in models.values()}) if over else pipe), name


def _is_denoiser(module: torch.nn.Module) -> bool:
    return any(spec.kind in (Kind.DENOISE, Kind.CONTROL) for spec in find(type(module)) or ())


def _has_peft(module: torch.nn.Module) -> bool:
    return any(type(inner).__module__.startswith("peft.") for inner in module.modules())


def _has_cache_hook(module: torch.nn.Module) -> bool:
    """Those that only move or cast weights keep nothing of a request."""
    return any(not hook.is_of_weights_only(inner) for inner in module.modules())
