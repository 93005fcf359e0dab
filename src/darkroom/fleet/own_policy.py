"""A policy of one's own, by its import path."""

from __future__ import annotations

import importlib
from typing import cast

from ..errors import InvalidConfig
from .nouns import Policy

FIELD = "fleet.policy"


def import_policy(path: str) -> Policy:
    """What `package.module:name` names: a callable from Observation to Plan. Raises `InvalidConfig`."""
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # budget: somebody's own module, which may raise anything while it is imported
        raise _refused(path, f"{module_name} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        is_not = "has no such name" if found is None else f"has {name}, which cannot be called"
        raise _refused(path, f"{module_name} {is_not}")
    if isinstance(found, type):
        raise _refused(path, f"{name} is a class; name a function, or an instance with __call__")
    return cast(Policy, found)


def _refused(path: str, said: str) -> InvalidConfig:
    allowed = "allowed: fixed, reactive, darkroom, or package.module:name of a function that can be imported"
    return InvalidConfig(f"{FIELD}: {path!r}: {said}; {allowed}", field=FIELD)
