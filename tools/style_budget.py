"""Prints the house's style budgets over src/ and fails on a breach that has no reason beside it.

The budgets were measured in code bases worth reading, so a breach asks for a second look, not for obedience: what
must be long says why in a comment, `# budget: the reason`, on the line of the `def`, `class` or `except` itself, or for
a whole file among its first lines. Whole-tree figures (median, 90th percentile, rates) leave out what gave a reason.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

FUNCTION_MEDIAN = 10
FUNCTION_P90 = 35
FUNCTION_LONG = 60
LONG_PER_1000_LINES = 1.0
BROAD_PER_1000_LINES = 1.0
FILE_LINES = 400
CONSTRUCTOR_ARGUMENTS = 7
FILE_REASON_WITHIN = 30  # a file's reason stands where a reader begins
UNWANTED_WORDS = ("Manager", "Service", "Handler", "Helper", "Utils")

REASON = "# budget:"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    """Something over its budget, where it stands, and the reason given there, if any."""

    where: str
    what: str
    reason: str | None


@dataclass
class Measured:
    """What the figures are made of, summed over files."""

    lines: int = 0
    files: int = 0
    functions: list[int] = field(default_factory=list)
    long_functions: list[Finding] = field(default_factory=list)
    broad_excepts: list[Finding] = field(default_factory=list)
    long_files: list[Finding] = field(default_factory=list)
    wide_constructors: list[Finding] = field(default_factory=list)
    unwanted_names: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """One budget: what was measured, what is allowed, and whether that holds."""

    name: str
    measured: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.measured <= self.allowed


def reason_at(lines: list[str], first: int, last: int) -> str | None:
    """The reason that stands on lines `first` to `last`, counted from one."""
    for line in lines[first - 1 : last]:
        _, mark, reason = line.partition(REASON)
        if mark and reason.strip():
            return reason.strip()
    return None


def is_broad(caught: ast.ExceptHandler) -> bool:
    """True where everything is caught and not raised again: such a clause can swallow a fault of ours."""
    if isinstance(caught.body[-1], ast.Raise):
        return False
    kinds = caught.type.elts if isinstance(caught.type, ast.Tuple) else [caught.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds
    )


def constructor_width(constructor: Function) -> int:
    """Arguments a caller can give; none count where one of them is a whole configuration."""
    arguments = [*constructor.args.posonlyargs, *constructor.args.args, *constructor.args.kwonlyargs][1:]
    words = " ".join(f"{a.arg} {ast.unparse(a.annotation) if a.annotation else ''}" for a in arguments).lower()
    return 0 if "config" in words or "settings" in words else len(arguments)


class FileReader:
    """Reads one file's figures into the sum."""

    def __init__(self, path: Path, text: str, into: Measured) -> None:
        self.path, self.lines, self.into = path, text.splitlines(), into
        self.tree = ast.parse(text, filename=str(path))

    def read(self) -> None:
        self.into.files += 1
        self.into.lines += len(self.lines)
        if len(self.lines) > FILE_LINES:
            reason = reason_at(self.lines, 1, FILE_REASON_WITHIN)
            self.into.long_files.append(Finding(str(self.path), f"{len(self.lines)} lines", reason))
        for node in ast.walk(self.tree):
            self._read_node(node)

    def _read_node(self, node: ast.AST) -> None:
        if isinstance(node, Function):
            self._read_function(node)
        elif isinstance(node, ast.ClassDef):
            self._read_class(node)
        elif isinstance(node, ast.ExceptHandler) and is_broad(node):
            self.into.broad_excepts.append(self._finding(node.lineno, node.lineno, "broad except"))

    def _read_function(self, function: Function) -> None:
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        found = self._finding(*self._head(function), f"{function.name} has {length} lines")
        if length >= FUNCTION_LONG:
            self.into.long_functions.append(found)
        if found.reason is None:
            self.into.functions.append(length)
        if function.name == "__init__" and constructor_width(function) > CONSTRUCTOR_ARGUMENTS:
            what = f"constructor with {constructor_width(function)} arguments"
            self.into.wide_constructors.append(self._finding(*self._head(function), what))

    def _read_class(self, node: ast.ClassDef) -> None:
        if any(word in node.name for word in UNWANTED_WORDS) or node.name.startswith("Base"):
            self.into.unwanted_names.append(self._finding(*self._head(node), f"class {node.name}"))

    def _head(self, node: Function | ast.ClassDef) -> tuple[int, int]:
        """The lines from `def` to the colon, where a reason may stand."""
        return node.lineno, max(node.lineno, node.body[0].lineno - 1)

    def _finding(self, first: int, last: int, what: str) -> Finding:
        return Finding(f"{self.path}:{first}", what, reason_at(self.lines, first, last))


def measure(files: Iterable[Path]) -> Measured:
    """Read every file once."""
    total = Measured()
    for path in files:
        FileReader(path, path.read_text(encoding="utf-8"), total).read()
    return total


def figures(total: Measured) -> list[Figure]:
    """The budgets of the whole tree; what gave its reason is left out."""
    lengths = sorted(total.functions) or [0]
    thousands = max(total.lines, 1000) / 1000  # a small tree is not held to a fraction of one
    long_ones = sum(found.reason is None for found in total.long_functions)
    broad_ones = sum(found.reason is None for found in total.broad_excepts)
    return [
        Figure("median function, lines", statistics.median(lengths), FUNCTION_MEDIAN),
        Figure("90th percentile function, lines", lengths[int(0.9 * (len(lengths) - 1))], FUNCTION_P90),
        Figure(
            f"functions of {FUNCTION_LONG} lines or more, per 1,000 lines", long_ones / thousands, LONG_PER_1000_LINES
        ),
        Figure("broad excepts without a reason, per 1,000 lines", broad_ones / thousands, BROAD_PER_1000_LINES),
    ]


def breaches(total: Measured) -> list[Finding]:
    """Places over a budget of their own, without a reason."""
    placed = [*total.long_files, *total.wide_constructors, *total.unwanted_names]
    return [found for found in placed if found.reason is None]


def excused(total: Measured) -> list[Finding]:
    """Places that are over and say why, printed so that a reason stays something people read."""
    every = [*total.long_files, *total.long_functions, *total.broad_excepts, *total.wide_constructors]
    return [found for found in every if found.reason is not None]


def report(total: Measured) -> Iterator[str]:
    """The lines that `make check` prints."""
    yield f"{total.files} files, {total.lines} lines, {len(total.functions)} functions"
    for figure in figures(total):
        yield f"  {'ok  ' if figure.holds else 'OVER'} {figure.name}: {figure.measured:g} (at most {figure.allowed:g})"
    placed = breaches(total)
    yield f"  {'OVER' if placed else 'ok  '} files, constructors and names over budget: {len(placed)}"
    for found in [*placed, *total.long_functions, *total.broad_excepts]:
        if found.reason is None:
            yield f"       {found.where}: {found.what}; mend it, or write `{REASON} why` beside it"
    for found in excused(total):
        yield f"  with a reason: {found.where}: {found.what}: {found.reason}"


def main(arguments: list[str]) -> int:
    """Measure the folders given, src by default; 1 where a budget is broken."""
    folders = [Path(name) for name in arguments or ["src"]]
    total = measure(sorted(path for folder in folders for path in folder.rglob("*.py")))
    print("\n".join(report(total)))
    return int(bool(breaches(total)) or not all(figure.holds for figure in figures(total)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
