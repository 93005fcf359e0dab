"""The web UI is built where only its run-time packages are installed: what the build reads must name no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "web"
IMPORTED = re.compile(r"""(?:\bfrom|^import|\bimport\()\s*["']((?:@[\w.-]+/)?[\w.-]+)""", re.MULTILINE)
TESTS = (".test.ts", ".test.tsx", "test-setup.ts")


def test_the_build_reads_only_packages_of_a_plain_install() -> None:
    packages = set(json.loads((WEB / "package.json").read_text())["dependencies"])
    read = [WEB / "vite.config.ts", *sorted((WEB / "src").rglob("*.ts*"))]
    named = {
        (name, path.name)
        for path in read
        if not path.name.endswith(TESTS)
        for name in IMPORTED.findall(path.read_text())
        if not name.startswith((".", "@/"))
    }
    assert {name for name, _ in named} >= {"react", "vite", "zustand"}, "the imports were not found"
    assert [each for each in sorted(named) if each[0] not in packages] == []
