"""What a tape must not differ in from where it is resumed: digests of a pipeline in service."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from .. import __version__
from . import frozen, hook, view
from .digests import content_of, digest_of
from .guard import versions_of
from .host_copy import can_rest
from .resting import device_of, guests_of
from .tape import Identity

if TYPE_CHECKING:
    from .served import Served

ENGINE = f"{__version__}/torch {torch.__version__}/diffusers {diffusers.__version__}"
SAMPLES = 4096  # values read of a weight; a model that was trained on differs in all of them
# Where a model was loaded from, which library wrote its configuration and what saving adds do not change what it does.
NOT_OURS = frozenset({"transformers_version", "dtype", "torch_dtype", "architectures"})

# How weights look at rest, with their version then. A module is shared by every engine of the process, and so is this.
_at_rest: Any = WeakTensorKeyDictionary()


def read_at_rest(module: torch.nn.Module) -> None:
    """Look at weights that calls of the module cast or move; under `served.attaching`, before it is frozen.

    A digest that some thread asks for later may come in the middle of such a call. What is frozen already was read
    when the first engine began to serve it.
    """
    stays = guests_of(module) is None and not hook.moves_weights(module)
    if stays or not can_rest([module]):  # of what quantised layers keep not everything can be read
        return
    for inner in module.modules():
        if not frozen.is_frozen(inner):
            for tensor in (*inner.parameters(recurse=False), *inner.buffers(recurse=False)):
                _at_rest[tensor] = (versions_of([tensor]), _read(tensor))


class Revision:
    """The digest of one pipeline's class, configurations and weights: read when first asked for, by any thread."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._known: tuple[int, str] | None = None

    def digest(self) -> str:
        """Read anew only where weights were written in place since."""
        with self._lock:
            versions = sum(versions_of(module.parameters()) for module in view.modules_of(self._pipe))
            if self._known is None or self._known[0] != versions:
                self._known = (versions, _digest(self._pipe))
            return self._known[1]


def identity_of(served: Served, fixed_rows: int, adapters: Mapping[str, Any]) -> Identity:
    """Of a request to a pipeline; `adapters` are weights and digests by name."""
    asked = json.dumps({name: str(said) for name, said in adapters.items()}, sort_keys=True) if adapters else "none"
    return Identity(ENGINE, served.revision.digest(), _solvers(served.pipe), _regime(served, fixed_rows), asked)


def _regime(served: Served, fixed_rows: int) -> str:
    if not fixed_rows:
        return "any company" if served.easy_cache is None else f"any company, easy_cache {served.easy_cache:g}"
    is_on_cpu = view.home_of(served.pipe).type == "cpu"
    threads = f", {torch.get_num_threads()} threads" if is_on_cpu else ""  # its kernels divide their rows among these
    return f"{fixed_rows} rows{threads}"


def _digest(pipe: Any) -> str:
    marks: list[Any] = [_described(each) for each in view.pipelines_of(pipe)]
    for name, module in sorted(view.named_modules_of(pipe), key=lambda pair: pair[0]):
        marks += [name, _described(module), *_weights(module)]
    return hashlib.blake2b(repr(marks).encode(), digest_size=16).hexdigest()


def _weights(module: torch.nn.Module) -> Iterator[tuple[Any, ...]]:
    device = device_of(module).type
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        version, looks = _at_rest.get(tensor, (-1, None))
        shape, dtype, content = looks if version == versions_of([tensor]) else _read(tensor)
        yield (name, shape, dtype, device, content)


def _read(tensor: torch.Tensor) -> tuple[tuple[int, ...], str, bytes]:
    """Its shape, its dtype and a digest of some of its values."""
    flat = tensor.detach().reshape(-1)
    sample = flat[:: max(1, flat.numel() // SAMPLES)]
    return tuple(tensor.shape), str(tensor.dtype), content_of(sample)


def _solvers(pipe: Any) -> str:
    found = [
        (name, _described(value))
        for each in view.pipelines_of(pipe)
        for name, value in sorted(each.__dict__.items())
        if view.keeps_state(value)
    ]
    return digest_of(found).hex()


def _described(value: Any) -> tuple[str, str]:
    """Its class and configuration."""
    config = getattr(value, "config", {})
    said = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    left_out = NOT_OURS | set(getattr(value, "components", ()))  # a pipeline's parts speak for themselves
    kept = {name: each for name, each in said.items() if not name.startswith("_") and name not in left_out}
    return type(value).__qualname__, json.dumps(kept, sort_keys=True, default=lambda inner: type(inner).__qualname__)
