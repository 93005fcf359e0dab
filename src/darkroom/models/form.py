"""What a plain pipeline takes: read from its function's signature, in its file, without running a line of that.

A gateway asks. It has no torch, must not wait for what the file imports, and must not fall over it. No torch here.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput, InvalidConfig
from . import values
from .media import MOST_FRAMES, RATES

DECORATOR = "pipeline"
UNPARSED = (SyntaxError, RecursionError, MemoryError)  # what Python's parser raises
REQUIRED: Any = object()  # a default that is none
MAX_TEXT = 2000  # characters
MOST = 2**53  # of a number that says no bounds: JavaScript keeps whole ones up to there
# Numbers that every face of the service knows have the door's bounds, as far as their annotation says none.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "num_inference_steps": (1, 1000),
    "width": (1, 2048),
    "height": (1, 2048),
    "num_images": (1, 16),
    "num_frames": (1, MOST_FRAMES),
    "frame_rate": RATES,
    "guidance_scale": (0, 50),
    "strength": (0, 1),
    "denoising_end": (0, 1),
}
PICTURES = ("image", "mask_image", "control_image")  # as every face of the service calls pictures
PROMPT, SEED = "prompt", "seed"
# What stands for something else in a job, or in `Engine.submit`.
TAKEN = frozenset(
    {"adapters", "adapter_digests", "deadline_s", "generator", "model", "num_images_per_prompt", "priority"}
    | {"reproducible", "task"}
)
KINDS = {"str": "text", "int": "whole", "float": "number", "bool": "flag", "Image": "picture"}
JSON_TYPES = {"text": "string", "choice": "string", "whole": "integer", "number": "number", "flag": "boolean"}
ALLOWED = "str, int, float, bool, Literal of texts, or PIL's Image.Image, each of them `| None` where its default is"


@dataclass(frozen=True)
class Field:
    """One parameter; `kind` is one of `KINDS`' or "choice". `low` and `high` bound numbers, `choices` texts."""

    name: str
    kind: str
    default: Any = REQUIRED
    low: float = -MOST
    high: float = MOST
    choices: tuple[str, ...] = ()
    description: str = ""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    def checked(self, given: Mapping[str, Any]) -> Any:
        """Its value among those; raises `BadInput`."""
        value = given[self.name]
        if self.kind == "text":
            return values.text(given, self.name, MAX_TEXT, 0)
        if self.kind == "whole":
            return values.whole(given, self.name, int(self.low), int(self.high))
        if self.kind == "number":
            return values.number(given, self.name, self.low, self.high)
        if self.kind == "flag" and not isinstance(value, bool):
            raise BadInput(f"{self.name} must be true or false, not {values.shown(value)}", field=self.name)
        if self.kind == "choice" and value not in self.choices:
            allowed = ", ".join(self.choices)
            raise BadInput(f"{self.name} must be one of {allowed}, not {values.shown(value)}", field=self.name)
        return value

    def parsed(self, said: str) -> Any:
        """A value that stands in words, on a command line; what does not fit its kind is left for `checked`."""
        readers = {"whole": int, "number": float, "flag": {"true": True, "false": False}.__getitem__}
        try:
            return readers[self.kind](said) if self.kind in readers else said  # type: ignore[operator]
        except (ValueError, KeyError):
            return said

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""
        said: dict[str, Any] = {"type": JSON_TYPES.get(self.kind, "string")}
        if self.kind == "text":
            said |= {"maxLength": MAX_TEXT}
        if self.kind in ("whole", "number"):
            said |= {"minimum": self.low} if self.low > -MOST else {}
            said |= {"maximum": self.high} if self.high < MOST else {}
        if self.choices:
            said["enum"] = list(self.choices)
        if self.default is not REQUIRED and self.default is not None:
            said["default"] = self.default
        return said | ({"description": self.description} if self.description else {})


@dataclass(frozen=True)
class Form:
    """What the `function` takes by name, its `run` and its seed apart; it calls those `models`, about `calls` times."""

    function: str
    models: tuple[str, ...]
    calls: int
    fields: Mapping[str, Field]
    description: str = ""

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for every parameter, from what was given and the defaults; raises `BadInput` with the field."""
        return {name: self._value(field, given) for name, field in self.fields.items()}

    def _value(self, field: Field, given: Mapping[str, Any]) -> Any:
        if given.get(field.name) is None:
            if field.is_required:
                raise BadInput(f"{field.name} must be given: {self.function} needs it", field=field.name)
            return field.default
        return field.checked(given)


def read_form(file: Path, function: str) -> Form:
    """The form of a decorated function; raises `InvalidConfig`, which says where and what is allowed."""
    try:
        written_at = file.stat().st_mtime_ns
    except OSError as error:
        raise InvalidConfig(f"{file} cannot be read: {error.strerror}", field="pipeline") from error
    return _read(file, function, written_at)


@functools.lru_cache(maxsize=256)
def _read(file: Path, function: str, written_at: int) -> Form:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfig(f"{file} cannot be read: {error.strerror}", field="pipeline") from error
    except (*UNPARSED, ValueError) as error:
        raise InvalidConfig(f"{file} is not valid Python: {error}", field="pipeline") from error
    found = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function), None)
    if found is None:
        raise InvalidConfig(f"{file} has no function {function!r} at its top level", field="pipeline")
    return _Reader(file, found).form()


class _Reader:
    """Reads one function; what it cannot read it refuses with file and line."""

    def __init__(self, file: Path, node: ast.FunctionDef) -> None:
        self._file, self._node = file, node

    def form(self) -> Form:
        """All of it."""
        said = self._decoration()
        models, calls = said.get("models"), said.get("calls", 1)
        if not isinstance(models, list | tuple) or not models or not all(isinstance(name, str) for name in models):
            raise self._fault(self._node, "models must be a list of the names of the models that it calls")
        if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
            raise self._fault(self._node, "calls must be a whole number, how many times it calls a pipeline")
        fields = {field.name: field for field in self._fields() if field.name != SEED}
        if PROMPT not in fields:
            raise self._fault(self._node, "it needs a parameter `prompt: str`: every face of the service asks for one")
        text = ast.get_docstring(self._node) or ""
        return Form(self._node.name, tuple(dict.fromkeys(models)), calls, fields, text.partition("\n\n")[0])

    def _decoration(self) -> dict[str, Any]:
        for each in self._node.decorator_list:
            if isinstance(each, ast.Call) and _last_name(each.func) == DECORATOR:
                return {word.arg: self._literal(word.value, word.arg) for word in each.keywords if word.arg}
        raise self._fault(self._node, '@darkroom.pipeline(models=["…"]) must stand above it')

    def _fields(self) -> Iterator[Field]:
        said = self._node.args
        if said.vararg or said.kwarg:
            raise self._fault(self._node, "it must name every input: no *args and no **kwargs")
        named = [*said.posonlyargs, *said.args]
        if not named:
            raise self._fault(self._node, "its first parameter is `run`, by which it calls the models")
        if len(said.posonlyargs) > 1:
            raise self._fault(said.posonlyargs[1], "its inputs are given by name: no / behind the first parameter")
        defaults: list[ast.expr | None] = [*[None] * (len(named) - len(said.defaults)), *said.defaults]
        pairs = [*[*zip(named, defaults, strict=True)][1:], *zip(said.kwonlyargs, said.kw_defaults, strict=True)]
        for argument, default in pairs:
            yield self._field(argument, default)

    def _field(self, argument: ast.arg, default: ast.expr | None) -> Field:
        name = argument.arg
        if name in TAKEN:
            raise self._fault(argument, f"{name} means something else in a job: name the parameter otherwise")
        facts = self._facts(argument, argument.annotation)
        if facts["kind"] in ("whole", "number") and name in BOUNDS:
            low, high = BOUNDS[name]
            facts = {"low": low, "high": high, **facts}
        if facts.get("low", -MOST) > facts.get("high", MOST):
            said = f"{name} must be from {facts['low']} to {facts['high']}, which nothing is: say both ge and le"
            raise self._fault(argument, said)
        value = REQUIRED if default is None else self._literal(default, name)
        field = Field(name=name, default=value, **facts)
        if (field.kind == "picture") != (name in PICTURES):
            raise self._fault(argument, f"{name}: pictures, and they alone, are called {', '.join(PICTURES)}")
        if (name == PROMPT and field.kind != "text") or (name == SEED and field.kind != "whole"):
            raise self._fault(argument, f"{name} must be {'text: str' if name == PROMPT else 'a whole number: int'}")
        self._check_default(argument, field)
        return field

    def _check_default(self, argument: ast.arg, field: Field) -> None:
        if field.is_required or field.default is None:
            return
        if field.kind == "picture":
            raise self._fault(argument, f"{field.name}: the default of a picture can only be None")
        try:
            field.checked({field.name: field.default})
        except BadInput as error:
            raise self._fault(argument, f"default: {error.message}") from error

    def _facts(self, argument: ast.arg, said: ast.expr | None) -> dict[str, Any]:
        """Kind, bounds, choices and description, from an annotation."""
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            said = self._written(argument, said.value)
        if isinstance(said, ast.BinOp) and isinstance(said.op, ast.BitOr) and _is_none(said.right):
            return self._facts(argument, said.left)
        if isinstance(said, ast.Name | ast.Attribute) and _last_name(said) in KINDS:
            return {"kind": KINDS[_last_name(said)]}
        if isinstance(said, ast.Subscript):
            return self._facts_inside(argument, said)
        raise self._fault(argument, f"{argument.arg}: its annotation must be {ALLOWED}")

    def _written(self, argument: ast.arg, said: str) -> ast.expr:
        """An annotation that stands in quotes."""
        try:
            return ast.parse(said, mode="eval").body
        except (*UNPARSED, ValueError):
            raise self._fault(argument, f"{argument.arg}: its annotation must be {ALLOWED}") from None

    def _facts_inside(self, argument: ast.arg, said: ast.Subscript) -> dict[str, Any]:
        outer, inner = _last_name(said.value), said.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if outer == "Optional":
            return self._facts(argument, inner)
        if outer == "Literal":
            choices = tuple(self._literal(part, argument.arg) for part in parts)
            if all(isinstance(choice, str) for choice in choices):
                return {"kind": "choice", "choices": choices}
        if outer == "Annotated" and parts:
            return self._facts(argument, parts[0]) | self._bounds(argument, parts[1:])
        raise self._fault(argument, f"{argument.arg}: its annotation must be {ALLOWED}")

    def _bounds(self, argument: ast.arg, parts: list[ast.expr]) -> dict[str, Any]:
        """What pydantic's `Field(ge=…, le=…, description=…)` says."""
        found: dict[str, Any] = {}
        names = {"ge": "low", "le": "high", "description": "description"}
        for part in parts:
            for word in part.keywords if isinstance(part, ast.Call) and _last_name(part.func) == "Field" else ():
                if word.arg not in names:
                    raise self._fault(argument, f"{argument.arg}: of Field only {', '.join(names)} are read")
                found[names[word.arg]] = self._bound(argument, word.arg, self._literal(word.value, argument.arg))
        return found

    def _bound(self, argument: ast.arg, word: str, value: Any) -> Any:
        if word == "description":
            is_fit, allowed = isinstance(value, str), "text"
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_fit, allowed = is_number and abs(value) <= MOST, f"a number, up to {MOST}"
        if not is_fit:
            raise self._fault(argument, f"{argument.arg}: {word} must be {allowed}, not {values.shown(value)}")
        return value

    def _literal(self, node: ast.expr, name: str) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            said = f"{name}: write the value itself, such as 0.6 or 'plain': the file is read and not run"
            raise self._fault(node, said) from None

    def _fault(self, node: ast.AST, said: str) -> InvalidConfig:
        place = f"{self._file}, line {getattr(node, 'lineno', 0)}, {self._node.name}"
        return InvalidConfig(f"{place}: {said}", field="pipeline")


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
