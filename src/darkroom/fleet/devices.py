"""Which accelerators workers of this machine may use; without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess

from ..errors import DriverUnavailable

CUDA_DEVICES = "CUDA_VISIBLE_DEVICES"
WORKERS_HERE, WORKERS_ON_DEVICE = "DARKROOM_WORKERS_HERE", "DARKROOM_WORKERS_ON_DEVICE"
ANSWER_S = 10.0  # a driver that hangs must not hold up who asks


def share(workers: int, devices: int) -> dict[str, str]:
    """What each of so many workers of this machine finds in its environment, so that it takes no more than its part."""
    return {WORKERS_HERE: str(workers), WORKERS_ON_DEVICE: str(most_on_one(workers, devices))}


def most_on_one(workers: int, devices: int) -> int:
    """How many of so many workers share a device; all of them where there is none."""
    return -(-workers // max(1, devices))


def accelerators(visible: str | None = None) -> list[str]:
    """The NVIDIA devices that workers may use, as CUDA_VISIBLE_DEVICES names them.

    `visible` stands above what this process finds in that variable. Raises `DriverUnavailable` where nvidia-smi hangs.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=ANSWER_S)
    except subprocess.TimeoutExpired as error:
        hangs = f"nvidia-smi does not say within {ANSWER_S:g} s which accelerators there are"
        raise DriverUnavailable(hangs) from error
    there = [str(number) for number in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]
    said = os.environ.get(CUDA_DEVICES) if visible is None else visible
    return there if said is None else [name.strip() for name in said.split(",") if name.strip() not in ("", "-1")]
