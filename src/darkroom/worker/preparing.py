"""Imports all that a worker needs until it is ready, in a process that workers are then forked from.

What takes seconds at a start is Python code that is read: torch, diffusers, transformers, and the classes of the
models, which diffusers imports when they are asked for. A model's files are mapped as they are read, so workers share
those pages anyway. Nothing is computed here and no device is asked for: a fork would not survive it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator

from ..config import Settings
from ..errors import InvariantBroken
from ..models.catalogue import Entry, catalogue
from ..models.layout import pipeline_of, read_json
from ..models.weights import components_of

ASK_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"
LIBRARIES = ("diffusers", "transformers")


def prepare(settings: Settings) -> None:
    """Import what `worker_main` will import with these settings; raises what `serving.entries_of` raises."""
    with _asking_only_the_driver():
        import numpy
        import torch

        from . import main  # noqa: F401  # the worker's own code
        from .serving import entries_of, preloaded

        known = catalogue(settings)
        entries = entries_of(known, settings.serve.models, is_offline=settings.offline)
        for name in preloaded(tuple(entries), settings.serve.models, known.default):
            for each in entries[name].parts or (entries[name],):
                import_classes(each)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise InvariantBroken("a CUDA context was made in a process that workers are forked from")
    os.register_at_fork(after_in_child=numpy.random.seed)  # else all of them would draw the same numbers


def import_classes(entry: Entry) -> None:
    """Import the pipeline of a diffusers folder and its components; a single file tells its classes as it is loaded."""
    if entry.folder is None or not (entry.folder / "model_index.json").is_file():
        return
    index = read_json(entry.folder / "model_index.json")
    _import_class("diffusers", pipeline_of(index))
    for component in components_of(index):
        library, name = index[component]
        if library in LIBRARIES:
            _import_class(library, name)


def _import_class(library: str, name: str) -> None:
    getattr(importlib.import_module(library), name, None)  # they import a class when it is asked for


@contextlib.contextmanager
def _asking_only_the_driver() -> Iterator[None]:
    """Libraries ask whether there is a device; the usual way begins to use it, and a fork could no longer."""
    was = os.environ.get(ASK_DRIVER)
    os.environ[ASK_DRIVER] = "1"
    try:
        yield
    finally:
        if was is None:
            del os.environ[ASK_DRIVER]
        else:
            os.environ[ASK_DRIVER] = was
