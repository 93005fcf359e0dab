"""Checks that the pages and the code say the same: links, commands, errors, settings, flags, events, terms.

Facts are read from the code that runs, never from a list kept here, so that a new flag without a word in the docs
fails the same day. The one list here is of words that the house has agreed on.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GLOSSARY = "docs/glossary.md"
TERMS = """
    job, attempt, task, tenant, preset, tape, claim, lease, heartbeat, fiber, call, tick, batch, batch key, bucket,
    batcher, step, solver, pipeline, component, latents, timesteps, num_inference_steps, guidance_scale, generator,
    model, adapter, revision, worker, engine, fleet, store, storage, artifact, event, hook, call spec, view,
    module view, runner, profile, row, row cap, park, host call, shadow check, reproducible
"""

JOB_EVENTS = {"output", "requeued"}  # what happens to jobs alone, and to no request of the engine

SKIPPED_FOLDERS = {".git", ".venv", "build", "dist", "node_modules"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
BARE_INSTALL = re.compile(r"\b(?:pip|uv|pipx)\b[^\n`]*\binstall\b[^\n`]*\sdarkroom(?![-\w./])")
SHELLS = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def prose(self) -> str:
        """The text without code blocks, where brackets are code and no links."""
        return FENCE.sub("", self.text)

    def shell_lines(self) -> Iterator[str]:
        """Commands a reader would type: lines of shell blocks, continued lines joined, and inline code."""
        for language, block in FENCE.findall(self.text):
            if language in SHELLS:
                yield from block.replace("\\\n", " ").splitlines()
        yield from INLINE.findall(self.prose)


def read_pages(root: Path) -> list[Page]:
    """Every Markdown file of the project, the package's own pages too."""
    found = (path for path in sorted(root.rglob("*.md")) if not SKIPPED_FOLDERS & set(path.relative_to(root).parts))
    return [Page(path, path.read_text(encoding="utf-8")) for path in found]


# --- what the code says -------------------------------------------------------------------------------------------


def make_targets(makefile: str) -> set[str]:
    """The doors of the Makefile."""
    return set(TARGET.findall(makefile))


def error_codes(root: type[Exception]) -> dict[str, str]:
    """Class name -> code, of the whole tree under `root`."""
    codes = {root.__name__: str(getattr(root, "code", ""))}
    for child in root.__subclasses__():
        codes |= error_codes(child)
    return codes


def command_flags(command: Any, name: str) -> dict[str, set[str]]:
    """Command path -> its long flags, of a click command and those below it; what is hidden is not for people."""
    shown = [option for option in command.params if not getattr(option, "hidden", False)]
    flags = {name: {flag for option in shown for flag in option.opts if flag.startswith("--")}}
    for child_name, child in getattr(command, "commands", {}).items():
        flags |= {} if getattr(child, "hidden", False) else command_flags(child, f"{name} {child_name}")
    return flags


def event_types(docstring: str) -> list[str]:
    """The types that `core.Event` declares in its docstring, where both readers and this check find them."""
    declared = re.search(r"Types:(.*?)\.", docstring, re.DOTALL)
    assert declared, "core.Event's docstring lists its types after 'Types:'"
    return re.findall(r"[a-z_]+", re.sub(r"\{[^}]*\}", "", declared.group(1)))


def route_paths(routers: Iterable[Any]) -> Iterator[str]:
    """The path of every route of the gateway, on HTTP and WebSocket, with `{id}` where one of many is named."""
    paths = (route.path for router in routers for route in router.routes)
    yield from dict.fromkeys(re.sub(r"\{\w+\}", "{id}", path) for path in paths)


def argument_names(source: str, functions: Iterable[str]) -> Iterator[str]:
    """Keyword arguments of methods (`Engine.submit`) and fields of classes (`Options`), read without torch."""
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    for name in functions:
        class_name, _, method = name.partition(".")
        for node in classes[class_name].body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not method:
                yield node.target.id
            elif isinstance(node, ast.FunctionDef) and node.name == method:
                yield from (argument.arg for argument in [*node.args.args[1:], *node.args.kwonlyargs])


def setting_names(model: Any) -> Iterator[str]:
    """Every field of a pydantic model and of the models inside it."""
    for name, field in model.model_fields.items():
        yield name
        for inner in _models_in(field.annotation):
            yield from setting_names(inner)


def environment_names(model: Any) -> Iterator[str]:
    """The variables that a pydantic-settings model reads."""
    yield from (f"{model.model_config['env_prefix']}{name.upper()}" for name in model.model_fields)


def _models_in(annotation: Any) -> Iterator[Any]:
    if hasattr(annotation, "model_fields"):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


# --- what must hold -----------------------------------------------------------------------------------------------


def broken_links(pages: Iterable[Page]) -> Iterator[str]:
    """Links to files or headings of ours that are not there."""
    for page in pages:
        for link in LINK.findall(page.prose):
            if not re.match(r"[a-z]+:", link) and not _resolves(page, link):
                yield f"{page.path}: broken link {link}"


def _resolves(page: Page, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.path.parent / name if name else page.path
    if not target.exists():
        return False
    return not anchor or anchor in {_slug(heading) for heading in HEADING.findall(target.read_text(encoding="utf-8"))}


def _slug(heading: str) -> str:
    """A heading's anchor as Markdown hosts make it."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())


def unknown_commands(pages: Iterable[Page], targets: set[str], flags: Mapping[str, set[str]]) -> Iterator[str]:
    """`make` doors and `darkroom` commands or flags that the pages name and the code does not have."""
    for page in pages:
        for line in page.shell_lines():
            yield from (f"{page.path}: {problem}" for problem in _line_problems(line, targets, flags))


def _line_problems(line: str, targets: set[str], flags: Mapping[str, set[str]]) -> Iterator[str]:
    words = re.sub(r'"[^"]*"|\'[^\']*\'', "TEXT", line.strip().removeprefix("$ ")).split("#")[0].split()
    if words[:1] == ["make"]:
        doors = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        yield from (f"no door `make {door}`" for door in doors if door not in targets)
    elif words and words[0] in ("darkroom", ".venv/bin/darkroom"):
        yield from _darkroom_problems(words[1:], flags)


def _darkroom_problems(words: list[str], flags: Mapping[str, set[str]]) -> Iterator[str]:
    command = "darkroom"
    while words and f"{command} {words[0]}" in flags:
        command = f"{command} {words.pop(0)}"
    if command == "darkroom" and words and not words[0].startswith("-"):
        yield f"no command `darkroom {words[0]}`"
    for flag in (word.split("=")[0] for word in words if word.startswith("--")):
        if flag not in flags[command] | {"--help"}:
            yield f"`{command}` has no flag {flag}"


def unsaid(page: Page, what: str, words: Iterable[str]) -> Iterator[str]:
    """Words of the code that a reference page does not have as code."""
    said = " ".join(INLINE.findall(page.prose)) + " ".join(block for _, block in FENCE.findall(page.text))
    for word in words:
        if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", said):
            yield f"{page.path}: {what} `{word}` is not there"


def undefined_terms(glossary: Page, terms: Iterable[str]) -> Iterator[str]:
    """Agreed words without an entry (a line that starts with the word in bold)."""
    entries = re.findall(r"^(?:- )?\*\*(.+?)\*\*", glossary.text, re.MULTILINE)
    defined = {word.strip() for entry in entries for word in entry.split(",")}
    yield from (f"{glossary.path}: no entry for **{term}**" for term in terms if term not in defined)


def bare_installs(pages: Iterable[Page]) -> Iterator[str]:
    """Advice to install the bare name, which in the package index is somebody else's project."""
    for page in pages:
        yield from (f"{page.path}: `{found.group(0)}`" for found in BARE_INSTALL.finditer(page.text))


# --- all of it ----------------------------------------------------------------------------------------------------


def problems(root: Path) -> Iterator[str]:
    """Everything that is wrong with the pages under `root`."""
    pages = read_pages(root)
    by_name = {str(page.path.relative_to(root)): page for page in pages}
    flags = command_flags(_cli(), "darkroom")
    events = event_types(importlib.import_module("darkroom.core").Event.__doc__)
    codes = error_codes(importlib.import_module("darkroom.errors").DarkroomError)
    yield from broken_links(pages)
    yield from bare_installs(pages)
    yield from unknown_commands(pages, make_targets((root / "Makefile").read_text(encoding="utf-8")), flags)
    yield from unsaid(by_name["docs/reference/errors.md"], "error", [*codes, *codes.values()])
    yield from unsaid(by_name["docs/reference/http.md"], "event", events)
    routes = route_paths(importlib.import_module("darkroom.gateway.app").ROUTERS)
    yield from unsaid(by_name["docs/reference/http.md"], "route", routes)
    yield from unsaid(by_name["docs/reference/python.md"], "event", [name for name in events if name not in JOB_EVENTS])
    sources = [root / "src/darkroom/engine" / name for name in ("engine.py", "options.py")]
    engine = "\n".join(
        path.read_text(encoding="utf-8").replace("from __future__ import annotations", "") for path in sources
    )
    faces = argument_names(engine, ["Engine.__init__", "Engine.submit", "Engine.add_adapter", "Options"])
    yield from unsaid(by_name["docs/reference/python.md"], "argument", faces)
    config = importlib.import_module("darkroom.config")
    said = [
        *setting_names(config.FileSettings),
        *environment_names(config.EnvironmentSettings),
        *environment_names(config.ClientSettings),
    ]
    yield from unsaid(by_name["docs/reference/settings.md"], "setting", said)
    cli_words = [*flags, *(flag for those in flags.values() for flag in those)]
    yield from unsaid(by_name["docs/reference/cli.md"], "command or flag", cli_words)
    yield from undefined_terms(by_name[GLOSSARY], [term.strip() for term in TERMS.split(",")])


def _cli() -> Any:
    """The command line as click sees it."""
    typer_main = importlib.import_module("typer.main")
    return typer_main.get_command(importlib.import_module("darkroom.cli").app)


def main() -> int:
    """Print what is wrong; 1 where something is."""
    found = list(problems(Path(__file__).resolve().parent.parent))
    print("\n".join(found) or "docs: the pages and the code say the same")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
