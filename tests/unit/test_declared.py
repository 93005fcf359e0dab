"""Every package that the source imports, also where it is first needed, is a declared dependency."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "darkroom"
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = WHOLE["project"]
# Import names that differ from their distribution's.
CALLED = {"PIL": "pillow", "yaml": "pyyaml", "re2": "google-re2", "opentelemetry": "opentelemetry-sdk"}
# What an extra brings is imported in these places alone; `test` and `dev` bring nothing to the source.
OF_EXTRA = {
    "redis": ("jobs/", "gateway/"),
    "safety": ("safety.py",),
    "oidc": ("gateway/sign_in.py",),
    "otel": ("telemetry/",),
    "slack": ("integrations/slack/",),
    "ray": ("fleet/drivers/ray",),
    "kubernetes": ("fleet/drivers/kubernetes",),
    "video": ("storage/videos.py",),
}
# What runs in another program's process finds there what nobody can install.
BROUGHT = {"integrations/triton/model.py": {"triton_python_backend_utils"}}


def declared(requirements: list[str]) -> set[str]:
    return {name_of(re.split(r"[\[<>=!~; ]", each, maxsplit=1)[0]) for each in requirements}


def name_of(name: str) -> str:
    return CALLED.get(name, name).lower().replace("_", "-")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.split(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]


def undeclared(place: str, tree: ast.AST) -> set[str]:
    """The packages that a file imports without a dependency, or an extra of its place, which brings them."""
    extras = [name for name, places in OF_EXTRA.items() if place.startswith(places)]
    known = declared(PROJECT["dependencies"]).union(
        *(declared(PROJECT["optional-dependencies"][name]) for name in extras)
    )
    foreign = {name for name in imported(tree) if name != "darkroom" and name not in sys.stdlib_module_names}
    foreign -= BROUGHT.get(place, set())
    return {name for name in foreign if name_of(name) not in known}


def test_whatever_the_source_imports_is_declared() -> None:
    files = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    found = {
        place: missing
        for place, path in files.items()
        if (missing := undeclared(place, ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
    assert len(files) > 100


def test_a_lazy_import_of_what_only_tests_bring_is_found() -> None:
    lazy = "def read():\n    from peft.utils import other\n    import redis, torch, json\n"
    assert undeclared("engine/lora_file.py", ast.parse(lazy)) == {"peft", "redis"}
    assert undeclared("jobs/redis_link.py", ast.parse(lazy)) == {"peft"}


def test_whatever_is_declared_is_pinned_and_so_is_what_builds_the_package() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name_of(line.split("==")[0]) for line in lines if "==" in line}
    asked = declared(
        [*PROJECT["dependencies"], *WHOLE["build-system"]["requires"], "editables"]
    )  # of an editable build
    asked |= declared([each for extra in PROJECT["optional-dependencies"].values() for each in extra])
    assert asked - pinned - {PROJECT["name"]} == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"} <= set(
        re.findall(r"^export (\w+) := constraints.txt$", makefile, re.M)
    )
