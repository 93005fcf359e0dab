"""The files a model is made of: are they there, whole and safe to read; and the hash that names them. No torch.

A safetensors file tells its own length in its header, so a download that stopped half-way is found without reading it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import CorruptWeights, MissingWeights, UnsafeWeights
from .layout import read_json

PICKLED = {".bin", ".ckpt", ".pt", ".pth", ".pkl"}
KEPT = {".safetensors", ".json", ".txt", ".model", ".py", *PICKLED}  # what decides pixels
MAX_HEADER_BYTES = 100 * 2**20  # what the format itself allows
INDEXES = (
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin.index.json",
)


def check_folder(folder: Path, *, allow_pickle: bool, trust_remote_code: bool) -> None:
    """Raise `MissingWeights`, `CorruptWeights` or `UnsafeWeights` for a diffusers folder that cannot be served."""
    index = read_json(folder / "model_index.json")
    if not trust_remote_code:
        _refuse_remote_code(folder, index)
    for component in components_of(index):
        check_component(folder / component, allow_pickle=allow_pickle)


def check_file(path: Path, *, allow_pickle: bool) -> None:
    """The same for a checkpoint in a single file."""
    if not path.is_file():
        raise MissingWeights(f"{path}: there is no such file", field="model")
    if path.suffix in PICKLED:
        _refuse_pickle(path, allow_pickle)
    else:
        check_safetensors(path)


def components_of(index: dict[str, Any]) -> list[str]:
    """Names of the components a model_index.json asks for; [null, null] is one that was left out."""
    return [
        name
        for name, said in index.items()
        if not name.startswith("_") and isinstance(said, list) and len(said) == 2 and said[0] is not None
    ]


def check_safetensors(path: Path) -> None:
    """Raise `CorruptWeights` unless the header can be read and the file is as long as it says."""
    try:
        with path.open("rb") as file:
            read_names(file, path.stat().st_size)
    except (OSError, ValueError) as error:
        raise CorruptWeights(f"{path} is no whole safetensors file: {error}; fetch it again", field="model") from error


def read_names(file: BinaryIO, size: int) -> list[str]:
    """The names of a safetensors file's tensors, by its header; raises ValueError unless all `size` bytes are there."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER_BYTES:
            raise ValueError("its header is longer than the format allows")
        header = json.loads(file.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        expected = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (struct.error, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"its header cannot be read ({type(error).__name__})") from error
    if expected != size:
        raise ValueError(f"it has {size} bytes where its header says {expected}")
    return [*entries]


def variant_of(folder: Path) -> str | None:
    """The variant that must be asked for by name, where a folder holds no plain weights at all (`fp16`)."""
    return _variant_among({path.name for path in _weights_in(folder)})


def variant_of_component(folder: Path) -> str | None:
    """The same for the folder of one component."""
    return _variant_among({path.name for path in folder.glob("*.safetensors")})


def _variant_among(names: set[str]) -> str | None:
    variants = {name.split(".")[1] for name in names if name.count(".") == 2 and "-of-" not in name}
    is_plain = any(name.count(".") == 1 or "-of-" in name for name in names)
    return variants.pop() if len(variants) == 1 and not is_plain else None


def snapshot_of(hub: str, revision: str | None, name: str) -> Path | None:
    """Where the hub's own cache holds that revision, if it has the file of that name."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub, name, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def files_of(folder: Path) -> dict[str, Path]:
    """What decides a folder's pixels, by name within it: weights, configurations and vocabularies."""
    index = folder / "model_index.json"
    inner = (path for component in components_of(read_json(index)) for path in (folder / component).rglob("*"))
    paths = [index, *(path for path in inner if path.is_file() and path.suffix in KEPT)]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def files_of_component(folder: Path) -> dict[str, Path]:
    """The same for the folder of one component."""
    return {path.name: path for path in folder.iterdir() if path.is_file() and path.suffix in KEPT}


def _weights_in(folder: Path) -> Iterator[Path]:
    for component in components_of(read_json(folder / "model_index.json")):
        yield from (folder / component).glob("*.safetensors")


def check_component(folder: Path, *, allow_pickle: bool) -> None:
    """The same as `check_folder` for one component."""
    if not folder.is_dir():
        raise MissingWeights(f"{folder} is missing, and model_index.json asks for it", field="model")
    if not (folder / "config.json").exists():
        return  # schedulers, tokenizers and processors have no weights
    _check_shards(folder)
    whole = sorted(folder.glob("*.safetensors"))
    for path in whole:
        check_safetensors(path)
    if whole:
        return
    pickled = sorted(path for path in folder.iterdir() if path.suffix in PICKLED)
    if not pickled:
        raise MissingWeights(f"{folder} holds no weights (*.safetensors)", field="model")
    _refuse_pickle(pickled[0], allow_pickle)


def _check_shards(folder: Path) -> None:
    for name in INDEXES:
        index = folder / name
        shards = set(read_json(index).get("weight_map", {}).values()) if index.exists() else set()
        for shard in sorted(shards):
            if not (folder / str(shard)).is_file():
                raise MissingWeights(f"{folder / str(shard)} is missing, and {name} asks for it", field="model")


def _refuse_pickle(path: Path, allow_pickle: bool) -> None:
    if not allow_pickle:
        raise UnsafeWeights(
            f"{path} is a pickle, which can run any code when it is read; "
            "use safetensors, or set allow_pickle = true for this model if you trust who made it",
            field="allow_pickle",
        )


def _refuse_remote_code(folder: Path, index: dict[str, Any]) -> None:
    code = [name for name in components_of(index) if (folder / name / f"{index[name][0]}.py").exists()]
    code += ["model_index.json"] if isinstance(index.get("_class_name"), list) else []
    for name in components_of(index):
        config = folder / name / "config.json"
        code += [name] if config.exists() and "auto_map" in read_json(config) else []
    if code:
        raise UnsafeWeights(
            f"{folder} brings Python code of its own ({', '.join(sorted(set(code)))}); "
            "set trust_remote_code = true for this model if you trust who made it",
            field="trust_remote_code",
        )


def plain_files(folder: Path | None, pattern: str) -> list[Path]:
    """Files of a folder's components; where one has weights in several variants, the plain ones."""
    if folder is None:
        return []
    found = sorted(folder.glob(pattern))
    kept = [path for path in found if path.name.count(".") == 1 or "-of-" in path.name]
    return kept or found


def values_in(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    return sum(values_by_name(path).values())


def values_by_name(path: Path) -> dict[str, int]:
    """How many numbers each of its tensors has; nothing of a file that cannot be read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
        return {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
        return {}  # loading says by name what is wrong with it
