"""`darkroom fleet run`: the process that starts workers and lets them go."""

from __future__ import annotations

from ..app import run_fleet
from ..config import with_places
from ..fleet.supervisor import watch_parent
from ..models.catalogue import narrow
from .processes import ModelOption, ParentOption, StorageOption, StoreOption
from .start import ConfigOption, start


def run(
    store: StoreOption = None,
    storage: StorageOption = None,
    model: ModelOption = None,
    parent_fd: ParentOption = None,
    config: ConfigOption = None,
) -> None:
    """Start workers as the work asks for them and let them go, as [fleet] says, until SIGTERM; several may run, and one
    leads."""
    if parent_fd is not None:
        watch_parent(parent_fd)
    settings = with_places(narrow(start(config)[0], model), store, storage)
    run_fleet(settings, [] if model is None else ["--model", model])
