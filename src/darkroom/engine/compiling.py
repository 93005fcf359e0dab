"""Compiled denoisers: their repeated blocks, by `torch.compile`, with any number of rows and any size in one graph.

Compiling is the engine's. Whole modules are not compiled: a graph would trace through the hook, and a block that comes
forty times is compiled once. Blocks run in the engine's thread alone, in the one grad mode that it has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from ..errors import NotSupported

# A block's graph is made anew for each of its widths, and for one row: a UNet has more of these than torch expects.
RECOMPILES = 64
COMPILERS = ("g++", "clang++", "c++")

# What is shared is shared by the whole process: so is this. Touched under `served.attaching` only.
_users: dict[torch.nn.Module, int] = {}


def compile_blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    """Compile its repeated blocks, or join those who did; gives what `release` takes, empty where it repeats nothing.

    Nothing is compiled before its first call. Raises `NotSupported` where there is no C++ compiler, which torch needs.
    """
    blocks = repeated_blocks(module)
    if blocks:
        need_compiler()
    whole = [module, *blocks] if blocks else []
    for each in whole:
        if each is not module and each not in _users:
            each.compile(dynamic=True)
        _users[each] = _users.get(each, 0) + 1
    return whole


def release(blocks: Iterable[torch.nn.Module]) -> None:
    """Leave them; those that nobody serves compiled any more run as they were found."""
    for block in blocks:
        _users[block] -= 1
        if _users[block] == 0:
            block._compiled_call_impl = None
            del _users[block]


def repeated_blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    """Those that diffusers names for the class, else the members of its own lists of like layers."""
    names = set(getattr(module, "_repeated_blocks", None) or ())
    if names:
        return [inner for inner in module.modules() if type(inner).__name__ in names]
    lists = [child for child in module.children() if isinstance(child, torch.nn.ModuleList) and len(child) > 1]
    return [block for blocks in lists for block in blocks if len({type(each) for each in blocks}) == 1]


def keep_in(folder: Path) -> None:
    """Have what is compiled lie there for the next start, unless the environment says where."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def arrives_compiled(module: torch.nn.Module) -> bool:
    """Whether somebody else has compiled it, or a part of it."""
    return any(
        hasattr(inner, "_orig_mod") or (getattr(inner, "_compiled_call_impl", None) is not None and inner not in _users)
        for inner in module.modules()
    )


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether blocks of it are compiled by us."""
    return module in _users


def eagerly(is_needed: bool) -> contextlib.AbstractContextManager[object]:
    """Within it nothing compiled runs, where that is needed; else as many graphs may be made as a module needs.

    Which graph a call gets depends on the calls before it, so bits do; and layers with adapters are others each time.
    Torch keeps its limit by thread, so it is said where the calls are.
    """
    if is_needed:
        stance: contextlib.AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return stance
    return torch._dynamo.config.patch(recompile_limit=RECOMPILES) if _users else contextlib.nullcontext()


def need_compiler() -> None:
    """Raise `NotSupported` where there is no C++ compiler."""
    said = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ((said,) if said else COMPILERS)):
        raise NotSupported("compile needs a C++ compiler, such as g++, and there is none here", field="compile")
