"""When the web UI is built, and with which Node."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import web


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_it_is_built_where_its_sources_are_not_those_of_the_page(tmp_path: Path) -> None:
    sources, built = tmp_path / "web", tmp_path / "static"

    def is_old() -> bool:
        return web.is_old(web.digest_of(sources), built)

    write(sources / "src/app/main.tsx")
    write(sources / "package.json")
    assert is_old()
    write(built / "index.html")
    assert is_old()  # built by hand, from nobody knows what
    write(built / web.DIGEST, web.digest_of(sources))
    assert not is_old()
    for changes_nothing in ("src/lib/live.test.ts", "src/lib/api/schema.d.ts", "node_modules/vite/x.js", ".env.local"):
        write(sources / changes_nothing)
        assert not is_old(), changes_nothing
    write(sources / "src/lib/live.ts")
    assert is_old()
    write(built / web.DIGEST, web.digest_of(sources))
    (sources / "src/lib/live.ts").unlink()
    assert is_old()
    write(sources / "src/lib/old.ts")
    assert is_old()


@pytest.mark.parametrize(
    ("script", "was_built", "said"),
    [
        ("exit 1", True, ["the web UI in this build is an old one: Node is missing, or its build failed"]),
        ("exit 1", False, ["the web UI is not in this build: Node is missing, or its build failed"]),
        ("exit 0", True, []),
    ],
)
def test_a_build_without_new_pages_says_so(tmp_path: Path, script: str, was_built: bool, said: list[str]) -> None:
    write(tmp_path / "web/package.json")
    write(tmp_path / "tools/web.py", f"raise SystemExit({script.removeprefix('exit ')})")
    if was_built:
        write(tmp_path / "src/darkroom/gateway/static/index.html")
    assert warnings_of(tmp_path) == said


def warnings_of(root: Path) -> list[str]:
    """What building a wheel there warns of."""
    found = importlib.util.spec_from_file_location("hatch_build", web.ROOT / "hatch_build.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    heard: list[str] = []
    hook = module.WebUi(str(root), {}, None, None, str(root), "wheel", SimpleNamespace(display_warning=heard.append))
    hook.initialize("standard", {})
    return heard


@pytest.mark.parametrize(
    ("said", "version"), [("v20.19.1", (20, 19)), ("v24.1.0", (24, 1)), ("18.2.0", (0,)), ("", (0,))]
)
def test_the_version_of_a_node_is_what_it_says(tmp_path: Path, said: str, version: tuple[int, ...]) -> None:
    assert web.version_of(str(fake(tmp_path, "node", said))) == version


@pytest.mark.parametrize("said", ["v20.18.9", "v18.20.0", None])
def test_an_old_node_or_none_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if said is not None:
        fake(tmp_path, "node", said)
        fake(tmp_path, "npm", "10")
    with pytest.raises(web.NotBuilt, match="or newer and npm are not on PATH"):
        web.find_node(may_fetch=False)


def test_a_node_that_is_new_enough_is_taken_from_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "node", "v20.19.0")
    npm = fake(tmp_path, "npm", "10")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert web.find_node(may_fetch=False).npm == (str(npm),)


def fake(folder: Path, name: str, said: str) -> Path:
    """A program that says its version."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {said}\n")
    path.chmod(0o755)
    return path
