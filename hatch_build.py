"""The wheel and the source archive carry the web UI: it is built here where its sources and Node are.

An archive of sources has the built files and no web/, so that it installs without Node. A build never fails for the
UI's sake: the service says at /ui how to build it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WebUi(BuildHookInterface[Any]):
    """Runs tools/web.py before files are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the UI, unless this is an editable install (`make web` is for that) or a tree without web/."""
        root = Path(self.root)
        if version == "editable" or not (root / "web" / "package.json").exists():
            return
        done = subprocess.run([sys.executable, str(root / "tools" / "web.py"), "--no-fetch"], check=False)
        page = root / "src/darkroom/gateway/static/index.html"
        if done.returncode:
            what = "the web UI in this build is an old one" if page.exists() else "the web UI is not in this build"
            self.app.display_warning(f"{what}: Node is missing, or its build failed")
