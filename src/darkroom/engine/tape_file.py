"""Tapes as bytes: a safetensors file whose metadata is JSON. No pickle.

metadata["tape"]    {"format", "identity", "asked", "digest", "entries"}; structures as `_Writer` writes them
metadata["check"]   BLAKE2b of that JSON and of every tensor, so that what was cut off or changed is not played
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from ..errors import BadInput, CorruptTape, TapeRefused
from .digests import content_of
from .tape import Asked, Entry, Identity, Tape

FORMAT = 2
LIBRARIES = ("diffusers", "transformers")  # whose output classes a tape may name
PICTURE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # those that PNG keeps as they are
HEADER = 8  # bytes: how long safetensors' own JSON is


class _Unwritable(Exception):
    """Holds something that has no place in a file."""


class _Broken(Exception):
    """Is not what we wrote."""


def dump(tape: Tape, with_arguments: bool) -> bytes:
    """See `Tape.to_bytes`."""
    writer = _Writer()
    asked = {**vars(tape.asked), "arguments": _arguments(writer, tape.asked.arguments) if with_arguments else {}}
    told = {
        "format": FORMAT,
        "identity": asdict(tape.identity),
        "asked": {**asked, "adapters": list(map(list, tape.asked.adapters.items()))},
        "digest": tape.digest,
        "entries": [_written(writer, entry) for entry in tape.entries],
    }
    text = json.dumps(told)
    data: bytes = safetensors.torch.save(writer.tensors, {"tape": text, "check": _check_of(text, writer.tensors)})
    return data


def load(data: bytes) -> Tape:
    """See `Tape.from_bytes`; the arguments are those stored, and not looked at."""
    try:
        text, tensors = _opened(data)
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise TapeRefused(f"the tape has format {told['format']}, and this version reads {FORMAT}: start over")
        return _read(told, _Reader(tensors))
    except (_Broken, safetensors.SafetensorError, struct.error, OSError) as error:
        raise CorruptTape(f"these bytes are no whole tape: {error}", field="data") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ImportError) as error:
        raise CorruptTape(f"these bytes are no tape: {type(error).__name__}", field="data") from error


def _arguments(writer: _Writer, arguments: Mapping[str, Any]) -> dict[str, Any]:
    written = {}
    for name, value in arguments.items():
        try:
            written[name] = writer.write(value)
        except _Unwritable as error:
            said = f"{name} {error}, which a tape cannot store"
            raise BadInput(f"{said}: store it with_arguments=False and give them to from_bytes", field=name) from None
    return written


def _opened(data: bytes) -> tuple[str, dict[str, torch.Tensor]]:
    (length,) = struct.unpack("<Q", data[:HEADER])
    metadata = json.loads(data[HEADER : HEADER + length])["__metadata__"]
    tensors = safetensors.torch.load(data)
    if _check_of(metadata["tape"], tensors) != metadata["check"]:
        raise _Broken("what is in them has changed")
    return metadata["tape"], tensors


def _read(told: dict[str, Any], reader: _Reader) -> Tape:
    asked = dict(told["asked"])
    arguments = {name: reader.read(value) for name, value in asked.pop("arguments").items()}
    adapters = dict(asked.pop("adapters"))
    entries = [_entry_of(reader, *said) for said in told["entries"]]
    return Tape(
        Identity(**told["identity"]),
        Asked(arguments=arguments, adapters=adapters, **asked),
        str(told["digest"]),
        tuple(entries),
    )


def _written(writer: _Writer, entry: Entry) -> list[Any]:
    return [entry.role, entry.digest.hex(), writer.write(entry.output), entry.is_unsteady]


def _entry_of(reader: _Reader, role: str, digest: str, output: Any, is_unsteady: bool) -> Entry:
    return Entry(role, bytes.fromhex(digest), reader.read(output), is_unsteady)


def _check_of(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    said = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        said.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        said.update(content_of(tensor))
    return said.hexdigest()


class _Writer:
    """Plain values as they are, anything else as `{"kind": …}`; tensors go to `tensors`."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}

    def write(self, value: Any) -> Any:
        """As JSON; raises `_Unwritable`."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if type(value) in (list, tuple):
            return {"kind": type(value).__name__, "items": [self.write(each) for each in value]}
        if isinstance(value, Mapping):
            return {
                "kind": _class_of(value),
                "items": [[self._key(key), self.write(each)] for key, each in value.items()],
            }
        return self._other(value)

    def _other(self, value: Any) -> Any:
        if isinstance(value, Image.Image):
            return {"kind": "picture", "at": self._put(_png(value))}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.isnative:
            return {"kind": "array", "at": self._put(torch.from_numpy(np.array(value, order="C")))}
        if isinstance(value, torch.Generator):
            return {"kind": "generator", "at": self._put(value.get_state()), "device": str(value.device)}
        raise _Unwritable(f"holds a {type(value).__name__}")

    def _tensor(self, tensor: torch.Tensor) -> Any:
        if tensor.device.type == "meta":
            return {"kind": "shape", "shape": list(tensor.shape), "dtype": _word(tensor.dtype)}
        stride = None if tensor.is_contiguous() or _overlaps(tensor) else list(tensor.stride())
        return {"kind": "tensor", "at": self._put(tensor), "stride": stride}

    def _put(self, tensor: torch.Tensor) -> str:
        name = str(len(self.tensors))
        self.tensors[name] = tensor.detach().cpu().contiguous()
        if self.tensors[name].data_ptr() == tensor.data_ptr():
            self.tensors[name] = self.tensors[name].clone()  # safetensors stores nothing twice, and says so
        return name

    def _key(self, key: Any) -> str:
        if not isinstance(key, str):
            raise _Unwritable(f"has the key {key!r}")
        return key


class _Reader:
    """The other way round."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def read(self, value: Any) -> Any:
        """What was written as this."""
        if not isinstance(value, dict):
            return value
        kind = value["kind"]
        if kind in ("list", "tuple"):
            items = [self.read(each) for each in value["items"]]
            return items if kind == "list" else tuple(items)
        if "items" in value:
            return _made(kind, {key: self.read(each) for key, each in value["items"]})
        if kind == "shape":
            return torch.empty(value["shape"], dtype=_dtype(value["dtype"]), device="meta")
        return self._stored(kind, self._tensors[value["at"]], value)

    def _stored(self, kind: str, tensor: torch.Tensor, value: dict[str, Any]) -> Any:
        if kind == "tensor":
            return tensor if value["stride"] is None else _strided(tensor, value["stride"])
        if kind == "picture":
            picture = Image.open(io.BytesIO(tensor.numpy().tobytes()), formats=["PNG"])
            picture.load()
            return picture
        if kind == "array":
            return tensor.numpy()
        if kind == "generator":
            generator = torch.Generator(value["device"])
            generator.set_state(tensor)
            return generator
        raise _Broken(f"no value is a {kind!r}")


def _class_of(value: Mapping[str, Any]) -> str:
    """Plain dicts, and the libraries' output classes by name."""
    kind = type(value)
    if kind is dict:
        return "dict"
    if kind.__module__.partition(".")[0] in LIBRARIES:
        return f"{kind.__module__}:{kind.__qualname__}"
    raise _Unwritable(f"holds a {kind.__name__}")


def _made(kind: str, items: dict[str, Any]) -> Any:
    if kind == "dict":
        return items
    module, _, name = kind.partition(":")
    found = getattr(importlib.import_module(module), name) if module.partition(".")[0] in LIBRARIES else None
    if not (isinstance(found, type) and issubclass(found, OrderedDict)):
        raise _Broken(f"no output is a {kind!r}")
    return found(**items)


def _png(picture: Image.Image) -> torch.Tensor:
    if picture.mode not in PICTURE_MODES:
        raise _Unwritable(f"is a picture of mode {picture.mode}")
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=1)
    return torch.frombuffer(bytearray(data.getvalue()), dtype=torch.uint8)


def _overlaps(tensor: torch.Tensor) -> bool:
    """Whether some of its elements lie in one place, beside those of a dimension that was expanded."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
    return False


def _strided(tensor: torch.Tensor, stride: list[int]) -> torch.Tensor:
    once = tensor[tuple(slice(None) if step else slice(1) for step in stride)]  # what was expanded has one place
    return torch.empty_strided(once.shape, stride, dtype=tensor.dtype).copy_(once).expand(tensor.shape)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtype(word: str) -> torch.dtype:
    found = getattr(torch, word, None)
    if not isinstance(found, torch.dtype):
        raise _Broken(f"there is no dtype {word!r}")
    return found
