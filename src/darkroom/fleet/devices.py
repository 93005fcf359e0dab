"""Which accelerators workers of this machine may use; without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess

CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"


def accelerators(visible: str | None = None) -> list[str]:
    """The NVIDIA devices that workers may use, as CUDA_VISIBLE_DEVICES names them.

    `visible` stands above what this process finds in that variable.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    there = [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]
    said = os.environ.get(CUDA_DEVICES) if visible is None else visible
    return there if said is None else [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
