"""`python -m tools.openapi`: writes web/openapi.json, the source of the web UI's client; `--check` compares."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from darkroom import config
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.opening import open_store
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import open_storage

OUT = Path("web/openapi.json")


def main() -> int:
    """Write it, or say with 1 that what is there is of another API."""
    parser = argparse.ArgumentParser(prog="python -m tools.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the file is not that of the code")
    is_check = parser.parse_args().check
    text = described()
    if not is_check:
        OUT.write_text(text, encoding="utf-8")
        return 0
    is_same = OUT.exists() and OUT.read_text(encoding="utf-8") == text
    print("web/openapi.json is that of the code" if is_same else "web/openapi.json is old: python -m tools.openapi")
    return int(not is_same)


def described() -> str:
    """The OpenAPI of a gateway as it is built, as text."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["DARKROOM_HOME"] = home
        settings = config.load()
        with contextlib.closing(open_store(settings.store_url)) as store:
            app = build_app(Parts(settings, store, open_storage(settings.storage_url), catalogue(settings)))
            schema = app.openapi()
    schema["info"]["version"] = "0"  # a release changes no client
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
