"""What must load without torch does: the command line's help, the catalogue, and everything that only decides."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = [
    "darkroom",
    "darkroom.core",
    "darkroom.errors",
    "darkroom.config",
    "darkroom.bench.load",
    "darkroom.cli",
    "darkroom.client.asynchronous",
    "darkroom.client.blocking",
    "darkroom.engine.batcher",
    "darkroom.engine.profile",
    "darkroom.engine.specs",
    "darkroom.models.catalogue",
    "darkroom.app",
    "darkroom.fleet.drivers.local",
    "darkroom.fleet.supervisor",
    "darkroom.forward.main",
    "darkroom.gateway.app",
    "darkroom.jobs.opening",
    "darkroom.jobs.sqlite",
    "darkroom.jobs.redis",
    "darkroom.jobs.keeper",
    "darkroom.storage.objects",
    "darkroom.telemetry.metrics",
    "darkroom.worker.claiming",
]


@pytest.mark.parametrize("module", LIGHT)
def test_it_loads_with_torch_uninstalled(module: str) -> None:
    # None in sys.modules makes `import torch` fail as it does where torch is not installed.
    blocked = "import sys; sys.modules.update(torch=None, diffusers=None, transformers=None)"
    run = subprocess.run([sys.executable, "-c", f"{blocked}; import {module}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_public_names_are_there() -> None:
    import darkroom

    assert {"Engine", "errors"} <= set(dir(darkroom)) | set(darkroom.__all__)
